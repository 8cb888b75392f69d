"""What leaves a lane, when, and together with what."""

from __future__ import annotations

import asyncio

import pytest

from presence_manager import HoldRefused, HoldRequest, HoldTimeout, Kind
from presence_manager.core.verdict import Judgement
from presence_manager.engine import lane
from presence_manager.errors import SignInRefused

from .virtual import OTHER, FakeGraph, elapsed, manager, user, virtual


@virtual
async def test_a_lone_hold_leaves_at_once_and_alone() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold(user(1), "Busy")
        assert graph.requests == [(0.0, [("set", user(1))])]


@virtual
async def test_twenty_holds_of_one_turn_are_one_request() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await asyncio.gather(*(presence.hold(user(n), "Busy") for n in range(20)))
        assert [len(asks) for _, asks in graph.requests] == [20]


@virtual
async def test_forty_one_users_are_three_requests() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(41))
        assert [len(asks) for _, asks in graph.requests] == [20, 20, 1]


@virtual
async def test_without_batching_each_goes_alone() -> None:
    graph = FakeGraph()
    async with manager(graph, graph={"batch": "off"}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(3))
        assert [len(asks) for _, asks in graph.requests] == [1, 1, 1]


@virtual
async def test_requests_in_flight_are_bounded_and_what_waits_leaves_together() -> None:
    graph = FakeGraph(latency=1.0)
    async with manager(graph, graph={"in_flight": 2}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(70))
        assert [(at, len(asks)) for at, asks in graph.requests] == [
            (0.0, 20), (0.0, 20), (1.0, 20), (1.0, 10),
        ]  # fmt: skip


@virtual
async def test_tenants_do_not_share_a_request() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        await presence.hold_many(
            [HoldRequest(user(1), "Busy"), HoldRequest(user(1), "Busy", tenant=OTHER)]
        )
        assert [len(asks) for _, asks in graph.requests] == [1, 1]


@virtual
async def test_hold_and_release_that_meet_in_the_queue_cancel_out() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        graph.answers[user(1)] = [(429, 60.0)]
        await presence.hold(user(1), "Busy", wait=False)
        await asyncio.sleep(0.1)
        hold = await presence.hold(user(2), "Busy", wait=False)
        await asyncio.sleep(0.9)
        outcome = await hold.release()
        assert outcome.kind is Kind.NEVER_SET
        assert ("set", user(2)) not in graph.sent[1:]
        assert elapsed() == pytest.approx(1.0)


@virtual
async def test_attempts_that_never_left_are_forgotten_when_nothing_is_at_work() -> None:
    graph = FakeGraph()
    graph.answers[user(0)] = [(429, 60.0)]
    async with manager(graph) as presence:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lane, "UNSENT", 3)
            waiting = await presence.hold(user(0), "Busy", wait=False)
            await asyncio.sleep(0.1)
            for number in range(1, 6):
                hold = await presence.hold(user(number), "Busy", wait=False)
                await asyncio.sleep(0.1)
                assert (await hold.release()).kind is Kind.NEVER_SET
            (one,) = presence._works.lanes
            assert len(one.unsent) == 5, "what is at work may need them"
            await waiting.shown()
            await asyncio.sleep(0.1)
            assert one.unsent == set()
            await presence.hold(user(1), "Busy")
        assert graph.sent == [("set", user(0)), ("set", user(0)), ("set", user(1))]


@virtual
async def test_after_a_429_nothing_leaves_before_retry_after_and_then_one_goes_first() -> None:
    graph = FakeGraph(latency=0.1)
    graph.answers[user(0)] = [(429, 7.5)]
    async with manager(graph, graph={"batch": "off", "in_flight": 1}) as presence:
        results = await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(4))
        assert all(getattr(r, "state", "") == "shown" for r in results)
        times = [round(at, 3) for at, _ in graph.requests]
        assert times == [0.0, 7.6, 7.7, 7.8, 7.9]


@virtual
async def test_a_closed_lane_does_not_close_another() -> None:
    graph = FakeGraph()
    graph.answers[user(0)] = [(429, 20.0)]
    async with manager(graph) as presence:
        waiting = await presence.hold(user(0), "Busy", wait=False)
        await presence.hold(user(1), "Busy", tenant=OTHER)
        assert elapsed() == 0.0
        await waiting.shown()
        assert elapsed() == pytest.approx(20.0)


@virtual
async def test_each_further_refusal_doubles_the_wait() -> None:
    graph = FakeGraph()
    graph.answers[user(0)] = [429, 429, 429, 429]
    async with manager(graph) as presence:
        await presence.hold(user(0), "Busy")
        assert [at for at, _ in graph.requests] == [0.0, 1.0, 3.0, 7.0, 15.0]


@virtual
async def test_a_fixed_budget_bursts_and_then_waits_for_the_window() -> None:
    graph = FakeGraph(latency=0.5)
    budget = {"budget": 50, "budget_window": 30.0}
    async with manager(graph, graph=budget, hold={"timeout": 100}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(120))
        sent = [(at, len(asks)) for at, asks in graph.requests]
        for at, _ in sent:  # no window of 30 s, wherever it begins, holds more than the budget
            assert sum(n for other, n in sent if at <= other < at + 30.0) <= 50
        assert elapsed() == pytest.approx(61.5)  # two windows and three answers: nothing wasted


