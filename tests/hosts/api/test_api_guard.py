"""Hostile requests: names, sites, tokens, bodies and clients that take their time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic

import pytest
from host_runs import TENANT, user
from serving import BUSY, PROBLEM, Daemon, hold_path, serving, settings_for

from presence_manager import SettingsError
from presence_manager.emulator import Emulator
from presence_manager.hosts.api import call, serve
from presence_manager.hosts.api.serve import Server
from presence_manager.hosts.api.tokens import tokens_of
from presence_manager.settings import HttpSettings

READER, WRITER = "r" * 32, "w" * 32


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def raw(daemon: Daemon, head: str, body: bytes = b"", *, wait: float = 5.0) -> str:
    """Send bytes as they are; what comes back until the connection ends."""
    port = int(daemon.server.urls[0].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + body)
        async with asyncio.timeout(wait):
            return (await reader.read()).decode("latin-1")
    finally:
        writer.close()


# -- who asks, and by which name ------------------------------------------------------------


HOSTS = {
    "localhost": 200,
    "localhost:8787": 200,
    "LOCALHOST": 200,
    "127.0.0.1:1": 200,
    "[::1]:8787": 200,
    "10.1.2.3": 200,  # a probe's; digits are nobody's to rebind
    "presence.example": 200,
    "evil.example": 421,
    "localhost.evil.example": 421,
    "127.0.0.1.evil.example": 421,
    "": 421,
}


async def test_only_its_own_names(emulator: Emulator) -> None:
    settings = settings_for(emulator, http={"hosts": "presence.example"})
    async with serving(settings) as daemon:
        for host, status in HOSTS.items():
            found, answer = await daemon.ask("GET", "/healthz", headers={"Host": host})
            assert found == status, host
            assert status == 200 or answer["type"] == PROBLEM + "wrong-host"


async def test_two_hosts_or_none_are_refused(daemon: Daemon) -> None:
    end = "Connection: close\n\n"
    twice = await raw(daemon, f"GET /healthz HTTP/1.1\nHost: localhost\nHost: evil\n{end}")
    assert twice.split()[1] in ("400", "421")
    none = await raw(daemon, f"GET /healthz HTTP/1.1\n{end}")
    assert none.split()[1] in ("400", "421")


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


async def test_other_sites_change_nothing(daemon: Daemon, emulator: Emulator) -> None:
    for method, path in [
        ("PUT", hold_path(1)),
        ("DELETE", hold_path(1)),
        ("POST", "/v1/sweeps"),
        ("POST", "/v1/drain"),
        ("POST", f"/v1/tenants/default/users/{user(1)}/clear"),
    ]:
        for headers in FOREIGN:
            status, problem = await daemon.ask(method, path, headers=headers)
            assert (status, problem["type"]) == (403, PROBLEM + "cross-site"), headers
    assert emulator.requests == 0
    assert not (await daemon.ask("GET", "/readyz", headers=FOREIGN[0]))[1]["faults"]


async def test_its_own_page_may(daemon: Daemon) -> None:
    headers = {"Origin": daemon.server.urls[0], "Sec-Fetch-Site": "same-origin"}
    status, _ = await daemon.ask("PUT", hold_path(1), BUSY, headers=headers)
    assert status == 200


async def test_tokens_and_their_scopes(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# who may\n\ndashboard:read:{READER}\nbot:write:{WRITER}\n")
    settings = settings_for(emulator, http={"tokens_file": file, "token": "x" * 16})
    async with serving(settings) as daemon:
        for headers in ({}, bearer("y" * 32), {"Authorization": f"Basic {WRITER}"}, bearer("")):
            status, problem = await daemon.ask("GET", "/v1/sessions", headers=headers)
            assert (status, problem["type"]) == (401, PROBLEM + "unauthorized")
        for path in ("/v1/sessions", "/metrics"):
            assert (await daemon.ask("GET", path, headers=bearer(READER)))[0] == 200
        status, problem = await daemon.ask("PUT", hold_path(1), BUSY, headers=bearer(READER))
        assert (status, problem["type"]) == (403, PROBLEM + "forbidden")
        for token in (WRITER, "x" * 16):
            status, _ = await daemon.ask("PUT", hold_path(1), BUSY, headers=bearer(token))
            assert status == 200
        for path in ("/healthz", "/readyz", "/v1/openapi.json"):
            assert (await daemon.ask("GET", path))[0] == 200
        for path in ("/", "/page/app.js"):  # the page asks for the token itself
            assert (await daemon.ask("GET", path))[0] != 401
        assert (await daemon.ask("GET", "/nothing"))[0] == 401
        assert WRITER not in repr(daemon.server._tokens)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody\n",
        "bot:write:short\n",
        f"bot:admin:{WRITER}\n",
        f"bot:{WRITER}\n",
        f"bot:write:{WRITER} {WRITER}\n",
        f"bot:write:{WRITER}\nbot:read:{READER}\n",
        f"bot:write:{WRITER}\nother:read:{WRITER}\n",
        f"b\u00f6t:write:{WRITER}\n",
    ],
)
def test_a_file_of_tokens_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"http\.tokens_file") as refused:
        tokens_of(HttpSettings(tokens_file=file))
    assert WRITER not in str(refused.value)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8787", "host.example:0"])
async def test_other_machines_need_a_token(listen: str) -> None:
    with pytest.raises(SettingsError, match="no token"):
        Server(HttpSettings(listen=listen))
    Server(HttpSettings(listen=listen, token="x" * 16))


async def test_every_answer_is_protected(daemon: Daemon) -> None:
    for path in ("/healthz", "/nothing", "/v1/sessions?x=1"):
        async with daemon.client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "aiohttp" not in answer.headers["Server"]


# -- bodies ---------------------------------------------------------------------------------


JSON = "application/json"
BODIES = [
    (b"{", JSON, 400, "invalid-request"),
    (b"", JSON, 400, "invalid-request"),
    (b"\xff\xfe", JSON, 400, "invalid-request"),
    (b"[" * 60_000, JSON, 400, "invalid-request"),
    (b'{"availability":"Busy","ttl":NaN}', JSON, 422, "invalid-hold"),
    (b'{"availability":"Busy","ttl":1e999}', JSON, 422, "invalid-hold"),
    (b'{"availability":"Busy","ttl":' + b"9" * 4000 + b"}", JSON, 422, "invalid-hold"),
    (b'{"availability":"Busy"}', "text/plain", 415, "unsupported-media-type"),
    (b'{"availability":"Busy"}', "application/x-www-form-urlencoded", 415, None),
    (b" " * 70_000, JSON, 413, "too-large"),
]


async def test_bodies_that_are_not_accepted(daemon: Daemon, emulator: Emulator) -> None:
    for data, media_type, status, kind in BODIES:
        headers = {"Content-Type": media_type}
        found, problem = await daemon.ask("PUT", hold_path(1), data=data, headers=headers)
        assert found == status, (data[:50], problem)
        assert kind is None or problem["type"] == PROBLEM + kind
        assert len(json.dumps(problem)) < 2000  # what was sent is not sent back
    assert emulator.requests == 0


async def test_a_name_that_stands_twice_is_harmless(daemon: Daemon) -> None:
    data = b'{"availability":"Busy","availability":"Away"}'
    headers = {"Content-Type": "application/json"}
    assert (await daemon.ask("PUT", hold_path(1), data=data, headers=headers))[0] == 200


async def test_compressed_and_garbled_bodies(daemon: Daemon) -> None:
    head = f"PUT {hold_path(1)} HTTP/1.1\nHost: localhost\nConnection: close\n"
    head += "Content-Type: application/json\n"
    zipped = await raw(daemon, head + "Content-Encoding: gzip\nContent-Length: 3\n\n", b"abc")
    assert zipped.split()[1] == "415"
    chunked = await raw(daemon, head + "Transfer-Encoding: chunked\n\n", b"zz\r\nxx")
    assert chunked.split()[1] == "400"


HEADS = [
    "GET /" + "a" * 10_000 + " HTTP/1.1\nHost: localhost\n\n",
    "GET / HTTP/1.1\nHost: localhost\nX: " + "a" * 10_000 + "\n\n",
    "GET / HTTP/1.1\nHost: localhost\n" + "X: y\n" * 200 + "\n",
    "GET / HTTP/1.1\nHost: localhost\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
    "GET / HTTP/9.9\nHost: localhost\n\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


async def test_heads_that_are_not_accepted(daemon: Daemon) -> None:
    for head in HEADS:
        answer = await raw(daemon, head + "\n\n")
        assert answer.split()[1] == "400", head[:50]
        assert "Content-Type: application/problem+json" in answer, head[:50]
        assert PROBLEM + "invalid-request" in answer, head[:50]
        assert "aiohttp" not in answer, head[:50]
    assert (await daemon.ask("GET", "/healthz"))[0] == 200


async def test_what_cannot_be_done_there(daemon: Daemon) -> None:
    for method in ("GET", "HEAD", "PATCH", "OPTIONS", "TRACE"):
        async with daemon.client.request(method, hold_path(1)) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "DELETE, PUT"
            assert answer.content_type == "application/problem+json"


async def test_what_is_not_there(daemon: Daemon) -> None:
    for path in ("/nothing", "/v1", "/v1/", "//v1/sessions", "/v1/../etc/passwd", "/v1/%2e%2e/x"):
        answer = await raw(daemon, f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n")
        assert answer.split()[1] == "404", path
        assert "application/problem+json" in answer


async def test_a_fault_of_ours_tells_nothing(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault() -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(daemon.presence, "status", fault)
    status, problem = await daemon.ask("GET", "/v1/tenants")
    assert (status, problem["type"]) == (500, PROBLEM + "internal")
    assert "secret" not in json.dumps(problem)
    monkeypatch.undo()


# -- clients that take their time -----------------------------------------------------------


async def _drip(daemon: Daemon, head: bytes, drops: bytes) -> tuple[float, bytes]:
    """Send the head, then byte by byte; seconds until the daemon had enough, and its answer."""
    port = int(daemon.server.urls[0].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read(1000))
    started = monotonic()
    try:
        writer.write(head)
        while not answer.done():
            writer.write(drops)
            await asyncio.wait({answer}, timeout=0.02)
            assert monotonic() - started < 8
        return monotonic() - started, await answer
    except ConnectionError:
        return monotonic() - started, b""
    finally:
        writer.close()


async def test_a_head_that_drips_is_cut_off(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.2)
    async with serving(settings_for(emulator)) as daemon:
        seconds, answer = await _drip(daemon, b"GET /healthz HTTP/1.1\r\nX: ", b"a")
        assert 0.1 < seconds < 8
        assert answer == b""


async def test_a_body_that_drips_is_cut_off(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "BODY_SECONDS", 0.2)
    head = (
        f"PUT {hold_path(1)} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    seconds, answer = await _drip(daemon, head.encode(), b" ")
    assert 0.1 < seconds < 8
    assert b" 408 " in answer


async def test_a_client_that_does_not_read_is_cut_off(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from presence_manager.hosts.api import lists, stream

    cut = asyncio.Event()

    async def endless(after: object, read: object) -> object:
        try:
            while True:
                yield b"x" * 65536
        finally:
            cut.set()

    monkeypatch.setattr(stream, "PATIENCE", 0.2)
    monkeypatch.setattr(lists, "_lines", endless)
    port = int(daemon.server.urls[0].rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    head = "GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(5):
        await cut.wait()
    writer.close()
    assert (await daemon.ask("GET", f"/v1/sessions?tenant={TENANT}"))[0] == 200
