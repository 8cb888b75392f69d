"""What breaks after the first byte left, and bodies that are too long or packed."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from presence_manager.core.verdict import Judgement
from presence_manager.graph.client import BATCH_BODY_MAX, SINGLE_BODY_MAX

from .server import Connection, Script, Seen, Server, answer, close, packed, raw, reset
from .stage import LOST, D, Stage

BODY = b'{"responses":[{"id":"0","status":200},{"id":"1","status":200}]}'


def zipped(body: bytes, packing: str = "gzip") -> Script:
    return answer(200, body, {"Content-Encoding": packing})


@pytest.mark.parametrize(
    ("script", "judgement"),
    [
        (zipped(gzip.compress(BODY)), D),
        (zipped(zlib.compress(BODY), "deflate"), D),
        (zipped(BODY, "identity"), D),
        (zipped(gzip.compress(BODY)[:-10]), LOST),
        (zipped(BODY), LOST),
        (zipped(BODY, "br"), LOST),
        (zipped(gzip.compress(b" " * (BATCH_BODY_MAX + 1))), LOST),
        (zipped(gzip.compress(b" " * (1 << 28), 9)), LOST),
    ],
)
async def test_bodies_that_are_packed(script: Script, judgement: Judgement) -> None:
    async with Server(script) as server, Stage(server.url) as stage:
        verdicts = await stage.send(2)
    assert [verdict.judgement for verdict in verdicts] == [judgement] * 2


async def drip_for_ever(seen: Seen, connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await connection.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


LONG = [
    (packed(200, b" " * (SINGLE_BODY_MAX + 1)), "answerTooLong"),
    (packed(200, b"", length=10**12), "answerTooLong"),
    (packed(429, b" " * (SINGLE_BODY_MAX + 1), {"Retry-After": "7"}), "answerTooLong"),
]


@pytest.mark.parametrize(("data", "code"), LONG)
async def test_a_body_beyond_its_bound_is_lost(data: bytes, code: str) -> None:
    async with Server(raw(data)) as server, Stage(server.url) as stage:
        verdict = await stage.one()
    assert (verdict.judgement, verdict.code) == (LOST, code)
    assert verdict.retry_after == (7.0 if verdict.status == 429 else None)


async def test_a_body_at_its_bound_is_read() -> None:
    async with Server(raw(packed(200, b" " * SINGLE_BODY_MAX))) as server, Stage(server.url) as one:
        assert (await one.one()).judgement is D


async def test_a_batch_answer_without_end_is_lost() -> None:
    async with Server(drip_for_ever) as server, Stage(server.url) as stage:
        verdicts = await stage.send(2)
    assert {(v.judgement, v.code, v.status) for v in verdicts} == {(LOST, "answerTooLong", 200)}


BROKEN: list[tuple[Script, str]] = [
    (reset, "disconnected"),
    (close, "disconnected"),
    (raw(b"HTTP/1.1 200 O", "close"), "disconnected"),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Le", "reset"), "disconnected"),
    (raw(packed(200, b"{", length=9), "close"), "cutOff"),
    (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "close"), "cutOff"),
    (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"),
        "unreadableAnswer",
    ),
    (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close"), "unreadableAnswer"),
    (raw(b"\x16\x03\x01" + b"\x00" * 50 + b"\r\n\r\n", "close"), "unreadableAnswer"),
    (raw(b"HTTP/1.1 99999 x\r\n\r\n", "close"), "unreadableAnswer"),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "close"), "unreadableAnswer"),
    (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"), "unreadableAnswer"),
]


@pytest.mark.parametrize(("script", "code"), BROKEN)
@pytest.mark.parametrize("count", [1, 2])
async def test_what_breaks_after_the_first_byte_is_lost(
    script: Script, code: str, count: int
) -> None:
    async with Server(script) as server, Stage(server.url) as stage:
        verdicts = await stage.send(count)
        assert [verdict.judgement for verdict in verdicts] == [LOST] * count
        assert verdicts[0].code == code
        name = server.seen[0].header("client-request-id")
        assert name is not None
        assert name in verdicts[0].message
        assert not verdicts[0].singly
        assert len(server.seen) == stage.client.requests == 1, "it was repeated"


async def test_an_idle_connection_that_graph_closed_is_never_written_on_twice() -> None:
    """Closed just after the answer: found out before the next request, or that one is lost."""
    stale = raw(packed(200), "close")
    async with Server(stale) as server, Stage(server.url) as stage:
        for _ in range(20):
            sent = len(server.seen)
            verdict = await stage.one()
            assert verdict.judgement in (D, LOST)
            assert len(server.seen) <= sent + 1
        assert stage.client.requests == 20


async def test_an_idle_connection_reset_under_the_request_is_lost() -> None:
    async def then_reset(seen: Seen, connection: Connection) -> None:
        await connection.write(packed(200))
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.reset()

    async with Server(then_reset) as server, Stage(server.url) as stage:
        assert (await stage.one()).judgement is D
        assert (await stage.one()).judgement is LOST
        assert server.connections == 1, "it was repeated on another connection"


async def test_connections_are_kept() -> None:
    async with Server() as server, Stage(server.url) as stage:
        for _ in range(5):
            await stage.one()
        assert server.connections == 1
        await asyncio.gather(*(stage.one() for _ in range(10)))
        assert server.connections <= 10
