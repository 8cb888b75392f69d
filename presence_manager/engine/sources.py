"""Where a sweep's sessions come from: the ledger, read a chunk at a time, lane by lane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from presence_manager.core.key import Key
from presence_manager.core.session import Session
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Scope

WINDOW = 40_000
"""Sessions at work at a time, in all lanes of a sweep together: what bounds its memory."""
LEAST = 40
"""Sessions at work in one lane that a sweep lets be, however many lanes there are: two batches."""
CHUNK = 1_000
"""Rows read from the ledger, and committed, at a time."""

Source = AsyncIterator[list[Session]]
"""Sessions to clear, a chunk at a time, in which those of a lane stand side by side."""


async def once(rows: list[Session]) -> Source:
    """Just these."""
    yield rows


async def pages(
    ledger: Ledger, scope: Scope, *, over: bool = False, limit: int = CHUNK
) -> AsyncIterator[list[Session]]:
    """All rows of the scope, a chunk at a time; `over`: those of which nothing is left, too."""
    after: Key | None = None
    while rows := await ledger.page(scope, after, limit):
        after = rows[-1].key
        yield rows if over else [row for row in rows if not row.over]


async def by_lane(
    ledger: Ledger,
    scope: Scope,
    read: Callable[[Scope, int], Source] | None = None,
    *,
    within: float | None = None,
) -> list[Source]:
    """The rows of the scope, a source for each lane.

    Raises LedgerError, also when the ledger does not answer `within` so many seconds.
    """
    scopes = [scope]
    if scope.tenant is None:
        try:
            async with asyncio.timeout(within):
                lanes = await ledger.lanes(scope.origin, scope.app)
        except TimeoutError:
            raise LedgerError(
                f"the ledger did not answer within {within:g} s, the deadline of the sweep: "
                "nothing was cleared, and all is still in the ledger. Sweep again, or start again."
            ) from None
        scopes = [replace(scope, tenant=lane.tenant) for lane in lanes]
    limit = chunk_of(window_of(len(scopes)))
    read = read or (lambda each, limit: pages(ledger, each, limit=limit))
    return [read(each, limit) for each in scopes]


def window_of(lanes: int) -> int:
    """How many sessions of each lane may be at work."""
    return max(LEAST, WINDOW // max(1, lanes))


def chunk_of(window: int) -> int:
    """How many rows to read at a time where so many sessions may be at work."""
    return min(CHUNK, window)
