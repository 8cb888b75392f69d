"""Sessions of a sweep that leave as one, until somebody has to do with one of them."""

from __future__ import annotations

import asyncio

from presence_manager import Kind
from presence_manager.engine.bundle import FULL_BATCH

from .virtual import FakeGraph, manager, user, virtual

USERS = [user(n) for n in range(FULL_BATCH)]


@virtual
async def test_who_is_cleared_again_after_a_split_in_flight_has_no_request_to_hurry() -> None:
    """Found by the simulator, among its crowds."""
    graph = FakeGraph(latency=1.0)
    graph.answers[USERS[0]] = [(503, 5.0)]
    async with manager(graph) as presence:
        sweep = asyncio.create_task(presence.sweep(USERS, deadline=30.0))
        await asyncio.sleep(0.5)
        assert len(graph.sent) == FULL_BATCH
        first = asyncio.create_task(presence.clear(USERS[0], deadline=20.0))
        await asyncio.sleep(1.0)  # the request is over, and this one of it is to be tried again
        second = await presence.clear(USERS[0], deadline=20.0)
        assert second.kind is (await first).kind is Kind.GONE_AFTER_RETRY
        assert (await sweep).counts == {Kind.ALREADY_GONE: 19, Kind.GONE_AFTER_RETRY: 1}
