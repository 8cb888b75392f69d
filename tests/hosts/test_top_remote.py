"""`presence-manager top --url`: frames of a daemon, and of whoever answers in its place."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cli_runs import TENANT, Cli, until, user
from doctor_rounds import complaints, server

from presence_manager.emulator import Emulator
from presence_manager.hosts.top.frame import OutcomeLine, TenantLine
from presence_manager.hosts.top.remote import NoDaemon, Remote

LANE = {
    "tenant": TENANT, "held": 120, "waiting": 3, "due": 2, "late": 0.5, "in_flight": 1,
    "sent": 900, "refused": 4, "budget": 1500, "used": 77, "window": 30.0, "closed_for": 12.5,
}  # fmt: skip
TENANTS = {"tenants": [LANE], "owner": "host-1", "state": "open"}
METRICS = """# HELP presence_manager_outcomes_total Outcomes of sessions, by kind.
# TYPE presence_manager_outcomes_total counter
presence_manager_outcomes_total{kind="cleared"} 120.0
presence_manager_outcomes_total{kind="failed"} 1e+06
presence_manager_outcomes_created{kind="cleared"} 1.76e+09
presence_manager_holds 9.0
"""


def http(body: bytes | str, status: str = "200 OK") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def daemon(tenants: object, metrics: str = METRICS, token: str = ""):
    async def answer(request: bytes) -> bytes:
        if token and f"Authorization: Bearer {token}\r\n".encode() not in request:
            return http("{}", "401 Unauthorized")
        if request.startswith(b"GET /metrics "):
            return http(metrics)
        return http(tenants if isinstance(tenants, bytes) else json.dumps(tenants))

    return answer


@asynccontextmanager
async def remote(origin: str) -> AsyncIterator[Remote]:
    source = Remote(origin, "")
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def test_a_frame_of_a_daemon() -> None:
    async with server(daemon(TENANTS)) as (origin, _), remote(origin) as source:
        frame = await source.look(1000.0)
        again = await source.look(1010.0)
    assert frame.columns == ("held", "waiting", "due", "in flight", "refused")
    assert frame.tenants == (TenantLine(TENANT, (120, 3, 2, 1, 4), 77, 1500, 12.5),)
    assert (frame.source, frame.about) == (f"daemon {origin}", "open, owner host-1")
    assert frame.counted == "since its start"
    assert frame.outcomes == again.outcomes
    assert frame.outcomes == (
        OutcomeLine("failed", 1_000_000, 0.0),
        OutcomeLine("cleared", 120, 0.0),
    )


async def test_a_token_is_sent_and_never_shown(tmp_path: Path) -> None:
    secret = "a-token-of-the-daemon"
    cli = Cli(tmp_path)
    file = cli.file(secret, name="token")
    async with server(daemon(TENANTS, token=secret)) as (origin, _):
        run = await cli.run("top", "--url", origin, "--token-file", file)
        assert (run.status, complaints(run)) == (0, [])
        assert re.search(rf"{TENANT}\s+120\s+3\s+2\s+1\s+4\s+77 of 1,500\s+closed 12 s", run.out)
        assert secret not in run.out
        run = await cli.run("top", "--url", origin)
        assert (run.status, run.out) == (2, "")
        assert "--token-file" in run.err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http("<html>"), "is no daemon"),
        (http("[" * 100_000), "is no daemon"),
        (http('{"tenants": 5}'), "is no daemon"),
        (http("", "302 Found"), "answers HTTP 302"),
        (http("", "503 Busy"), "answers HTTP 503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "is the daemon running there"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "is the daemon running there"),
        (b"", "is the daemon running there"),
    ],
)
async def test_anybody_else_is_no_daemon(answer: bytes, says: str) -> None:
    async with server(answer) as (origin, _), remote(origin) as source:
        with pytest.raises(NoDaemon, match=says):
            await source.look(0.0)


async def test_odd_values_are_left_out() -> None:
    odd = {
        "tenant": "\x1b[2J" + "x" * 999, "held": -1, "waiting": True, "due": "7",
        "in_flight": 1e99, "refused": 10**30, "budget": None, "used": [], "closed_for": "x",
    }  # fmt: skip
    metrics = METRICS + 'presence_manager_outcomes_total{kind="lapsed"} 1e999999999\n'
    tenants = {"tenants": [odd, 5, {}], "owner": 7, "state": "\x07"}
    async with server(daemon(tenants, metrics)) as (origin, _), remote(origin) as source:
        frame = await source.look(0.0)
    assert [line.counts for line in frame.tenants] == [(0, 0, 0, 0, 0)] * 2
    assert all(line.tenant.isprintable() and len(line.tenant) <= 100 for line in frame.tenants)
    assert frame.about == "?, owner ?"
    assert [line.kind for line in frame.outcomes] == ["failed", "cleared"]


# -- the daemon itself -----------------------------------------------------------------------


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000) as emulator:
        yield emulator


async def test_the_daemon_itself(tmp_path: Path, emulator: Emulator) -> None:
    pytest.importorskip("presence_manager.hosts.api")
    cli = Cli(tmp_path, emulator, PRESENCE_HTTP__LISTEN="127.0.0.1:0")
    ready = tmp_path / "ready"
    async with cli.start("run", "--ready-file", str(ready)) as process:
        await until(lambda: ready.exists() and ready.read_text().strip())
        url = re.search(r"http://[\d.:]+", ready.read_text())
        assert url, ready.read_text()
        hold = f"{url.group()}/v1/tenants/default/users/{user(1)}/holds/call"
        body = {"availability": "Busy", "activity": "InACall"}
        async with httpx.AsyncClient() as client:
            assert (await client.put(hold, json=body)).status_code == 200
            assert (await client.delete(hold)).status_code == 200
            assert (await client.put(hold, json=body)).status_code == 200
        run = await cli.run("top", "--url", url.group())
        assert (run.status, complaints(run)) == (0, [])
        assert f"daemon {url.group()}" in run.out
        assert "open, owner" in run.out
        assert re.search(rf"{TENANT}\s+1\s+0\s+0\s+0\s+0\s+\d+ of ", run.out), run.out
        assert re.search(r"cleared\s+1\b", run.out), run.out
        process.terminate()
        await process.wait()
