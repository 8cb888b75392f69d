"""Letting go of one part after the other, whatever becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from presence_manager.core.key import Key
from presence_manager.core.outcome import Progress, Report
from presence_manager.core.session import Session
from presence_manager.engine.sources import by_lane, pages
from presence_manager.engine.sweep import found
from presence_manager.errors import LedgerError
from presence_manager.manager.holds import Holds
from presence_manager.manager.works import Works
from presence_manager.ports import Graph, Ledger, Scope, Tokens

log = structlog.get_logger()

T = TypeVar("T")

_END: list[Session] = []
UNREAD = "the ledger could not be read: what it knows of besides is as it was"
PATIENCE = 0.8
"""Seconds that all parts together have to let go, after the sweep's deadline: where the disk hangs
they take them, and the interpreter wants to end within the one second, too."""


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


async def sweep_own(
    works: Works,
    ledger: Ledger,
    scope: Scope,
    held: Callable[[], list[Key]],
    by: float,
    progress: Callable[[Progress], None] | None,
) -> Report:
    """Clear what this process holds, until `by` on the loop's clock.

    That is what the ledger says; where it cannot be read within a third of the time there is, what
    is `held` by memory. Raises LedgerError when it fails and nothing is held.
    """
    time = asyncio.get_running_loop().time
    trouble: list[LedgerError] = []

    async def read(work: Awaitable[T]) -> T | None:
        try:
            until = time() if works.hurried else (2 * time() + by) / 3
            async with asyncio.timeout_at(max(time() + 0.1, until)) as works.reading:
                return await work
        except (LedgerError, TimeoutError) as error:
            log.error("ledger.failed", error=str(error) or "it does not answer")
            if isinstance(error, LedgerError):
                if not held():
                    raise
                trouble.append(error)
            else:
                trouble.append(LedgerError("the ledger does not answer"))
            return None
        finally:
            works.reading = None

    async def source(each: Scope, limit: int) -> AsyncIterator[list[Session]]:
        last, rows = "", pages(ledger, each, limit=limit)
        while not trouble and (chunk := await read(anext(rows, _END))) is not _END:
            if chunk:
                last = chunk[-1].key.user
                yield chunk
        if trouble:
            now, lane = works.now(), each.tenant
            keys = [key for key in held() if key.lane.tenant == lane and key.user > last]
            yield [found(Session(key=key), now) for key in keys]

    sources = await read(by_lane(ledger, scope, source))
    if sources is None:
        lanes = {key.lane.tenant for key in held()}
        sources = [source(replace(scope, tenant=tenant), 0) for tenant in lanes]
    deadline = max(0.0, by - time())
    report = await works.sweep_own(sources, deadline=deadline, progress=progress)
    return replace(report, complete=False, note=UNREAD) if trouble else report
