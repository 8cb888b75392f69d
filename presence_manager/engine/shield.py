"""What must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from presence_manager.errors import Closed

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await the work; if we are cancelled meanwhile, let it end first, then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen, so that nobody is told that it never was
        raise


async def unless_closed(work: asyncio.Future[T]) -> T:
    """Wait for work that goes on without us if we are cancelled.

    Raises Closed where the closing has ended it: a CancelledError is for who was cancelled.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not work.cancelled() or task is None or task.cancelling():
            raise
        raise Closed(
            "the manager was closed before this had ended: what is left of it is in the ledger, "
            "and the next start goes on with it"
        ) from None
