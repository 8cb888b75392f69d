"""A process that holds users until it comes to its end, in the way that is asked for.

It says "holding" when all are shown; SIGTERM then begins the end, "closed" says that it is over,
and its last line is what it measured: the seconds from the beginning to the last moment of the
interpreter, without those in which it only waited to see whether anything is still sent.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import signal
import threading
from time import monotonic, sleep
from typing import Any

from presence_manager import Hold, HoldRequest, PresenceManager, Settings
from presence_manager.hosts import logs
from presence_manager.hosts.daemon import run_until_stopped
from presence_manager.hosts.life import Life

LINGER = 0.3
TICK = 0.02


class Measure:
    """What is told at the very end. `lag` is for how long the machine let us wait."""

    def __init__(self) -> None:
        self.began = self.idle = self.lag = 0.0
        self.told: dict[str, Any] = {}
        atexit.register(self.tell)
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            before = monotonic()
            sleep(TICK)
            if self.began:
                self.lag += max(0.0, monotonic() - before - 2 * TICK)

    def begin(self) -> None:
        self.began = self.began or monotonic()

    async def closed(self, presence: PresenceManager, **more: Any) -> None:
        report = presence.last_report
        self.told |= more
        self.told["report"] = report and {
            "ok": report.ok,
            "complete": report.complete,
            "sweep_id": report.sweep_id,
            "counts": report.counts,
            "seconds": report.seconds,
        }
        print("closed", flush=True)
        before = monotonic()
        await asyncio.sleep(LINGER)
        self.idle += monotonic() - before

    def tell(self) -> None:
        self.told |= {"seconds": monotonic() - self.began - self.idle, "lag": self.lag}
        print(json.dumps(self.told), flush=True)


async def hold(presence: PresenceManager, users: list[str]) -> None:
    holds = await presence.hold_many(HoldRequest(user, "Busy", timeout=60.0) for user in users)
    assert all(isinstance(each, Hold) and each.state == "shown" for each in holds), holds
    print("holding", flush=True)


async def by_signals(measure: Measure, users: list[str]) -> int:
    kept: list[PresenceManager] = []

    async def work(presence: PresenceManager) -> None:
        kept.append(presence)
        await hold(presence, users)
        try:
            await asyncio.Future()
        finally:
            measure.begin()

    hurry = Life.hurry

    def hurried(life: Life) -> None:
        measure.began = monotonic()
        hurry(life)

    Life.hurry = hurried  # type: ignore[method-assign]
    status = await run_until_stopped(Settings(), work)
    await measure.closed(kept[0])
    return status


def sigterm() -> asyncio.Event:
    """What SIGTERM sets, from now on."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, event.set)
    return event


async def close_during_hold(measure: Measure, users: list[str]) -> int:
    asked = sigterm()
    presence = PresenceManager(Settings())
    await presence.open()
    await hold(presence, users[:-1])
    await asked.wait()
    late = asyncio.create_task(presence.hold(users[-1], "Away", timeout=60.0))
    await asyncio.sleep(0.2)  # long enough for it to be on its way; nothing depends on it
    measure.begin()
    await presence.close()
    await asyncio.wait({late}, timeout=1.0)
    ended = repr(late.exception()) if late.done() and not late.cancelled() else repr(late)
    await measure.closed(presence, late=ended)
    return 0


async def block(measure: Measure, users: list[str], fail_when: asyncio.Event | None = None) -> int:
    presence = PresenceManager(Settings())
    try:
        async with presence:
            await hold(presence, users)
            if fail_when is not None:
                await fail_when.wait()
                measure.begin()
                raise ZeroDivisionError
            try:
                await asyncio.Future()
            finally:
                measure.begin()
    finally:
        await measure.closed(presence)
    return 0


async def owner_is_cancelled(measure: Measure, users: list[str]) -> int:
    asked = sigterm()
    owner = asyncio.create_task(block(measure, users))
    await asked.wait()
    owner.cancel()
    await asyncio.wait({owner})
    return 0 if owner.cancelled() else 70


async def exception_in_block(measure: Measure, users: list[str]) -> int:
    try:
        return await block(measure, users, sigterm())
    except ZeroDivisionError:
        return 0


OWNERS: list[asyncio.Task[int]] = []


async def loop_closes(measure: Measure, users: list[str]) -> int:
    """Return while another task is still in its block: the runner cancels every task there is."""
    asked = sigterm()
    OWNERS.append(asyncio.create_task(block(measure, users)))
    await asked.wait()
    return 0


WAYS = {
    "SIGTERM": by_signals,
    "SIGINT": by_signals,
    "second signal": by_signals,
    "close during hold": close_during_hold,
    "owner is cancelled": owner_is_cancelled,
    "exception in block": exception_in_block,
    "loop closes": loop_closes,
}


def main(way: str, users: list[str]) -> int:
    """Live such a life; return the exit status."""
    logs.configure(Settings().logs)
    return asyncio.run(WAYS[way](Measure(), users))
