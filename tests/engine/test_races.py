"""Callers, processes and commits that meet at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from presence_manager import HoldRequest, HoldTimeout, Kind, LedgerError
from presence_manager.core.key import Key, LaneId
from presence_manager.gate.budget import GateTerms
from presence_manager.gate.gate import Gate
from presence_manager.ledger import MemoryLedger
from presence_manager.ports import Budget, Share

from .virtual import (
    APP,
    TENANT,
    FakeGraph,
    LoopClock,
    SharedLedger,
    elapsed,
    manager,
    user,
    virtual,
)

U = user(1)
KEY = Key(LaneId("https://graph.microsoft.com", APP, TENANT), U)


class SlowLedger(SharedLedger):
    """Every put answers after ten milliseconds, one after the other, as a writer thread would."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def put(self, steps: Any) -> Any:
        async with self._turn:
            await asyncio.sleep(0.01)
            return await super().put(steps)


@pytest.mark.parametrize("after", [0, 0.005, 0.011, 0.015, 0.021, 0.025, 0.03, 0.035])
@pytest.mark.parametrize("key", [None, "k"])
def test_a_hold_that_meets_a_release_of_the_same_user_is_shown(
    after: float, key: str | None
) -> None:
    @virtual
    async def story() -> None:
        graph, ledger = FakeGraph(), SlowLedger()
        async with manager(graph, ledger) as presence:
            first = await presence.hold(U, "Busy", key=key)
            releasing = asyncio.create_task(first.release())
            await asyncio.sleep(after)
            second = await presence.hold(U, "Away", key=key)
            await releasing
            await asyncio.sleep(100.0)
            assert (second.state, graph.shown(U)) == ("shown", "Away/Away")
            assert len((await ledger.get([KEY]))[0].wishes) == 1
            assert len(presence._holds) == 1

    story()


@virtual
async def test_the_last_word_wins_at_the_very_same_instant() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy", key="k")
        releasing = asyncio.create_task(hold.release())
        await asyncio.sleep(0)
        assert (await presence.hold(U, "Away", key="k")).state == "shown"
        await releasing
        assert graph.shown(U) == "Away/Away"


@virtual
async def test_a_hold_put_again_is_not_refused_for_what_it_wanted_before() -> None:
    graph = FakeGraph(latency=1.0)
    graph.answers[U] = [403]
    async with manager(graph) as presence:
        await presence.hold(U, "Busy", key="k", wait=False)
        await asyncio.sleep(0.5)
        assert (await presence.hold(U, "Away", key="k")).state == "shown"
        assert len(presence._holds) == 1


@virtual
async def test_a_commit_that_fails_half_way_forgets_nothing() -> None:
    class Stumbling(SharedLedger):
        mode = 0

        async def put(self, steps: Any) -> Any:
            if self.mode == 1 and len(steps) == 2:  # somebody is faster on the second row
                key = steps[1].row.key
                self._rows[key] = self._rows[key].evolve(LoopClock().now(), "x")
                self.mode = 2
            elif self.mode == 2:
                self.mode = 3
                raise LedgerError("the disk is full for a moment")
            return await super().put(steps)

    graph, ledger = FakeGraph(latency=0.5), Stumbling()
    async with manager(graph, ledger) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in (1, 2))

        async def later() -> None:
            await asyncio.sleep(0.2)
            ledger.mode = 1

        stumble = asyncio.create_task(later())
        report = await presence.sweep(deadline=20.0)
        await stumble
        assert ledger.mode == 3
        assert report.counts == {Kind.CLEARED: 2}
        assert report.seconds < 5.0


@virtual
async def test_recovery_leaves_alone_who_came_after_it_had_looked() -> None:
    class Looking(SharedLedger):
        hook: Callable[[], Awaitable[None]] | None = None

        async def page(self, scope: Any, after: Any, limit: int) -> Any:
            if self.hook is not None and scope.orphans_of is not None:
                hook, self.hook = self.hook, None
                await hook()
            return await super().page(scope, after, limit)

    graph, ledger = FakeGraph(), Looking()
    born = manager(graph, ledger)

    async def birth() -> None:
        await born.open(recover=False)
        await born.hold(U, "Busy")

    async with manager(graph, ledger) as older:
        await older.hold(user(2), "Busy")
        ledger.hook = birth
        async with manager(graph, ledger) as presence:
            assert (await presence.recovered()).counts == {}
            assert graph.shown(U) == "Busy/InACall"
            await born.close()


