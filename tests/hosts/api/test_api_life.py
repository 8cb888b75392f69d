"""The daemon's life cycle, as a process: what systemd hears, SIGHUP, neighbours, probes."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from host_runs import running, until, user, variables
from processes import RUN, Running, daemon, hold, posix
from serving import BUSY, hold_path, serving, settings_for

from presence_manager.emulator import Emulator, Fault
from presence_manager.emulator.certificates import make
from presence_manager.hosts.cli.asking import drain, health

TOKEN, NEXT_TOKEN = "t" * 40, "n" * 40


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    async def within(self, seconds: float) -> list[str]:
        """The next message, if one comes within these seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self.hears("WATCHDOG=1")
        except TimeoutError:
            return []

    async def hears(self, word: str) -> list[str]:
        """Wait for a message that begins so, and has nothing but watchdogs before it."""
        while True:
            async with asyncio.timeout(30.0):
                text = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
            lines = text.decode().split("\n")
            if lines[0] == word:
                return lines
            assert lines[0] == "WATCHDOG=1", lines


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


@posix
async def test_systemd_is_told_of_a_whole_life(tmp_path: Path, manager: Manager) -> None:
    more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    async with Emulator() as emulator, daemon(emulator, tmp_path, **more) as it:
        nothing = "STATUS=0 sessions held, 0 renewals due, 0 requests in flight"
        assert await manager.hears("READY=1") == ["READY=1", nothing]
        async with aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
        while "1 sessions held" not in (await manager.hears("WATCHDOG=1"))[1]:
            pass
        it.child.signal(signal.SIGHUP)
        assert (await manager.hears("RELOADING=1"))[1].startswith("MONOTONIC_USEC=")
        assert "1 sessions held" in (await manager.hears("READY=1"))[1]
        it.child.signal(signal.SIGTERM)
        await manager.hears("STOPPING=1")
        extended = await manager.hears("EXTEND_TIMEOUT_USEC=30000000")
        assert extended[1] == "STATUS=clearing: 1 of 1 done"
        assert (await it.child.ended())[0] == 0
        assert emulator.sessions() == []


@posix
async def test_the_watchdog_hears_nothing_while_the_ledger_hangs(
    tmp_path: Path, manager: Manager
) -> None:
    more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    async with Emulator() as emulator, daemon(emulator, tmp_path, **more) as it:
        await manager.hears("READY=1")
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            async with asyncio.timeout(30.0):
                while await manager.within(0.5):
                    pass  # it was on its way
            other.execute("rollback")
        await manager.hears("WATCHDOG=1")
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 0


@posix
async def test_a_sweep_that_stands_still_gets_no_more_time(
    tmp_path: Path, manager: Manager
) -> None:
    more = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    async with Emulator() as emulator, daemon(emulator, tmp_path, **more) as it:
        await manager.hears("READY=1")
        async with aiohttp.ClientSession(it.url) as http:
            assert await hold(http, 1) == 200
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        before = emulator.requests
        it.child.signal(signal.SIGTERM)
        await manager.hears("STOPPING=1")
        await until(lambda: emulator.requests > before)
        assert await manager.within(0.5) == []
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 1


