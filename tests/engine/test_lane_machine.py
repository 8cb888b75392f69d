"""A lane in any order: callers that hold, release and clear the same few users, and a Graph that
answers as it likes. When it is quiet again, what was wanted last is what is shown."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from presence_manager.core.outcome import Kind, Outcome, Report
from presence_manager.core.verdict import Judgement
from presence_manager.engine import desk
from presence_manager.engine.bundle import FULL_BATCH

from .virtual import FakeGraph, SharedLedger, VirtualLoop, manager, user

USERS = st.integers(1, 2)
NAMES = st.sampled_from(["a", "b"])
PAIRS = st.sampled_from(["Busy/InACall", "Away/Away", "DoNotDisturb/Presenting"])
ORDERS = st.sampled_from(
    [
        0,
        None,
        "applied, lost",
        "applied, lost",
        "hang",
        503,
        (503, 4.0),
        429,
        (429, 7.0),
        401,
        "singly",
        "refused",
        Judgement.LATER,
    ]
)
QUIET = 1_000.0
"""Seconds within which all is done, once Graph does what it is asked: leases aside."""


class Lane(RuleBasedStateMachine):
    """One process, one tenant, two users; a sweep of both may be a bundle."""

    @initialize(
        latency=st.sampled_from([0.0, 0.05, 3.0]),
        batch=st.sampled_from(["auto", "off"]),
        bundle=st.sampled_from([2, FULL_BATCH]),
    )
    def start(self, latency: float, batch: str, bundle: int) -> None:
        desk.FULL_BATCH = bundle
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.graph, self.ledger = FakeGraph(latency=latency), SharedLedger()
        self.presence = manager(self.graph, self.ledger, graph={"batch": batch})
        self.runner.run(self.presence.open())
        self.wanted: dict[int, dict[str, str]] = {number: {} for number in range(1, 3)}
        self.calls: list[asyncio.Task[Any]] = []

    def call(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin a call, and let its commit be made; its end may take long."""

        async def begin() -> None:
            self.calls.append(asyncio.create_task(work))
            for _ in range(20):
                await asyncio.sleep(0)

        self.runner.run(begin())

    @rule(number=USERS, name=NAMES, pair=PAIRS)
    def hold(self, number: int, name: str, pair: str) -> None:
        self.wanted[number].pop(name, None)
        self.wanted[number][name] = pair
        availability, activity = pair.split("/")
        holding = self.presence.hold(user(number), availability, activity, key=name, wait=False)
        self.runner.run(holding)

    @rule(number=USERS, name=NAMES)
    def release(self, number: int, name: str) -> None:
        if self.wanted[number].pop(name, None) is not None:
            self.call(self.presence.release(user(number), key=name))

    @rule(number=USERS)
    def clear(self, number: int) -> None:
        self.wanted[number].clear()
        self.call(self.presence.clear(user(number)))

    @rule(numbers=st.lists(USERS, min_size=1), deadline=st.sampled_from([None, 0.5, 20.0]))
    def sweep(self, numbers: list[int], deadline: float | None) -> None:
        for number in numbers:
            self.wanted[number].clear()
        self.call(self.presence.sweep([user(n) for n in numbers], deadline=deadline))

    @rule(number=USERS, orders=st.lists(ORDERS, min_size=1, max_size=6))
    def order(self, number: int, orders: list[Any]) -> None:
        self.graph.answers[user(number)] += orders

    @rule(number=USERS, name=NAMES, pair=PAIRS, orders=st.lists(ORDERS, min_size=1, max_size=3))
    def hold_and_release(self, number: int, name: str, pair: str, orders: list[Any]) -> None:
        """The release comes while the set is under way, and Graph answers that as it likes."""
        self.graph.answers[user(number)][:0] = orders
        self.hold(number, name, pair)
        self.release(number, name)

    @rule(seconds=st.sampled_from([0.01, 0.5, 5.0, 90.0]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule()
    def quiet(self) -> None:
        """Graph does what it is asked from now on: what was wanted last is shown, and told."""
        self.graph.answers.clear()
        self.runner.run(self._quiet())
        for number, wanted in self.wanted.items():
            newest = next(reversed(wanted.values()), None)
            assert self.graph.shown(user(number)) == newest
        for call in self.calls:
            told = call.result()
            ends = [told.kind] if isinstance(told, Outcome) else list(told.counts)
            assert ends
            assert isinstance(told, Outcome) or sum(told.counts.values()) == told.total
        self.calls.clear()
        self.runner.run(self._books())

    async def _quiet(self) -> None:
        async with asyncio.timeout(QUIET):
            if self.calls:
                await asyncio.wait(self.calls)
        await asyncio.sleep(QUIET)

    async def _books(self) -> None:
        """One outcome for each session in each sweep, and rows of those only that are held."""
        ends = Counter([(o.sweep_id, o.user) async for o in self.presence.outcomes()])
        assert set(ends.values()) <= {1}
        unfinal = [o async for o in self.presence.outcomes() if not o.kind.final]
        assert all(outcome.kind is Kind.UNFINISHED for outcome in unfinal)
        held = {row.user async for row in self.presence.sessions()}
        assert held == {user(number) for number, wanted in self.wanted.items() if wanted}
        lanes = list(self.presence._works.lanes)
        assert sum(map(len, lanes)) == sum(lane.in_flight for lane in lanes) == 0

    @invariant()
    def within_bounds(self) -> None:
        if hasattr(self, "presence"):
            assert all(lane.in_flight <= 128 for lane in self.presence._works.lanes)

    def teardown(self) -> None:
        if not hasattr(self, "presence"):
            return
        try:
            self.quiet()
            report: Report | None = self.runner.run(self.presence.close(deadline=60.0))
            assert not self.graph.sessions
            assert report is None or report.ok
            self.runner.close()
        finally:
            desk.FULL_BATCH = FULL_BATCH


TestLane = Lane.TestCase
TestLane.settings = settings(stateful_step_count=25, max_examples=settings().max_examples)
