"""Sweeps of any size: fair between lanes, with the ledger as the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from presence_manager import HoldRequest, Kind
from presence_manager.core.session import Session
from presence_manager.core.verdict import Verb
from presence_manager.engine import intake, sources
from presence_manager.engine.unrecorded import Unrecorded
from presence_manager.ledger import MemoryLedger
from presence_manager.manager import ids

from .virtual import OTHER, TENANT, FakeGraph, SharedLedger, elapsed, kill, manager, user, virtual


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "WINDOW", 100)
    monkeypatch.setattr(sources, "CHUNK", 25)


class Slow(FakeGraph):
    """Hangs for one tenant."""

    async def send(self, lane: Any, asks: Any, timeout: float) -> Any:
        if lane.tenant == TENANT and self.latency:
            await asyncio.sleep(self.latency)
        return await super().send(lane, asks, timeout)


def both(count: int) -> list[tuple[str, str]]:
    return [(tenant, user(n)) for n in range(count) for tenant in (TENANT, OTHER)]


@pytest.mark.parametrize("remembered", [10, 60, 1000])
def test_a_user_named_once_more_in_a_later_chunk_is_not_taken_again(
    remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "REMEMBERED", remembered)
    monkeypatch.setattr(ids, "CHUNK", 25)

    @virtual
    async def story() -> None:
        graph = FakeGraph()

        async def users() -> AsyncIterator[str]:
            for n in range(75):
                yield user(n)
            await asyncio.sleep(5.0)  # they are done, and their rows deleted
            for n in range(50, 76):
                yield user(n)

        async with manager(graph) as presence:
            report = await presence.sweep(users=users())
            assert report.counts == {Kind.ALREADY_GONE: 76}
            assert len(graph.sent) == 76

    story()


@pytest.mark.parametrize("silent", [True, False])
def test_a_user_that_was_cleared_without_the_ledger_is_not_taken_again(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the sweep waits for an outcome more than there are, for ever."""
    monkeypatch.setattr(ids, "CHUNK", 25)

    @virtual
    async def story() -> None:
        graph, ledger = FakeGraph(), SharedLedger()
        with pytest.MonkeyPatch.context() as patch:

            async def users() -> AsyncIterator[str]:
                patch.setattr(Unrecorded, "is_silent", property(lambda _: True))
                for n in range(25):
                    yield user(n)
                await asyncio.sleep(0.5)  # they are done, and the ledger was not told yet
                if not silent:
                    patch.undo()
                yield user(0)
                yield user(25)

            async with manager(graph, ledger) as presence, asyncio.timeout(60.0):
                report = await presence.sweep(users=users())
            assert report.counts == {Kind.ALREADY_GONE: 26}
            assert {cleared for _, cleared in graph.sent} == {user(n) for n in range(26)}

    story()


@virtual
async def test_a_tenant_that_is_closed_does_not_hold_up_another() -> None:
    graph = FakeGraph(latency=0.05)
    graph.answers[user(0)] = [(429, 60.0)]
    limits = {"budget": 10_000, "batch": "off", "in_flight": 1}
    async with manager(graph, graph=limits) as presence:
        waiting = await presence.hold(user(0), "Busy", wait=False)
        await asyncio.sleep(0.1)  # the first tenant is closed for a minute
        done: dict[str, float] = {}

        def told(progress: Any) -> None:
            done[str(progress.done)] = elapsed()

        report = await presence.sweep(users=both(200), deadline=40.0, progress=told)
        assert sum(report.counts.values()) == 400
        assert report.counts[Kind.ALREADY_GONE] >= 200, "the other tenant is through"
        assert waiting is not None
        await presence.close(sweep=False)