@virtual
async def test_what_another_process_is_slow_with_is_looked_at_calmly() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    reads = 0
    real = ledger.get

    async def get(keys: Any) -> Any:
        nonlocal reads
        reads += 1
        return await real(keys)

    ledger.get = get  # type: ignore[method-assign]
    async with manager(graph, ledger) as one, manager(graph, ledger) as other:
        graph.answers[user(9)] = [(429, 60.0)]
        await one.hold(user(9), "Busy", wait=False)
        await asyncio.sleep(1.0)
        await one.hold(U, "Busy", wait=False)
        await asyncio.sleep(20.0)
        await other.hold(U, "Away", wait=False)
        reads = 0
        await asyncio.sleep(30.0)
        assert reads <= 130


@virtual
async def test_a_deadline_that_meets_another_processs_request_leaves_an_outcome() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    real = ledger.get

    async def slow(keys: Any) -> Any:
        await asyncio.sleep(0.2)
        return await real(keys)

    async with manager(graph, ledger) as one, manager(graph, ledger) as other:
        graph.answers[U] = ["hang"]
        await one.hold(U, "Busy", wait=False)
        await asyncio.sleep(0.1)
        ledger.get = slow  # type: ignore[method-assign]
        report = await other.sweep(users=[U], deadline=1.33)
        told = [o.kind async for o in other.outcomes(sweep_id=report.sweep_id)]
        assert told == [Kind.UNFINISHED]
        assert elapsed() < 3.0


def test_an_answer_to_what_left_before_does_not_open_the_door() -> None:
    gate = Gate(GateTerms(budget=1000))
    draw = gate.draw(0.0, 100)
    assert draw is not None
    gate.granted(draw, Share(100, (), Budget()))
    gate.leave(2)
    gate.answered(1.0, 1)
    gate.refuse(1.0, 0.0, 5.0, 1)
    gate.answered(1.1, 1)
    gate.accept(1.1, 0.0, 1)
    assert gate.free(6.1) == 0
    draw = gate.draw(6.1, 100)
    assert draw is not None
    assert draw.want == 1, "one tests the door"
    gate.granted(draw, Share(1, (), Budget()))
    assert gate.free(6.1) == 1
    gate.leave(1)
    gate.answered(6.2, 1)
    gate.accept(6.2, 6.1, 1)
    draw = gate.draw(6.3, 100)
    assert draw is not None
    assert draw.want == 100


@virtual
async def test_a_door_that_shuts_during_a_commit_keeps_the_request_in() -> None:
    class Slow(MemoryLedger):
        seconds = 0.0

        async def put(self, steps: Any) -> Any:
            await asyncio.sleep(self.seconds)
            return await super().put(steps)

    graph, ledger = FakeGraph(), Slow()
    graph.answers[user(2)] = [(503, 1.0)]
    graph.answers[user(3)] = [(429, 60.0)]
    async with manager(graph, ledger, hold={"timeout": 100}) as presence:
        second = await presence.hold(user(2), "Busy", wait=False)
        await asyncio.sleep(0.9)
        graph.latency = 0.2
        third = await presence.hold(user(3), "Busy", wait=False)
        ledger.seconds = 0.5  # the second try of the first is committed while the 429 arrives
        await second.shown()
        await third.shown()
        ledger.seconds = 0.0
    refused = graph.requests[1][0]
    assert all(at >= refused + 60.0 for at, _ in graph.requests[2:])


@virtual
async def test_what_another_process_has_finished_is_not_given_up_at_a_close() -> None:
    graph, ledger = FakeGraph(latency=1.0), SharedLedger()
    async with manager(graph, ledger) as one:
        other = manager(graph, ledger)
        await other.open()
        await one.hold(user(1), "Busy")
        first = asyncio.create_task(one.clear(user(1)))
        await asyncio.sleep(0.6)
        second = asyncio.create_task(other.clear(user(1)))  # waits for the other's answer
        await first
        await other.close()
        await asyncio.wait({second})
        assert [row async for row in one.sessions()] == []
        assert {outcome.kind async for outcome in one.outcomes()} == {Kind.CLEARED}


