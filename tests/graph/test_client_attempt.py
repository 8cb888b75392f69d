"""What `Attempt` and `Verdict` promise: nothing leaves too late, and the times are true."""

from __future__ import annotations

import asyncio
from math import inf

from .server import Connection, Seen, Server, packed
from .stage import LATER, D, Stage, asks, clearing, lane


async def test_sent_at_is_before_the_first_byte_and_at_after_the_last() -> None:
    async def slow(seen: Seen, connection: Connection) -> None:
        stage.clock.time += 5
        await connection.write(packed())

    async with Server(slow) as server, Stage(server.url) as stage:
        start = stage.clock.time
        stage.tokens.gate = asyncio.Event()
        task = asyncio.create_task(stage.one())
        await asyncio.sleep(0)
        stage.clock.time += 3
        stage.tokens.gate.set()
        verdict = await task
    assert (verdict.sent_at - start, verdict.at - start) == (3.0, 8.0)


async def test_what_is_too_late_is_put_off_and_the_others_go() -> None:
    async with Server() as server, Stage(server.url) as stage:
        now = stage.clock.time
        many = [
            (key, attempt._replace(send_by=send_by))
            for (key, attempt), send_by in zip(
                asks(3, origin=server.url), (now, now - 0.001, inf), strict=True
            )
        ]
        verdicts = await stage.client.send(lane(server.url), many, 1.0)
        assert [(v.judgement, v.code) for v in verdicts] == [(D, ""), (LATER, "tooLate"), (D, "")]
        assert len(server.seen[0].json()["requests"]) == 2  # type: ignore[index]


async def test_nothing_leaves_after_its_send_by_though_the_token_was_late() -> None:
    async with Server() as server, Stage(server.url) as stage:
        stage.tokens.gate = asyncio.Event()
        task = asyncio.create_task(stage.one(clearing(send_by=stage.clock.time + 1)))
        await asyncio.sleep(0)
        stage.clock.time += 1.001
        stage.tokens.gate.set()
        verdict = await task
        assert (verdict.judgement, verdict.code) == (LATER, "tooLate")
        assert stage.client.requests == 0
        assert (await stage.one()).judgement is D
    assert len(server.seen) == 1


async def test_its_repr_tells_no_secret() -> None:
    async with Server() as server, Stage(server.url) as stage:
        await stage.one()
        assert repr(stage.client) == f"<GraphClient {server.url}/v1.0 open, 1 requests>"
        await stage.client.close()
        assert "closed" in repr(stage.client)
