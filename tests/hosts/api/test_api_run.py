"""`presence-manager run` as what it is: a process, real sockets, real signals."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest
from host_runs import (
    DEADLINE,
    nothing_forgotten,
    remembered,
    running,
    until,
    user,
    variables,
)
from processes import RUN, daemon, hold, posix
from serving import BUSY, hold_path

from presence_manager import Settings, SettingsError
from presence_manager.emulator import Emulator, Fault
from presence_manager.emulator.certificates import make
from presence_manager.hosts.api.serve import Server


async def refused(environment: dict[str, str], *words: str) -> str:
    """What a daemon says that cannot run; its exit status is 2."""
    async with running(RUN, "run", *words, environment=environment) as child:
        status, _ = await child.ended()
        assert status == 2, child.out
        return child.out


@posix
async def test_a_clean_end(tmp_path: Path) -> None:
    async with Emulator() as emulator, daemon(emulator, tmp_path) as it:
        async with aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
            assert [session.user for session in emulator.sessions()] == [user(1)]
            it.child.signal(signal.SIGTERM)
            status, seconds = await it.child.ended()
        assert status == 0, it.child.out
        assert seconds < DEADLINE
        assert emulator.sessions() == []
        assert not it.ready.exists()
        events = [json.loads(line) for line in it.child.out.splitlines()]
        [ready] = [each for each in events if each["event"] == "ready"]
        assert ready["urls"] == [it.url]


@posix
async def test_the_end_waits_for_no_connection(tmp_path: Path) -> None:
    """Open streams, idle connections and requests in flight do not hold up the sweep."""
    async with Emulator() as emulator, daemon(emulator, tmp_path) as it:
        async with aiohttp.ClientSession(it.url) as http:
            for number in range(1, 20):
                assert await hold(http, number) == 200
            emulator.add_fault(Fault(verb="clear", effect="hang", user=user(99)))
            async with http.post("/v1/sweeps", json={"users": [user(99)]}) as answer:
                location = answer.headers["Location"]
            stream = await http.get(location + "/events")
            emulator.add_fault(Fault(verb="set", effect="hang", user=user(50)))
            waiting = asyncio.create_task(hold(http, 50, "?wait=60"))
            host, port = it.url.removeprefix("http://").split(":")
            _, idle = await asyncio.open_connection(host, int(port))
            await until(lambda: user(50) in remembered(tmp_path / "ledger.db"))
            it.child.signal(signal.SIGTERM)
            await it.child.says("daemon.stopping")
            async with http.get("/healthz") as answer:
                assert answer.status == 200
            async with http.get("/readyz") as answer:
                assert answer.status == 503
            async with http.put(hold_path(2), json=BUSY) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
            status, seconds = await it.child.ended()
            assert seconds < DEADLINE + 2
            assert await waiting in (409, 503)
            stream.close()
            idle.close()
        assert status == 1, it.child.out  # these two hang: nobody knows
        left = {session.user for session in emulator.sessions()}
        assert left <= {user(50), user(99)}
        nothing_forgotten(emulator, tmp_path / "ledger.db")


@posix
async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    more = {"PRESENCE_SHUTDOWN__DEADLINE": "30"}
    async with Emulator() as emulator, daemon(emulator, tmp_path, **more) as it:
        async with aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        it.child.signal(signal.SIGTERM)
        await it.child.says("daemon.stopping")
        it.child.signal(signal.SIGTERM)
        status, seconds = await it.child.ended()
        assert (status, seconds < 3) == (1, True), it.child.out
        assert remembered(tmp_path / "ledger.db") == {user(1)}


@posix
async def test_after_a_drain_it_runs_until_it_is_told(tmp_path: Path) -> None:
    async with Emulator() as emulator, daemon(emulator, tmp_path) as it:
        async with aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
            async with http.post("/v1/drain") as answer:
                assert (await answer.json())["counts"] == {"cleared": 1}
            async with http.get("/readyz") as answer:
                assert answer.status == 503
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 0


@posix
async def test_a_successor_releases_what_a_killed_daemon_held(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        async with daemon(emulator, tmp_path) as it, aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
            it.child.process.kill()
            await it.child.process.wait()
        it.ready.unlink()
        async with daemon(emulator, tmp_path) as it, aiohttp.ClientSession(it.url) as http:
            async with http.delete(hold_path(1)) as answer:
                assert answer.status == 200
            await until(lambda: not emulator.sessions())
            it.child.signal(signal.SIGINT)
            assert (await it.child.ended())[0] == 0


@posix
async def test_a_unix_socket_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen = f"unix:{path}"
    async with Emulator() as emulator:
        async with daemon(emulator, tmp_path, listen=listen) as it:
            assert it.url == listen
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            connector = aiohttp.UnixConnector(str(path))
            async with aiohttp.ClientSession("http://anything", connector=connector) as http:
                assert await hold(http, 1) == 200
            environment = variables(emulator, tmp_path / "ledger.db")
            said = await refused(environment, "--listen", listen)
            assert "another daemon" in said
            it.child.process.kill()  # leaves the socket behind
            await it.child.process.wait()
        it.ready.unlink()
        assert path.exists()
        async with daemon(emulator, tmp_path, listen=listen) as it:
            it.child.signal(signal.SIGTERM)
            assert (await it.child.ended())[0] == 0
        assert not path.exists()
        path.write_text("a file of somebody's")
        assert "cannot listen" in await refused(environment, "--listen", listen)
        assert path.read_text() == "a file of somebody's"


async def test_a_second_daemon_at_the_same_address_says_so(tmp_path: Path) -> None:
    async with Emulator() as emulator, daemon(emulator, tmp_path) as it:
        environment = variables(emulator, tmp_path / "ledger.db")
        said = await refused(environment, "--listen", it.url.removeprefix("http://"))
        assert "another daemon" in said
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 0


def test_what_keeps_it_from_running_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
        said = refusal()
        assert "http." in said or name in said
        assert value not in said or name != "PRESENCE_HTTP__TOKEN"
        monkeypatch.delenv(name)


def refusal() -> str:
    with pytest.raises(SettingsError) as refused:
        Server(Settings().http)
    return str(refused.value)


WRONG = {
    "PRESENCE_HTTP__LISTEN": "0.0.0.0:0",
    "PRESENCE_HTTP__TOKEN": "too-short",
    "PRESENCE_HTTP__TOKENS_FILE": "/nowhere/at/all",
    "PRESENCE_HTTP__TLS_CERT": "/nowhere/else",
    "PRESENCE_HTTP__TLS_KEY": "/nowhere/alone",
    "PRESENCE_HTTP__HOSTS": "http://presence.example",
}


@pytest.mark.parametrize(
    "listen",
    [
        *("8787", "127.0.0.1", "127.0.0.1:-1", "127.0.0.1:65536", "a b:80", ":80", "[::1]"),
        *("unix:", "unix:relative", "http://127.0.0.1:8787", "::1:80:x", "127.0.0.1:\u0661"),
    ],
)
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(SettingsError, match="listen"):
        Settings(http={"listen": listen})


def test_addresses_have_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENCE_HTTP__HOSTS", "Presence.Example, other")
    for given, kept in {"[::1]:80": "[::1]:80", "LOCALHOST:0": "localhost:0"}.items():
        found = Settings(http={"listen": given}).http
        assert (found.listen, found.hosts) == (kept, "presence.example,other")


async def test_https(tmp_path: Path) -> None:
    ca_file = make(tmp_path).ca_file
    more = {
        "PRESENCE_HTTP__TLS_CERT": str(tmp_path / "server.pem"),
        "PRESENCE_HTTP__TOKEN": "t" * 40,
    }
    trust = ssl.create_default_context(cafile=str(ca_file))
    async with Emulator() as emulator, daemon(emulator, tmp_path, **more) as it:
        assert it.url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession(it.url) as http:
            async with http.get("/v1/sessions", ssl=trust) as answer:
                assert answer.status == 401
            headers = {"Authorization": "Bearer " + "t" * 40}
            async with http.get("/v1/sessions", ssl=trust, headers=headers) as answer:
                assert answer.status == 200
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 0
        assert "t" * 40 not in it.child.out
