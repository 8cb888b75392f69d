"""`shutdown.policy = keep`: what is left to the next process, and what that makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

from presence_manager import Kind
from presence_manager.core.session import Session

from .virtual import FakeGraph, SharedLedger, kill, manager, user, virtual

KEEP: dict[str, Any] = {"shutdown": {"policy": "keep"}}
NAMED, TIMED, UNNAMED, TRACKED = (user(n) for n in range(4))


async def held(graph: FakeGraph, ledger: SharedLedger) -> Any:
    """A process that keeps, with a hold of each sort."""
    first = manager(graph, ledger, **KEEP)
    await first.open()
    await first.hold(NAMED, "Busy", key="call")
    await first.hold(TIMED, "Away", ttl=3600.0)
    await first.hold(UNNAMED, "Busy")
    await first.track(TRACKED)
    return first


async def ended(first: Any) -> Any:
    report = await first.close()
    first._graph.closed = False  # the next process has connections of its own
    return report


async def rows(presence: Any) -> dict[str, Session]:
    return {row.user: row async for row in presence.sessions()}


@virtual
async def test_holds_that_somebody_can_end_are_left_to_the_next_process() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    first = await held(graph, ledger)
    graph.requests.clear()
    report = await ended(first)
    assert report.ok
    assert report.counts == {Kind.CLEARED: 1, Kind.ALREADY_GONE: 1}
    assert sorted(graph.sent) == [("clear", UNNAMED), ("clear", TRACKED)]
    graph.requests.clear()
    async with manager(graph, ledger, **KEEP) as second:
        assert (await second.recovered()).counts == {}
        found = await rows(second)
        assert set(found) == {NAMED, TIMED}
        assert {wish.owner for row in found.values() for wish in row.wishes} == {second.owner}
        assert graph.sent == []
        await asyncio.sleep(301.0)
        assert sorted(graph.sent) == [("set", NAMED), ("set", TIMED)], "it renews them"
        assert (await second.release(NAMED, key="call")).kind is Kind.CLEARED
        await asyncio.sleep(3600.0)
        assert await rows(second) == {}, "the other has ended by itself"


@virtual
async def test_a_next_process_that_does_not_keep_clears_them() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    await ended(await held(graph, ledger))
    async with manager(graph, ledger) as second:
        assert (await second.recovered()).counts == {Kind.CLEARED: 2}
    assert graph.sessions == {}


@virtual
async def test_a_living_sibling_goes_on_with_what_a_killed_one_held() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    async with manager(graph, ledger, **KEEP) as second:
        first = await held(graph, ledger)
        await second.recovered()
        await kill(first)
        await asyncio.sleep(5.0)
        found = await rows(second)
        assert set(found) == {NAMED, TIMED}
        assert {wish.owner for row in found.values() for wish in row.wishes} == {second.owner}
        await asyncio.sleep(900.0)
        assert graph.shown(NAMED) == "Busy/InACall"


@virtual
async def test_what_was_cut_off_in_flight_is_set_again() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    first = manager(graph, ledger, **KEEP)
    await first.open()
    graph.answers[NAMED] = ["hang"]
    await first.hold(NAMED, "Busy", key="call", wait=False)
    await asyncio.sleep(0.1)
    await kill(first)
    async with manager(graph, ledger, **KEEP) as second:
        await second.recovered()
        await asyncio.sleep(1.0)
        assert graph.shown(NAMED) == "Busy/InACall"


@virtual
async def test_what_has_expired_meanwhile_is_cleared() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    await ended(await held(graph, ledger))
    await asyncio.sleep(3600.0)
    async with manager(graph, ledger, **KEEP) as second:
        await second.recovered()
        assert set(await rows(second)) == {NAMED}


@virtual
async def test_a_sweep_that_leaves_keeps_as_well_and_one_that_does_not_does_not() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    first = await held(graph, ledger)
    await first.sweep(leaving=True)
    assert set(await rows(first)) == {NAMED, TIMED}
    await first.sweep()
    assert await rows(first) == {}
    await first.close()