@virtual
async def test_what_a_full_lane_cannot_take_waits_in_the_ledger() -> None:
    graph, ledger = FakeGraph(latency=0.05), MemoryLedger()
    most = 0
    limits = {"budget": 10_000, "in_flight": 1}
    async with manager(graph, ledger, graph=limits) as presence:

        def told(progress: Any) -> None:
            nonlocal most
            most = max(most, *(len(lane) for lane in presence._works.lanes))

        report = await presence.sweep(users=[user(n) for n in range(1000)], progress=told)
        assert report.counts == {Kind.ALREADY_GONE: 1000}
        assert report.complete
        assert len([o async for o in presence.outcomes(sweep_id=report.sweep_id)]) == 1000
        assert len(graph.sent) == 1000, "each was asked for once"
    assert 0 < most <= 125


@virtual
async def test_a_source_without_end_is_never_read_far_ahead_of_the_ledger() -> None:
    graph, ledger = FakeGraph(latency=0.05), MemoryLedger()

    async def users() -> AsyncIterator[str]:
        for n in range(500):
            yield user(n)
            await asyncio.sleep(0)

    async with manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1}) as presence:
        report = await presence.sweep(users=users())
        assert report.counts == {Kind.ALREADY_GONE: 500}


@virtual
async def test_what_waits_at_the_deadline_goes_on_in_the_background() -> None:
    graph, ledger = FakeGraph(latency=1.0), MemoryLedger()
    async with manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1}) as presence:
        report = await presence.sweep(users=[user(n) for n in range(400)], deadline=3.0)
        assert report.counts[Kind.UNFINISHED] > 100
        assert sum(report.counts.values()) == 400
        assert elapsed() < 4.0
        await asyncio.sleep(120)
        found = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert len(found) == 400
        assert {o.kind for o in found} <= {Kind.ALREADY_GONE, Kind.GONE_AFTER_RETRY}


@virtual
async def test_what_waits_at_a_crash_is_found_by_the_next_start() -> None:
    graph, ledger = FakeGraph(latency=1.0), SharedLedger()
    first = manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1})
    await first.open()
    sweep = asyncio.create_task(first.sweep(users=[user(n) for n in range(400)]))
    await asyncio.sleep(2.5)
    await kill(first)
    sweep.cancel()
    await asyncio.wait({sweep})
    for task in first._works.sweeper._fetching:
        task.cancel()
    graph.latency = 0.0
    async with manager(graph, ledger, graph={"budget": 10_000}) as second:
        await second.recovered()
        assert [session async for session in second.sessions()] == []
    assert len({name for _, name in graph.sent}) == 400


@virtual
async def test_a_held_sweep_runs_lane_by_lane() -> None:
    graph = FakeGraph(latency=0.05)
    async with manager(graph, graph={"budget": 10_000}) as presence:
        await presence.hold_many(
            HoldRequest(name, "Busy", tenant=tenant) for tenant, name in both(150)
        )
        report = await presence.sweep(deadline=20.0)
        assert report.counts == {Kind.CLEARED: 300}
        assert graph.sessions == {}


class TestLease:
    def test_an_automatic_lease_is_planned_at_each_set(self) -> None:
        @virtual
        async def run() -> None:
            graph = Recording(latency=0.05)
            budget = {"budget": 30}  # half of it is one renewal in two seconds
            async with manager(graph, graph=budget, hold={"lease": "auto"}) as presence:
                await presence.hold(user(0), "Busy")
                assert graph.leases == [300.0]
                for n in range(1, 90):
                    await presence.hold(user(n), "Busy", wait=False)
                await asyncio.sleep(400)
                held = [s async for s in presence.sessions()]
                assert len(held) == 90
                assert graph.leases[-1] == 420.0
                await presence.close(sweep=False)

        run()


class Recording(FakeGraph):
    """Remembers the leases."""

    leases: list[float]

    async def send(self, lane: Any, asks: Any, timeout: float) -> Any:
        self.leases = getattr(self, "leases", [])
        self.leases += [attempt.lease for _, attempt in asks if attempt.verb is Verb.SET]
        return await super().send(lane, asks, timeout)


def test_a_session_is_small() -> None:
    assert not hasattr(Session(key=None), "__dict__")  # type: ignore[arg-type]
