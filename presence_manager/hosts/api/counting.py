"""Counts of the sessions, shared by all who ask."""

from __future__ import annotations

import asyncio
from time import monotonic, time

from presence_manager.core.session import Tally
from presence_manager.manager.pages import Pages

SOON = 60.0
"""A session is due that wants renewal within so many seconds."""
COUNT_EVERY = 1.0
"""Seconds for which a count is good, at least."""
REST = 20.0
"""So many times as long as it took to count, a count is good: holds do not wait for watchers."""


class Counting:
    """Counts the sessions of a ledger, but seldom, however many ask."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._counting: asyncio.Task[list[Tally]] | None = None
        self._good_until = 0.0

    async def tallies(self) -> list[Tally]:
        """The counts of about now. Raises LedgerError, Closed."""
        if self._counting is None or (self._counting.done() and monotonic() >= self._good_until):
            self._counting = asyncio.create_task(self._count())
        return await asyncio.shield(self._counting)

    async def _count(self) -> list[Tally]:
        started = monotonic()
        try:
            return await self._pages.tally(time() + SOON)
        finally:
            ended = monotonic()
            self._good_until = ended + max(COUNT_EVERY, REST * (ended - started))
