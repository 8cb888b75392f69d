"""Holds, renewals and their ends, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from presence_manager import (
    Closed,
    Hold,
    HoldFailed,
    HoldRequest,
    HoldTimeout,
    InvalidHold,
    Kind,
    LedgerError,
    PresenceManager,
)
from presence_manager.core.session import Session, Step
from presence_manager.ledger import MemoryLedger

from .virtual import (
    START,
    TENANT,
    FakeGraph,
    SharedLedger,
    elapsed,
    manager,
    settings,
    user,
    virtual,
)

U = user(1)


@virtual
async def test_a_hold_is_renewed_at_half_its_lease_at_the_latest() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Busy")
        await asyncio.sleep(3600.0)
        times = [at for at, _ in graph.requests]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps
        assert all(0.4 * 600 <= gap <= 0.5 * 600 for gap in gaps)


@virtual
async def test_available_is_renewed_before_it_fades_whatever_the_lease() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U, "Available", lease=14400)
        await asyncio.sleep(3600.0)
        times = [at for at, _ in graph.requests]
        assert all(b - a <= 240.0 for a, b in itertools.pairwise(times))


@virtual
async def test_renewals_of_one_burst_are_spread() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(500))
        before = len(graph.requests)
        await asyncio.sleep(301.0)
        times = [at for at, _ in graph.requests[before:]]
        assert times[-1] - times[0] > 50.0
        assert sum(len(asks) for _, asks in graph.requests[before:]) == 500


@virtual
async def test_sessions_that_have_ended_are_not_kept_in_memory_until_they_would_be_due() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        renewer = presence._works.renewer
        await presence.hold(user(1), "Busy")
        users = [user(n) for n in range(2, 1002)]
        for _ in range(3):
            await presence.hold_many(HoldRequest(each, "Busy", lease=14400) for each in users)
            await presence.sweep(users)
        assert len(renewer) == 1
        assert len(renewer._heap) < 2100
        before = len(graph.requests)
        await asyncio.sleep(301.0)
        assert [asks for _, asks in graph.requests[before:]] == [[("set", user(1))]]


@virtual
async def test_a_renewal_that_fails_is_tried_again_and_the_hold_stays() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy")
        graph.answers[U] = [503] * 5
        await asyncio.sleep(400.0)
        assert hold.state == "shown"
        assert len(graph.requests) == 8  # the eighth when the lost ones have settled


@virtual
async def test_two_holds_share_a_session_and_the_newest_is_shown() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        first = await presence.hold(U, "Busy", "InACall")
        second = await presence.hold(U, "DoNotDisturb")
        assert graph.shown(U) == "DoNotDisturb/Presenting"
        outcome = await second.release()
        assert outcome.kind is Kind.SUPERSEDED
        await asyncio.sleep(1.0)
        assert graph.shown(U) == "Busy/InACall"
        assert (await first.release()).kind is Kind.CLEARED
        assert graph.shown(U) is None


@virtual
async def test_releasing_the_older_hold_asks_graph_nothing() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        first = await presence.hold(U, "Busy")
        await presence.hold(U, "Away")
        before = len(graph.requests)
        assert (await first.release()).kind is Kind.SUPERSEDED
        await asyncio.sleep(1.0)
        assert len(graph.requests) == before


@virtual
async def test_if_graph_denies_the_remaining_hold_the_session_is_cleared() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        first = await presence.hold(U, "Busy")
        second = await presence.hold(U, "Away")
        graph.answers[U] = [403]
        await second.release()
        await asyncio.sleep(5.0)
        assert graph.sessions == {}
        assert (first.state, first.ended) == ("ended", "refused")


@virtual
async def test_a_keyed_hold_is_idempotent_and_released_by_its_key() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        first = await presence.hold(U, "Busy", key="call-17")
        again = await presence.hold(U, "Busy", key="call-17")
        assert again is first
        assert len(graph.requests) == 1
        await presence.hold(U, "Away", key="call-17")
        assert graph.shown(U) == "Away/Away"
        assert (await presence.release(U, key="call-17")).kind is Kind.CLEARED
        assert first.ended == "released"


@virtual
async def test_releasing_twice_or_what_is_unknown_is_harmless() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy")
        assert await hold.release() == await hold.release()
        unknown = await presence.release(U, key="never")
        assert (unknown.kind, unknown.recorded) == (Kind.NEVER_SET, False)


@virtual
async def test_release_waits_no_longer_than_it_may_and_goes_on_in_the_background() -> None:
    graph = FakeGraph()
    async with manager(graph, release={"timeout": 5.0}) as presence:
        hold = await presence.hold(U, "Busy")
        graph.answers[U] = ["hang"] * 4
        outcome = await hold.release()
        assert outcome.kind is Kind.UNFINISHED
        assert elapsed() <= 6.0
        await asyncio.sleep(100.0)
        assert graph.sessions == {}
        final = [o async for o in presence.outcomes(sweep_id=outcome.sweep_id)]
        assert [o.kind for o in final] == [Kind.CLEARED]


@virtual
async def test_a_cancelled_release_is_carried_out_all_the_same() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy")
        graph.latency = 2.0
        task = asyncio.create_task(hold.release())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(10.0)
        assert graph.sessions == {}


@pytest.mark.parametrize("how", ["until", "until as datetime", "ttl", "max_age"])
def test_no_hold_lives_for_ever(how: str) -> None:
    @virtual
    async def story() -> None:
        graph = FakeGraph()
        limit = {"max_age": 1000.0} if how == "max_age" else {}
        args = {
            "until": {"until": START + 1000.0},
            "until as datetime": {"until": datetime.fromtimestamp(START + 1000.0, UTC)},
            "ttl": {"ttl": 1000.0},
            "max_age": {},
        }[how]
        async with manager(graph, hold=limit) as presence:
            hold = await presence.hold(U, "Busy", **args)
            await asyncio.sleep(999.9)
            assert (hold.state, graph.shown(U)) == ("shown", "Busy/InACall")
            await asyncio.sleep(0.2)
            assert (hold.state, hold.ended) == ("ended", "expired")
            assert graph.sessions == {}
            assert [o.kind async for o in presence.outcomes()] == [Kind.CLEARED]

    story()


@virtual
async def test_a_ttl_hold_that_is_put_again_lives_on() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        for _ in range(10):
            await presence.hold(U, "Busy", key="k", ttl=60.0)
            await asyncio.sleep(50.0)
        assert graph.shown(U) == "Busy/InACall"
        await asyncio.sleep(20.0)
        assert graph.sessions == {}


@virtual
async def test_clear_ends_every_hold_of_the_user() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        holds = [await presence.hold(U, "Busy"), await presence.hold(U, "Away")]
        outcome = await presence.clear(U)
        assert (outcome.kind, outcome.user, outcome.tenant) == (Kind.CLEARED, U, TENANT)
        assert {(h.state, h.ended) for h in holds} == {("ended", "cleared")}
        assert [s async for s in presence.sessions()] == []


@virtual
async def test_a_tracked_session_is_cleared_and_never_renewed() -> None:
    graph = FakeGraph()
    presence = manager(graph)
    async with presence:
        await presence.track(U, expires_at=START + 7200.0)
        await asyncio.sleep(3000.0)
        assert graph.requests == []
    assert graph.sent == [("clear", U)]
    assert presence.last_report is not None
    assert presence.last_report.counts == {Kind.ALREADY_GONE: 1}


@virtual
async def test_when_a_detached_hold_ends_what_another_process_holds_is_shown() -> None:
    """Found by the simulator: whoever looked left it to the other, which knew of no renewal."""
    graph, ledger = FakeGraph(), SharedLedger()
    others = FakeGraph(sessions=graph.sessions)
    async with manager(others, ledger) as other, manager(graph, ledger) as presence:
        await other.hold(U, "Away", lease=3600)
        await presence.hold(U, "Busy", detached=True, ttl=600.0)
        assert graph.shown(U) == "Busy/InACall"
        await asyncio.sleep(601.0)
        assert graph.shown(U) == "Away/Away"


@virtual
async def test_without_waiting_a_hold_comes_back_pending() -> None:
    graph = FakeGraph(latency=2.0)
    async with manager(graph) as presence:
        hold = await presence.hold(U, "Busy", wait=False)
        assert (hold.state, elapsed()) == ("pending", 0.0)
        assert await hold.shown() is hold
        assert (hold.state, elapsed()) == ("shown", 2.0)


@virtual
async def test_the_exception_of_a_holding_block_wins() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with presence.holding(U, "Busy") as hold:
                assert hold.state == "shown"
                raise ZeroDivisionError
        assert graph.sessions == {}


@virtual
async def test_hold_many_answers_each_in_order() -> None:
    graph = FakeGraph()
    graph.answers[user(2)] = [403]
    async with manager(graph) as presence:
        requests = [
            HoldRequest(user(1), "Busy"),
            HoldRequest("nobody@example.com", "Busy"),
            HoldRequest(user(2), "Busy"),
            HoldRequest(user(3), "BeRightBack"),
            HoldRequest(user(4), "Away"),
        ]
        results = await presence.hold_many(requests)
        assert [type(r) for r in results] == [Hold, HoldFailed, HoldFailed, HoldFailed, Hold]
        assert [r.request for r in results if isinstance(r, HoldFailed)] == [
            requests[1], requests[2], requests[3],
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((U, "Busy", "Busy"), "Busy/InAConferenceCall"),
        ((U, "Offline"), "DoNotDisturb/Presenting"),
        (("ada@example.com", "Busy"), "GUID"),
        (("", "Busy"), "not a user id"),
        (("../../me", "Busy"), "not a user id"),
    ],
)
def test_a_wrong_hold_is_refused_by_name_before_anything(
    arguments: tuple[str, ...], words: str
) -> None:
    @virtual
    async def story() -> None:
        graph = FakeGraph()
        async with manager(graph) as presence:
            with pytest.raises(InvalidHold, match=words):
                await presence.hold(*arguments)
            assert graph.requests == []
            assert [s async for s in presence.sessions()] == []

    story()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"lease": 299}, "5 minutes"),
        ({"lease": 14401}, "4 hours"),
        ({"tenant": "contoso.com"}, "domain"),
        ({"until": datetime(2027, 1, 1)}, "time zone"),
        ({"until": START - 1}, "past"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"timeout": 0}, "timeout"),
        ({"key": ""}, "key="),
    ],
)
def test_a_wrong_argument_is_refused_before_anything(how: dict[str, object], words: str) -> None:
    @virtual
    async def story() -> None:
        graph = FakeGraph()
        async with manager(graph) as presence:
            with pytest.raises(InvalidHold, match=words):
                await presence.hold(U, "Busy", **how)  # type: ignore[arg-type]
            assert graph.requests == []

    story()


@virtual
async def test_two_spellings_of_an_id_are_one_user() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(U.upper(), "Busy")
        await presence.hold(U, "Busy")
        assert len(graph.requests) == 1


class BrokenLedger(MemoryLedger):
    async def put(self, steps: object) -> object:
        raise LedgerError("the disk is full; Graph was not asked")


@virtual
async def test_what_cannot_be_made_durable_is_not_asked_of_graph() -> None:
    graph = FakeGraph()
    ledger = MemoryLedger()
    async with manager(graph, ledger) as presence:
        ledger.put = BrokenLedger().put  # type: ignore[assignment, method-assign]
        with pytest.raises(LedgerError, match="disk is full"):
            await presence.hold(U, "Busy")
        assert graph.requests == []
        del ledger.put


@virtual
async def test_outside_of_its_block_a_manager_is_closed() -> None:
    presence = manager(FakeGraph())
    with pytest.raises(Closed, match="async with"):
        await presence.hold(U, "Busy")
    async with presence:
        hold = await presence.hold(U, "Busy")
    for call in (presence.hold(U, "Busy"), presence.clear(U), presence.sweep(), hold.release()):
        if call is not None:
            with pytest.raises(Closed):
                await call
    assert hold.ended == "cleared" or hold.ended == "released"


@virtual
async def test_without_a_tenant_the_error_says_how_to_give_one() -> None:
    presence = PresenceManager(settings(tenant_id=""), graph=FakeGraph(), ledger=MemoryLedger())
    async with presence:
        with pytest.raises(InvalidHold, match="PRESENCE_TENANT_ID"):
            await presence.hold(U, "Busy")
        assert (await presence.hold(U, "Busy", tenant=TENANT)).state == "shown"


@virtual
async def test_the_time_out_of_an_earlier_hold_of_that_name_leaves_the_later_one_alone() -> None:
    graph = FakeGraph(latency=5.0)
    async with manager(graph, graph={"timeout": 8}) as presence:
        first = asyncio.create_task(presence.hold(U, "Busy", key="one", timeout=3.0))
        await asyncio.sleep(1.0)
        second = asyncio.create_task(presence.hold(U, "Away", key="one", timeout=30.0))
        with pytest.raises(HoldTimeout, match=r"not shown as Busy/InACall .* goes on as that"):
            await first
        hold = await second
        assert (hold.state, graph.shown(U)) == ("shown", "Away/Away")
        await asyncio.sleep(30.0)
        assert graph.shown(U) == "Away/Away"


@virtual
async def test_nor_does_a_ledger_that_fails_for_an_earlier_one() -> None:
    class Failing(MemoryLedger):
        fails = True

        async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
            if self.fails:
                self.fails = False
                await asyncio.sleep(1.0)
                raise LedgerError("the disk is full")
            return await super().put(steps)

    graph = FakeGraph(latency=5.0)
    async with manager(graph, Failing()) as presence:
        first = asyncio.create_task(presence.hold(U, "Busy", key="one"))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(presence.hold(U, "Away", key="one"))
        with pytest.raises(LedgerError):
            await first
        assert (await second).state == "shown"
        assert graph.shown(U) == "Away/Away"


@virtual
async def test_the_deadline_of_a_sweep_that_is_over_does_not_bind_a_later_release() -> None:
    graph = FakeGraph(latency=1.0)
    graph.answers[U] = [0, 0, *["refused"] * 100]
    async with manager(graph) as presence:
        await presence.hold(U, "Busy", key="old")
        sweep = asyncio.create_task(presence.sweep([U], deadline=3.0))
        await asyncio.sleep(0.5)
        hold = await presence.hold(U, "Away", key="new", wait=False)
        assert (await sweep).ok
        await asyncio.sleep(4.0)  # its deadline is long over, and the hold still on its way
        assert hold.state == "pending"
        await presence.track(U, key="other")  # so that there is something to clear
        graph.answers[U].clear()
        assert (await presence.clear(U)).kind is Kind.ALREADY_GONE
