"""`ports.Graph`, clause by clause, held by the client."""

from __future__ import annotations

import asyncio
import time

import pytest

from presence_manager.core.key import Key, LaneId
from presence_manager.errors import SignInRefused
from presence_manager.ports import Graph

from .server import Connection, Seen, Server, all_done, answer, batch, hang, packed
from .stage import APP, DENIED, GONE, LATER, LOST, TENANT, D, Stage, asks, clearing, lane, user


async def test_it_is_a_graph() -> None:
    async with Stage("http://127.0.0.1:9") as stage:
        graph: Graph = stage.client
        assert graph.date() is None


# Clause 1: one HTTP request for 1 to 20 attempts, one verdict each, in order; never repeated.


@pytest.mark.parametrize("count", [1, 2, 19, 20])
async def test_1_one_request_and_a_verdict_each(count: int) -> None:
    async with Server() as server, Stage(server.url) as stage:
        verdicts = await stage.send(count)
    assert [verdict.judgement for verdict in verdicts] == [D] * count
    assert len(server.seen) == stage.client.requests == 1


async def test_1_verdicts_stand_in_the_order_of_the_attempts() -> None:
    told = [{"id": str(i), "status": 404 if i % 3 else 200} for i in range(20)]
    async with Server(batch(*told[::-1])) as server, Stage(server.url) as stage:
        verdicts = await stage.send(20)
    assert [v.judgement for v in verdicts] == [GONE if i % 3 else D for i in range(20)]
    sent = [item["url"].split("/")[2] for item in server.seen[0].json()["requests"]]  # type: ignore[index]
    assert sent == [user(i) for i in range(20)]


async def test_1_nothing_asked_nothing_sent() -> None:
    async with Server() as server, Stage(server.url) as stage:
        assert await stage.send(0) == []
    assert not server.seen


async def test_1_what_breaks_the_clause_is_refused_before_anything_is_sent() -> None:
    async with Server() as server, Stage(server.url) as stage:
        url = server.url
        with pytest.raises(ValueError, match="up to 20"):
            await stage.send(21)
        with pytest.raises(ValueError, match="twice"):
            await stage.client.send(lane(url), asks(1, origin=url) * 2, 1.0)
        with pytest.raises(ValueError, match="lane"):
            await stage.client.send(LaneId(url, APP, user(9)), asks(1, origin=url), 1.0)
    assert not server.seen


async def test_1_an_id_that_is_none_is_denied_and_the_others_go() -> None:
    async with Server() as server, Stage(server.url) as stage:
        bad = Key(lane(server.url), 'x","method":"DELETE')
        many = [*asks(2, origin=server.url), (bad, clearing())]
        verdicts = await stage.client.send(lane(server.url), [many[2], *many[:2]], 1.0)
        assert [verdict.judgement for verdict in verdicts] == [DENIED, D, D]
        assert verdicts[0].code == "invalidRequest"
        assert verdicts[0].status is None
        (verdict,) = await stage.client.send(lane(server.url), [many[2]], 1.0)
        assert verdict.judgement is DENIED
        assert len(server.seen) == 1
        assert b"DELETE" not in server.seen[0].body


async def test_1_an_application_that_is_none_is_denied() -> None:
    async with Server() as server, Stage(server.url) as stage:
        odd = LaneId(server.url, "my app", TENANT)
        (verdict,) = await stage.client.send(odd, [(Key(odd, user(0)), clearing())], 1.0)
    assert verdict.judgement is DENIED
    assert not server.seen


async def test_1_the_token_goes_to_the_configured_origin_only() -> None:
    async with Server() as server, Server() as other, Stage(server.url) as stage:
        verdicts = await stage.client.send(lane(other.url), asks(2, origin=other.url), 1.0)
    assert [(v.judgement, v.code) for v in verdicts] == [(DENIED, "otherOrigin")] * 2
    assert not server.seen
    assert not other.seen
    assert not stage.tokens.calls


# Clause 2: an answer within the timeout, whatever Graph does.


async def slowly(seen: Seen, connection: Connection) -> None:
    for byte in packed(200, b"{}"):
        await connection.write(bytes([byte]))
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("script", [hang, slowly])
@pytest.mark.parametrize("count", [1, 20])
async def test_2_it_answers_in_time(script: object, count: int) -> None:
    async with Server(script) as server, Stage(server.url) as stage:  # type: ignore[arg-type]
        started = time.monotonic()
        verdicts = await stage.send(count, timeout=0.05)
        assert 0.04 < time.monotonic() - started < 0.5
    assert [verdict.judgement for verdict in verdicts] == [LOST] * count


