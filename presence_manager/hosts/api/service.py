"""What the daemon is, behind its HTTP API: the manager, its sweeps, and whether it takes holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from presence_manager.core.outcome import Report
from presence_manager.hosts.api.counting import Counting
from presence_manager.hosts.api.meters import Metered
from presence_manager.hosts.api.problems import CLOSING, DRAINING, Problem
from presence_manager.hosts.api.readiness import Readiness
from presence_manager.hosts.api.sweeps import RunningSweep, Sweeps

log = structlog.get_logger()


class Service:
    """A manager that others drive over HTTP."""

    def __init__(self, metered: Metered) -> None:
        self.presence = presence = metered.presence
        self.meters = metered.meters
        self.sweeps = Sweeps(presence, self.meters.sweep_seconds.observe)
        self.readiness = Readiness(
            metered.ledger, metered.tokens, presence.settings.tenant_id.lower()
        )
        self.counting = Counting(presence.pages)
        self.closing = False
        """Whether it has been told to stop."""
        self.guarded = False
        """Whether it demands tokens."""
        self._draining: asyncio.Task[Report] | None = None
        self._placing = 0
        self._placed = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether new holds are refused until the process ends."""
        return self._draining is not None

    @asynccontextmanager
    async def placing(self) -> AsyncIterator[None]:
        """Commit a hold within this block: a drain waits for it. Raises Problem."""
        if self.closing:
            raise Problem(CLOSING, "it clears what it holds, and ends: ask its successor")
        if self.draining:
            raise Problem(DRAINING, "it clears what it holds, and takes no more: ask its successor")
        self._placing += 1
        try:
            yield
        finally:
            self._placing -= 1
            if not self._placing:
                self._placed.set()

    async def faults(self) -> list[str]:
        """Why it takes no holds; empty when it does."""
        if self.closing:
            return ["it is being stopped"]
        faults = ["it is being drained"] if self.draining else []
        return faults + await self.readiness.faults()

    async def drain(self, deadline: float) -> Report:
        """Take no more holds, and clear all of this process; a second call joins the first.

        Raises LedgerError, Closed.
        """
        if self._draining is None or (
            self._draining.done() and (self._draining.cancelled() or self._draining.exception())
        ):
            log.info("daemon.draining", deadline=deadline)
            self._draining = asyncio.create_task(self._drain(deadline))
        return await asyncio.shield(self._draining)

    async def close(self) -> None:
        """Let go, once the manager has closed."""
        self.readiness.close()
        await self.sweeps.close()

    async def _drain(self, deadline: float) -> Report:
        while self._placing:
            self._placed.clear()
            await self._placed.wait()
        sweep: RunningSweep = self.sweeps.begin(deadline=deadline, leaving=True)
        return await sweep.ended()
