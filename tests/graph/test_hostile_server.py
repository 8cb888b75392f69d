"""A Graph that never comes to an end of what it says: bounded in time and in memory."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from presence_manager.core.verdict import Judgement

from .server import Connection, Script, Seen, Server, answer
from .stage import Stage

MEGABYTE = 1 << 20


def endless(first: bytes, piece: bytes) -> Script:
    async def script(seen: Seen, connection: Connection) -> None:
        await connection.write(first)
        while True:
            await connection.write(piece)

    return script


HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "headers": endless(HEAD, b"x-a: b\r\n" * 1000),
    "one header": endless(HEAD + b"x: ", b"y" * 8192),
    "the status line": endless(b"HTTP/1.1 200 ", b"O" * 8192),
    "early answers": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "a body": endless(HEAD + b"content-length: 9999999999\r\n\r\n", b"z" * 8192),
    "chunks": endless(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nz\r\n" * 1000),
    "one chunk": endless(HEAD + b"transfer-encoding: chunked\r\n\r\nfffffff\r\n", b"z" * 8192),
    "a chunk's size": endless(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"0" * 8192),
    "trailers": endless(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 1000),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_has_no_end_is_lost(what: str) -> None:
    async with Server(ENDLESS[what]) as server, Stage(server.url) as stage:
        tracemalloc.start()
        try:
            async with asyncio.timeout(5.0):
                (verdict,) = await stage.send(timeout=1.0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert verdict.judgement is Judgement.LOST
        assert peak < 16 * MEGABYTE


INJECTED = "\x1b[2J\x07ab\tcd\x7f\u202e"


async def test_nothing_in_an_answer_gets_into_a_line() -> None:
    error = {"code": f"Bad{INJECTED}\r\n", "message": f"no\n{INJECTED}\0 Bearer {'s' * 40}"}
    body = {"error": error | {"innerError": {"request-id": f"id\r\n{INJECTED}"}}}
    async with Server(answer(403, body)) as server, Stage(server.url) as stage:
        (verdict,) = await stage.send()
        for text in (verdict.code, verdict.message, verdict.request_id):
            assert text
            assert text.isprintable()
            assert "s" * 40 not in text
