"""What seldom happens in a lane: each is one branch that nothing else goes through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

from presence_manager import HoldRefused, HoldRequest, Kind
from presence_manager.core.decide import Finish
from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.engine.commit import commit
from presence_manager.engine.desk import Desk
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.plan import SEND_WITHIN, Now, begin, conclude, refuse
from presence_manager.engine.shield import to_the_end
from presence_manager.engine.unrecorded import Debt
from presence_manager.errors import LedgerError, SignInRefused
from presence_manager.gate.budget import GateTerms
from presence_manager.gate.gate import Gate

from .virtual import (
    APP,
    START,
    TENANT,
    FakeGraph,
    SharedLedger,
    elapsed,
    kill,
    manager,
    user,
    virtual,
)

U = user(1)
KEY = Key(LaneId("https://graph.microsoft.com", APP, TENANT), U)


class SlowLedger(SharedLedger):
    """Each commit is durable at once, and told `delay` seconds later; so is what is read."""

    delay = 0.0
    reading = 0.0
    drawing = 0.0
    draws = 0

    async def draw(self, lane: Any, owner: str, draw: Any) -> Any:
        self.draws += 1
        share = await super().draw(lane, owner, draw)
        if self.drawing:
            await asyncio.sleep(self.drawing)
        return share

    async def get(self, keys: Any) -> Any:
        rows = await super().get(keys)
        if self.reading:
            await asyncio.sleep(self.reading)
        return rows

    async def put(self, steps: Any) -> Any:
        told = await super().put(steps)
        if self.delay:
            await asyncio.sleep(self.delay)
        return told


def moment(at: float = START) -> Now:
    return Now(at=at, owner="me", terms=Terms(), lease=lambda _: 600.0)


# -- sign-in ------------------------------------------------------------------------------------


@virtual
async def test_a_renewal_that_finds_no_sign_in_keeps_its_hold_and_is_tried_again() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy")
        graph.refuse_sign_in = SignInRefused("the secret is wrong", code="invalid_client")
        await asyncio.sleep(400.0)  # its renewal was due within 300
        assert hold.state == "shown"
        assert len(graph.requests) == 1
        graph.refuse_sign_in = None
        await asyncio.sleep(70.0)
        assert [verb for verb, _ in graph.sent] == ["set", "set"]
        assert graph.requests[-1][0] < 600.0, "before the lease was over"


@virtual
async def test_who_cannot_sign_in_drops_no_hold_of_another_process() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    locked = FakeGraph(refuse_sign_in=SignInRefused("the secret is wrong", code="invalid_client"))
    graph.answers[U] = [(429, 5.0)]
    async with manager(graph, ledger) as one, manager(locked, ledger) as two:
        first = await one.hold(U, "Busy", wait=False)
        await asyncio.sleep(1.0)
        with pytest.raises(HoldRefused, match="the secret is wrong"):
            await two.hold(U, "Away")
        await asyncio.sleep(10.0)
        assert first.state == "shown"
        assert graph.shown(U) == "Busy/InACall"


def test_what_is_over_when_the_sign_in_is_refused_is_neither_dropped_nor_failed() -> None:
    wish = Wish("w", "me", PAIRS[0], 600.0, START - 60.0, START - 1.0)
    row = Session(key=KEY, version=3, wishes=(wish,), sweeps=("one",))
    verdict = Verdict(Judgement.DENIED, START, START, code="signInRefused")
    plan, dropped = refuse(row, moment(), verdict, "sign_in")
    assert (plan.delete, dropped) == (True, "")
    assert [outcome.kind for outcome in plan.outcomes] == [Kind.NEVER_SET]


def test_a_ghost_is_left_alone() -> None:
    row = Session(key=KEY)  # another process has finished it, and nothing is known of it
    assert conclude(row, moment()) == (row, Finish(Kind.NEVER_SET, gone=True), (), False)


# -- requests -----------------------------------------------------------------------------------


@virtual
async def test_what_must_go_alone_waits_for_its_own_request() -> None:
    graph = FakeGraph(latency=1.0)
    graph.answers[user(5)] = ["singly"]
    async with manager(graph, graph={"in_flight": 1}) as presence:
        first = asyncio.create_task(
            presence.hold_many(HoldRequest(user(n), "Busy") for n in range(45))
        )
        await asyncio.sleep(1.5)  # it waits behind the last five by now
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(50, 60))
        await first
        assert [len(asks) for _, asks in graph.requests] == [20, 20, 5, 1, 10]
        assert graph.requests[3][1] == [("set", user(5))]


@virtual
async def test_where_there_are_no_batches_each_goes_alone_from_then_on() -> None:
    graph = FakeGraph()

    def no_batches(n: int) -> Verdict:
        return Verdict(Judgement.LATER, START, START, code="batchUnavailable", singly=True)

    real = graph._judge
    graph._judge = lambda key, attempt, order, *at: (  # type: ignore[method-assign]
        no_batches(0)._replace(sent_at=at[0], at=at[1])
        if order == "no batches"
        else real(key, attempt, order, *at)
    )
    for n in range(3):
        graph.answers[user(n)] = ["no batches"]
    async with manager(graph) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(3))
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(10, 14))
        assert [len(asks) for _, asks in graph.requests] == [3] + [1] * 7


@virtual
async def test_a_close_that_comes_between_commit_and_request_sends_nothing_more() -> None:
    graph, ledger = FakeGraph(), SlowLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(U, "Busy")
    row = (await ledger.get([KEY]))[0]
    ledger.delay = 0.6
    await asyncio.sleep(row.due - START + 0.3)  # the commit of its renewal is under way
    row = (await ledger.get([KEY]))[0]
    assert row.attempt is not None
    await presence.close(sweep=False, deadline=5.0)
    assert [verb for verb, _ in graph.sent] == ["set"]
    row = (await ledger.get([KEY]))[0]
    assert row.attempt is None, "it is known never to have left"


@virtual
async def test_an_attempt_whose_commit_took_too_long_is_committed_anew() -> None:
    graph, ledger = FakeGraph(), SlowLedger()
    async with manager(graph, ledger) as presence:
        hold = await presence.hold(U, "Busy")
        ledger.delay = SEND_WITHIN + 1.0
        loop = asyncio.get_running_loop()
        loop.call_later(400.0, setattr, ledger, "delay", 0.0)  # one renewal begins before
        await asyncio.sleep(500.0)
        assert [verb for verb, _ in graph.sent] == ["set", "set"]
        assert hold.state == "shown"


@virtual
async def test_a_clear_whose_commit_outlasts_its_deadline_does_not_leave_for_it() -> None:
    graph, ledger = FakeGraph(), SlowLedger()
    graph.answers[U] = [0, "refused"]
    waits = {"first_wait": 1.0, "longest_wait": 1.0}
    async with manager(graph, ledger, retry=waits) as presence:
        await presence.hold(U, "Busy")
        asyncio.get_running_loop().call_later(0.2, setattr, ledger, "delay", 3.0)
        report = await presence.sweep([U], deadline=2.0)  # its second try is committed too late
        assert report.counts == {Kind.UNFINISHED: 1}
        assert report.seconds <= 3.0
        await asyncio.sleep(1.5)
        assert [verb for verb, _ in graph.sent] == ["set", "clear"]
        ledger.delay = 0.0
        await asyncio.sleep(10.0)
        assert [verb for verb, _ in graph.sent] == ["set", "clear", "clear"], "by and by"
        found = [o.kind async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert found == [Kind.CLEARED]


def test_a_deadline_that_is_over_waits_for_nobody() -> None:
    """Another process is busy with the session, and its deadline is over when it is looked at."""
    desk = Desk(Gate(GateTerms()), lambda: None)
    attempt = Attempt(Verb.SET, "another", 1, START + 30.0, "w", PAIRS[0], 600.0)
    row = Session(key=KEY, version=3, known=Known.SHOWN, attempt=attempt, sweeps=("one",))
    desk.put([row], Rank.SWEEP, START - 0.001, None, START, batching=True)
    [entry], stale = desk.look(moment())
    assert (entry.key, stale) == (KEY, [])
    plan = entry.planner(entry)
    assert [outcome.kind for outcome in plan.outcomes] == [Kind.UNFINISHED]
    assert plan.row.attempt == attempt, "it is the other's to close"


@virtual
async def test_requests_in_flight_are_counted() -> None:
    graph = FakeGraph(latency=1.0)
    async with manager(graph, graph={"batch": "off"}) as presence:
        holds = [await presence.hold(user(n), "Busy", wait=False) for n in range(3)]
        await asyncio.sleep(0.5)
        assert [lane.in_flight for lane in presence.status().lanes] == [3]
        for hold in holds:
            await hold.shown()
        assert [lane.in_flight for lane in presence.status().lanes] == [0]


@virtual
async def test_a_hold_that_ends_while_it_waits_for_its_turn_is_never_sent() -> None:
    graph = FakeGraph()
    graph.answers[user(0)] = [(429, 20.0)]
    async with manager(graph) as presence:
        await presence.hold(user(0), "Busy", wait=False)
        await asyncio.sleep(0.1)
        await presence.hold(U, "Busy", ttl=20.0 - 0.1, wait=False)  # the very instant
        await presence.hold(user(2), "Busy", ttl=10.0, wait=False)
        await asyncio.sleep(30.0)
        assert {name for _, name in graph.sent} == {user(0)}
        kinds = [o.kind async for o in presence.outcomes()]
        assert kinds == [Kind.NEVER_SET] * 2


def test_what_is_over_opens_no_attempt() -> None:
    wish = Wish("w", "me", PAIRS[0], 600.0, START - 60.0, START - 1.0)
    row = Session(key=KEY, version=3, wishes=(wish,))
    assert begin(row, moment(), 1, START + 30.0).row.attempt is None
    open_one = row._replace(attempt=Attempt(Verb.CLEAR, "me", 7, START + 9.0))
    assert begin(open_one, moment(), 1, START + 30.0).row.attempt is None


@virtual
async def test_a_session_that_waited_is_left_alone_when_it_is_busy_by_then() -> None:
    graph = FakeGraph()
    graph.answers[U] = [(None, 5.0)]  # it may be applied yet: until it cannot, no clear is last
    async with manager(graph) as presence:
        first = await presence.hold(U, "Busy", wait=False)
        await asyncio.sleep(0.1)
        releasing = asyncio.create_task(first.release())
        await asyncio.sleep(8.9)
        graph.latency = 3.0
        second = await presence.hold(U, "Away", wait=False)
        await second.shown()
        assert [verb for verb, _ in graph.sent][:3] == ["set", "clear", "set"]
        await releasing
        assert graph.shown(U) == "Away/Away"
        graph.latency = 0.0


@virtual
async def test_holds_that_come_while_slots_are_drawn_share_the_draw() -> None:
    graph, ledger = FakeGraph(), SlowLedger()
    ledger.drawing = 0.5
    async with manager(graph, ledger) as presence:
        first = await presence.hold(user(1), "Busy", wait=False)
        await asyncio.sleep(0.1)
        second = await presence.hold(user(2), "Busy", wait=False)
        await first.shown()
        await second.shown()
        assert ledger.draws == 1
        assert [len(asks) for _, asks in graph.requests] == [2]
        ledger.drawing = 0.0


# -- other processes ----------------------------------------------------------------------------


@virtual
async def test_an_attempt_of_a_process_that_died_is_taken_over_at_once() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    graph.answers[U] = ["hang"]
    one, two = manager(graph, ledger), manager(graph, ledger, recovery={"watch": 3600})
    await one.open()
    await two.open()
    await one.hold(U, "Busy", key="one", wait=False)
    await asyncio.sleep(1.0)
    hold = await two.hold(U, "Away", key="two", wait=False)
    await asyncio.sleep(1.0)
    assert hold.state != "shown", "the other may still be at it"
    await kill(one)
    await hold.shown()
    assert elapsed() < 3.0
    assert graph.shown(U) == "Away/Away"
    await two.close()


@virtual
async def test_who_shares_a_session_renews_it_only_when_the_other_does_not() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    one, two = manager(graph, ledger, recovery={"watch": 3600}), manager(graph, ledger)
    await one.open()
    await two.open()
    await one.hold(U, "Busy", key="one")
    await two.hold(U, "Away", key="two")
    await asyncio.sleep(310.0)
    assert len(graph.requests) == 3, "renewed once, by the one whose hold is shown"
    renewed = (await ledger.get([KEY]))[0]
    assert renewed.owner == two.owner
    await kill(two)  # its watch would clear; ours looks once an hour
    await asyncio.sleep(renewed.due - START - elapsed() + 160.0)
    assert len(graph.requests) == 4, "a lease must not run out while somebody still holds"
    assert (await ledger.get([KEY]))[0].owner == one.owner
    await one.close()


@virtual
async def test_what_is_tracked_may_be_held_already() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        await presence.track(U)
        row = (await presence._ledger.get([KEY]))[0]
        assert len(row.wishes) == 2
        assert (await presence.clear(U)).kind is Kind.CLEARED


def test_an_older_row_does_not_replace_a_newer_one_at_the_desk() -> None:
    desk = Desk(Gate(GateTerms()), lambda: None)
    newer = Session(key=KEY, version=5, known=Known.SHOWN)
    desk.put([newer], Rank.SET, inf, None, START, batching=True)
    desk.put([newer._replace(version=4)], Rank.RELEASE, inf, None, START, batching=True)
    entry = desk.entry(KEY)
    assert entry.row is newer
    assert entry.rank is Rank.RELEASE


# -- commits ------------------------------------------------------------------------------------


async def test_a_commit_does_not_bring_back_an_older_row_than_was_seen_meanwhile() -> None:
    row = Session(key=KEY, version=3, known=Known.SHOWN)
    entry = Entry(row, Rank.SET)
    planned = row._replace(version=4)
    seen = row._replace(version=5)

    class Meeting(SharedLedger):
        async def put(self, steps: Any) -> Any:
            entry.see(seen)  # somebody else's commit on top of ours was told first
            return {}

    done: list[Entry] = []
    plan = conclude(planned, moment())
    entry.planner = lambda _: plan
    await commit(Meeting(), [entry], done, moment)
    assert entry.row is seen
    assert (done, entry.plan) == ([entry], plan)


# -- sweeps -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@virtual
async def test_a_lane_that_has_fetched_all_waits_for_the_rest_of_the_source() -> None:
    graph = FakeGraph(latency=0.05)

    async def source() -> Any:
        for n in range(150):
            yield user(n)
        await asyncio.sleep(20.0)  # a page of users that takes long
        for n in range(200, 225):
            yield user(n)

    async with manager(graph, graph={"budget": 10_000, "in_flight": 1}) as presence:
        report = await presence.sweep(source(), deadline=60.0)
        assert report.counts == {Kind.ALREADY_GONE: 175}
        assert report.complete
        assert elapsed() < 25.0


class Meeting(SharedLedger):
    """Something happens between a lane's look at what waits for it and its next commit."""

    meeting: Callable[[], Awaitable[object]] | None = None

    async def page(self, scope: Any, after: Any, limit: int) -> Any:
        rows = await super().page(scope, after, limit)
        if scope.sweep is not None and self.meeting is not None:
            meeting, self.meeting = self.meeting, None
            await meeting()
        return rows


