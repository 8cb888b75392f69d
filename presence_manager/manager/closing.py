"""Letting go of one part after the other, whatever becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from presence_manager.manager.holds import Holds
from presence_manager.manager.works import Works
from presence_manager.ports import Graph, Ledger, Tokens

log = structlog.get_logger()

PATIENCE = 1.0
"""Seconds that all parts together have to let go, after the sweep's deadline."""


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def ended(closing: asyncio.Task[Any]) -> None:
    """Wait until the closing is over; what it raised is logged, for its caller was cancelled."""
    await asyncio.wait({closing})
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.error("close.failed", error=str(error))


async def let_go(
    by: float,
    works: Works,
    holds: Holds,
    background: set[asyncio.Task[Any]],
    graph: Graph,
    tokens: Tokens | None,
    leave: Callable[[], Awaitable[None]],
    ledger: Ledger,
) -> None:
    """Let go of all parts, in order, and of each even if we are cancelled at another.

    A runner that closes its loop cancels every task there is, and the closing among them.
    """
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "renewals": works.renewer.stop,
        "sweeps": works.sweeper.stop,
        "lanes": works.lanes.stop,
        "holds": holds.settled,
        "background": lambda: end(background),
        "lanes, again": works.lanes.stop,  # what these two committed last
        "graph": graph.close,
        **({} if tokens is None else {"tokens": tokens.close}),
        "owner": leave,
        "ledger": ledger.close,
    }
    cancelled: asyncio.CancelledError | None = None
    for part, work in parts.items():
        try:
            await within(by, part, work())
        except asyncio.CancelledError as error:
            cancelled = error
    holds.close()
    if cancelled is not None:
        raise cancelled


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
