"""A sweep: one pass that clears sessions under one deadline and ends in a report.

A lone clear or release is a sweep of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, field
from math import inf

import structlog

from presence_manager.core import change
from presence_manager.core.decide import Send
from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.core.pair import LONGEST_LEASE
from presence_manager.core.session import Session, Step, Wish, step
from presence_manager.core.verdict import Verb
from presence_manager.engine.entry import Rank
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.plan import Now, attempt_for, new_sweep_id
from presence_manager.engine.shield import to_the_end
from presence_manager.ports import Clock, Ledger

log = structlog.get_logger()

WINDOW = 20_000
"""Sessions of one sweep that may be at work at a time: what bounds its memory."""
PROBLEMS = 100
"""Outcomes that a report carries; all are in the ledger."""
PROGRESS_EVERY = 0.1
"""Seconds between two calls of a progress callback, at least."""
STRANGERS = 20
"""Users unknown to the ledger, all of them already gone, that look like a mistake."""
LAST_WORD = 0.9
"""Seconds after its deadline within which a sweep has written down what it left."""

Release = Callable[[Session, Now, str], Session]
"""How a sweep ends the holds of a session: (row, now, sweep id) to its next version."""


def release_all(row: Session, now: Now, sweep_id: str) -> Session:
    """End all holds of the session, in every process."""
    row = change.found(row, now.at + LONGEST_LEASE + now.terms.margin, now.owner)
    return change.release(row, now.at, now.owner, sweep_id=sweep_id)


def release_own(row: Session, now: Now, sweep_id: str) -> Session:
    """End the holds of this process only."""
    own = frozenset(wish.name for wish in row.wishes if wish.owner == now.owner)
    return change.release(row, now.at, now.owner, names=own, sweep_id=sweep_id)


def release_one(wish: Wish) -> Release:
    """End one hold, unless it was put again meanwhile: the last word wins."""

    def release(row: Session, now: Now, sweep_id: str) -> Session:
        names = frozenset({wish.name} if row.wish(wish.name) == wish else ())
        return change.release(row, now.at, now.owner, names=names, sweep_id=sweep_id)

    return release


def release_dead(gone: Set[str]) -> Release:
    """End the holds whose process is `gone`, and what it left open."""

    def release(row: Session, now: Now, sweep_id: str) -> Session:
        attempt = row.attempt
        if attempt is not None and attempt.owner in gone:
            row = change.abandon(row, now.at, now.owner, now.terms)
        dead = frozenset(w.name for w in row.wishes if w.owner in gone)
        row = change.release(row, now.at, now.owner, names=dead)
        if row.newest(now.at) is None and not row.over:
            row = change.release(row, now.at, now.owner, names=frozenset(), sweep_id=sweep_id)
        return row

    return release


@dataclass(slots=True, kw_only=True, eq=False)
class Sweep:
    """The state of a running sweep; `deadline` is in seconds since the epoch."""

    started: float
    id: str = field(default_factory=new_sweep_id)
    deadline: float = inf
    taken: int = 0
    done: int = 0
    strangers: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    last: Outcome | None = None
    all_taken: bool = False
    complete: bool = True
    unfinal: dict[Key, Outcome] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def finished(self) -> bool:
        """Whether every session taken in has its outcome, and none is to come."""
        return self.all_taken and self.done >= self.taken

    def became(self, outcome: Outcome) -> None:
        """Count an outcome; a later one of the same session replaces what was not final."""
        before = self.unfinal.pop(outcome.key, None)
        if before is None:
            self.done += 1
        else:
            self.counts[before.kind] -= 1
        self.counts[outcome.kind] = self.counts.get(outcome.kind, 0) + 1
        if not outcome.kind.final:
            self.unfinal[outcome.key] = outcome
        self.last = outcome
        self.moved.set()

    def progress(self, now: float) -> Progress:
        """How far it is."""
        return Progress(
            sweep_id=self.id,
            taken=self.taken,
            done=self.done,
            counts={str(kind): n for kind, n in self.counts.items() if n},
            seconds=now - self.started,
            all_taken=self.all_taken,
        )

    def report(self, now: float, requests: int, refused: int) -> Report:
        """How it went."""
        gone = self.counts.get(Kind.ALREADY_GONE, 0)
        note = ""
        if self.strangers >= STRANGERS and gone == self.strangers == self.taken:
            note = (
                f"all {gone} users were unknown to the ledger and had no session: "
                "is this the application that set them?"
            )
        if not self.complete:
            note = "the deadline came before all sessions were taken in: the rest is as it was"
        return Report(
            sweep_id=self.id,
            complete=self.complete,
            seconds=now - self.started,
            requests=requests,
            refused=refused,
            counts={str(kind): n for kind, n in self.counts.items() if n},
            problems=tuple(list(self.unfinal.values())[:PROBLEMS]),
            note=note,
        )


class Sweeper:
    """Runs sweeps, any number at a time, and hears what became of their sessions."""

    def __init__(
        self, lanes: Lanes, *, ledger: Ledger, clock: Clock, now: Callable[[], Now]
    ) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._clock = clock
        self._now = now
        self._running: dict[str, Sweep] = {}
        self._hurried = False
        self._cutting: set[asyncio.Task[None]] = set()

    def became(self, outcome: Outcome) -> None:
        """Pass an outcome to its sweep, if that is one of this process and still running."""
        sweep = self._running.get(outcome.sweep_id)
        if sweep is not None:
            sweep.became(outcome)

    def hurry(self) -> None:
        """Let the deadline of every sweep be over now, and of those to come."""
        self._hurried = True
        for sweep in self._running.values():
            sweep.deadline = min(sweep.deadline, self._clock.now())
            sweep.moved.set()

    async def run(
        self,
        sweep: Sweep,
        source: AsyncIterator[list[Session]],
        release: Release,
        *,
        rank: Rank = Rank.SWEEP,
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Take in every session of the source, and wait for all outcomes or the deadline.

        Raises LedgerError when the first sessions could not be taken in; later faults of the
        ledger leave the sessions concerned unfinished.
        """
        requests, refused = self._lanes.counts()
        self._running[sweep.id] = sweep
        if self._hurried:
            sweep.deadline = min(sweep.deadline, self._clock.now())
        intake = asyncio.create_task(self._take_in(sweep, source, release, rank))
        try:
            await self._wait(sweep, intake, progress)
            if not sweep.finished:
                await self._cut(sweep, intake)
        finally:
            intake.cancel()
            await asyncio.wait({intake}, timeout=0.05)
            del self._running[sweep.id]
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
        told = -inf
        intake.add_done_callback(lambda _: sweep.moved.set())
        while not sweep.finished:
            if intake.done() and not sweep.all_taken:
                intake.result()  # raises what stopped it
            sweep.moved.clear()
            left = sweep.deadline - self._clock.now()
            try:
                async with asyncio.timeout(max(0.0, left) if left < inf else None):
                    await sweep.moved.wait()
            except TimeoutError:
                return
            if progress is not None and loop.time() - told >= PROGRESS_EVERY:
                told = loop.time()
                _tell(progress, sweep.progress(self._clock.now()))

    async def _cut(self, sweep: Sweep, intake: asyncio.Task[None]) -> None:
        """Write down what the deadline cut off; a ledger that hangs does not hold it up."""
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
            sweep.counts[Kind.UNFINISHED] = sweep.counts.get(Kind.UNFINISHED, 0) + left

    async def _take_in(
        self, sweep: Sweep, source: AsyncIterator[list[Session]], release: Release, rank: Rank
    ) -> None:
        async for rows in source:
            while sweep.taken - sweep.done > WINDOW:
                sweep.moved.clear()
                await sweep.moved.wait()
            await to_the_end(self.take(sweep, rows, release, rank))
        sweep.all_taken = True

    async def take(self, sweep: Sweep, rows: list[Session], release: Release, rank: Rank) -> None:
        """Commit that these sessions are to be cleared, and hand them to their lanes."""
        while rows:
            now = self._now()
            staked = [self._intent(row, now, sweep, release) for row in rows]
            lost = await self._ledger.put([planned for planned, _ in staked])
            for index, (row, (planned, send)) in enumerate(zip(rows, staked, strict=True)):
                if index in lost:
                    continue
                if sweep.id in planned.row.sweeps:
                    sweep.taken += 1
                    sweep.strangers += not row.version
                self._lanes[row.key.lane].submit(planned.row, rank, sweep.deadline, send)
            rows = list(lost.values())

    def _intent(
        self, row: Session, now: Now, sweep: Sweep, release: Release
    ) -> tuple[Step, Send | None]:
        """The next version of the row, and what is to be sent if that is decided with it."""
        new = release(row, now, sweep.id)
        send = None
        if new.attempt is None:
            action = now.decide(new)
            if isinstance(action, Send) and action.verb is Verb.CLEAR:
                number = self._lanes[row.key.lane].number()
                attempt = attempt_for(action, now.owner, number, inf)
                new = change.begin(new, attempt, now.at, now.terms)
                send = action
        return step(row, new), send


def _tell(progress: Callable[[Progress], None], what: Progress) -> None:
    try:
        progress(what)
    except Exception:
        log.exception("progress.callback_failed", sweep=what.sweep_id)
