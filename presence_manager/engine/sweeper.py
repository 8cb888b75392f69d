"""Runs sweeps, any number at a time, and hears what became of their sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import inf

import structlog

from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.engine.entry import Rank
from presence_manager.engine.intake import Intake
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.plan import Now
from presence_manager.engine.sources import Source
from presence_manager.engine.sweep import LAST_WORD, PROGRESS_EVERY, Release, Sweep
from presence_manager.engine.unrecorded import Unrecorded
from presence_manager.ports import Clock, Ledger

log = structlog.get_logger()


class Sweeper:
    """Runs sweeps, any number at a time, and hears what became of their sessions."""

    def __init__(
        self,
        lanes: Lanes,
        *,
        ledger: Ledger,
        clock: Clock,
        now: Callable[[], Now],
        unrecorded: Unrecorded,
    ) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._clock = clock
        self._now = now
        self._unrecorded = unrecorded
        self._running: dict[str, Sweep] = {}
        self._hurried = False
        self._cutting: set[asyncio.Task[None]] = set()
        self._fetching: set[asyncio.Task[None]] = set()

    def became(self, outcomes: Iterable[Outcome]) -> None:
        """Pass each outcome to its sweep, if that is one of this process and still running."""
        for sweep_id, some in groupby(outcomes, lambda outcome: outcome.sweep_id):
            sweep = self._running.get(sweep_id)
            if sweep is not None:
                sweep.became(some)

    async def stop(self) -> None:
        """Fetch no more from the ledger: what waits there is left to the next start."""
        await self._unrecorded.stop()
        for task in self._fetching:
            task.cancel()
        if self._fetching:
            await asyncio.wait(self._fetching)

    def hurry(self) -> None:
        """Let the deadline of every sweep be over now, and of those to come."""
        self._hurried = True
        for sweep in self._running.values():
            sweep.deadline = min(sweep.deadline, self._clock.now())
            sweep.moved.set()

    async def run(
        self,
        sweep: Sweep,
        source: Source | Sequence[Source],
        release: Release,
        *,
        rank: Rank = Rank.SWEEP,
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Take in every session, and wait for all outcomes or the deadline.

        Several sources are of one lane each; one that stands alone may mix them.

        Where the ledger fails it goes on without it, with what nobody else is known to hold (see
        `engine.unrecorded`). Raises LedgerError when there is no such thing, or no reading it.
        """
        requests, refused = self._lanes.counts()
        sweep.owner = self._now().owner
        self._running[sweep.id] = sweep
        if self._hurried:
            sweep.deadline = min(sweep.deadline, self._clock.now())
        intake = Intake(
            sweep,
            release,
            rank,
            lanes=self._lanes,
            ledger=self._ledger,
            now=self._now,
            unrecorded=self._unrecorded,
        )
        taking = asyncio.create_task(
            intake.run(source) if isinstance(source, Sequence) else intake.run_mixed(source)
        )
        try:
            await self._wait(sweep, taking, progress)
            await self._cut(sweep, taking)
        finally:
            del self._running[sweep.id]  # before all that awaits: we may be cancelled here, too
            taking.cancel()
            try:
                await asyncio.wait({taking}, timeout=0.05)
            finally:
                for task in intake.refills:
                    self._fetching.add(task)
                    task.add_done_callback(self._fetching.discard)
        if progress is not None:
            _tell(progress, sweep.progress(self._clock.now()))
        sent, not_taken = self._lanes.counts()
        return sweep.report(self._clock.now(), sent - requests, not_taken - refused)

    async def _wait(
        self,
        sweep: Sweep,
        intake: asyncio.Task[None],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        told, owed = -inf, False
        intake.add_done_callback(lambda _: sweep.moved.set())
        while not sweep.finished:
            if intake.done() and not sweep.all_taken:
                intake.result()  # raises what stopped it
            sweep.moved.clear()
            left = sweep.deadline - self._clock.now()
            word = told + PROGRESS_EVERY - loop.time() if owed else inf
            patience, late = min(left, word), False
            try:
                async with asyncio.timeout(max(0.0, patience) if patience < inf else None):
                    await sweep.moved.wait()
                owed = progress is not None
            except TimeoutError:
                if left <= word:
                    return
                late = True
            if progress is not None and (late or (owed and loop.time() - told >= PROGRESS_EVERY)):
                told, owed = loop.time(), False
                _tell(progress, sweep.progress(self._clock.now()))

    async def _cut(self, sweep: Sweep, intake: asyncio.Task[None]) -> None:
        """Write down what the deadline cut off; a ledger that hangs does not hold it up."""
        if sweep.finished:
            return
        sweep.complete = sweep.all_taken
        sweep.all_taken = True
        try:
            async with asyncio.timeout(LAST_WORD):
                intake.cancel()
                await asyncio.wait({intake})
                cutting = asyncio.create_task(self._lanes.cut(sweep.id))
                self._cutting.add(cutting)
                cutting.add_done_callback(self._cutting.discard)
                while not sweep.finished:
                    sweep.moved.clear()
                    await sweep.moved.wait()
        except TimeoutError:
            left = sweep.taken - sweep.done
            log.error("sweep.unanswered", sweep=sweep.id, left=left)
            sweep.counts[Kind.UNFINISHED] += left


def _tell(progress: Callable[[Progress], None], what: Progress) -> None:
    try:
        progress(what)
    except Exception:
        log.exception("progress.callback_failed", sweep=what.sweep_id)
