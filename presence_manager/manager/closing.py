"""Letting go of one part after the other, whatever becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import structlog

log = structlog.get_logger()

PATIENCE = 1.0
"""Seconds that all parts together have to let go, after the sweep's deadline."""


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def within(by: float, part: str, work: Awaitable[None]) -> None:
    """Let go of one part: neither its fault nor its slowness stops the next.

    It has until `by`, on the loop's clock, but at most PATIENCE seconds and at least a moment.
    """
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(max(0.02, min(by - now, PATIENCE))):
            await work
    except TimeoutError:
        log.error("close.too_slow", part=part)
    except Exception:
        log.exception("close.failed", part=part)
