"""The table of the design's section 5 through real sockets, alone and in a batch."""

from __future__ import annotations

import pytest

from presence_manager.core.pair import PAIRS
from presence_manager.graph.batches import BATCH_UNAVAILABLE
from presence_manager.graph.connections import user_agent

from .server import (
    Connection,
    Seen,
    Server,
    answer,
    batch,
    hang,
    packed,
    raw,
)
from .stage import APP, DENIED, LATER, LOST, TABLE, THROTTLED, UNAUTHORIZED, D, Stage, setting, user
from .test_wire_batches import OUTER

NO_BODY = (204, 304)
"""Answers that end with their headers, whatever Content-Length says (RFC 9110)."""


async def test_every_row() -> None:
    """All on one connection: an answer of any status leaves it usable."""
    scripts = [raw(packed(status, b"" if status in NO_BODY else b"{}")) for status, _ in TABLE]
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


async def test_an_echo_of_the_token_does_not_reach_the_verdict() -> None:
    async def echo(seen: Seen, connection: Connection) -> None:
        said = f"Bad header Authorization: {seen.header('Authorization')}"
        body = {"error": {"code": seen.header("Authorization"), "message": said}}
        await connection.write(packed(400, body))

    async with Server(echo) as server, Stage(server.url) as stage:
        stage.tokens.secret = lambda number: f"opaque-secret.{number}"
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
