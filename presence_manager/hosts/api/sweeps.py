"""The sweeps that callers of the API began: as they run, and for a while after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from uuid import uuid4

import structlog

from presence_manager.core.outcome import Outcome, Progress, Report
from presence_manager.errors import Closed, PresenceError
from presence_manager.manager import PresenceManager

log = structlog.get_logger()

REMEMBERED = 200
"""Sweeps that have ended and are remembered; older ones are looked up in the ledger."""
PROBLEMS = 100
"""Outcomes that are not success, as many as a report carries."""


class RunningSweep:
    """A sweep in a task of its own: `progress` while it runs, then `report`, or `error`."""

    def __init__(self, deadline: float | None) -> None:
        self.id = uuid4().hex
        self.deadline = deadline
        self.progress: Progress | None = None
        self.report: Report | None = None
        self.error: PresenceError | None = None
        self.task: asyncio.Task[Report] | None = None
        self.running = True
        self._moved = asyncio.Event()

    def see(self, progress: Progress) -> None:
        """Take note of how far it is."""
        self.progress = progress
        self._tell()

    async def moved(self) -> None:
        """Wait until there is something new to say of it."""
        if self.running:
            await self._moved.wait()

    async def ended(self) -> Report:
        """Wait for its report. Raises what it raised."""
        assert self.task is not None
        return await asyncio.shield(self.task)

    def end(self, task: asyncio.Task[Report]) -> None:
        """It is over, however."""
        self.running = False
        if task.cancelled():
            self.error = Closed("the daemon was stopped before the sweep had ended")
        else:
            error = task.exception()
            if error is None:
                self.report = task.result()
            elif isinstance(error, PresenceError):
                self.error = error
                log.error("sweep.failed", sweep=self.id, error=str(error))
            else:
                log.error("sweep.fault", sweep=self.id, exc_info=error)
        self._tell()

    def _tell(self) -> None:
        told, self._moved = self._moved, asyncio.Event()
        told.set()


class Sweeps:
    """Begins sweeps, and knows them by their id."""

    def __init__(self, presence: PresenceManager, took: Callable[[float], None]) -> None:
        self._presence = presence
        self._took = took
        self._sweeps: dict[str, RunningSweep] = {}

    def begin(
        self,
        users: Sequence[str | tuple[str, str]] | None = None,
        *,
        tenant: str | None = None,
        everyone: bool = False,
        deadline: float | None = None,
        leaving: bool = False,
    ) -> RunningSweep:
        """Begin a sweep (see `PresenceManager.sweep`); it goes on, watched or not."""
        sweep = RunningSweep(deadline)
        work = self._presence.sweep(
            users,
            tenant=tenant,
            everyone=everyone,
            deadline=deadline,
            progress=sweep.see,
            sweep_id=sweep.id,
            leaving=leaving,
        )
        sweep.task = asyncio.create_task(work)
        sweep.task.add_done_callback(sweep.end)
        started = monotonic()
        sweep.task.add_done_callback(lambda _: self._took(monotonic() - started))
        self._sweeps[sweep.id] = sweep
        self._forget()
        return sweep

    def get(self, sweep_id: str) -> RunningSweep | None:
        """The sweep, if it runs here or has ended not long ago."""
        return self._sweeps.get(sweep_id)

    def all(self) -> list[RunningSweep]:
        """Those that run, and those that are remembered, the newest first."""
        return list(reversed(self._sweeps.values()))

    async def recorded(self, sweep_id: str) -> tuple[Counter[str], list[Outcome]] | None:
        """What the ledger has of a sweep, of whichever process: how many of each kind, problems.

        None when it has nothing. Raises LedgerError, Closed.
        """
        counts: Counter[str] = Counter()
        unfinal: list[Outcome] = []
        async for outcome in self._presence.outcomes(sweep_id=sweep_id):
            counts[str(outcome.kind)] += 1
            if not outcome.kind.final and len(unfinal) < PROBLEMS:
                unfinal.append(outcome)
        return (counts, unfinal) if counts else None

    async def close(self) -> None:
        """End those that still run: the manager is closed, and what they left is written down."""
        tasks = {sweep.task for sweep in self._sweeps.values() if sweep.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self) -> None:
        ended = [sweep.id for sweep in self._sweeps.values() if not sweep.running]
        for sweep_id in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._sweeps[sweep_id]
