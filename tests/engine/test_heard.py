"""What a sweep hears from the ledger: who was named before, and what others have finished."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presence_manager import Kind
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Outcome
from presence_manager.core.session import Session, Step
from presence_manager.engine.heard import hear
from presence_manager.engine.sweep import Sweep
from presence_manager.errors import LedgerError

from .virtual import APP, START, TENANT, FakeGraph, SharedLedger, elapsed, manager, user, virtual

LANE = LaneId("https://graph.microsoft.com", APP, TENANT)
KEY = Key(LANE, user(1))


def test_what_another_process_did_is_counted_once() -> None:
    sweep = Sweep(started=START, owner="me", taken=3, all_taken=True)
    outcome = Outcome(KEY, Kind.CLEARED, sweep.id, START, owner="another")
    sweep.became([outcome])
    sweep.became([outcome])  # a lane looked it up, and all was looked through as well
    sweep.became([outcome._replace(kind=Kind.UNFINISHED, owner="me")])
    assert sweep.last == outcome, "what does not count is not told either"
    assert (sweep.done, sweep.counts, sweep.finished) == (1, {Kind.CLEARED: 1}, False)
    failed = outcome._replace(key=KEY._replace(user=user(2)), kind=Kind.FAILED, owner="me")
    sweep.became([failed])
    sweep.became([failed._replace(kind=Kind.CLEARED)])
    assert (sweep.done, sweep.counts[Kind.CLEARED], sweep.counts[Kind.FAILED]) == (2, 2, 0)
    sweep.became([outcome._replace(key=KEY._replace(user=user(3)), owner="me")])
    assert sweep.finished


@pytest.mark.usefixtures("small")
@virtual
async def test_who_is_named_again_is_cleared_once_however_far_off() -> None:
    graph, ledger = FakeGraph(latency=0.05), SharedLedger()
    async with manager(graph, ledger, graph={"budget": 10_000, "in_flight": 1}) as presence:
        for deadline in (None, 60.0):
            named = [user(n) for n in range(200)]
            report = await presence.sweep(named + named[::7] + named, deadline=deadline)
            assert (report.counts, report.requests) == ({Kind.ALREADY_GONE: 200}, 200)


@virtual
async def test_who_is_named_again_is_cleared_again_where_the_ledger_cannot_be_asked() -> None:
    class Deaf(SharedLedger):
        async def told(self, sweep_id: str, keys: Any) -> Any:
            raise LedgerError("not now")

    async with manager(FakeGraph(), Deaf()) as presence:
        report = await presence.sweep([user(n % 1_500) for n in range(3_000)])
        assert report.ok
        assert report.counts[Kind.ALREADY_GONE] >= 1_500


@virtual
async def test_a_ledger_that_hangs_does_not_hold_up_the_rest_of_the_users() -> None:
    class Hanging(SharedLedger):
        asked = 0

        async def put(self, steps: Any) -> Any:
            await asyncio.sleep(3600.0)

        async def told(self, sweep_id: str, keys: Any) -> Any:
            self.asked += 1

    ledger = Hanging()
    async with manager(FakeGraph(), ledger) as presence:
        report = await presence.sweep([user(n) for n in range(2_500)], deadline=60.0)
        assert report.counts == {Kind.ALREADY_GONE: 2_500}
        assert len(report.unrecorded) == 2_500
        assert ledger.asked == 0, "it has failed just now"
        await presence.close(sweep=False)


class Telling(SharedLedger):
    failures = 0

    async def outcomes(self, query: Any, after: int, limit: int) -> Any:
        if self.failures:
            self.failures -= 1
            raise LedgerError("not now")
        return await super().outcomes(query, after, limit)


@virtual
async def test_what_others_have_finished_is_looked_through_until_the_ledger_answers() -> None:
    ledger = Telling()
    await ledger.open()
    sweep = Sweep(started=START, owner="me", taken=3)
    ends = {1: ("another", Kind.CLEARED), 2: ("me", Kind.CLEARED), 3: ("another", Kind.FAILED)}
    for number, (owner, kind) in ends.items():
        key = KEY._replace(user=user(number))
        end = Outcome(key, kind, sweep.id, START, owner=owner)
        await ledger.put([Step(0, Session(key=key, version=1), (end,), delete=True)])
    ledger.failures = 2
    await hear(sweep, [], ledger, LANE)  # type: ignore[arg-type]
    assert sweep.counts == {Kind.CLEARED: 1}, "ours was told by its lane, and what failed may not"
    assert elapsed() == pytest.approx(2.0)