@virtual
async def test_what_fails_is_tried_again_later_and_alone_waits() -> None:
    graph = FakeGraph()
    graph.answers[user(1)] = [(503, 3.0)]
    async with manager(graph) as presence:
        results = await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(3))
        assert all(getattr(r, "state", "") == "shown" for r in results)
        assert [at for at, _ in graph.requests] == [0.0, 3.0]
        assert graph.requests[1][1] == [("set", user(1))]


@virtual
async def test_one_new_token_is_tried_and_then_it_is_denied() -> None:
    graph = FakeGraph()
    graph.answers[user(1)] = [401, 401]
    graph.answers[user(2)] = [401]
    async with manager(graph) as presence:
        with pytest.raises(HoldRefused) as error:
            await presence.hold(user(1), "Busy")
        assert error.value.status == 401
        assert len(graph.requests) == 2
        assert (await presence.hold(user(2), "Busy")).state == "shown"


@virtual
async def test_a_denied_hold_is_refused_and_forgotten() -> None:
    graph = FakeGraph()
    graph.answers[user(1)] = [403]
    async with manager(graph) as presence:
        with pytest.raises(HoldRefused, match=r"Presence\.ReadWrite\.All") as error:
            await presence.hold(user(1), "Busy")
        assert (error.value.status, error.value.code) == (403, "Forbidden")
        assert [s async for s in presence.sessions()] == []
        assert [o.kind async for o in presence.outcomes()] == [Kind.NEVER_SET]


@virtual
async def test_404_on_set_is_final() -> None:
    graph = FakeGraph()
    graph.answers[user(1)] = [Judgement.GONE]
    async with manager(graph) as presence:
        with pytest.raises(HoldRefused):
            await presence.hold(user(1), "Busy")
        assert len(graph.requests) == 1


@virtual
async def test_a_hold_that_is_not_shown_in_time_is_withdrawn_and_cleared() -> None:
    graph = FakeGraph()
    graph.answers[user(1)] = ["hang"] * 3
    async with manager(graph) as presence:
        with pytest.raises(HoldTimeout):
            await presence.hold(user(1), "Busy", timeout=5.0)
        assert elapsed() == pytest.approx(5.0)
        await asyncio.sleep(60.0)
        assert graph.sent[-1] == ("clear", user(1))
        assert [s async for s in presence.sessions()] == []


@virtual
async def test_a_cancelled_hold_is_withdrawn_and_cleared() -> None:
    graph = FakeGraph(latency=3.0)
    async with manager(graph) as presence:
        task = asyncio.create_task(presence.hold(user(1), "Busy"))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(30.0)
        assert graph.sent == [("set", user(1)), ("clear", user(1))]
        assert graph.sessions == {}
        assert [s async for s in presence.sessions()] == []


@virtual
async def test_a_refused_sign_in_fails_what_waits_without_a_request() -> None:
    graph = FakeGraph(refuse_sign_in=SignInRefused("the secret is wrong", code="invalid_client"))
    async with manager(graph) as presence:
        with pytest.raises(HoldRefused, match="the secret is wrong"):
            await presence.hold(user(0), "Busy")
        report = await presence.sweep(users=[user(n) for n in range(300)])
        assert report.counts == {Kind.FAILED: 300}
        assert {o.reason for o in report.problems} == {"sign_in"}
        assert graph.requests == []
        graph.refuse_sign_in = None
        await asyncio.sleep(120.0)
        assert [s async for s in presence.sessions()] == []  # tried again by and by, and gone
        kinds = {o.kind async for o in presence.outcomes(sweep_id=report.sweep_id)}
        assert kinds == {Kind.ALREADY_GONE}  # a later result replaces what was not final


@virtual
async def test_a_release_waiting_behind_a_sweep_goes_first() -> None:
    graph = FakeGraph(latency=1.0)
    async with manager(graph, graph={"in_flight": 1}) as presence:
        hold = await presence.hold(user(500), "Busy")
        sweep = asyncio.create_task(presence.sweep(users=[user(n) for n in range(100)]))
        await asyncio.sleep(0.5)
        await hold.release()
        position = next(i for i, (_, a) in enumerate(graph.requests) if ("clear", user(500)) in a)
        assert position <= 2
        assert (await sweep).counts == {Kind.ALREADY_GONE: 100}


@virtual
async def test_a_batch_that_says_nothing_is_asked_again_singly() -> None:
    graph = FakeGraph()
    for n in range(3):
        graph.answers[user(n)] = ["singly"]
    async with manager(graph) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(3))
        assert [len(asks) for _, asks in graph.requests] == [3, 1, 1, 1]


@virtual
async def test_nobody_waits_and_nothing_turns_between_renewals() -> None:
    graph = FakeGraph()
    async with manager(graph, recovery={"watch": 3600}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(100))
        loop = asyncio.get_running_loop()
        before = loop.turns  # type: ignore[attr-defined]
        await asyncio.sleep(200.0)
        assert loop.turns - before <= 2  # type: ignore[attr-defined]


@virtual
async def test_what_waits_goes_on_after_a_silence_that_nothing_else_ends() -> None:
    graph = FakeGraph()
    names = [user(n) for n in range(3)]
    for name in names:
        graph.answers[name] = ["refused"]
    limits = {"in_flight": 1, "batch": "off"}
    async with manager(graph, graph=limits, retry={"attempts": 1}) as presence:
        report = await presence.sweep(names, deadline=60.0)
    assert report.counts == {Kind.UNFINISHED: 3}
    assert report.seconds < 5.0