class LateWord(SharedLedger):
    """The next commit of a clear is durable at once, and told a second later."""

    late = False

    async def put(self, steps: Any) -> Any:
        lost = await super().put(steps)
        if self.late and any(step.row.sweeps for step in steps):
            self.late = False
            await asyncio.sleep(1.0)
        return lost


@virtual
async def test_an_attempt_leaves_once_though_its_row_comes_late() -> None:
    """The clear is through before the sweep, whose commit was first, hands its row over."""
    graph, ledger = FakeGraph(), LateWord()
    async with manager(graph, ledger) as presence:
        await presence.hold(user(1), "Busy", key="k")
        ledger.late = True
        sweeping = asyncio.create_task(presence.sweep(everyone=True))
        await asyncio.sleep(0.5)
        assert (await presence.clear(user(1))).kind is Kind.CLEARED
        await presence.hold(user(1), "Away", key="k2")
        report = await sweeping
        assert (report.counts, report.ok) == ({Kind.CLEARED: 1}, True)
        assert graph.sent.count(("clear", user(1))) == 1
        assert graph.shown(user(1)) == "Away/Away", "an old clear would have blanked it"


@virtual
async def test_a_sweep_hears_of_a_hold_that_comes_while_a_clear_is_written_down_anew() -> None:
    class Ledger(SharedLedger):
        before_put: Callable[[], Awaitable[Any]] | None = None

        async def put(self, steps: Any) -> Any:
            before, self.before_put = self.before_put, None
            if before is not None:
                await before()
            return await super().put(steps)

    graph, ledger = FakeGraph(), Ledger()
    graph.answers[U] = [503]
    async with manager(graph, ledger) as presence:
        sweep = asyncio.create_task(presence.sweep([U]))
        await asyncio.sleep(0.01)
        assert graph.sent == [("clear", U)]
        ledger.before_put = lambda: presence.hold(U, "Busy", wait=False)
        async with asyncio.timeout(60.0):
            report = await sweep
        assert report.counts == {Kind.SUPERSEDED: 1}
        assert graph.shown(U) == "Busy/InACall"


@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0])
def test_an_attempt_of_a_living_process_stands_whatever_the_clock_of_another_says(
    ahead: float,
) -> None:
    """Seeds 761001671 and 761002029 of the simulator, in small."""

    @virtual
    async def story() -> None:
        ledger = SharedLedger()
        graph = FakeGraph(latency=5.0)
        theirs = FakeGraph(clock=LoopClock(ahead), sessions=graph.sessions)
        async with manager(graph, ledger) as one, manager(theirs, ledger) as two:
            holding = asyncio.create_task(one.hold(U, "Busy"))
            await asyncio.sleep(1.0)  # it is on its way
            outcome = await two.clear(U, deadline=20.0)
            assert outcome.kind is Kind.CLEARED
            assert graph.sent == [("set", U), ("clear", U)]
            assert not theirs.sent, "the set was open until then"
            with pytest.raises(HoldTimeout):
                await holding

    story()


@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0])
def test_what_is_set_after_a_lost_clear_is_set_again_whatever_the_clock_of_another_says(
    ahead: float,
) -> None:
    """Seed 629297317 of the simulator, in small."""

    @virtual
    async def story() -> None:
        ledger, graph = SharedLedger(), FakeGraph()
        theirs = FakeGraph(clock=LoopClock(ahead), sessions=graph.sessions)
        theirs.answers[U] = [None]  # lost, and under way yet
        async with manager(theirs, ledger) as other:
            await other.clear(U, deadline=3.0)
            assert theirs.sent == [("clear", U)] * 2
        async with manager(graph, ledger) as presence:
            await presence.hold(U, "Busy")
            graph.sessions.clear()  # now it comes
            await asyncio.sleep(11.0)
            assert graph.shown(U) == "Busy/InACall"

    story()
