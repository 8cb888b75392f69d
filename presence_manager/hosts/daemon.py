"""A process of its own that holds presences until it is told to stop.

    async def work(presence: PresenceManager) -> None:
        await presence.hold(user, "Busy", "InACall")
        await asyncio.Future()  # for ever

    sys.exit(asyncio.run(run_until_stopped(Settings(), work)))

How it stops: the sweep begins, the work is cancelled, and both are waited for; then it says by
its exit status whether all are gone. A second signal means hurry: Graph is waited for no longer,
and what is left stays in the ledger for the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from presence_manager.core.outcome import Progress
from presence_manager.hosts.life import Life, Source
from presence_manager.hosts.signals import Signals
from presence_manager.manager import PresenceManager

log = structlog.get_logger()

LAST_WORD = 1.0
"""Seconds that the work has, after the sweep, to end once it was cancelled."""

Work = Callable[[PresenceManager], Coroutine[Any, Any, object]]


async def run_until_stopped(
    source: Source = None,
    work: Work | None = None,
    *,
    stop: Awaitable[object] | None = None,
    deadline: float | None = None,
    closing: Callable[[Progress | None], None] = lambda progress: None,
) -> int:
    """Open a manager, of settings or by a factory, and run `work` with it until told to stop.

    Told by SIGTERM or SIGINT (Ctrl-Break, too, on Windows), whose handlers are put in place for
    as long as this runs; or, where `stop` is given, by that alone: then no signal is touched. It
    also stops when `work` returns. `deadline`, in seconds, is what the closing sweep may take
    (`shutdown.deadline` by default). `closing` is told when that begins (None), and then how far
    it is.

    Returns the exit status: 0 when all sessions are gone, 1 when some may not be. Raises
    SettingsError and LedgerUnusable before anything else, and what `work` or `stop` raises after
    the sweep. To be cancelled is to be told to stop; once more, to hurry.
    """
    life = Life(source, deadline=deadline, closing=closing)
    if stop is not None:
        return await _run(life, work, stop, asyncio.Event())
    with Signals() as signals:
        return await _run(life, work, signals.asked.wait(), signals.hurried)


async def _run(
    life: Life, work: Work | None, stop: Awaitable[object], hurried: asyncio.Event
) -> int:
    told = asyncio.ensure_future(stop)
    working: asyncio.Task[object] | None = None
    hurrying: asyncio.Task[None] | None = None
    try:
        async with life:
            if work is not None:
                working = asyncio.create_task(work(life.presence))
            hurrying = asyncio.create_task(_hurry(life, hurried))
            log.info("daemon.ready")
            try:
                await asyncio.wait(
                    {told} if working is None else {told, working},
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if working is not None and working.done():
                    working.result()
                if told.done():
                    told.result()
            finally:
                log.info("daemon.stopping")
                await life.begin_closing()  # first, so that no release of the work waits for Graph
                if working is not None:
                    working.cancel()
        ended = await _end(working)
    finally:
        for task in (working, hurrying):
            if task is not None:
                task.cancel()
        if told is not stop:  # a future of the caller's is not ours to cancel
            told.cancel()
    return 0 if life.ok and ended else 1


async def _hurry(life: Life, hurried: asyncio.Event) -> None:
    await hurried.wait()
    if life.closed:
        return
    life.hurry()
    log.error("daemon.hurried", left="in the ledger, for the next start; sweep.done counts it")


async def _end(working: asyncio.Task[object] | None) -> bool:
    """Wait for the work that was cancelled; whether it has ended. Raises what it raised."""
    if working is None:
        return True
    await asyncio.wait({working}, timeout=LAST_WORD)
    if not working.done():
        log.error("daemon.work_goes_on", after=LAST_WORD)
        return False
    if not working.cancelled():
        working.result()
    return True
