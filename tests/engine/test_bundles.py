"""A bundle: twenty sessions that go their way as one, until something comes between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from presence_manager import Kind, PresenceManager
from presence_manager.core.decide import Send
from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session
from presence_manager.core.verdict import Verb
from presence_manager.engine import whole
from presence_manager.engine.bundle import Bundle
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.lane import Lane
from presence_manager.engine.queue import LaneQueue
from presence_manager.errors import LedgerError, SignInRefused

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

LANE = LaneId("https://graph.microsoft.com", APP, TENANT)
USERS = [user(n) for n in range(1, 21)]
MORE = [user(n) for n in range(21, 41)]
U = USERS[2]
ONE_BY_ONE = {"in_flight": 1}
CLEAR = Send(Verb.CLEAR)


class Ledger(SharedLedger):
    """`ending` comes before each commit that ends a session; so many of these fail, so slowly."""

    ending: Callable[[], Awaitable[None]] | None = None
    fails = 0
    takes = 0.0

    async def put(self, steps: Any) -> Any:
        if any(step.delete for step in steps):
            if self.ending is not None:
                await self.ending()
            if self.fails:
                self.fails -= 1
                await asyncio.sleep(self.takes)
                raise LedgerError("the ledger is locked")
        return await super().put(steps)


def shown(users: list[str], latency: float = 1.0) -> FakeGraph:
    """A Graph with a session of each, set by somebody before."""
    graph = FakeGraph(latency=latency)
    graph.sessions = {Key(LANE, each): PAIRS[1] for each in users}
    return graph


def lane_of(presence: PresenceManager) -> Lane:
    return presence._works.lanes[LANE]


def bundles(presence: PresenceManager) -> list[Bundle]:
    return [item for item in lane_of(presence).desk.items() if isinstance(item, Bundle)]


def begin(presence: PresenceManager, users: list[str], **how: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(presence.sweep(users, **how))


def sizes(graph: FakeGraph) -> list[int]:
    return [len(asks) for _, asks in graph.requests]


async def ends(presence: PresenceManager) -> Counter[Kind]:
    """The outcomes in the ledger; nothing is at work, and all slots are given back."""
    lane = lane_of(presence)
    assert (len(lane), lane.in_flight, lane.gate._out) == (0, 0, 0)
    assert lane.gate.sent == sum(sizes(presence._graph))  # type: ignore[arg-type]
    return Counter([outcome.kind async for outcome in presence.outcomes()])


@virtual
async def test_a_full_batch_goes_its_way_as_one() -> None:
    graph = shown(USERS)
    async with manager(graph) as presence:
        sweep = begin(presence, [*USERS, *MORE[:5]])
        await asyncio.sleep(0.5)
        (bundle,) = bundles(presence)
        assert len(bundle) == 20
        assert len(lane_of(presence)) == 25
        report = await sweep
        assert bundle.entries is None
        assert report.counts == {Kind.CLEARED: 20, Kind.ALREADY_GONE: 5}
        assert sizes(graph) == [20, 5]
        assert await ends(presence) == Counter(report.counts)


@virtual
async def test_the_holds_of_its_sessions_learn_of_their_end() -> None:
    graph = FakeGraph(latency=1.0)
    async with manager(graph) as presence:
        holds = [await presence.hold(name, "Busy", wait=False) for name in USERS]
        await asyncio.sleep(2)
        sweep = asyncio.create_task(presence.sweep())
        await asyncio.sleep(0.5)
        assert len(bundles(presence)) == 1
        assert (await sweep).counts == {Kind.CLEARED: 20}
        assert {hold.state for hold in holds} == {"ended"}
        assert presence._works.renewer.held.total() == 0


# -- somebody comes between -----------------------------------------------------------------------


@virtual
async def test_a_hold_while_it_is_queued() -> None:
    graph = shown(USERS + MORE)
    async with manager(graph, graph=ONE_BY_ONE) as presence:
        sweep = begin(presence, USERS + MORE)
        await asyncio.sleep(0.5)
        waiting = next(each for each in bundles(presence) if each.queued)
        name = waiting.rows[2].user
        await presence.hold(name, "Away", wait=False)
        assert len(bundles(presence)) == 1
        assert (await sweep).counts == {Kind.CLEARED: 39, Kind.SUPERSEDED: 1}
        await asyncio.sleep(5)
        assert graph.shown(name) == "Away/Away"
        assert ("clear", name) not in graph.sent
        assert len(lane_of(presence)) == 0


@virtual
async def test_a_hold_while_it_is_in_flight() -> None:
    graph = shown(USERS)
    async with manager(graph) as presence:
        sweep = begin(presence, USERS)
        await asyncio.sleep(0.5)
        await presence.hold(U, "Away")
        assert (await sweep).counts == {Kind.CLEARED: 20}
        assert graph.shown(U) == "Away/Away"
        assert sizes(graph) == [20, 1]
        assert await ends(presence) == {Kind.CLEARED: 20}


@virtual
async def test_a_hold_while_its_end_is_written_down() -> None:
    graph, ledger = shown(USERS), Ledger()
    async with manager(graph, ledger) as presence:

        async def hold() -> None:
            ledger.ending = None
            await presence.hold(U, "Away", wait=False)

        ledger.ending = hold
        assert (await presence.sweep(USERS)).counts == {Kind.CLEARED: 20}
        await asyncio.sleep(5)
        assert graph.shown(U) == "Away/Away"
        assert [row.user async for row in presence.sessions()] == [U]
        assert await ends(presence) == {Kind.CLEARED: 20}


@virtual
async def test_a_hold_after_its_end_was_written_down_and_before_that_is_told() -> None:
    graph, told = shown(USERS), asyncio.Event()

    class Slow(SharedLedger):
        async def put(self, steps: Any) -> Any:
            lost = await super().put(steps)
            if len(steps) == 20 and steps[0].delete:
                await told.wait()
            return lost

    async with manager(graph, Slow()) as presence:
        sweep = begin(presence, USERS)
        await asyncio.sleep(1.5)
        await presence.hold(U, "Away", wait=False)
        told.set()
        assert (await sweep).counts == {Kind.CLEARED: 20}
        await asyncio.sleep(5)
        assert graph.shown(U) == "Away/Away"
        assert await ends(presence) == {Kind.CLEARED: 20}


@virtual
async def test_a_deadline_that_comes_while_its_end_is_written_down() -> None:
    """One that was split in flight: what its request was bound by is over."""
    graph, ledger, written = shown(USERS), Ledger(), asyncio.Event()
    async with manager(graph, ledger) as presence:
        first = begin(presence, USERS)
        await asyncio.sleep(0.5)
        second = begin(presence, [U])
        await asyncio.sleep(0)
        ledger.ending = written.wait  # type: ignore[assignment]
        await asyncio.sleep(1.0)
        third = begin(presence, USERS, deadline=2.0)
        await asyncio.sleep(1.0)
        written.set()
        assert (await first).counts == {Kind.CLEARED: 20}
        assert (await second).counts == {Kind.CLEARED: 1}
        assert (await third).counts == {Kind.CLEARED: 20}
        assert sizes(graph) == [20]


@virtual
async def test_who_is_cleared_again_after_a_split_in_flight_has_no_request_to_hurry() -> None:
    """Found by the simulator, among its crowds."""
    graph = FakeGraph(latency=1.0)
    graph.answers[USERS[0]] = [(503, 5.0)]
    async with manager(graph) as presence:
        sweep = asyncio.create_task(presence.sweep(USERS, deadline=30.0))
        await asyncio.sleep(0.5)
        assert len(graph.sent) == 20
        first = asyncio.create_task(presence.clear(USERS[0], deadline=20.0))
        await asyncio.sleep(1.0)  # the request is over, and this one of it is to be tried again
        second = await presence.clear(USERS[0], deadline=20.0)
        assert second.kind is (await first).kind is Kind.GONE_AFTER_RETRY
        assert (await sweep).counts == {Kind.ALREADY_GONE: 19, Kind.GONE_AFTER_RETRY: 1}


@pytest.mark.parametrize("at", [0.5, 1.5])
def test_a_second_sweep_gets_the_same_answers(at: float) -> None:
    """Whether the bundle is in flight or queued when it comes."""

    @virtual
    async def story() -> None:
        graph = shown(USERS + MORE)
        async with manager(graph, graph=ONE_BY_ONE) as presence:
            first = begin(presence, MORE)
            await asyncio.sleep(0.1)
            second = begin(presence, USERS)
            await asyncio.sleep(at)
            third = begin(presence, USERS)
            for sweep in (first, second, third):
                assert (await sweep).counts == {Kind.CLEARED: 20}
            assert len(graph.sent) == 40
            assert await ends(presence) == {Kind.CLEARED: 60}

    story()


@virtual
async def test_another_process_writes_to_some_of_them_meanwhile() -> None:
    graph, ledger = shown(USERS), Ledger()
    async with manager(graph, ledger) as presence, manager(graph, ledger) as other:

        async def hold() -> None:
            ledger.ending = None
            await other.hold(U, "Away", wait=False)

        ledger.ending = hold
        assert (await presence.sweep(USERS)).counts == {Kind.CLEARED: 20}
        await asyncio.sleep(30)
        assert graph.shown(U) == "Away/Away"
        assert len(graph.sessions) == 1
        assert await ends(presence) == {Kind.CLEARED: 20}
        assert [row.user async for row in other.sessions()] == [U]


# -- an end comes between -------------------------------------------------------------------------


@virtual
async def test_a_sweep_that_is_cancelled_goes_on_in_the_background() -> None:
    graph = shown(USERS + MORE)
    async with manager(graph, graph=ONE_BY_ONE) as presence:
        sweep = begin(presence, USERS + MORE)
        await asyncio.sleep(0.5)
        sweep.cancel()
        await asyncio.sleep(5)
        assert graph.sessions == {}
        assert await ends(presence) == {Kind.CLEARED: 40}


@virtual
async def test_a_deadline_cuts_what_is_in_flight_and_what_waits() -> None:
    graph = shown(USERS + MORE)

    async def hang() -> None:
        await asyncio.sleep(20)

    async with manager(graph, graph=ONE_BY_ONE) as presence:
        graph.before = hang
        first = begin(presence, USERS + MORE)
        await asyncio.sleep(0.5)
        second = begin(presence, USERS + MORE, deadline=3.0)
        await asyncio.sleep(1.5)  # a third of what there is, and the silence after it
        assert len(graph.requests) == 2
        assert (await second).counts == {Kind.UNFINISHED: 40}
        assert elapsed() < 4.5
        graph.before = None
        assert (await first).counts == {Kind.UNFINISHED: 40}  # they have one answer
        await asyncio.sleep(200)
        assert graph.sessions == {}
        assert len(lane_of(presence)) == 0


@virtual
async def test_a_deadline_splits_the_bundles_of_its_own_sweep_alone() -> None:
    graph = shown(USERS + MORE)
    async with manager(graph, graph=ONE_BY_ONE) as presence:
        graph.answers[user(50)] = ["hang"]
        await presence.hold(user(50), "Busy", wait=False)
        await asyncio.sleep(0.1)
        cut = begin(presence, USERS, deadline=2.0)
        other = begin(presence, MORE)
        await asyncio.sleep(1.0)
        assert len(bundles(presence)) == 2
        assert (await cut).counts == {Kind.UNFINISHED: 20}
        assert [each.rows[0].user in MORE for each in bundles(presence)] == [True]
        assert (await other).counts == {Kind.CLEARED: 20}


@virtual
async def test_nothing_of_it_leaves_after_the_deadline() -> None:
    """The sweep is still being taken in, by a slow ledger, when its time is over."""
    graph, hang = shown(USERS + MORE, latency=0.6), asyncio.Event()

    class Slow(SharedLedger):
        puts = 0

        async def put(self, steps: Any) -> Any:
            self.puts += len(steps) >= 20 and not steps[0].delete
            if self.puts == 2:
                self.puts += 1
                await hang.wait()
            return await super().put(steps)

    async def chunks() -> Any:
        for name in USERS + MORE + [user(n) for n in range(41, 1061)]:
            yield name

    async with manager(graph, Slow(), graph=ONE_BY_ONE) as presence:
        asyncio.get_running_loop().call_later(1.5, hang.set)
        report = await presence.sweep(chunks(), deadline=1.0)
        assert not report.ok
        assert [at for at, _ in graph.requests if 1.0 < at < 2.0] == []
        assert lane_of(presence).gate._out == 0
        graph.latency = 0.0


@virtual
async def test_a_close_in_its_midst_and_the_next_start() -> None:
    graph, ledger = shown(USERS + MORE, latency=5.0), Ledger()
    async with manager(graph, ledger, graph=ONE_BY_ONE) as presence:
        sweep = begin(presence, USERS + MORE)
        await asyncio.sleep(0.5)
        await presence.close(deadline=1.0)
        assert (await sweep).counts == {Kind.UNFINISHED: 40}
    assert [len(graph.requests), graph.closed] == [2, True]
    again = FakeGraph(sessions=graph.sessions)
    async with manager(again, ledger) as presence:
        await presence.recovered()
        await asyncio.sleep(100)
        assert again.sessions == {}
        assert {row.over for row in ledger._rows.values()} <= {True}


@virtual
async def test_a_kill_in_its_midst_and_the_next_start() -> None:
    graph, ledger = shown(USERS + MORE), Ledger()
    presence = manager(graph, ledger, graph=ONE_BY_ONE)
    await presence.open()
    sweep = begin(presence, USERS + MORE)
    await asyncio.sleep(1.5)
    await kill(presence)
    sweep.cancel()
    assert sizes(graph) == [20, 20]
    again = FakeGraph(sessions=graph.sessions)
    async with manager(again, ledger) as presence:
        await presence.recovered()
        await asyncio.sleep(100)
        assert again.sessions == {}
        assert ledger._rows == {}
        assert {len(asks) for _, asks in again.requests} == {20}


@virtual
async def test_a_loop_that_closes_while_its_end_is_written_down() -> None:
    graph, ledger = shown(USERS), Ledger()
    async with manager(graph, ledger) as presence:
        ledger.ending = asyncio.Event().wait  # type: ignore[assignment]
        sweep = begin(presence, USERS)
        await asyncio.sleep(1.5)
        ledger.ending = None
        for task in lane_of(presence)._tasks._tasks:
            task.cancel()
        assert (await sweep).counts == {Kind.CLEARED: 20}
        assert await ends(presence) == {Kind.CLEARED: 20}


# -- the ledger, Graph or the sign-in fail -------------------------------------------------------


@virtual
async def test_a_ledger_that_is_locked_at_its_end_is_waited_for_once() -> None:
    graph, ledger = shown(USERS), Ledger()
    ledger.fails, ledger.takes = 2, 5.0
    async with manager(graph, ledger) as presence:
        report = await presence.sweep(USERS, deadline=8.0)
        assert report.counts == {Kind.CLEARED: 20}
        assert (report.ok, report.unrecorded_total) == (True, 20)
        assert elapsed() == 6.0
        await asyncio.sleep(20)
        assert await ends(presence) == {Kind.CLEARED: 20}
        assert ledger._rows == {}


@virtual
async def test_a_ledger_that_fails_at_its_end_is_told_at_a_close() -> None:
    graph, ledger = shown(USERS), Ledger()
    async with manager(graph, ledger) as presence:
        ledger.fails, ledger.takes = 9, 0.5
        sweep = begin(presence, USERS)
        await asyncio.sleep(1.1)
        await presence.close(deadline=0.1)
        assert (await sweep).counts == {Kind.CLEARED: 20}
        assert (await sweep).unrecorded_total == 20


@virtual
async def test_some_are_refused() -> None:
    graph = shown(USERS)
    for name in USERS[:5]:
        graph.answers[name] = [(429, 2.0)]
    async with manager(graph) as presence:
        report = await presence.sweep(USERS)
        assert report.counts == {Kind.CLEARED: 20}
        assert (report.requests, report.refused) == (25, 5)
        assert min(at for at, _ in graph.requests[1:]) >= 3.0
        assert await ends(presence) == {Kind.CLEARED: 20}


@virtual
async def test_a_404_where_another_process_owes_the_ledger_something() -> None:
    ledger = Ledger()
    await ledger.open()
    await ledger.mark("somebody else", on=True)
    async with manager(FakeGraph(), ledger) as presence:
        report = await presence.sweep(USERS)
        assert report.counts == {Kind.GONE_AFTER_RETRY: 20}
        assert await ends(presence) == {Kind.GONE_AFTER_RETRY: 20}


@virtual
async def test_a_refused_sign_in_fails_what_is_in_flight_and_what_waits() -> None:
    graph = shown(USERS + MORE)
    graph.refuse_sign_in = SignInRefused("no")
    async with manager(graph, graph=ONE_BY_ONE) as presence:
        report = await presence.sweep(USERS + MORE)
        assert report.counts == {Kind.FAILED: 40}
        assert {outcome.reason for outcome in report.problems} == {"sign_in"}
        assert await ends(presence) == {Kind.FAILED: 40}
        graph.refuse_sign_in = None


# -- the room there is ---------------------------------------------------------------------------


@virtual
async def test_batches_that_are_turned_off_while_it_waits() -> None:
    graph = shown(USERS + MORE)
    async with manager(graph, graph=ONE_BY_ONE) as presence:
        sweep = begin(presence, USERS + MORE)
        await asyncio.sleep(0.5)
        lane_of(presence).batching = False
        assert (await sweep).counts == {Kind.CLEARED: 40}
        assert sizes(graph) == [20] + [1] * 20


@virtual
async def test_what_is_left_of_the_budget_takes_a_part_of_it() -> None:
    graph = shown(USERS + MORE, latency=0.0)
    async with manager(graph, graph={"budget": 30, "budget_window": 10.0}) as presence:
        assert (await presence.sweep(USERS + MORE)).counts == {Kind.CLEARED: 40}
        assert [(at < 10, n) for (at, _), n in zip(graph.requests, sizes(graph), strict=True)] == [
            (True, 20),
            (True, 10),
            (False, 10),
        ]
        assert await ends(presence) == {Kind.CLEARED: 40}


@virtual
async def test_what_the_budget_forbids_before_the_deadline_is_told_at_once() -> None:
    graph = shown(USERS + MORE, latency=0.0)
    async with manager(graph, graph={"budget": 30, "budget_window": 100.0}) as presence:
        report = await presence.sweep(USERS + MORE, deadline=50.0)
        assert report.counts == {Kind.CLEARED: 30, Kind.UNFINISHED: 10}
        assert {outcome.reason for outcome in report.problems} == {"budget"}
        assert elapsed() < 1.0
        await asyncio.sleep(300)
        assert graph.sessions == {}


@virtual
async def test_each_counts_once_for_the_width() -> None:
    graph = FakeGraph(latency=1.0)
    async with manager(graph) as presence:
        await presence.sweep([user(n) for n in range(1, 161)])
        assert sizes(graph) == [20] * 8
        assert lane_of(presence).width.now == 16


def rows(names: str, life: float = 1000.0) -> list[Session]:
    return [
        Session(key=Key(LANE, name), version=1, known=Known.SHOWN, may_live_until=life)
        for name in names
    ]


def named(found: Any) -> str:
    items = [found] if isinstance(found, Bundle) else found
    return "".join(row.user for item in items for row in item.rows)


def queue_of(*bundles: Bundle) -> LaneQueue:
    def split(bundle: Bundle) -> list[Entry]:
        bundle.entries = bundle.split()
        return bundle.entries

    queue = LaneQueue(split)
    queue.push(bundles)
    return queue


def taken(queue: LaneQueue, size: int) -> list[str]:
    found = []
    while some := queue.take(size, 0):
        found.append(named(some))
    return found


def bundle_of(names: str, deadline: float = inf, life: float = 1000.0) -> Bundle:
    return Bundle(rows(names, life), Rank.SWEEP, deadline, CLEAR)


def test_it_leaves_whole_where_the_lane_is_its_own() -> None:
    queue = queue_of(bundle_of("abc"), bundle_of("def"))
    queue.push([Entry(rows("x", life=2000.0)[0], Rank.SWEEP)])
    assert len(queue) == 7
    assert taken(queue, 3) == ["x", "abc", "def"]
    assert len(queue) == 0


def test_it_is_unpacked_where_there_is_no_room_for_all_of_it() -> None:
    queue = queue_of(bundle_of("abc", deadline=9.0), bundle_of("def", deadline=9.0))
    assert taken(queue, 2) == ["ab", "c", "de", "f"]
    assert (len(queue), queue.bound) == (0, 0)


def test_other_ranks_do_not_wait_for_it_nor_it_for_them() -> None:
    queue = queue_of(bundle_of("abc"), bundle_of("def"))
    queue.push([Entry(row, Rank.SET) for row in rows("0123456789" * 3)])
    order = [named(queue.take(1, 0)) for _ in range(33)]
    assert "".join(order) == "012345678a901234567b890123456c789"
    assert taken(queue, 3) == ["def"]


def test_nothing_that_was_taken_before_is_lost_when_its_turn_comes() -> None:
    queue = queue_of(bundle_of("abc"))
    queue.push([Entry(row, Rank.SET) for row in rows("0123456789" * 2)])
    assert taken(queue, 20) == ["012345678a901234567b", "89c"]
    assert len(queue) == 0


def test_the_room_before_the_deadline_may_end_within_one() -> None:
    last = Entry(rows("x", life=500.0)[0], Rank.SWEEP, 9.0)
    queue = queue_of(bundle_of("abc", deadline=9.0), bundle_of("def", deadline=9.0))
    queue.push([last])
    assert named(queue.excess(5)) == "fx"
    assert (len(queue), queue.bound) == (5, 5)
    assert taken(queue, 3) == ["abc", "de"]


def test_it_is_drained_session_by_session() -> None:
    queue = queue_of(bundle_of("abc", deadline=9.0))
    assert [entry.row.user for entry in queue.drain()] == ["a", "b", "c"]
    assert (len(queue), queue.bound) == (0, 0)


def test_what_was_taken_out_of_the_heap_is_passed_over() -> None:
    queue = queue_of(bundle_of("abc", life=100.0))
    early, late = (Entry(rows("xy"[n], 2000.0 - 900 * n)[0], Rank.SWEEP) for n in range(2))
    queue.push([early])
    queue.push([late])
    queue.remove(early)
    assert taken(queue, 3) == ["y", "abc"]


@pytest.mark.parametrize(
    ("change", "leaves"),
    [
        ({}, True),
        ({"entries": []}, False),
        ({"stopping": True}, False),
        ({"deadline": START - 1}, False),
        ({"deadline": START}, True),
        ({"closed_until": START + 1}, False),
        ({"closed_until": START}, True),
        ({"unsent": {1, 3}}, False),
    ],
)
def test_it_leaves_as_it_is_if_nothing_has_come_between(
    change: dict[str, Any], leaves: bool
) -> None:
    made = [
        row._replace(attempt=Attempt(verb=Verb.CLEAR, owner="me", number=number, send_by=inf))
        for number, row in enumerate(rows("abc"), 1)
    ]
    bundle = Bundle(made, Rank.SWEEP, change.get("deadline", inf), CLEAR)
    bundle.entries = change.get("entries")
    lane: Any = SimpleNamespace(
        stopping=change.get("stopping", False),
        clock=SimpleNamespace(now=lambda: START),
        gate=SimpleNamespace(closed_until=change.get("closed_until", 0.0)),
        unsent=change.get("unsent", {1, 2, 3, 4}),
    )
    assert whole.may_leave(lane, bundle) is leaves