class Reloadable:
    """A daemon over https whose settings are in files."""

    def __init__(self, folder: Path, it: Running, http: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.it = it
        self.http = http
        self._reloads = 0

    async def reload(self, event: str) -> str:
        """Have it reload; return what it said, once it said this."""
        before = len(self.it.child.out)
        self.it.child.signal(signal.SIGHUP)
        async with asyncio.timeout(30.0):
            while event not in self.it.child.out[before:]:
                await asyncio.sleep(0.01)
        return self.it.child.out[before:]

    async def status(self, token: str) -> int:
        """What a new connection gets that shows this token, and trusts the present authority."""
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        async with (
            aiohttp.ClientSession(self.it.url) as http,
            http.get("/v1/tenants", ssl=trust, headers=bearer(token)) as answer,
        ):
            return answer.status

    async def budget(self) -> int:
        async with self.http.get("/v1/tenants", headers=bearer(NEXT_TOKEN)) as answer:
            [tenant] = (await answer.json())["tenants"]
            return int(tenant["budget"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def reloadable(emulator: Emulator, folder: Path) -> AsyncIterator[Reloadable]:
    make(folder)
    (folder / "tokens").write_text(f"bot:write:{TOKEN}\n")
    (folder / "presence.toml").write_text('graph.budget = 4321\nlogs.level = "warning"\n')
    more = {
        "PRESENCE_CONFIG": str(folder / "presence.toml"),
        "PRESENCE_GRAPH__BUDGET": "",
        "PRESENCE_HTTP__TLS_CERT": str(folder / "server.pem"),
        "PRESENCE_HTTP__TOKENS_FILE": str(folder / "tokens"),
    }
    async with daemon(emulator, folder, **more) as it:
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(it.url, connector=connector) as http:
            yield Reloadable(folder, it, http)
        it.child.signal(signal.SIGTERM)
        assert (await it.child.ended())[0] == 0
        assert TOKEN not in it.child.out
        assert NEXT_TOKEN not in it.child.out


@posix
async def test_sighup_reloads_what_can_be_reloaded(tmp_path: Path) -> None:
    async with Emulator() as emulator, reloadable(emulator, tmp_path) as it:
        path = hold_path(1)
        async with it.http.put(path, json=BUSY, headers=bearer(TOKEN)) as answer:
            assert answer.status == 200
        make(tmp_path)  # another authority, another certificate
        (tmp_path / "tokens").write_text(f"bot:write:{NEXT_TOKEN}\n")
        (tmp_path / "presence.toml").write_text(
            'graph.budget = 1234\nlogs.level = "info"\nledger.busy_timeout = 7\nhold.lease = 300\n'
        )
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await it.status(TOKEN)
        said = await it.reload("daemon.needs_restart")
        assert '"changed": ["graph.budget", "logs.level"]' in said
        assert '"settings": ["hold.lease", "ledger.busy_timeout"]' in said
        assert await it.status(TOKEN) == 401
        assert await it.status(NEXT_TOKEN) == 200
        assert await it.budget() == 1234
        said = await it.reload("daemon.needs_restart")  # it still does
        assert '"changed": []' in said


@posix
async def test_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async with Emulator() as emulator, reloadable(emulator, tmp_path) as it:
        (tmp_path / "tokens").write_text(f"bot:write:{NEXT_TOKEN}\n")
        toml, pem = tmp_path / "presence.toml", tmp_path / "server.pem"
        good = toml.read_text()
        toml.write_text(good + "graph.bugdet = 5\n")
        assert "bugdet" in await it.reload("daemon.not_reloaded")
        assert await it.status(TOKEN) == 200
        toml.write_text(good)
        certificate = pem.read_bytes()
        pem.write_bytes(certificate[:-100])
        assert "http.tls_cert" in await it.reload("daemon.not_reloaded")
        pem.write_bytes(certificate)
        (tmp_path / "tokens").write_text("")
        assert "has no token" in await it.reload("daemon.not_reloaded")
        assert await it.status(TOKEN) == 200
        assert await it.status(NEXT_TOKEN) == 401


@posix
async def test_two_daemons_on_one_ledger_and_one_is_killed(tmp_path: Path) -> None:
    more = {"PRESENCE_RECOVERY__WATCH": "0.1"}
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    async with Emulator() as emulator:
        url = f"sqlite:///{tmp_path}/ledger.db"
        async with (
            daemon(emulator, folders[0], PRESENCE_LEDGER__URL=url, **more) as one,
            daemon(emulator, folders[1], PRESENCE_LEDGER__URL=url, **more) as two,
            aiohttp.ClientSession(one.url) as http,
            aiohttp.ClientSession(two.url) as other,
        ):
            assert [await hold(http, number) for number in (1, 2)] == [200, 200]
            assert await hold(other, 3) == 200
            async with other.get("/v1/sessions") as answer:
                assert len((await answer.json())["sessions"]) == 3
            one.child.process.kill()
            await until(lambda: {each.user for each in emulator.sessions()} == {user(3)})
            two.child.signal(signal.SIGTERM)
            assert (await two.child.ended())[0] == 0
            assert emulator.sessions() == []


@posix
async def test_a_container_asks_its_daemon(tmp_path: Path) -> None:
    """By nothing but the daemon's own settings: its address, its certificate, its tokens."""
    make(tmp_path)
    (tmp_path / "tokens").write_text(f"looks:read:{'r' * 40}\nbot:write:{TOKEN}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    more = {
        "PRESENCE_HTTP__LISTEN": listen,
        "PRESENCE_HTTP__TLS_CERT": str(tmp_path / "server.pem"),
        "PRESENCE_HTTP__TOKENS_FILE": str(tmp_path / "tokens"),
    }
    async with Emulator() as emulator:

        async def command(*words: str) -> tuple[int, str]:
            environment = variables(emulator, tmp_path / "ledger.db") | more
            async with running(RUN, *words, environment=environment) as child:
                return (await child.ended())[0], child.out

        status, said = await command("health")
        assert (status, "no daemon answers at" in said) == (1, True)
        assert "start it with presence-manager run" in said
        async with daemon(emulator, tmp_path, listen=listen, **more) as it:
            connector = aiohttp.TCPConnector(ssl=False)
            async with (
                aiohttp.ClientSession(it.url, connector=connector) as http,
                http.put(hold_path(1), json=BUSY, headers=bearer(TOKEN)) as answer,
            ):
                assert answer.status == 200
            assert await command("drain", "--deadline", "5s") == (0, "drained: 1 cleared\n")
            assert emulator.sessions() == []
            assert await command("health") == (0, "alive\n")
            status, said = await command("health", "--ready")
            assert (status, "it is being drained" in said) == (1, True)
            it.child.signal(signal.SIGTERM)
            assert (await it.child.ended())[0] == 0


@posix
async def test_probes_on_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = f"unix:{tmp_path}/s"
    async with (
        Emulator() as emulator,
        serving(settings_for(emulator, http={"listen": listen})) as it,
    ):
        monkeypatch.setenv("PRESENCE_HTTP__LISTEN", listen)
        assert await asyncio.to_thread(health, ready=False) == 0
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        await it.presence.hold(user(1), "Busy")
        assert await asyncio.to_thread(drain, "0.2s") == 1
        assert "drained: 1 unfinished" in capsys.readouterr().err
