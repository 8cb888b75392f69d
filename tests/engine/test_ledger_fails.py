"""A ledger that fails for a while: nobody is forgotten, and all goes on when it works again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from presence_manager import Closed, HoldRequest, Kind, LedgerError
from presence_manager.engine import sources

from .virtual import FakeGraph, SharedLedger, elapsed, kill, manager, user, virtual

U = user(1)


class FailingLedger(SharedLedger):
    """Fails in the calls that `fails` names, with `error`; `failed` are those that did."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.error: Exception = LedgerError("the disk is full")
        self.failed: list[str] = []

    def _may_fail(self, call: str) -> None:
        if call in self.fails:
            self.failed.append(call)
            raise self.error

    async def get(self, keys: Any) -> Any:
        self._may_fail("get")
        return await super().get(keys)

    async def put(self, steps: Any) -> Any:
        self._may_fail("put")
        return await super().put(steps)

    async def page(self, scope: Any, after: Any, limit: int) -> Any:
        if scope.sweep is not None:
            self._may_fail("page")
        return await super().page(scope, after, limit)

    async def draw(self, lane: Any, owner: str, draw: Any) -> Any:
        self._may_fail("draw")
        return await super().draw(lane, owner, draw)

    async def dead(self) -> Any:
        self._may_fail("dead")
        return await super().dead()

    async def outcomes(self, query: Any, after: int, limit: int) -> Any:
        self._may_fail("outcomes")
        return await super().outcomes(query, after, limit)

    def fail(self, *calls: str, after: float = 0.0, until: float) -> None:
        """Fail in these from `after` to `until`, in seconds from now."""
        loop = asyncio.get_running_loop()
        loop.call_later(after, self.fails.update, calls)
        loop.call_later(until, self.fails.difference_update, calls)


@virtual
async def test_a_renewal_waits_for_a_ledger_that_cannot_be_read() -> None:
    graph, ledger = FakeGraph(), FailingLedger()
    async with manager(graph, ledger) as presence:
        await presence.hold(U, "Busy")
        ledger.fail("get", until=305.0)  # due by then, at half of its lease of 600 s
        await asyncio.sleep(320.0)
        assert ledger.failed
        assert [verb for verb, _ in graph.sent] == ["set", "set"]
        assert graph.requests[-1][0] == pytest.approx(305.0, abs=5.0)


@virtual
async def test_slots_are_taken_for_granted_where_the_ledger_cannot_say() -> None:
    graph, ledger = FakeGraph(), FailingLedger()
    ledger.fails.add("draw")
    async with manager(graph, ledger, graph={"budget": 50}, hold={"timeout": 100}) as presence:
        await presence.hold_many(HoldRequest(user(n), "Busy") for n in range(120))
        assert elapsed() == pytest.approx(60.0), "within its own budget of 50 in 30 s all the same"
    assert "draw" in ledger.failed
    assert presence.last_report is not None
    assert presence.last_report.problems == () or not presence.last_report.ok


@virtual
async def test_slots_that_others_were_seen_to_use_are_not_taken_for_granted() -> None:
    graph, ledger = FakeGraph(), FailingLedger()
    how: dict[str, Any] = {"graph": {"budget": 2}, "hold": {"timeout": 200}}
    async with manager(graph, ledger, **how) as one, manager(graph, ledger, **how) as two:
        await one.hold_many(HoldRequest(user(n), "Busy") for n in range(2))
        waiting = asyncio.ensure_future(
            two.hold_many(HoldRequest(user(n), "Busy") for n in range(2, 8))
        )
        await asyncio.sleep(5.0)
        assert len(graph.sent) == 2
        ledger.fails.add("draw")
        await waiting
        left = [at for at, asks in graph.requests for _ in asks]
        assert all(third - first >= 30.0 for first, third in zip(left, left[2:], strict=False))
        assert len(left) == 8
    assert "draw" in ledger.failed


@virtual
async def test_what_another_process_is_busy_with_is_read_again_until_it_can_be() -> None:
    graph, ledger = FakeGraph(latency=2.0), FailingLedger()
    async with manager(graph, ledger) as one, manager(graph, ledger) as two:
        await one.hold(U, "Busy", key="one", wait=False)
        await asyncio.sleep(0.5)
        second = await two.hold(U, "Away", key="two", wait=False)
        ledger.fail("get", until=4.0)
        await second.shown()
        assert "get" in ledger.failed
        assert graph.shown(U) == "Away/Away"
        assert elapsed() < 10.0


