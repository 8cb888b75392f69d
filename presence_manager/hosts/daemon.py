"""A process of its own that holds users until it is told to stop.

async def work(presence: PresenceManager) -> None:
    await presence.hold("user-id", "Busy", "InACall")
    await asyncio.Event().wait()

sys.exit(main(work))
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from presence_manager.core.outcome import Report
from presence_manager.errors import SettingsError
from presence_manager.hosts.logs import configure
from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

log = structlog.get_logger()

WORK_ENDS_WITHIN = 1.0
"""Seconds that cancelled work is given to end; they are taken from `shutdown.deadline`."""

Work = Callable[[PresenceManager], Coroutine[Any, Any, object]]


async def run_until_stopped(
    settings: Settings | None = None,
    work: Work | None = None,
    *,
    manager: PresenceManager | None = None,
    stop: Awaitable[object] | None = None,
) -> Report | None:
    """Open a manager, run `work` with it, and close it, sweeping; return how the sweep went.

    It ends when `work` ends, when `stop` is there, or, without `stop`, at SIGTERM, SIGINT (or
    SIGBREAK), which are heard only meanwhile. Work still running is cancelled, and the sweep
    begins at the latest `WORK_ENDS_WITHIN` seconds later. A second signal hurries: what is not
    gone yet stays in the ledger, where the next start finds it, and None is returned.

    `manager` is one that is not open yet; otherwise it is made of `settings`, or of
    `Settings()`. Raises SettingsError, LedgerUnusable, and what `work` raises, after closing.
    """
    presence = manager if manager is not None else PresenceManager(settings)
    asked = asyncio.Event()
    hurried = asyncio.Event()
    stopping = asyncio.ensure_future(asked.wait() if stop is None else stop)
    life = asyncio.create_task(_life(presence, work, stopping, hurried))

    def hear(name: str) -> None:
        log.info("daemon.signal", signal=name, hurry=asked.is_set())
        if asked.is_set():
            hurried.set()
            life.cancel()
        asked.set()

    try:
        with _heard(hear, on=stop is None):
            await life
    except asyncio.CancelledError:
        if not (hurried.is_set() and life.cancelled()):
            raise
        log.warning("daemon.hurried", left="what is not known to be gone stays in the ledger")
        return None
    finally:
        if stopping is not stop:
            stopping.cancel()
    return presence.last_report


async def _life(
    presence: PresenceManager,
    work: Work | None,
    stopping: asyncio.Future[Any],
    hurried: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    async with presence:
        working = asyncio.ensure_future(work(presence)) if work is not None else None
        try:
            await asyncio.wait(
                {stopping} if working is None else {stopping, working},
                return_when=asyncio.FIRST_COMPLETED,
            )
            told = loop.time()
            await _end(working)
            spent = loop.time() - told
            await presence.close(deadline=max(0.0, presence.settings.shutdown.deadline - spent))
        except asyncio.CancelledError:
            if working is not None:
                working.cancel()
            if hurried.is_set():
                await presence.close(sweep=False)
            raise
    for each in (working, stopping):
        if each is not None and each.done() and not each.cancelled():
            each.result()  # raises what it raised


async def _end(working: asyncio.Future[Any] | None) -> None:
    """Cancel the work, and wait a little for its end."""
    if working is not None and not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=WORK_ENDS_WITHIN)
        if not working.done():
            log.warning("daemon.work_goes_on", after=WORK_ENDS_WITHIN)


def exit_status(report: Report | None) -> int:
    """Return 0 when everybody is known to be gone, else 1."""
    return 0 if report is not None and report.ok else 1


def main(work: Work | None = None, settings: Settings | None = None) -> int:
    """Run a daemon as a whole process, logs included; return its exit status.

    0: everybody is known to be gone; 1: somebody may still be shown, and the ledger knows whom;
    2: the settings are wrong. Raises what `run_until_stopped` raises otherwise.
    """
    try:
        settings = settings if settings is not None else Settings()
        configure(settings.logs)
        presence = PresenceManager(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    report = asyncio.run(run_until_stopped(work=work, manager=presence))
    if report is not None:
        log.info("daemon.stopped", seconds=round(report.seconds, 3), **report.counts)
    return exit_status(report)


@contextmanager
def _heard(hear: Callable[[str], None], *, on: bool) -> Iterator[None]:
    """Call `hear` with the name of each signal that asks the process to end.

    Nothing is heard outside of the main thread, for there Python has no signals.
    """
    loop = asyncio.get_running_loop()
    before = {}
    for name in ("SIGTERM", "SIGINT", "SIGBREAK") if on else ():
        number = getattr(signal, name, None)
        if number is None:
            continue
        with suppress(ValueError, RuntimeError):
            handler = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, hear, name)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_, name=name: loop.call_soon_threadsafe(hear, name))
            before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
