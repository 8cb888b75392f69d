"""The table of the design's section 5 through real sockets, alone and in a batch."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from presence_manager.core.pair import PAIRS
from presence_manager.core.verdict import Judgement
from presence_manager.graph.batches import BATCH_UNAVAILABLE
from presence_manager.graph.client import BATCH_BODY_MAX, SINGLE_BODY_MAX, user_agent

from .server import (
    Connection,
    Script,
    Seen,
    Server,
    answer,
    batch,
    close,
    hang,
    packed,
    raw,
    reset,
)
from .stage import APP, DENIED, LATER, LOST, TABLE, THROTTLED, UNAUTHORIZED, D, Stage, setting, user
from .test_wire_batches import OUTER

NO_BODY = (204, 304)
"""Answers that end with their headers, whatever Content-Length says (RFC 9110)."""


async def test_every_row() -> None:
    """All on one connection: an answer of any status leaves it usable."""
    scripts = [
        raw(packed(status, b"" if status in NO_BODY else b"{}")) for status, _ in TABLE
    ]
    async with Server(*scripts) as server, Stage(server.url) as stage:
        for status, judgement in TABLE:
            verdict = await stage.one()
            assert (verdict.judgement, verdict.status) == (judgement, status)
        assert len(server.seen) == stage.client.requests == len(TABLE)
        assert server.connections == 1


async def test_every_row_as_an_item() -> None:
    scripts = [batch({"id": "1", "status": status}, {"id": "0", "status": 200})
               for status, _ in TABLE]  # fmt: skip
    async with Server(*scripts) as server, Stage(server.url) as stage:
        for status, judgement in TABLE:
            verdicts = await stage.send(2)
            assert [verdict.judgement for verdict in verdicts] == [D, judgement]
            assert verdicts[1].status == status


async def test_every_outer_row() -> None:
    table = [(status, judgement) for status, judgement in OUTER if status >= 200]
    scripts = [answer(status) for status, _ in table]
    async with Server(*scripts) as server, Stage(server.url) as stage:
        for status, judgement in table:
            verdicts = await stage.send(2)
            assert [verdict.judgement for verdict in verdicts] == [judgement] * 2
            assert verdicts[0].status == status


async def test_a_batch_that_does_not_exist_here() -> None:
    async with Server(answer(404)) as server, Stage(server.url) as stage:
        verdicts = await stage.send(2)
    assert {(v.judgement, v.code, v.singly) for v in verdicts} == {(LATER, BATCH_UNAVAILABLE, True)}


async def test_what_is_on_the_wire() -> None:
    async with Server() as server, Stage(server.url, version="beta") as stage:
        await stage.one(setting(PAIRS[0], 605))
        await stage.send(2)
    alone, many = server.seen
    assert alone.line == f"POST /beta/users/{user(0)}/presence/setPresence HTTP/1.1"
    assert alone.json() == {
        "sessionId": APP,
        "availability": "Available",
        "activity": "Available",
        "expirationDuration": "PT605S",
    }
    assert many.line == "POST /beta/$batch HTTP/1.1"
    assert len(many.json()["requests"]) == 2  # type: ignore[index]
    for seen in server.seen:
        assert seen.header("Authorization") == "Bearer t1"
        assert seen.header("Content-Type") == "application/json"
        assert seen.header("User-Agent") == user_agent()
        assert seen.header("Accept-Encoding") == "identity"
        assert seen.header("Content-Length") == str(len(seen.body))
        assert seen.header("Expect") is None
        assert seen.header("Cookie") is None
    assert len({seen.header("client-request-id") for seen in server.seen}) == 2


async def test_headers_in_any_case_and_a_chunked_body() -> None:
    body = b'{"responses":[{"id":"0","status":200},{"id":"1","status":429}]}'
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7])
                      for i in range(0, len(body), 7)) + b"0\r\n\r\n"  # fmt: skip
    odd = raw(
        b"HTTP/1.1 200 ok\r\nTRANSFER-encoding: chunked\r\nREQUEST-ID: r-1\r\n"
        b"rETRY-aFTER: 2.5\r\n\r\n" + chunks
    )
    async with Server(odd) as server, Stage(server.url) as stage:
        done, throttled = await stage.send(2)
    assert (done.judgement, done.request_id) == (D, "r-1")
    assert (throttled.judgement, throttled.retry_after) == (THROTTLED, 2.5)


async def test_early_hints_and_continues_are_passed_over() -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
    async with Server(raw(hints + packed(404))) as server, Stage(server.url) as stage:
        assert (await stage.one()).status == 404


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_and_the_token_stays(status: int) -> None:
    async with (
        Server() as other,
        Server(answer(status, headers={"Location": f"{other.url}/x"})) as server,
        Stage(server.url) as stage,
    ):
        verdict = await stage.one()
    assert verdict.judgement is DENIED
    assert other.url in verdict.message
    assert not other.seen
    assert len(server.seen) == 1


async def test_no_cookie_is_kept() -> None:
    sets = answer(headers={"Set-Cookie": "a=b; Path=/"})
    async with Server(sets) as server, Stage(server.url) as stage:
        await stage.one()
        await stage.one()
    assert all(seen.header("cookie") is None for seen in server.seen)


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
    (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"), "cutOff"),
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


async def test_an_echo_of_the_token_does_not_reach_the_verdict() -> None:
    async def echo(seen: Seen, connection: Connection) -> None:
        said = f"Bad header Authorization: {seen.header('Authorization')}"
        body = {"error": {"code": seen.header("Authorization"), "message": said}}
        await connection.write(packed(400, body))

    async with Server(echo) as server, Stage(server.url) as stage:
        stage.tokens.secret = lambda number: f"opaque.{number}"
        verdict = await stage.one()
    assert verdict.judgement is DENIED
    assert "opaque" not in repr(verdict)


async def test_unauthorized() -> None:
    async with Server(answer(401)) as server, Stage(server.url) as stage:
        assert (await stage.one()).judgement is UNAUTHORIZED
        assert [v.judgement for v in await stage.send(2)] == [UNAUTHORIZED] * 2


async def test_a_single_that_hangs_is_lost() -> None:
    async with Server(hang) as server, Stage(server.url) as stage:
        verdict = await stage.one(timeout=0.05)
    assert (verdict.judgement, verdict.code, verdict.singly) == (LOST, "timeout", False)


async def test_a_batch_that_hangs_goes_again_singly() -> None:
    async with Server(hang) as server, Stage(server.url) as stage:
        verdicts = await stage.send(3, timeout=0.05)
    assert {(v.judgement, v.code, v.singly) for v in verdicts} == {(LOST, "timeout", True)}