@virtual
async def test_the_end_does_not_wait_for_a_row_that_cannot_be_read() -> None:
    graph, ledger = FakeGraph(latency=60.0), FailingLedger()
    one, two = manager(graph, ledger), manager(graph, ledger)
    await one.open()
    await two.open()
    await one.hold(U, "Busy", key="one", wait=False)
    await asyncio.sleep(0.5)
    await two.hold(U, "Away", key="two", wait=False)
    ledger.fails.add("get")
    await asyncio.sleep(2.0)
    before = elapsed()
    await two.close(deadline=1.0, sweep=False)
    assert elapsed() - before <= 2.0
    assert "get" in ledger.failed
    ledger.fails.clear()
    await kill(one)


class CutLedger(SharedLedger):
    """Its answer is cut off, as by a loop that closes and cancels all tasks."""

    cuts = 0

    async def get(self, keys: Any) -> Any:
        if self.cuts:
            self.cuts -= 1
            await asyncio.sleep(0.2)
            raise asyncio.CancelledError
        return await super().get(keys)


@virtual
async def test_a_look_that_is_cut_off_is_repeated_unless_the_lane_is_being_stopped() -> None:
    graph, ledger = FakeGraph(latency=4.0), CutLedger()
    one, two = manager(graph, ledger), manager(graph, ledger)
    await one.open()
    await two.open()
    await one.hold(U, "Busy", key="one", wait=False)
    await asyncio.sleep(0.5)
    second = await two.hold(U, "Away", key="two", wait=False)
    ledger.cuts = 3
    await second.shown()
    assert ledger.cuts == 0
    assert graph.shown(U) == "Away/Away"
    await one.hold(U, "Busy", key="again", wait=False)
    await asyncio.sleep(0.5)
    await two.hold(U, "Away", key="again", wait=False)
    ledger.cuts = 1000
    await asyncio.sleep(0.5)
    before = elapsed()
    await two.close(deadline=1.0, sweep=False)
    assert elapsed() - before <= 1.0
    ledger.cuts = 0
    graph.closed = False
    await one.close(sweep=False)


@virtual
async def test_the_end_does_not_wait_until_an_answer_whose_proof_was_cut_off_is_written() -> None:
    graph, ledger = FakeGraph(), CutLedger()

    async def marked() -> frozenset[str]:
        await asyncio.sleep(0.2)
        raise asyncio.CancelledError

    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(U, "Busy")
    graph.sessions.clear()
    clearing = asyncio.create_task(presence.clear(U))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "marked", marked)
        await asyncio.sleep(0.1)  # Graph said 404; may a clear of another process explain it?
        patch.setattr(ledger, "put", lambda _: asyncio.sleep(1000.0))  # nor can it be written
        before = elapsed()
        await presence.close(deadline=1.0, sweep=False)
        assert elapsed() - before <= 0.5
    with pytest.raises(Closed):
        await clearing
    graph.closed = False
    async with manager(graph, ledger) as next_one:
        assert (await next_one.recovered()).counts == {Kind.GONE_AFTER_RETRY: 1}


@virtual
async def test_an_outcome_that_another_process_wrote_and_that_cannot_be_read_is_left_open() -> None:
    graph, ledger = FakeGraph(latency=2.0), FailingLedger()
    async with manager(graph, ledger) as one, manager(graph, ledger) as two:
        await one.hold(U, "Busy")
        first = asyncio.create_task(one.clear(U))
        await asyncio.sleep(0.5)
        ledger.fails.add("outcomes")
        second = await two.sweep([U], deadline=10.0)
        assert "outcomes" in ledger.failed
        assert second.counts == {Kind.UNFINISHED: 1}, "nobody could say what became of it"
        assert (await first).kind is Kind.CLEARED
        before = elapsed()
        await two.close()  # which does not wait for it
        assert elapsed() - before < 4.0
        ledger.fails.clear()
        found = [o.kind async for o in one.outcomes(sweep_id=second.sweep_id)]
        assert found == [Kind.CLEARED], "the ledger knows all the while"


