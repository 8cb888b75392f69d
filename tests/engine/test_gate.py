"""The gate and its budget, held against a Graph that keeps a true limit, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from presence_manager import Kind, LedgerError
from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.gate.budget import GateTerms, LaneBudget
from presence_manager.gate.gate import Gate
from presence_manager.gate.width import Width
from presence_manager.gate.window import Window
from presence_manager.ledger import MemoryLedger
from presence_manager.ports import Budget, Draw, Share
from presence_manager.settings import GraphSettings

from .virtual import APP, TENANT, FakeGraph, SharedLedger, elapsed, manager, user, virtual

WINDOW = 30.0
LANE = LaneId("https://graph.microsoft.com", APP, TENANT)


class LimitedGraph(FakeGraph):
    """Graph with a sliding window in which refused requests count."""

    def __init__(self, limit: int, latency: float = 0.05) -> None:
        super().__init__(latency=latency)
        self.limit = limit
        self.counted: deque[float] = deque()
        self.refusals: list[float] = []
        self.in_flight = self.highest = 0
        self.stuck = False

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        now = elapsed()
        refused: dict[str, float] = {}
        self.in_flight += len(asks)
        self.highest = max(self.highest, self.in_flight)
        for key, _ in asks:
            while self.counted and self.counted[0] <= now - WINDOW:
                self.counted.popleft()
            self.counted.append(now)
            if len(self.counted) > self.limit:
                leaves = self.counted[len(self.counted) - self.limit] + WINDOW - now
                refused[key.user] = 1.0 if self.stuck else max(1.0, ceil(leaves))
                self.refusals.append(now)
        passed = [ask for ask in asks if ask[0].user not in refused]
        if passed:
            verdicts = await super().send(lane, passed, timeout)
        else:
            await asyncio.sleep(self.latency)
            verdicts = []
        self.in_flight -= len(asks)
        found = iter(verdicts)
        sent_at = now + 1_800_000_000.0
        return [
            Verdict(
                judgement=Judgement.THROTTLED,
                status=429,
                sent_at=sent_at,
                at=sent_at + self.latency,
                retry_after=refused[key.user],
            )
            if key.user in refused
            else next(found)
            for key, _ in asks
        ]


async def swept(graph: LimitedGraph, users: int, ledger: MemoryLedger | None = None) -> float:
    """Clear so many users with default settings; return the seconds."""
    async with manager(graph, ledger, retry={"attempts": 1000}) as presence:
        start = elapsed()
        report = await presence.sweep(users=[user(n) for n in range(users)])
        assert report.counts == {Kind.ALREADY_GONE: users}
        assert report.refused == len(graph.refusals)
        return elapsed() - start


@virtual
async def test_the_documented_limit_costs_one_probe() -> None:
    graph = LimitedGraph(1500)
    assert await swept(graph, 4000) < 60 * 1.02
    assert len(graph.refusals) == 1


@virtual
async def test_a_higher_limit_is_found_within_a_second() -> None:
    graph = LimitedGraph(10_000)
    assert await swept(graph, 4000) < 2.0
    assert not graph.refusals


@virtual
async def test_what_was_learned_is_known_to_the_next_start() -> None:
    ledger = MemoryLedger()
    await swept(LimitedGraph(10_000), 4000, ledger)
    await ledger.open()
    assert (await ledger.budget(LANE)).proven == 4000
    await asyncio.sleep(WINDOW)
    graph = LimitedGraph(10_000)
    assert await swept(graph, 4000, ledger) < 0.6
    assert not graph.refusals


@virtual
async def test_a_lower_limit_is_kept_after_the_first_refusal() -> None:
    graph = LimitedGraph(700)
    assert await swept(graph, 2800) < 90 * 1.05
    first = [at for at in graph.refusals if at < WINDOW]
    assert len(graph.refusals) - len(first) <= 2


@virtual
async def test_a_limit_between_the_documented_ones_is_found() -> None:
    graph = LimitedGraph(2200)
    assert await swept(graph, 4000) < 30 * 1.05
    assert len(graph.refusals) <= graph.highest


@virtual
async def test_a_limit_lowered_in_mid_run_is_found_again() -> None:
    graph = LimitedGraph(10_000)
    asyncio.get_running_loop().call_later(0.5, lambda: setattr(graph, "limit", 1500))
    await swept(graph, 4000)
    late = [at for at in graph.refusals if at > 2 * WINDOW]
    assert len(late) <= 2


@virtual
async def test_a_retry_after_that_is_stuck_is_not_believed_for_long() -> None:
    graph = LimitedGraph(700)
    graph.stuck = True
    assert await swept(graph, 1400) < 75
    after_the_first = [at for at in graph.refusals if at > 1.0]
    assert len(after_the_first) <= 8


@virtual
async def test_random_refusals_do_not_strangle_a_lane() -> None:
    graph = FakeGraph(latency=0.05)
    for n in range(2000):
        if n % 20 == 7:
            graph.answers[user(n)] = [(429, 1.0)]
    async with manager(graph) as presence:
        report = await presence.sweep(users=[user(n) for n in range(2000)])
        assert report.ok
        assert elapsed() < 120


@virtual
async def test_two_processes_share_one_budget() -> None:
    graph, ledger = LimitedGraph(1000), SharedLedger()
    limit = {"budget": 1000}
    async with (
        manager(graph, ledger, graph=limit) as one,
        manager(graph, ledger, graph=limit) as two,
    ):
        reports = await asyncio.gather(
            one.sweep(users=[user(n) for n in range(1500)]),
            two.sweep(users=[user(n) for n in range(2000, 3500)]),
        )
        assert [report.ok for report in reports] == [True, True]
    assert graph.refusals == []
    assert elapsed() < 70


@virtual
async def test_a_restart_knows_what_was_spent() -> None:
    graph, ledger = LimitedGraph(100), SharedLedger()
    for start in (0, 100):
        graph.closed = False
        async with manager(graph, ledger, graph={"budget": 100}) as presence:
            await presence.sweep(users=[user(start + n) for n in range(100)])
    assert graph.refusals == []
    assert WINDOW < elapsed() < WINDOW + 1


@virtual
async def test_what_the_budget_forbids_is_known_at_once() -> None:
    graph = FakeGraph(latency=0.05)
    async with manager(graph, graph={"budget": 40}, recovery={"retry": 1000}) as presence:
        report = await presence.sweep(users=[user(n) for n in range(100)], deadline=20.0)
        assert report.counts == {Kind.ALREADY_GONE: 40, Kind.UNFINISHED: 60}
        assert elapsed() < 1.0
        problem = report.problems[0]
        assert problem.reason == "budget"
        assert problem.lapses_at is not None
        [stored] = [o async for o in presence.outcomes(user=problem.user)]
        assert stored.lapses_at == problem.lapses_at
        await presence.close(sweep=False)


@virtual
async def test_a_ledger_that_cannot_be_told_of_a_refusal_is_no_fault_of_the_lane() -> None:
    class Deaf(MemoryLedger):
        async def save_budget(self, lane: LaneId, budget: Budget) -> None:
            raise LedgerError("the disk is full")

    graph = FakeGraph()
    graph.answers[user(0)] = [(429, 5.0)]
    with capture_logs() as logs:
        async with manager(graph, Deaf()) as presence:
            await presence.hold(user(0), "Busy")
            assert elapsed() == pytest.approx(5.0)
    events = {line["event"] for line in logs}
    assert "ledger.failed" in events
    assert "lane.fault" not in events


class TestWidth:
    def test_it_doubles_with_each_round_that_lost_nothing(self) -> None:
        width = Width(128)
        seen = []
        for _ in range(8 + 16 + 32 + 64 + 128):
            seen.append(width.now)
            width.kept()
        assert sorted(set(seen)) == [8, 16, 32, 64, 128]
        assert width.now == 128

    def test_a_round_that_lost_answers_halves_it_once(self) -> None:
        width = Width(128)
        for _ in range(3):
            width.lost(1.0, 0.5)
        assert width.now == 4
        width.lost(2.0, 1.5)
        assert width.now == 2

    def test_an_outage_is_met_with_silence_that_grows(self) -> None:
        width = Width(1)
        pauses = []
        at = 0.0
        for _ in range(8):
            width.lost(at, at)
            pauses.append(width.silent_until - at)
            at = width.silent_until
        assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
        width.kept()
        width.lost(at, at)
        assert width.silent_until - at == 0.25 or width.now == 1

    def test_server_errors_in_a_row_count_as_an_outage(self) -> None:
        width = Width(8)
        for _ in range(15):
            width.failed(1.0)
        assert width.silent_until == 0.0
        width.failed(1.0)
        assert width.silent_until == 1.25
        assert width.now == 8, "answers came"


class TestWindow:
    def test_it_forgets_at_the_very_end(self) -> None:
        window = Window(30.0)
        window.add(1.0, 5)
        assert window.total(30.999) == 5
        assert window.first_end(2.0) == 31.0
        assert window.total(31.0) == 0
        assert window.first_end(31.0) == inf

    @given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=30))
    def test_uses_are_never_too_early_nor_too_few(self, adds: list[tuple[float, int]]) -> None:
        window = Window(30.0)
        for at, count in sorted(adds):
            window.add(at, count)
        now = max((at for at, _ in adds), default=0.0)
        uses = window.uses(now, 0.5)
        for at in (now, now + 10.0, now + 29.0, now + 31.0):
            assert sum(n for until, n in uses if until > at) >= window.left_at(at)
        assert sum(n for _, n in uses) == window.total(now)


def drawn(gate: Gate, now: float, waiting: int, granted: int | None = None) -> Draw | None:
    draw = gate.draw(now, waiting)
    if draw is not None:
        gate.granted(draw, Share(draw.want if granted is None else granted, (), Budget()))
    return draw


class TestGate:
    def test_slots_that_are_not_used_are_given_back(self) -> None:
        gate = Gate(GateTerms(budget=100))
        drawn(gate, 0.0, 10)
        assert gate.free(5.0) > 0
        assert gate.free(5.1) == 0
        assert gate.uses(5.1) == ()

    def test_a_slot_is_in_use_for_a_window_after_its_answer(self) -> None:
        gate = Gate(GateTerms(budget=20))
        drawn(gate, 0.0, 20)
        gate.leave(20)
        gate.answered(3.0, 20)
        assert gate.draw(32.9, 1) is None
        assert gate.next_free(32.9) == 33.0
        assert gate.draw(33.0, 1) is not None

    def test_no_more_than_half_are_renewals(self) -> None:
        gate = Gate(GateTerms(budget=100))
        assert gate.renewals(0.0) == 50
        gate.answered(1.0, 40, renewals=40)
        assert gate.renewals(30.9) == 10
        assert gate.renewals(31.0) == 50

    @pytest.mark.parametrize(("until", "room"), [(10.0, 60), (30.4, 60), (31.0, 160)])
    def test_capacity_is_what_the_windows_to_come_allow(self, until: float, room: int) -> None:
        gate = Gate(GateTerms(budget=100))
        drawn(gate, 0.0, 40)
        gate.leave(40)
        gate.answered(0.5, 40)
        assert gate.capacity(0.5, until) == room

    def test_a_refused_probe_is_not_repeated_for_ten_minutes_then_twenty(self) -> None:
        gate = Gate(GateTerms())
        now = 0.0
        tries = []
        while now < 3600:
            draw = drawn(gate, now, 5000)
            if draw is None:
                now = max(gate.next_free(now), now + 1.0)
                continue
            count = gate.free(now)
            if gate._probing and count:
                tries.append(now)
                gate.leave(count)
                gate.answered(now, count)
                gate.refuse(now, now, 1.0, count)
            elif count:
                gate.leave(count)
                gate.answered(now, count)
                gate.accept(now, now, count)
        waits = [later - before for before, later in pairwise(tries)]
        assert [round(wait / 600) for wait in waits] == [1, 2]
        assert 1500 <= gate.budget.size <= 1502, "what tested the door was taken"

    @pytest.mark.parametrize(
        ("wait", "pace"), [(0.0, 20), (600.0, 1)], ids=["nothing was refused", "something was"]
    )
    def test_a_window_that_others_have_used_is_probed_at_once(self, wait: float, pace: int) -> None:
        gate = Gate(GateTerms())
        gate.learn(Budget(4000, 0.0, 0.0, wait), 0.0, 0.0)
        draw = gate.draw(0.0, 5000)
        assert draw is not None
        gate.granted(draw, Share(0, ((29.0, 4000),), gate.budget.known))
        draw = gate.draw(0.0, 5000)
        assert draw is not None
        assert (draw.want, draw.limit) == (2 * pace, 10_000)
        gate.granted(draw, Share(draw.want, ((29.0, 4000),), gate.budget.known))
        assert gate.free(0.0) == pace


def sent_at_once(graph: FakeGraph, since: float) -> int:
    return sum(len(asks) for at, asks in graph.requests if since <= at < since + 1)


@virtual
async def test_a_budget_that_is_changed_counts_from_now_on_and_for_what_waits() -> None:
    graph = FakeGraph()
    async with manager(graph, graph={"budget": 10}) as presence:
        sweep = asyncio.create_task(presence.sweep(users=[user(n) for n in range(500)]))
        await asyncio.sleep(5)
        assert sent_at_once(graph, 0.0) == 10
        presence.change_budget(GraphSettings(budget=60))
        await asyncio.sleep(5)
        assert sent_at_once(graph, 5.0) == 50  # ten are still in use
        presence.change_budget(GraphSettings(budget=20))
        await asyncio.sleep(31)
        assert len([key for _, asks in graph.requests for key in asks]) == 80
        presence.change_budget(GraphSettings(budget="auto"))
        await sweep
        assert elapsed() < 45
        assert sent_at_once(graph, 41.0) == 420


def test_a_budget_that_learns_again_begins_with_what_is_known() -> None:
    budget = LaneBudget(GateTerms(budget=50))
    budget.learn(Budget(proven=2000), 0.0)
    assert budget.size == 50
    budget.change(GateTerms(ceiling=1800))
    assert (budget.size, budget.learning) == (1800, True)
    assert LaneBudget(GateTerms()).size == 1500


def test_a_budget_that_is_raised_is_drawn_of_at_once() -> None:
    gate = Gate(GateTerms(budget=10))
    draw = gate.draw(0.0, 100)
    assert draw is not None
    gate.granted(draw, Share(0, ((29.0, 10),), Budget()))
    assert gate.draw(0.1, 100) is None
    gate.change(GateTerms(budget=60))
    draw = gate.draw(0.1, 100)
    assert draw is not None
    assert (draw.want, draw.limit) == (20, 60)


def test_a_fixed_budget_learns_nothing_from_other_processes_but_that_the_door_is_shut() -> None:
    gate = Gate(GateTerms(budget=50))
    gate.learn(Budget(proven=7_000, closed_until=9.0, probe_at=8.0, probe_wait=600.0), 1.0, 1.0)
    assert gate.budget.size == 50
    assert gate.closed_until == 9.0
    assert not gate.budget.may_probe(99.0)
    learning = Gate(GateTerms())
    learning.learn(Budget(closed_until=9.0), 1.0, 1.0)
    assert learning.budget.size == 1500, "nobody has proven anything yet"
    learning.learn(Budget(proven=70_000), 1.0, 1.0)
    assert learning.budget.size == 10_000, "no more than the ceiling"
