"""Sweeps, outcomes, deadlines, shutdown and recovery, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from presence_manager import HoldRequest, InvalidHold, Kind, Progress
from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import Pair

from .virtual import (
    APP,
    OTHER,
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
BUSY = Pair("Busy", "InACall")


async def _users(count: int) -> AsyncIterator[tuple[str, str]]:
    for n in range(count):
        yield (OTHER, user(n))


@virtual
async def test_users_that_the_ledger_does_not_know_are_cleared_all_the_same() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        report = await presence.sweep(users=[user(n) for n in range(45)])
        assert report.counts == {Kind.ALREADY_GONE: 45}
        assert report.ok
        assert "is this the application that set them?" in report.note
        assert [len(asks) for _, asks in graph.requests] == [20, 20, 5]
        assert (report.requests, report.refused) == (45, 0)


@virtual
async def test_users_come_from_an_async_iterator_of_tenant_and_user() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        report = await presence.sweep(users=_users(3000))
        outcomes = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert {o.tenant for o in outcomes} == {OTHER}
        assert len({o.user for o in outcomes}) == len(outcomes) == 3000


@virtual
async def test_a_user_named_twice_has_one_outcome() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        report = await presence.sweep(users=[U, U.upper(), (TENANT, U)])
        assert report.total == 1
        assert len(graph.sent) == 1


@virtual
async def test_a_malformed_id_stops_the_sweep_with_its_reason() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        with pytest.raises(InvalidHold, match="GUID"):
            await presence.sweep(users=[U, "ada@example.com"])
        assert graph.requests == []


@virtual
async def test_sweep_clears_this_owners_and_leaves_those_of_others() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    async with manager(graph, ledger) as mine, manager(graph, ledger) as theirs:
        await mine.hold(user(1), "Busy")
        await theirs.hold(user(2), "Busy")
        await mine.hold(user(3), "Busy")
        await theirs.hold(user(3), "Away")
        report = await mine.sweep()
        assert report.counts == {Kind.CLEARED: 1, Kind.SUPERSEDED: 1}
        assert graph.shown(user(1)) is None
        assert graph.shown(user(2)) == "Busy/InACall"
        assert graph.shown(user(3)) == "Away/Away"


@virtual
async def test_everyone_ends_the_holds_of_every_process() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    async with manager(graph, ledger) as mine, manager(graph, ledger) as theirs:
        await mine.hold(user(1), "Busy")
        hold = await theirs.hold(user(2), "Busy")
        report = await mine.sweep(everyone=True)
        assert report.counts == {Kind.CLEARED: 2}
        assert graph.sessions == {}
        await asyncio.sleep(400.0)
        assert (hold.state, hold.ended) == ("ended", "cleared")
        assert graph.sessions == {}


@virtual
async def test_tenant_narrows_a_sweep() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        await presence.hold(U, "Busy", tenant=OTHER)
        assert (await presence.sweep(tenant=OTHER)).counts == {Kind.CLEARED: 1}
        assert graph.shown(U) == "Busy/InACall"


@virtual
async def test_lost_clear_then_404_is_gone_after_retry() -> None:
    graph = FakeGraph()
    graph.answers[U] = ["applied, lost"]
    async with manager(graph) as presence:
        await presence.hold(user(2), "Busy")
        graph.answers[user(2)] = ["applied, lost"]
        report = await presence.sweep(users=[U, user(2)])
        assert report.counts == {Kind.GONE_AFTER_RETRY: 2}


@virtual
async def test_a_clear_that_did_not_leave_explains_nothing() -> None:
    graph = FakeGraph()
    graph.answers[U] = ["refused", 429, 401]
    async with manager(graph) as presence:
        assert (await presence.clear(U, deadline=100.0)).kind is Kind.ALREADY_GONE


@virtual
async def test_a_hold_after_a_lost_clear_is_set_once_more_when_that_has_settled() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        graph.answers[U] = [None, 0]  # lost, and to be applied late; then a 200
        assert (await presence.clear(U)).kind is Kind.CLEARED
        assert [s async for s in presence.sessions()] == []
        await presence.hold(U, "Busy")
        asyncio.get_running_loop().call_later(3.0, lambda: graph.sessions.pop(KEY))
        await asyncio.sleep(11.0)
        assert graph.shown(U) == "Busy/InACall"


@virtual
async def test_nothing_is_remembered_of_a_lost_clear_for_longer_than_it_can_come() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    graph.answers[U] = [None]
    async with manager(graph, ledger) as presence:
        outcome = await presence.clear(U)
        assert outcome.kind is Kind.GONE_AFTER_RETRY
        assert (await ledger.get([KEY]))[0].version
        await asyncio.sleep(11.0)
        assert not (await ledger.get([KEY]))[0].version
        assert len([o async for o in presence.outcomes()]) == 1


@virtual
async def test_a_denied_clear_failed_and_is_tried_again() -> None:
    graph = FakeGraph()
    graph.answers[U] = [403]
    async with manager(graph) as presence:
        report = await presence.sweep(users=[U])
        assert not report.ok
        assert report.counts == {Kind.FAILED: 1}
        (problem,) = report.problems
        assert (problem.status, problem.code, problem.reason) == (403, "Forbidden", "denied")
        await asyncio.sleep(61.0)
        (outcome,) = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert outcome.kind is Kind.ALREADY_GONE


@virtual
async def test_attempts_run_out() -> None:
    graph = FakeGraph()
    graph.answers[U] = [503] * 8
    async with manager(graph) as presence:
        report = await presence.sweep(users=[U])
        (problem,) = report.problems
        assert (problem.kind, problem.reason, problem.attempts) == (Kind.UNFINISHED, "attempts", 8)


@virtual
async def test_a_set_that_was_lost_may_still_come_so_the_clear_waits_for_it() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        graph.answers[U] = ["hang"]
        hold = await presence.hold(U, "Busy", wait=False)
        await asyncio.sleep(10.0)  # given up now; applied four seconds later all the same
        asyncio.get_running_loop().call_later(4.0, lambda: graph.sessions.update({KEY: BUSY}))
        outcome = await presence.clear(U, deadline=60.0)
        assert graph.sessions == {}
        assert outcome.kind is Kind.CLEARED
        assert elapsed() == pytest.approx(20.0, abs=0.1)
        assert hold.state == "ended"


@virtual
async def test_within_a_deadline_that_is_too_short_for_it_the_clear_is_unfinished() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        graph.answers[U] = [None]
        await presence.hold(U, "Busy", wait=False)
        await asyncio.sleep(0.1)
        outcome = await presence.clear(U, deadline=5.0)
        assert outcome.kind is Kind.UNFINISHED
        assert elapsed() < 1.0  # what cannot be done in time is known at once
        await asyncio.sleep(30.0)
        assert graph.sessions == {}


@virtual
async def test_a_hold_that_comes_while_the_clear_waits_supersedes_it() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        graph.answers[user(2)] = [(429, 10.0)]
        await presence.hold(user(2), "Busy", wait=False)
        await asyncio.sleep(0.1)
        clearing = asyncio.create_task(presence.clear(U, deadline=60.0))
        await asyncio.sleep(1.0)
        await presence.hold(U, "Away")
        assert (await clearing).kind is Kind.SUPERSEDED
        assert graph.shown(U) == "Away/Away"
        assert ("clear", U) not in graph.sent


@virtual
async def test_a_second_sweep_of_the_same_session_joins_the_first() -> None:
    graph = FakeGraph(latency=1.0)
    graph.sessions[KEY] = BUSY
    async with manager(graph) as presence:
        reports = await asyncio.gather(presence.sweep(users=[U]), presence.sweep(users=[U]))
        assert [r.counts for r in reports] == [{Kind.CLEARED: 1}] * 2
        assert graph.sent == [("clear", U)]


@virtual
async def test_a_sweep_in_another_process_waits_for_the_first_and_gets_its_answer() -> None:
    graph, ledger = FakeGraph(latency=1.0), SharedLedger()
    graph.sessions[KEY] = BUSY
    async with manager(graph, ledger) as mine, manager(graph, ledger) as theirs:
        reports = await asyncio.gather(mine.sweep(users=[U]), theirs.sweep(users=[U]))
        assert [r.counts for r in reports] == [{Kind.CLEARED: 1}] * 2
        assert graph.sent == [("clear", U)]


@virtual
async def test_a_sweep_ends_within_its_deadline_whatever_graph_does() -> None:
    graph = FakeGraph()
    for n in range(50):
        graph.answers[user(n)] = ["hang"] * 10
    async with manager(graph) as presence:
        report = await presence.sweep(users=[user(n) for n in range(100)], deadline=6.0)
        assert elapsed() <= 7.0
        assert report.total == 100
        assert report.counts[Kind.UNFINISHED] >= 40
        assert graph.limits[0] == pytest.approx(3.0)  # half of what is left
        recorded = [o.kind async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert len(recorded) == 100


@virtual
async def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    graph = FakeGraph()
    graph.answers[user(0)] = [(429, 3600.0)]
    presence = manager(graph)
    async with presence:
        await presence.hold(user(5), "Busy")
        await presence.hold(user(0), "Busy", wait=False)
        await asyncio.sleep(1.0)
        before = elapsed()
    assert elapsed() - before < 0.1
    assert presence.last_report is not None
    assert presence.last_report.counts == {Kind.UNFINISHED: 1, Kind.NEVER_SET: 1}


@virtual
async def test_closing_clears_everything_and_then_nothing_is_sent() -> None:
    graph = FakeGraph(latency=0.05)
    presence = manager(graph)
    async with presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(200))
    assert graph.sessions == {}
    assert graph.closed
    assert presence.last_report is not None
    assert presence.last_report.counts == {Kind.CLEARED: 200}
    sent = len(graph.requests)
    await asyncio.sleep(3600.0)
    assert len(graph.requests) == sent


@virtual
async def test_closing_while_graph_hangs_keeps_its_deadline_and_the_next_start_goes_on() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    presence = manager(graph, ledger)
    async with presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(40))
        for n in range(40):
            graph.answers[user(n)] = ["hang"] * 20
        before = elapsed()
    assert elapsed() - before <= 9.0
    first = presence.last_report
    assert first is not None
    assert first.counts == {Kind.UNFINISHED: 40}
    graph.answers.clear()
    graph.closed = False
    async with manager(graph, ledger) as successor:
        report = await successor.recovered()
        assert report.counts == {Kind.CLEARED: 40}
        assert graph.sessions == {}
        kinds = {o.kind async for o in successor.outcomes(sweep_id=first.sweep_id)}
        assert kinds == {Kind.CLEARED}


@virtual
async def test_a_renewal_in_flight_does_not_bring_a_swept_session_back() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy")
        graph.latency = 2.0
        while len(graph.requests) < 2:  # its renewal has left
            await asyncio.sleep(1.0)
        outcome = await hold.release()
        assert outcome.kind is Kind.CLEARED
        await asyncio.sleep(60.0)
        assert graph.sessions == {}
        assert graph.sent == [("set", U), ("set", U), ("clear", U)]


@virtual
async def test_a_hanging_renewal_is_cut_after_a_third_of_what_is_left() -> None:
    graph = FakeGraph()
    async with manager(graph, retry={"settle": 1.0}) as presence:
        await presence.hold(U, "Busy")
        graph.answers[U] = ["hang"]
        while len(graph.requests) < 2:
            await asyncio.sleep(1.0)
        before = elapsed()
        report = await presence.sweep(deadline=9.0)
        assert report.ok
        assert graph.requests[2][0] - before == pytest.approx(3.0, abs=1.1)


@virtual
async def test_progress_is_told_and_its_exceptions_are_not_raised() -> None:
    graph = FakeGraph(latency=0.2)
    told: list[Progress] = []

    def progress(what: Progress) -> None:
        told.append(what)
        raise ZeroDivisionError

    async with manager(graph, graph={"in_flight": 1}) as presence:
        await presence.sweep(users=[user(n) for n in range(100)], progress=progress)
    assert told[-1].done == told[-1].taken == 100
    assert len(told) <= 12


@virtual
async def test_the_last_step_before_a_standstill_is_told_at_once() -> None:
    for last in (6, 7, 8, 9):  # some of these steps come too soon after the one before
        graph = FakeGraph(latency=0.04)
        graph.answers[user(last)] = ["hang"]
        told: list[tuple[float, int]] = []
        began = elapsed()
        async with manager(graph, graph={"in_flight": 1, "batch": "off"}) as presence:
            await presence.sweep(
                users=[user(n) for n in range(10)],
                progress=lambda what, told=told: told.append((elapsed(), what.done)),  # type: ignore[misc]
            )
        assert min(at for at, done in told if done == last) - began < 1.0
        assert told[-1][0] - began > 5.0


@virtual
async def test_recovery_clears_what_a_dead_process_left_and_leaves_the_living_alone() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    dead, alive = manager(graph, ledger), manager(graph, ledger)
    await dead.open()
    await alive.open()
    await dead.hold(user(1), "Busy")
    await alive.hold(user(2), "Busy")
    await dead.hold(user(3), "Away")
    await alive.hold(user(3), "Busy")
    await alive.hold(user(4), "Busy")
    await dead.hold(user(4), "Away")
    await kill(dead)
    await asyncio.sleep(5.0)
    assert {user(n): graph.shown(user(n)) for n in (1, 2, 3, 4)} == {
        user(1): None,
        user(2): "Busy/InACall",
        user(3): "Busy/InACall",
        user(4): "Busy/InACall",
    }
    assert [o.kind async for o in alive.outcomes()] == [Kind.CLEARED]
    await alive.close()


@virtual
async def test_a_session_whose_lease_is_long_over_by_graphs_own_clock_is_lapsed() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    dead = manager(graph, ledger)
    await dead.open()
    await dead.hold(U, "Busy")
    await kill(dead)
    graph.ahead = 600.0 + 30.0 + 30.0 + 1.0
    async with manager(graph, ledger) as successor:
        assert (await successor.recovered()).counts == {Kind.LAPSED: 1}
        assert graph.sent == [("set", U)]


@virtual
async def test_a_clock_that_a_dead_process_wrote_by_is_not_trusted() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    dead = manager(graph, ledger)
    await dead.open()
    await dead.hold(U, "Busy")
    await kill(dead)
    await asyncio.sleep(86400.0)  # so says our clock; Graph's has hardly moved
    graph.ahead = -86400.0
    async with manager(graph, ledger) as successor:
        assert (await successor.recovered()).counts == {Kind.CLEARED: 1}


@virtual
async def test_entering_needs_neither_graph_nor_sign_in() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    dead = manager(graph, ledger)
    await dead.open()
    await dead.hold(U, "Busy")
    await kill(dead)
    graph.answers[U] = ["refused"] * 3
    async with manager(graph, ledger) as successor:
        assert elapsed() == 0.0
        assert (await successor.recovered()).counts == {Kind.CLEARED: 1}
