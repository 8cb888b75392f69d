"""Each example as what it is: a process that is stopped while Graph does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from presence_manager.emulator import Emulator, Fault

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANT = "7a000000-0000-4000-8000-000000000001"
APP = "7a000000-0000-4000-8000-00000000000a"
USERS = [f"5e000000-0000-4000-8000-{number:012x}" for number in range(5)]
HUNG = USERS[2]
DEADLINE = 0.5
AFTER = 2.0
"""Seconds after the deadline within which the process must have ended."""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


class Example:
    """An example in its own folder, pointed to the emulator."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.ledger = folder / "ledger.db"
        self.emulator = emulator
        keep = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR")
        self.environment = {k: v for k, v in os.environ.items() if k in keep} | {
            "PYTHONUNBUFFERED": "1",
            "PRESENCE_GRAPH__BASE_URL": emulator.graph_url,
            "PRESENCE_GRAPH__TIMEOUT": "60",
            "PRESENCE_GRAPH__BATCH": "off",  # so that only one user hangs
            "PRESENCE_TENANT_ID": TENANT,
            "PRESENCE_CLIENT_ID": APP,
            "PRESENCE_ACCESS_TOKEN": emulator.token(TENANT, APP),
            "PRESENCE_LEDGER__URL": f"sqlite:///{self.ledger}",
            "PRESENCE_SHUTDOWN__DEADLINE": str(DEADLINE),
        }

    @asynccontextmanager
    async def run(self, name: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-X", "dev", "-W", "error", str(EXAMPLES / name), *words),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(20):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def stopped(self, process: asyncio.subprocess.Process, number: int) -> tuple[int, str]:
        """Let the clearing of one user hang, and stop it; return the status and its last lines."""
        assert {each.user for each in self.emulator.sessions()} == set(USERS)
        self.emulator.add_fault(Fault(verb="clear", effect="hang", user=HUNG))
        started = time.monotonic()
        process.send_signal(number)
        out, _ = await process.communicate()
        assert time.monotonic() - started < DEADLINE + AFTER
        assert process.returncode is not None
        text = out.decode()
        assert "Traceback" not in text, text
        assert "was never" not in text, text
        return process.returncode, text

    def check(self) -> None:
        """All others are gone, and the ledger knows of the one that hung."""
        assert [each.user for each in self.emulator.sessions()] == [HUNG]
        with closing(sqlite3.connect(self.ledger)) as ledger:
            assert ledger.execute("select user from sessions").fetchall() == [(HUNG,)]
            ends = dict(ledger.execute("select user, kind from outcomes").fetchall())
        assert ends == {user: "unfinished" if user == HUNG else "cleared" for user in USERS}


@pytest.fixture
def example(tmp_path: Path, emulator: Emulator) -> Example:
    return Example(tmp_path, emulator)


async def line_with(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdout is not None
    seen = ""
    while text not in (line := (await process.stdout.readline()).decode()):
        seen += line
        assert line, seen


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


async def each_user(call: Callable[[str], Coroutine[Any, Any, aiohttp.ClientResponse]]) -> None:
    for answer in await asyncio.gather(*map(call, USERS)):
        assert answer.status == 200, await answer.text()


async def test_quickstart(example: Example) -> None:
    async with example.run("quickstart.py", *USERS) as process:
        await line_with(process, "Ctrl-C releases")
        status, out = await example.stopped(process, signal.SIGINT)
    assert status == 1
    assert "released: {'cleared': 4, 'unfinished': 1}" in out
    example.check()


async def test_daemon(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text("\n".join(USERS))
    async with example.run("daemon.py", str(file)) as process:
        for _ in USERS:
            await line_with(process, " shown")
        status, out = await example.stopped(process, signal.SIGTERM)
    assert status == 1
    assert '"unfinished": 1' in out
    example.check()


def activity(user: str, name: str) -> dict[str, Any]:
    return {
        "type": "event",
        "name": f"application/vnd.microsoft.{name}",
        "from": {"aadObjectId": user},
        "conversation": {"id": "19:meeting", "tenantId": TENANT},
    }


async def test_bot(example: Example, emulator: Emulator) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/messages"
    async with (
        example.run("bot_aiohttp.py", str(port)) as process,
        aiohttp.ClientSession() as http,
    ):
        await line_with(process, "Running on")
        await each_user(lambda user: http.post(url, json=activity(user, "meetingStart")))
        for name in ("meetingEnd", "meetingEnd"):  # Teams may say it twice
            assert (await http.post(url, json=activity(USERS[0], name))).status == 200
        assert len(emulator.sessions()) == len(USERS) - 1
        assert (await http.post(url, json=activity("", "meetingStart"))).status == 400
        assert (await http.post(url, json={"type": "message", "text": "hello"})).status == 200
        assert (await http.post(url, json=activity(USERS[0], "meetingStart"))).status == 200
        status, _ = await example.stopped(process, signal.SIGTERM)
    assert status == 0
    example.check()


async def test_service(example: Example, emulator: Emulator) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/calls/17"
    async with (
        example.run("service_fastapi.py", str(port)) as process,
        aiohttp.ClientSession() as http,
    ):
        await line_with(process, "Uvicorn running")
        await each_user(lambda user: http.put(f"{url}/{user}"))
        answer = await http.delete(f"{url}/{USERS[0]}")
        assert await answer.json() == {"outcome": "cleared"}
        assert (await http.put(f"{url}/{USERS[0]}")).status == 200
        status, _ = await example.stopped(process, signal.SIGTERM)
    assert status in (0, -signal.SIGTERM)  # uvicorn sends itself the signal again
    example.check()