async def test_2_whole_seconds_are_not_rounded_up() -> None:
    """aiohttp rounds time-outs above 5 s up to a whole second of the loop's clock."""
    async with Server(hang) as server, Stage(server.url) as stage:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(stage.one(timeout=7.3))
        await server.arrived.wait()
        due = [
            handle.when() - loop.time()
            for handle in loop._scheduled  # type: ignore[attr-defined]
            if not handle.cancelled()
        ]
        assert any(7.0 < seconds <= 7.3 for seconds in due)
        task.cancel()


async def test_2_a_token_that_does_not_come_costs_no_more_than_the_timeout() -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.gate = asyncio.Event()
        verdict = await stage.one(timeout=0.02)
    assert (verdict.judgement, verdict.code) == (LATER, "signInUnavailable")
    assert not server.seen


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_2_no_time_nothing_sent(timeout: float) -> None:
    async with Server() as server, Stage(server.url) as stage:
        assert [v.judgement for v in await stage.send(2, timeout=timeout)] == [LATER] * 2
    assert not server.seen


# Clause 3: nothing is raised but SignInRefused and CancelledError.


async def test_3_a_refused_sign_in_is_raised_and_nothing_sent() -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.error = SignInRefused("no", code="invalid_client")
        with pytest.raises(SignInRefused):
            await stage.one()
    assert not server.seen
    assert stage.client.requests == 0


@pytest.mark.parametrize("secret", ["", "a b", "a\r\nX-Evil: 1", "ä", "\x00"])
async def test_3_a_token_that_cannot_be_sent_is_a_refused_sign_in(secret: str) -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.secret = lambda number: secret
        with pytest.raises(SignInRefused) as caught:
            await stage.one()
    assert not server.seen
    assert "Evil" not in str(caught.value)


async def test_3_cancellation_ends_the_connection() -> None:
    ended = asyncio.Event()

    async def until_closed(seen: Seen, connection: Connection) -> None:
        assert await connection.reader.read() == b""
        ended.set()

    async with Server(until_closed) as server, Stage(server.url) as stage:
        task = asyncio.create_task(stage.one())
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 1)
        server.scripts = [all_done]
        assert (await stage.one()).judgement is D


async def test_3_what_nobody_foresaw_is_a_verdict() -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.error = RuntimeError("secret detail")
        verdict = await stage.one()
    assert (verdict.judgement, verdict.code) == (LATER, "signInUnavailable")
    assert "RuntimeError" in verdict.message
    assert "secret" not in verdict.message


# Clause 4: after close, nothing is sent.


async def test_4_after_close_nothing_is_sent() -> None:
    async with Server() as server, Stage(server.url) as stage:
        await stage.one()
        await stage.client.close()
        await stage.client.close()
        verdicts = await stage.send(2)
        assert [(v.judgement, v.code) for v in verdicts] == [(LATER, "closed")] * 2
    assert len(server.seen) == 1


async def test_4_closed_before_it_was_used() -> None:
    async with Server() as server, Stage(server.url) as stage:
        await stage.client.close()
        assert (await stage.one()).code == "closed"
    assert not server.seen


async def test_4_closed_while_a_token_was_waited_for() -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.gate = asyncio.Event()
        task = asyncio.create_task(stage.one())
        await asyncio.sleep(0)
        await stage.client.close()
        stage.tokens.gate.set()
        assert (await task).code == "closed"
    assert not server.seen


async def test_4_what_is_in_flight_at_close_is_lost() -> None:
    async with Server(hang) as server, Stage(server.url) as stage:
        task = asyncio.create_task(stage.send(2))
        await server.arrived.wait()
        await stage.client.close()
        assert [verdict.judgement for verdict in await task] == [LOST] * 2
        assert len(server.seen) == 1


# Clause 5: Graph's own clock.

DATE, NOON = "Tue, 15 Nov 1994 12:00:00 GMT", 784_900_800.0


async def test_5_date_is_graphs_clock_carried_on_by_ours() -> None:
    scripts = [answer(503, headers={"Date": DATE}), answer(200), answer(headers={"date": "soon"})]
    async with Server(*scripts) as server, Stage(server.url) as stage:
        assert stage.client.date() is None
        await stage.one()
        assert stage.client.date() == NOON
        stage.clock.time += 12.5
        await stage.one()
        await stage.one()
        assert stage.client.date() == NOON + 12.5