@pytest.mark.usefixtures("small")
@virtual
async def test_what_another_process_finishes_before_it_is_fetched_is_told_as_well() -> None:
    graph, ledger = FakeGraph(latency=0.05), Meeting()
    limits = {"budget": 10_000, "in_flight": 1}
    async with manager(graph, ledger, graph=limits) as one, manager(graph, ledger) as two:
        ledger.meeting = lambda: two.clear(user(150))
        report = await one.sweep([user(n) for n in range(200)], deadline=60.0)
        assert ledger.meeting is None
        assert report.counts == {Kind.ALREADY_GONE: 200}
        assert report.seconds < 10.0


@virtual
async def test_a_clear_that_failed_may_yet_succeed_before_its_sweep_ends() -> None:
    graph = FakeGraph()
    async with manager(graph, recovery={"retry": 60.0}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in (1, 2))
        graph.answers[user(1)] = [403]
        graph.answers[user(2)] = [(503, 90.0)]
        report = await presence.sweep()
        assert report.counts == {Kind.CLEARED: 2}
        assert report.ok
        assert elapsed() == pytest.approx(90.0)


@virtual
async def test_recovery_ends_within_its_deadline() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    crashed = manager(graph, ledger)
    await crashed.open()
    await crashed.hold_many(HoldRequest(user(n), "Busy") for n in range(3))
    await kill(crashed)
    for n in range(3):
        graph.answers[user(n)] = ["hang"] * 9
    presence = manager(graph, ledger)
    await presence.open(recover=False)
    before = elapsed()
    report = await presence.recovered(deadline=3.0)
    assert elapsed() - before <= 4.0
    assert report.counts == {Kind.UNFINISHED: 3}
    await presence.close(sweep=False)


