"""What fails before the first byte left is LATER, and says what to do."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest

from presence_manager.errors import SettingsError
from presence_manager.graph.connections import proxy_for

from .server import Connection, Seen, Server, answer, close, hang, reset
from .stage import LATER, D, Stage

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("count", [1, 3])
async def test_a_refused_connection(count: int) -> None:
    async with Stage(f"http://127.0.0.1:{free_port()}") as stage:
        verdicts = await stage.send(count)
        assert [v.judgement for v in verdicts] == [LATER] * count
        assert verdicts[0].code == "connectFailed"
        assert "127.0.0.1" in verdicts[0].message
        assert not verdicts[0].singly
        assert stage.client.requests == 0


@pytest.mark.parametrize(("connect", "total"), [(0.03, 5.0), (5.0, 0.03)])
async def test_a_connection_that_does_not_come_about(connect: float, total: float) -> None:
    """The server accepts and never shakes hands."""
    async with Server(hang) as server:
        origin = server.url.replace("http:", "https:")
        async with Stage(origin, connect_timeout=connect) as stage:
            started = time.monotonic()
            verdict = await stage.one(timeout=total)
            assert time.monotonic() - started < 1
    assert (verdict.judgement, verdict.code) == (LATER, "connectTimeout")


async def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with Stage("https://graph.example") as stage:
        verdict = await stage.one()
    assert (verdict.judgement, verdict.code) == (LATER, "nameNotFound")
    assert verdict.message == "graph.example cannot be looked up: Name or service not known"


async def test_a_resolver_that_hangs_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    async with Stage("https://graph.example", connect_timeout=0.02) as stage:
        for _ in range(3):
            assert (await stage.one()).code == "connectTimeout"
        lookers = [t for t in threading.enumerate() if t.name == "presence-manager-dns"]
        assert len(lookers) == 1, "one look-up at a time"
        assert all(thread.daemon for thread in lookers)
    release.set()
    lookers[0].join(1)


async def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server() as server, Stage(server.url.replace("127.0.0.1", "localhost")) as stage:
        assert (await stage.one()).judgement is D
        (seen,) = server.seen
        assert seen.header("Host") == f"localhost:{server.port}"


# Proxies.


async def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES[:3]:
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with Server() as server, Stage(server.url) as stage:
        assert (await stage.one()).judgement is D


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_is_asked_for_a_tunnel_and_shown_no_token(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with Server(answer(407)) as proxy:
        monkeypatch.setenv(name, f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        async with Stage("https://graph.example") as stage:
            verdict = await stage.one()
            assert stage.client.requests == 0
    assert (verdict.judgement, verdict.code) == (LATER, "proxyFailed")
    assert "407" in verdict.message
    assert "p@ss" not in repr(verdict)
    (seen,) = proxy.seen
    assert seen.line.startswith("CONNECT graph.example:443 ")
    assert seen.header("Authorization") is None
    assert seen.header("Proxy-Authorization") == "Basic " + b64encode(b"me:p@ss").decode()


async def abandon(seen: Seen, connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 200 go\r\n\r\n")
    connection.close()


@pytest.mark.parametrize("script", [reset, close, abandon])
async def test_a_proxy_that_breaks_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, script: object
) -> None:
    async with Server(script) as proxy:  # type: ignore[arg-type]
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        async with Stage("https://graph.example") as stage:
            verdict = await stage.one()
            assert stage.client.requests == 0
    assert verdict.judgement is LATER


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    async with Stage("https://graph.example") as stage:
        verdict = await stage.one()
    assert (verdict.judgement, verdict.code) == (LATER, "proxyFailed")
    assert "HTTPS_PROXY" in verdict.message


def test_no_proxy_excepts_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    found = proxy_for("https://graph.example")
    assert found is not None
    assert (found.url, found.headers) == ("http://proxy.example:3128", {})
    monkeypatch.setenv("NO_PROXY", "graph.example")
    assert proxy_for("https://graph.example") is None


@pytest.mark.parametrize("address", ["socks5://x:1", "http://", "http://x:99999", "http://[x"])
def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address.replace("//", "//me:secret@"))
    with pytest.raises(SettingsError, match="HTTPS_PROXY") as caught:
        proxy_for("https://graph.example")
    assert "secret" not in str(caught.value)


async def test_netrc_adds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Server() as server, Stage(server.url) as stage:
        assert (await stage.one()).judgement is D
        assert server.seen[0].header("Authorization") == "Bearer t1"


async def test_cancelled_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(hang) as server, Stage(server.url.replace("http:", "https:")) as stage:
        task = asyncio.create_task(stage.one())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.client.requests == 0
