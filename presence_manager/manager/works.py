"""The engine of one manager, wired together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf

import structlog

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.core.pair import shortest_lease
from presence_manager.core.session import Session, Terms, Wish
from presence_manager.core.verdict import Verdict
from presence_manager.engine.entry import Rank
from presence_manager.engine.lane import Lane
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.placing import Placing
from presence_manager.engine.plan import Now, new_sweep_id
from presence_manager.engine.recovery import Recovery
from presence_manager.engine.renewer import Renewer
from presence_manager.engine.retry import LaneTerms, RetryPolicy
from presence_manager.engine.sources import Source, once
from presence_manager.engine.sweep import (
    LAST_WORD,
    Release,
    Sweep,
    found,
    is_kept,
    release_one,
    release_own,
    release_unnamed,
)
from presence_manager.engine.sweeper import Sweeper
from presence_manager.engine.unrecorded import OwingNow, Unrecorded
from presence_manager.errors import LedgerError
from presence_manager.gate.budget import GateTerms
from presence_manager.gate.gate import Gate
from presence_manager.ports import Clock, Graph, Ledger
from presence_manager.settings import GraphSettings, Settings

log = structlog.get_logger()

WHOLE_SECONDS = 1.0
"""How exactly Graph tells its time: less is no change."""


class Works:
    """Lanes, sweeps, renewals and recovery over one ledger and one Graph.

    It hears what becomes of the sessions (`engine.lane.Audience`) and passes it on: to the sweep,
    to the renewer, and to `rested` and `refused`, which the holds set.
    """

    def __init__(
        self,
        settings: Settings,
        owner: str,
        *,
        ledger: Ledger,
        graph: Graph,
        clock: Clock,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._ledger = ledger
        self._graph = graph
        self._clock = clock
        self.hurried = False
        self.reading: asyncio.Timeout | None = None
        self.on_rest: Callable[[Session], None] = lambda row: None
        self.on_gone: Callable[[Sequence[Key]], None] = lambda keys: None
        self.on_refusal: Callable[[Key, str, Verdict], None] = lambda key, name, verdict: None
        retry, timeout = settings.retry, settings.graph.timeout
        self.terms = terms = Terms(timeout=timeout, margin=retry.margin, settle=retry.settle)
        self._how = LaneTerms(
            terms=terms,
            policy=policy
            or RetryPolicy(
                attempts=retry.attempts,
                first_wait=retry.first_wait,
                longest_wait=retry.longest_wait,
            ),
            batching=settings.graph.batch == "auto",
            width=settings.graph.in_flight,
        )
        self._gate_terms = _gate_terms(settings.graph)
        self.lanes = Lanes(self._lane)
        self.unrecorded = Unrecorded(
            self.lanes,
            ledger=ledger,
            owner=owner,
            now=self.now,
            rest=lambda key: self.renewer.schedule(key, inf),
        )
        self.sweeper = Sweeper(
            self.lanes, ledger=ledger, clock=clock, now=self.now, unrecorded=self.unrecorded
        )
        self.became = self.sweeper.became
        self.placing = Placing(self.lanes, ledger=ledger, now=self.now)
        self.renewer = Renewer(
            self.lanes,
            ledger=ledger,
            clock=clock,
            owner=owner,
            window=settings.graph.budget_window,
            gone=lambda row: self.rested([(row, inf)]),
            not_now=self.unrecorded.owed,
        )
        self.recovery = Recovery(
            self.sweeper,
            ledger=ledger,
            clock=clock,
            origin=settings.graph.base_url,
            app=settings.client_id.lower(),
            resume=settings.shutdown.policy == "keep",
        )

    def change_budget(self, graph: GraphSettings) -> None:
        """Go on with the budget and the ceiling of these settings."""
        terms = _gate_terms(graph)
        self._gate_terms = self._gate_terms._replace(budget=terms.budget, ceiling=terms.ceiling)
        for lane in self.lanes:
            lane.change(self._gate_terms)

    def now(self) -> Now:
        """The moment, with all that the plans want to know."""
        at, graph = self._clock.now(), self._graph.date()
        if graph is not None:
            skew = self.terms.skew
            if skew is None or abs(graph - at - skew) > WHOLE_SECONDS:
                self.terms = replace(self.terms, skew=graph - at)
        kind = OwingNow if self.unrecorded else Now
        now = kind(
            at=at,
            owner=self._owner,
            terms=self.terms,
            graph=graph,
            retry=self._settings.recovery.retry,
            lease=self._lease,
        )
        if isinstance(now, OwingNow):
            now.unrecorded = self.unrecorded
        return now

    def _lease(self, lane_id: LaneId) -> float:
        """The shortest lease whose renewals fit into half of the lane's budget."""
        lane = self.lanes[lane_id]
        held = self.renewer.held[lane_id] + len(lane)
        return shortest_lease(held, lane.gate.budget.size / lane.gate.window / 2)

    def rested(self, rows: Iterable[tuple[Session, float]]) -> None:
        """Sessions came to rest."""
        for row, at in rows:
            self.renewer.schedule(row.key, at)
            self.on_rest(row)

    def gone(self, keys: Sequence[Key]) -> None:
        """The same of sessions of which nothing is left."""
        self.renewer.forget(keys)
        self.on_gone(keys)

    def refused(self, key: Key, name: str, verdict: Verdict) -> None:
        """A hold was refused for good."""
        self.on_refusal(key, name, verdict)

    async def sweep(
        self,
        source: Source | Sequence[Source],
        release: Release,
        *,
        deadline: float | None,
        progress: Callable[[Progress], None] | None = None,
        rank: Rank = Rank.SWEEP,
        sweep_id: str | None = None,
    ) -> Report:
        """Clear what the sources name (see `Sweeper.run`), within `deadline` seconds.

        Raises LedgerError.
        """
        now = self._clock.now()
        sweep = Sweep(
            started=now,
            id=sweep_id or new_sweep_id(),
            deadline=inf if deadline is None else now + deadline,
        )
        report = await self.sweeper.run(sweep, source, release, rank=rank, progress=progress)
        log.info(
            "sweep.done",
            sweep=report.sweep_id,
            seconds=round(report.seconds, 3),
            counts=report.counts,
            unrecorded=report.unrecorded_total,
            ok=report.ok,
        )
        return report

    def hurry(self) -> None:
        """Let the deadline of every sweep be over now, and the ledger have but a moment."""
        self.hurried = True
        self.sweeper.hurry()
        if self.reading is not None and not self.reading.expired():
            self.reading.reschedule(asyncio.get_running_loop().time() + LAST_WORD)

    async def sweep_own(
        self,
        sources: list[Source],
        *,
        deadline: float | None,
        progress: Callable[[Progress], None] | None = None,
        sweep_id: str | None = None,
    ) -> Report:
        """Clear what this process holds, before all else, but for what its policy keeps.

        Raises LedgerError.
        """
        release: Release = release_own
        if self._settings.shutdown.policy == "keep":
            sources = [self._not_kept(source) for source in sources]
            release = release_unnamed
        return await self.sweep(
            sources,
            release,
            deadline=deadline,
            progress=progress,
            rank=Rank.RELEASE,
            sweep_id=sweep_id,
        )

    async def _not_kept(self, source: Source) -> Source:
        kept = 0
        async for rows in source:
            now = self.now()
            others = [row for row in rows if not is_kept(row, now)]
            kept += len(rows) - len(others)
            yield others
        if kept:
            log.info("sessions.kept", sessions=kept, until="another process goes on with them")

    async def sweep_one(self, row: Session, release: Release, deadline: float) -> Outcome:
        """Clear one session: a sweep of one, before all others. Raises LedgerError."""
        now = self._clock.now()
        sweep = Sweep(started=now, deadline=now + deadline)
        await self.sweeper.run(sweep, once([row]), release, rank=Rank.RELEASE)
        return sweep.last or self._untold(row.key, Kind.UNFINISHED, "deadline", sweep.id)

    async def release(
        self, key: Key, name: str, *, alone: Wish | None = None, only: Wish | None = None
    ) -> Outcome:
        """End one hold, in whichever process; harmless if there is none. Raises LedgerError.

        One that is `alone` in this process is cleared even where the ledger cannot be read. Where
        it must be the `only` one, a hold that was put again under its name stays.
        """
        try:
            row = (await self._ledger.get([key]))[0]
        except LedgerError:
            if alone is None:
                raise
            row = found(Session(key=key), self.now())._replace(wishes=(alone,))
        wish = row.wish(name)
        if wish is None or (only is not None and wish != only):
            return self._untold(key, Kind.NEVER_SET, "not held")
        return await self.sweep_one(row, release_one(wish), self._settings.release.timeout)

    def _untold(self, key: Key, kind: Kind, reason: str, sweep_id: str = "") -> Outcome:
        return Outcome(
            key=key,
            kind=kind,
            sweep_id=sweep_id,
            at=self._clock.now(),
            owner=self._owner,
            reason=reason,
            recorded=False,
        )

    def _lane(self, lane_id: LaneId) -> Lane:
        return Lane(
            lane_id,
            ledger=self._ledger,
            graph=self._graph,
            clock=self._clock,
            gate=Gate(self._gate_terms),
            how=self._how,
            now=self.now,
            audience=self,
            unrecorded=self.unrecorded,
        )


def _gate_terms(graph: GraphSettings) -> GateTerms:
    return GateTerms(
        budget=None if graph.budget == "auto" else graph.budget,
        window=graph.budget_window,
        ceiling=graph.budget_ceiling,
        timeout=graph.timeout,
    )