# -- the renewer, and what must end -------------------------------------------------------------


@virtual
async def test_a_renewer_that_was_stopped_keeps_nothing_and_rings_no_more() -> None:
    async with manager(FakeGraph()) as presence:
        renewer = presence._works.renewer
        await renewer.stop()
        renewer.schedule(KEY, START + 10.0)
        assert len(renewer) == 0
        assert renewer._timer is None


@virtual
async def test_a_close_that_meets_a_look_at_what_is_due_sends_nothing_more() -> None:
    graph, ledger = FakeGraph(), SlowLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(U, "Busy")
    row = (await ledger.get([KEY]))[0]
    ledger.reading = 0.6
    await asyncio.sleep(row.due - START + 0.3)
    await presence.close(sweep=False)
    await asyncio.sleep(10.0)
    assert [verb for verb, _ in graph.sent] == ["set"]


async def test_work_that_ends_as_its_caller_is_cancelled_is_awaited_once() -> None:
    ended = asyncio.Event()

    async def work() -> int:
        await ended.wait()
        return 1

    task = asyncio.ensure_future(to_the_end(work()))
    await asyncio.sleep(0)
    ended.set()
    await asyncio.sleep(0)  # the work has ended, its caller does not know of it yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_is_cancelled_itself_cancels_its_caller() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await to_the_end(work())


@virtual
async def test_a_session_that_was_cleared_unrecorded_is_not_renewed() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        unrecorded = presence._works.unrecorded
        unrecorded.owed[KEY] = Debt()
        row = (await presence._ledger.get([KEY]))[0]
        await asyncio.sleep(row.due - START + 1.0)
        assert [verb for verb, _ in graph.sent] == ["set"]
        unrecorded.owed.clear()


@virtual
async def test_a_ledger_that_is_silent_is_not_asked_who_was_named_before() -> None:
    class Silent(SharedLedger):
        writes = True
        asked = 0

        async def put(self, steps: Any) -> Any:
            if not self.writes:
                await asyncio.sleep(5.0)
                raise LedgerError("locked")
            return await super().put(steps)

        async def told(self, sweep_id: str, keys: Any) -> Any:
            self.asked += 1
            return await super().told(sweep_id, keys)

    ledger = Silent()
    async with manager(FakeGraph(), ledger) as presence:
        ledger.writes = False
        report = await presence.sweep([user(n) for n in range(1_500)], deadline=60.0)
        assert report.counts == {Kind.ALREADY_GONE: 1_500}
        assert ledger.asked == 0
        ledger.writes = True
