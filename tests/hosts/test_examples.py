"""The examples, as processes that get a real SIGTERM while requests hang."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_runs import (
    APP,
    DEADLINE,
    EXAMPLES,
    TENANT,
    ask,
    free_port,
    listening,
    nothing_forgotten,
    running,
    unfinished,
    until,
    user,
    variables,
)

from presence_manager.emulator import Emulator, Fault

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")

GRACE = 1.0
"""Seconds that an example waits for a request of its own that hangs."""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000) as emulator:
        yield emulator


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def activity(name: str, number: int) -> str:
    return json.dumps(
        {
            "type": "event",
            "name": name,
            "conversation": {"id": f"call-{number}"},
            "from": {"aadObjectId": user(number)},
            "channelData": {"tenant": {"id": TENANT}},
        }
    )


def hang(emulator: Emulator, number: int) -> None:
    """From now on Graph takes what it is asked for this user, and never answers."""
    emulator.add_fault(Fault(effect="hang", user=user(number), applied=True))


async def hangs(emulator: Emulator, number: int) -> None:
    await until(lambda: emulator.journal_for(user(number)))


def sets_after(emulator: Emulator, entries: int) -> list[str]:
    return [entry.user for entry in emulator.journal[entries:] if entry.verb == "set"]


async def test_quickstart(emulator: Emulator) -> None:
    async with running(EXAMPLES / "quickstart.py", environment=variables(emulator)) as child:
        status, _ = await child.ended()
    assert status == 0, child.out
    assert "is shown as Busy/InACall" in child.out
    assert ": cleared\n" in child.out
    assert "3 cleared in " in child.out
    assert emulator.sessions() == []


async def test_the_bot(emulator: Emulator, ledger: Path) -> None:
    port = free_port()
    environment = variables(emulator, ledger) | {"PORT": str(port)}
    async with running(EXAMPLES / "bot_aiohttp.py", environment=environment) as child:
        await listening(port)
        for number in range(3):
            assert "shown" in await ask(
                port, "POST", "/api/messages", activity("callStart", number)
            )
        assert "cleared" in await ask(port, "POST", "/api/messages", activity("callEnd", 0))
        hang(emulator, 7)
        waits = asyncio.create_task(ask(port, "POST", "/api/messages", activity("callStart", 7)))
        await hangs(emulator, 7)
        entries = len(emulator.journal)
        child.signal(signal.SIGTERM)
        status, seconds = await child.ended()
        await waits
    assert status == 1, child.out  # one is not known to be gone
    assert seconds < DEADLINE + 1.0
    assert [session.user for session in emulator.sessions()] in ([], [user(7)])
    assert unfinished(ledger) == {user(7)}
    nothing_forgotten(emulator, ledger)
    assert sets_after(emulator, entries) == []


async def test_the_bot_when_only_a_handler_of_its_own_hangs(
    emulator: Emulator, ledger: Path
) -> None:
    """The sweep has begun before the connection is waited for."""
    port = free_port()
    environment = variables(emulator, ledger) | {"PORT": str(port)}
    async with running(EXAMPLES / "bot_aiohttp.py", environment=environment) as child:
        await listening(port)
        assert "shown" in await ask(port, "POST", "/api/messages", activity("callStart", 1))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        await ask(port, "POST", "/api/messages", "{}")  # so the half one has been read, too
        child.signal(signal.SIGTERM)
        await until(lambda: not emulator.sessions())
        assert child.process.returncode is None
        status, seconds = await child.ended()
        writer.close()
    assert (status, seconds < 2 * GRACE + 1.0) == (0, True), child.out


async def test_a_second_signal_ends_the_bot_at_once(emulator: Emulator, ledger: Path) -> None:
    port = free_port()
    environment = variables(emulator, ledger)
    environment |= {"PORT": str(port), "PRESENCE_SHUTDOWN__DEADLINE": "60"}
    async with running(EXAMPLES / "bot_aiohttp.py", environment=environment) as child:
        await listening(port)
        assert "shown" in await ask(port, "POST", "/api/messages", activity("callStart", 1))
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        child.signal(signal.SIGTERM)
        await until(lambda: emulator.journal[-1].verb == "clear")
        child.signal(signal.SIGTERM)
        status, seconds = await child.ended()
    assert status != 0
    assert seconds < 2.0
    nothing_forgotten(emulator, ledger)


async def test_the_service(emulator: Emulator, ledger: Path) -> None:
    port = free_port()
    environment = variables(emulator, ledger) | {"PORT": str(port)}
    async with running(EXAMPLES / "service_fastapi.py", environment=environment) as child:
        await listening(port)
        for number in range(3):
            assert "shown" in await ask(port, "PUT", f"/calls/a/{user(number)}")
        assert "cleared" in await ask(port, "DELETE", f"/calls/a/{user(0)}")
        assert "422" in await ask(port, "PUT", "/calls/a/nobody")
        hang(emulator, 7)
        waits = asyncio.create_task(ask(port, "PUT", f"/calls/a/{user(7)}"))
        await hangs(emulator, 7)
        entries = len(emulator.journal)
        child.signal(signal.SIGTERM)
        status, seconds = await child.ended(tracebacks=1)  # uvicorn's, of what it cut off
        await waits
    assert status == -signal.SIGTERM, child.out  # uvicorn ends by the signal it was sent
    assert seconds < GRACE + DEADLINE + 1.0
    assert unfinished(ledger) == {user(7)}
    assert {session.user for session in emulator.sessions()} <= {user(7)}
    nothing_forgotten(emulator, ledger)
    assert sets_after(emulator, entries) == []


async def test_the_daemon(emulator: Emulator, ledger: Path) -> None:
    people = [user(number) for number in range(30)]
    environment = variables(emulator, ledger)
    async with running(EXAMPLES / "daemon.py", *people, environment=environment) as child:
        await child.says(*(f"{name} is shown as DoNotDisturb/Presenting" for name in people))
        child.signal(signal.SIGTERM)
        status, seconds = await child.ended()
    assert status == 0, child.out
    assert seconds < DEADLINE + 1.0
    assert emulator.sessions() == []


async def test_the_daemon_while_graph_hangs(emulator: Emulator, ledger: Path) -> None:
    people = [user(number) for number in range(30)]
    environment = variables(emulator, ledger)
    async with running(EXAMPLES / "daemon.py", *people, environment=environment) as child:
        await child.says("is shown", people[-1])
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        emulator.add_fault(Fault(verb="batch", effect="hang"))
        entries = len(emulator.journal)
        child.signal(signal.SIGTERM)
        status, seconds = await child.ended()
    assert status == 1, child.out
    assert seconds < DEADLINE + 1.0
    assert len(emulator.sessions()) == 30
    assert unfinished(ledger) == set(people)
    nothing_forgotten(emulator, ledger)
    assert sets_after(emulator, entries) == []

    emulator.clear_faults()
    async with running(EXAMPLES / "daemon.py", environment=environment) as child:
        await child.says("recovery.done")
        child.signal(signal.SIGTERM)
        status, _ = await child.ended()
    assert (status, emulator.sessions()) == (0, [])


async def test_the_daemon_in_a_hurry(emulator: Emulator, ledger: Path) -> None:
    people = [user(number) for number in range(3)]
    environment = variables(emulator, ledger) | {"PRESENCE_SHUTDOWN__DEADLINE": "60"}
    async with running(EXAMPLES / "daemon.py", *people, environment=environment) as child:
        await child.says("is shown", people[-1])
        emulator.add_fault(Fault(effect="hang"))
        entries = len(emulator.journal)
        child.signal(signal.SIGTERM)
        await until(lambda: len(emulator.journal) >= entries + 3)
        child.signal(signal.SIGINT)
        status, seconds = await child.ended()
    assert status == 1, child.out
    assert seconds < 2.0
    assert '"unfinished": 3' in child.out
    nothing_forgotten(emulator, ledger)


def test_each_example_says_what_it_needs_and_shows() -> None:
    for path in sorted(EXAMPLES.glob("*.py")):
        text = path.read_text()
        for word in ("Needs", "Install", "Run", "See"):
            assert f"\n{word} " in text, f"{path.name} does not say: {word}"
        assert APP not in text
