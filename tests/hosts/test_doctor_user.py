"""`presence-manager doctor --user`: set, read back and clear one user, and leave nobody shown."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from cli_runs import APP, SECRET, TENANT, Cli, ended, until, user
from doctor_rounds import jwt, look, server, settings_of

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS, Pair
from presence_manager.emulator import Emulator, Fault
from presence_manager.graph.tokens import ReadyToken
from presence_manager.hosts.doctor.examine import Ask, examine
from presence_manager.hosts.doctor.finding import Finding
from presence_manager.hosts.doctor.trial import read_back
from presence_manager.ledger import SqliteLedger, open_ledger
from presence_manager.manager import PresenceManager

WHO = user(7)
ASK = Ask(tenant=TENANT, user=WHO)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        yield emulator


async def rows(folder: Path) -> int:
    ledger = SqliteLedger(folder / "ledger.db")
    await ledger.open()
    try:
        return await ledger.foreign("", "")
    finally:
        await ledger.close()


@pytest.mark.parametrize("pair", PAIRS)
async def test_set_read_and_clear(emulator: Emulator, tmp_path: Path, pair: Pair) -> None:
    found = await look(settings_of(emulator, tmp_path), ASK._replace(pair=pair))
    assert [found[name].state for name in ("set", "read-back", "clear")] == ["ok"] * 3
    assert found["read-back"].says == f"Graph shows {pair}"
    assert [e.verb for e in emulator.journal_for(WHO)] == ["set", "read", "clear"]
    assert emulator.sessions() == []
    assert await rows(tmp_path) == 0
    assert emulator.token_requests == 2


async def test_preferred_presence_hides_it(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presence_manager.hosts.doctor.examine._PAUSE", 0.01)
    url = f"{emulator.graph_url}/v1.0/users/{WHO}/presence/setUserPreferredPresence"
    body = {"availability": "Away", "activity": "Away"}
    headers = {"Authorization": f"Bearer {emulator.token(TENANT, APP)}"}
    async with httpx.AsyncClient() as client:
        assert (await client.post(url, json=body, headers=headers)).status_code == 200
    found = await look(settings_of(emulator, tmp_path), ASK)
    assert found["read-back"].state == "warn"
    assert found["read-back"].says == "Graph took Busy/InACall, and shows Away/Away"
    assert "preferred presence" in found["read-back"].do
    assert found["clear"].state == "ok"
    assert [e.verb for e in emulator.journal_for(WHO)].count("read") == 3


async def test_reading_may_be_forbidden(emulator: Emulator, tmp_path: Path) -> None:
    emulator.add_fault(Fault(verb="read", status=403))
    found = await look(settings_of(emulator, tmp_path), ASK)
    assert found["read-back"].state == "skipped"
    assert "Presence.Read.All" in found["read-back"].do
    assert (found["set"].state, found["clear"].state) == ("ok", "ok")


async def test_a_user_that_is_held_is_left_alone(emulator: Emulator, tmp_path: Path) -> None:
    settings = settings_of(emulator, tmp_path)
    async with PresenceManager(settings) as presence:
        await presence.hold(WHO, "DoNotDisturb", key="call")
        found = await look(settings, ASK)
        assert found["set"].state == "skipped"
        assert "not touched" in found["set"].says
        assert [e.verb for e in emulator.journal_for(WHO)] == ["set"]


@pytest.mark.parametrize(
    ("fault", "do"),
    [
        (Fault(verb="set", status=403, code="Forbidden"), "Presence.ReadWrite.All"),
        (Fault(verb="set", status=404, code="NotFound"), "object id"),
    ],
)
async def test_a_set_that_is_refused(
    emulator: Emulator, tmp_path: Path, fault: Fault, do: str
) -> None:
    emulator.add_fault(fault)
    found = await look(settings_of(emulator, tmp_path), ASK)
    assert found["set"].state == "fail"
    assert do in found["set"].do
    assert "clear" not in found
    assert emulator.sessions() == []
    assert await rows(tmp_path) == 0


async def test_a_clear_that_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    emulator.add_fault(Fault(verb="clear", status=403, code="Forbidden"))
    found = await look(settings_of(emulator, tmp_path), ASK)
    assert found["clear"].state == "fail"
    assert "within five minutes" in found["clear"].do
    assert await rows(tmp_path) == 1


async def test_nobody_is_tried_without_a_sign_in(emulator: Emulator, tmp_path: Path) -> None:
    found = await look(settings_of(emulator, tmp_path, client_secret="wrong"), ASK)
    assert found["set"].state == "skipped"
    assert emulator.operations == 0


async def test_whoever_stops_listening_leaves_nobody_shown(
    emulator: Emulator, tmp_path: Path
) -> None:
    found = settings_of(emulator, tmp_path)
    async with aclosing(examine(found, ASK, lambda: open_ledger(found.ledger.url))) as findings:
        async for finding in findings:
            if finding.name == "set":
                break
    assert [e.verb for e in emulator.journal_for(WHO)] == ["set", "clear"]
    assert emulator.sessions() == []
    assert await rows(tmp_path) == 0


async def read(origin: str, tmp_path: Path) -> Finding:
    key = Key(LaneId(origin, APP, TENANT), WHO)
    settings = settings_of(_Nowhere(origin, tmp_path), tmp_path)
    return await read_back(ReadyToken(jwt(exp=4e9)), key, PAIRS[1], settings.graph)


class _Nowhere:
    """What settings want to know of an emulator."""

    def __init__(self, origin: str, folder: Path) -> None:
        self.graph_url, self.authority_url = origin, "https://localhost"
        self.ca_file = None


@pytest.mark.parametrize(
    ("status", "body", "state", "says"),
    [
        (200, b"\x00\xff<html>", "skipped", "not a presence in JSON"),
        (200, b"[" * 60_000, "skipped", "not a presence in JSON"),
        (200, b"x" * 200_000, "skipped", "longer than 65536 bytes"),
        (200, b'["Busy"]', "skipped", "not a presence in JSON"),
        (200, json.dumps({"availability": "\x1b[2J", "activity": "x"}).encode(), "skipped", "JSON"),
        (200, b'{"availability": "Away", "activity": "BeRightBack"}', "warn", "Away/BeRightBack"),
        (302, b"", "skipped", "HTTP 302"),
        (429, b"", "skipped", "HTTP 429"),
    ],
)
async def test_hostile_answers_to_a_reading(
    tmp_path: Path, status: int, body: bytes, state: str, says: str
) -> None:
    place = b"Location: https://evil.example/\r\n"
    head = b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, place, len(body))
    async with server(head + body) as (origin, asked):
        finding = await read(origin, tmp_path)
    assert finding.state == state
    assert says in finding.says
    assert finding.says.isprintable()
    assert len(asked) == 1


# -- in a process ----------------------------------------------------------------------------


@pytest.fixture
def cli(tmp_path: Path, emulator: Emulator) -> Cli:
    return Cli(tmp_path, emulator, PRESENCE_GRAPH__TIMEOUT="60")


async def test_a_crash_in_between_leaves_nobody_shown(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="read", effect="hang"))
    async with cli.start("doctor", "--user", WHO, "--as", "DoNotDisturb") as process:
        await until(lambda: any(e.verb == "read" for e in emulator.journal_for(WHO)))
        assert [session.user for session in emulator.sessions()] == [WHO]
        process.kill()
        await process.wait()
    assert emulator.sessions() != []
    run = await cli.run("doctor", "--json")
    said = {finding["name"]: finding["state"] for finding in run.json["findings"]}
    assert (run.status, said["owners"]) == (0, "warn")
    run = await cli.run("recover", "--json")
    assert (run.status, run.json["counts"]) == (0, {"cleared": 1})
    assert emulator.sessions() == []


async def test_ctrl_c_releases_first(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="read", effect="hang"))
    async with cli.start("doctor", "--user", WHO) as process:
        await until(lambda: any(e.verb == "read" for e in emulator.journal_for(WHO)))
        process.send_signal(signal.SIGINT)
        run = await ended(process)
    assert run.status == 4
    assert "interrupted" in run.err
    assert emulator.sessions() == []
