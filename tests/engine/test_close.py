"""Closing when something hangs: the deadline is kept, and the report is true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presence_manager import Closed, Kind, LedgerError
from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Known

from .virtual import APP, TENANT, FakeGraph, SharedLedger, elapsed, manager, user, virtual


class HangingLedger(SharedLedger):
    """A ledger whose disk stops answering."""

    hangs = False

    async def put(self, steps):  # type: ignore[no-untyped-def]
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return await super().put(steps)


@virtual
async def test_a_hanging_ledger_does_not_hold_up_the_end() -> None:
    graph, ledger = FakeGraph(), HangingLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(user(1), "Busy")
    ledger.hangs = True
    keeper = asyncio.get_running_loop().call_later(60.0, lambda: None)
    before = elapsed()
    await presence.close(deadline=3.0)
    assert elapsed() - before <= 3.0 + 1.2
    keeper.cancel()


@virtual
async def test_a_graph_that_hangs_in_its_own_close_does_not_hold_up_the_end() -> None:
    graph = FakeGraph()

    async def hang() -> None:
        await asyncio.sleep(1000.0)

    graph.close = hang  # type: ignore[method-assign]
    presence = manager(graph)
    async with presence:
        await presence.hold(user(1), "Busy")
    assert elapsed() <= 2.0
    assert presence.last_report is not None
    assert presence.last_report.counts == {Kind.CLEARED: 1}


@virtual
async def test_a_deadline_of_nothing_sends_nothing_more() -> None:
    graph, ledger = FakeGraph(latency=0.5), SharedLedger()
    presence = manager(graph, ledger, shutdown={"deadline": 0})
    async with presence:
        await presence.hold(user(1), "Busy")
    assert presence.last_report is not None
    assert not presence.last_report.ok
    assert not presence.last_report.counts.get(Kind.CLEARED)
    async with manager(graph := FakeGraph(sessions=graph.sessions), ledger) as successor:
        await successor.recovered()
    assert graph.sessions == {}


@virtual
async def test_without_a_sweep_all_is_left_to_the_next_start() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(user(1), "Busy")
    assert await presence.close(sweep=False) is None
    assert graph.sent == [("set", user(1))]
    async with manager(successor := FakeGraph(sessions=graph.sessions), ledger) as next_one:
        assert (await next_one.recovered()).counts == {Kind.CLEARED: 1}
    assert successor.sessions == {}


@virtual
async def test_the_exception_of_the_block_goes_first() -> None:
    graph = FakeGraph()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
        async with manager(graph) as presence:
            await presence.hold(user(1), "Busy")
            raise ZeroDivisionError
    assert graph.sessions == {}


@virtual
async def test_a_hold_cancelled_while_the_manager_closes_is_cleared_all_the_same() -> None:
    graph = FakeGraph(latency=0.3)
    faults: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    async with manager(graph) as presence:
        task = asyncio.create_task(presence.hold(user(1), "Busy"))
        await asyncio.sleep(0.1)
        loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1.0)
    assert graph.sessions == {}
    assert faults == []


@virtual
async def test_a_second_close_waits_for_the_first() -> None:
    graph = FakeGraph()
    presence = manager(graph)
    await presence.open()
    await presence.hold(user(1), "Busy")
    graph.latency = 1.0
    first, second = await asyncio.gather(presence.close(), presence.close())
    assert first is second is presence.last_report
    assert first is not None
    assert first.counts == {Kind.CLEARED: 1}


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_a_cancelled_close_hurries_and_lets_go(after: float) -> None:
    @virtual
    async def story() -> None:
        graph, ledger = FakeGraph(), SharedLedger()
        presence = manager(graph, ledger)
        await presence.open()
        await presence.hold(user(1), "Busy")
        graph.answers[user(1)] = ["hang"] * 9
        closing = asyncio.create_task(presence.close())
        await asyncio.sleep(after)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert elapsed() <= after + 2.0
        assert graph.closed
        assert ledger.doors == 0
        assert presence.last_report is not None
        assert not presence.last_report.ok

    story()


@virtual
async def test_a_hold_that_is_being_committed_at_the_close_leaves_no_open_attempt() -> None:
    class SlowToAnswer(SharedLedger):
        async def put(self, steps: Any) -> Any:
            lost = await super().put(steps)
            await asyncio.sleep(0.3)
            return lost

    graph, ledger = FakeGraph(), SlowToAnswer()
    presence = manager(graph, ledger)
    await presence.open()
    holding = asyncio.create_task(presence.hold(user(1), "Busy"))
    await asyncio.sleep(0.1)
    await presence.close(sweep=False)
    assert graph.sent == []
    [row] = ledger._rows.values()
    assert row.attempt is None, "nobody has to wonder whether it left"
    with pytest.raises(Closed):
        await holding


class StumblingLedger(SharedLedger):
    """A ledger that fails once, when it is told that an answer was lost."""

    failed = False

    async def put(self, steps: Any) -> Any:
        if not self.failed and any(step.row.known is Known.UNSURE for step in steps):
            self.failed = True
            raise LedgerError("the disk is full")
        return await super().put(steps)


@virtual
async def test_a_set_that_a_close_cuts_off_has_left_though_that_could_not_be_written_down() -> None:
    """Found by the simulator, among its crowds."""
    graph, ledger = FakeGraph(latency=5.0), StumblingLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(user(1), "Busy", key="k", ttl=600.0, detached=True, wait=False)
    await asyncio.sleep(1.0)
    assert graph.sent == [("set", user(1))]
    await presence._works.lanes.stop()
    assert ledger.failed
    key = Key(LaneId("https://graph.microsoft.com", APP, TENANT), user(1))
    [row] = await ledger.get([key])
    assert row.known is Known.UNSURE or row.attempt is not None
    await presence.close()
