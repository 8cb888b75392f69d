"""What is done about orphans and about sessions that nobody sees to any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Set
from hashlib import sha256

import structlog

from presence_manager.core.key import Key
from presence_manager.core.outcome import Report
from presence_manager.core.session import Session
from presence_manager.engine.sources import by_lane, pages
from presence_manager.engine.sweep import Sweep, owners_of, release_dead
from presence_manager.engine.sweeper import Sweeper
from presence_manager.errors import LedgerError
from presence_manager.ports import Clock, Ledger, Scope

log = structlog.get_logger()

DAY = 86_400.0
"""Seconds."""


class Recovery:
    """Clears what dead processes left: once at the start, then whenever another one dies.

    With `resume` it goes on with those of their holds that somebody can still end.
    """

    def __init__(
        self,
        sweeper: Sweeper,
        *,
        ledger: Ledger,
        clock: Clock,
        origin: str,
        app: str,
        resume: bool = False,
    ) -> None:
        self._sweeper = sweeper
        self._ledger = ledger
        self._clock = clock
        self._origin = origin
        self._app = app
        self._resume = resume

    async def once(self, *, deadline: float | None = None) -> Report:
        """Clear all orphans, and what was left failed or unfinished; `deadline` in seconds.

        Raises LedgerError.
        """
        now = self._clock.now()
        sweep = Sweep(started=now)
        if deadline is not None:
            sweep.deadline = now + deadline
        dead = await self._dead()
        gone: set[str] = set()
        doubtful: set[Key] = set()
        others: set[Key] = set()
        marked = await self._ledger.marked()
        alive = await self._ledger.alive()
        # who cannot read the ledger clears by memory, also whom another holds by then: any row
        owed = not marked.isdisjoint(dead)
        scope = Scope(origin=self._origin, app=self._app, orphans_of=None if owed else alive)
        sources = await by_lane(
            self._ledger,
            scope,
            lambda each, limit: self._orphans(each, limit, gone, marked, doubtful, others),
        )
        resumed: set[Key] | None = set() if self._resume else None
        report = await self._sweeper.run(
            sweep, sources, release_dead(gone, resumed, doubtful, others)
        )
        for owner in dead:  # their sessions are ours now
            await self._ledger.leave(owner)
        if resumed:
            log.info("recovery.resumed", sessions=len(resumed))
        if report.total:
            log.info("recovery.done", sweep=sweep.id, counts=report.counts)
        return report

    async def watch(self, every: float, keep: float) -> None:
        """Recover whenever another process has died; looks every `every` seconds.

        Once a day it forgets the outcomes of more than `keep` seconds ago.
        """
        forgotten = self._clock.now()
        while True:
            await asyncio.sleep(every)
            try:
                if self._clock.now() - forgotten >= DAY:
                    forgotten = self._clock.now()
                    await self._ledger.forget(forgotten - keep)
                if dead := await self._dead():
                    log.info("recovery.owner_died", owners=len(dead))
                    await self.once()
            except LedgerError as error:
                log.error("ledger.failed", error=str(error))

    async def _orphans(
        self,
        scope: Scope,
        limit: int,
        gone: set[str],
        marked: Set[str],
        doubtful: set[Key],
        others: set[Key],
    ) -> AsyncIterator[list[Session]]:
        """The rows of processes that are gone, whose names go into `gone`.

        The keys of those that were `marked` go into `doubtful`. Where the scope is not of orphans
        alone, all keys do; the other rows come, too, and their keys go into `others`. Only as long
        as a page is being taken in: when the next one is asked for, nobody looks at it any more.

        Who is alive is read again after each page: an owner enters before it writes, so whoever
        stands in a page that was read before, and is not alive after, has really ended.
        """
        async for rows in pages(self._ledger, scope, over=True, limit=limit):
            named = {owner for row in rows for owner in owners_of(row)}
            gone |= named - await self._ledger.alive()
            orphans = [row for row in rows if not gone.isdisjoint(owners_of(row))]
            if scope.orphans_of is None:
                page = rows
                unsure = {row.key for row in rows}
                others |= unsure - {row.key for row in orphans}
            else:
                page = orphans
                unsure = {row.key for row in orphans if not marked.isdisjoint(owners_of(row))}
            doubtful |= unsure
            yield page
            doubtful -= unsure
            others -= unsure

    async def _dead(self) -> frozenset[str]:
        """The dead of this application: another's are for its own processes to find (rule 11)."""
        ours = owner_prefix(self._origin, self._app)
        return frozenset(name for name in await self._ledger.dead() if name.startswith(ours))


def owner_prefix(origin: str, app: str) -> str:
    """What the names of all owners of one application on one Graph begin with."""
    return sha256(f"{origin} {app}".encode()).hexdigest()[:12] + "-"