@virtual
async def test_an_answer_that_cannot_be_written_before_the_end_is_told_as_not_recorded() -> None:
    graph, ledger = FakeGraph(latency=1.0), FailingLedger()
    presence = manager(graph, ledger)
    await presence.open()
    await presence.hold(U, "Busy")
    ledger.fail("put", after=0.5, until=60.0)  # the clear is committed, its answer is not
    before = elapsed()
    report = await presence.close(deadline=3.0)
    assert elapsed() - before <= 4.0
    assert "put" in ledger.failed
    assert report is not None
    assert [outcome.recorded for outcome in report.unrecorded] == [False]
    await asyncio.sleep(60.0)
    graph.closed = False
    async with manager(graph, ledger) as next_one:
        recovered = await next_one.recovered()
        assert recovered.counts == {Kind.GONE_AFTER_RETRY: 1}, "no 404 of ours is a stranger's"
        assert [s async for s in next_one.sessions()] == []


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "WINDOW", 100)
    monkeypatch.setattr(sources, "CHUNK", 25)


@pytest.mark.usefixtures("small")
@virtual
async def test_what_a_full_lane_left_is_fetched_when_the_ledger_can_be_read_again() -> None:
    graph, ledger = FakeGraph(latency=0.5), FailingLedger()
    async with manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1}) as presence:
        ledger.fail("page", until=5.0)
        report = await presence.sweep([user(n) for n in range(300)], deadline=60.0)
        assert "page" in ledger.failed
        assert report.counts == {Kind.ALREADY_GONE: 300}
        assert report.complete


@pytest.mark.usefixtures("small")
@virtual
async def test_the_end_does_not_wait_for_what_cannot_be_fetched() -> None:
    graph, ledger = FakeGraph(latency=0.5), FailingLedger()
    presence = manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1})
    await presence.open()
    ledger.fails.add("page")
    report = await presence.sweep([user(n) for n in range(300)], deadline=6.0)
    assert report.counts[Kind.UNFINISHED] == 200
    fetching = presence._works.sweeper._fetching
    assert len(fetching) == 1
    before = elapsed()
    await presence.close(deadline=1.0)
    assert elapsed() - before <= 2.0
    assert fetching == set()
    ledger.fails.clear()
    graph.closed = False
    async with manager(graph, ledger) as next_one:
        recovered = await next_one.recovered()
        assert recovered.ok
        assert recovered.total > 0
        assert [s async for s in next_one.sessions()] == []


@virtual
async def test_the_dead_are_found_when_the_ledger_can_be_read_again() -> None:
    graph, ledger = FakeGraph(), FailingLedger()
    crashed = manager(graph, ledger)
    await crashed.open()
    await crashed.hold(U, "Busy")
    async with manager(graph, ledger) as presence:
        await presence.recovered()
        ledger.fail("dead", until=120.0)
        await kill(crashed)
        await asyncio.sleep(119.0)
        assert ledger.failed
        assert graph.shown(U) is not None
        await asyncio.sleep(60.0)
        assert graph.shown(U) is None


@virtual
async def test_what_is_given_back_at_the_end_need_not_be_written() -> None:
    graph, ledger = FakeGraph(), FailingLedger()
    async with manager(graph, ledger) as presence:
        await presence.hold(U, "Busy")
        await asyncio.sleep(60.0)
        await presence.clear(U)
        ledger.fails.add("draw")
    assert ledger.failed == ["draw"]
    assert presence.last_report is not None
    assert presence.last_report.ok


@virtual
async def test_a_fault_of_ours_is_logged_and_holds_up_neither_callers_nor_the_end() -> None:
    graph, ledger = FakeGraph(latency=1.0), FailingLedger()
    async with manager(graph, ledger) as presence:
        with capture_logs() as logs:
            hold = await presence.hold(U, "Busy", wait=False)
            await asyncio.sleep(0.5)
            ledger.error = ZeroDivisionError("a fault of ours")
            ledger.fail("put", until=1.0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hold.shown(), 5.0)
        assert [log["event"] for log in logs if log["log_level"] == "error"] == ["lane.fault"]
        before = elapsed()
    assert elapsed() - before <= 9.0
    assert presence.last_report is not None
    assert not presence.last_report.ok, "it may still be shown, and nobody says that it is not"
