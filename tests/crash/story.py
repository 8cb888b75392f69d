"""What the children live through: a life full of work, and a recovery."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from presence_manager import HoldRequest, Outcome, PresenceError, PresenceManager
from presence_manager.core import change
from presence_manager.engine import desk, lane, sources
from presence_manager.gate import width
from presence_manager.ports import Scope
from presence_manager.settings import Settings

from .points import Fate

APP = "7a000000-0000-4000-8000-00000000000a"
SETTLE = 0.2
"""Seconds in which a request that a dead process has left behind is surely applied."""
CHUNK = 3
"""Sessions in a chunk of a sweep, and in one batch: so that a short story has many."""
PATIENCE = 10.0
"""Seconds until what settles has settled."""
END = "end"
"""The file in a case's folder that says how a life has ended."""
HANGS = 15.0
"""Seconds after which a child that is not done hangs."""


def hasten() -> None:
    """Have the product do in a short story all that it does in a long one."""
    desk.FULL_BATCH = lane.FULL_BATCH = sources.CHUNK = CHUNK
    width.FIRST_PAUSE, width.LONGEST_PAUSE = 0.01, 0.05  # no outage, only very foul weather


def user(number: int) -> str:
    """The id of the nth user."""
    return str(UUID(int=0x5E << 120 | 4 << 76 | 2 << 62 | number))


FOUND = (user(8), user(9))
"""Users that other code has set before: one is swept, one is tracked."""
STRANGER, TRACKED_NOT_THERE = user(7), user(10)
RENEWED = {user(5), user(6)}
"""Users whose session is renewed at once, and so often."""
RENEWALS = 3
OPENING = 7
"""Users that are held at first."""


def settings(order: dict[str, Any]) -> Settings:
    return Settings(
        tenant_id=order["tenant"],
        client_id=APP,
        access_token=order["token"],
        graph={"base_url": order["url"], "budget": 1_000_000, "timeout": 2.0},
        ledger={"url": f"sqlite:///{order['folder']}/ledger.db"},
        retry={"settle": SETTLE, "first_wait": 0.005, "longest_wait": 0.02, "attempts": 100},
        recovery={"watch": 0.05, "retry": 0.05},
        shutdown={"deadline": 5.0},
    )


class Clock:
    """One clock for all processes and for Graph: what follows upon what can be told by it."""

    def __init__(self, epoch: float) -> None:
        self.epoch = epoch

    def now(self) -> float:
        return self.epoch + time.monotonic()


def manager(order: dict[str, Any]) -> PresenceManager:
    return PresenceManager(settings(order), clock=Clock(order["epoch"]))


class Diary:
    """What callers were told, written down at once: it survives the death of the writer."""

    def __init__(self, folder: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(Path(folder) / "diary", flags, 0o600)

    def told(self, outcome: Outcome) -> None:
        if outcome.recorded:
            self._write(sweep=outcome.sweep_id, user=outcome.user, kind=str(outcome.kind))

    def swept(self, sweep_id: str, users: list[str]) -> None:
        self._write(sweep=sweep_id, users=users)

    def _write(self, **what: object) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")


class Life:
    """Holds, changes, renews, tracks, releases, clears and sweeps, in an order of the seed."""

    def __init__(self, order: dict[str, Any], fate: Fate) -> None:
        self._presence = manager(order)
        self._diary = Diary(order["folder"])
        self._random = Random(order["story"])
        self._fate = fate
        self._renewed = asyncio.Event()
        self._renew_soon()

    async def live(self) -> None:
        presence = self._presence
        async with presence:
            await presence.hold_many(self._requests(range(OPENING), key="first"))
            self._fate.passes("face")
            acts = [
                self._change, self._release, self._clear, self._sweep_users, self._track,
                self._expire, self._cancel, self._renewals,
            ]  # fmt: skip
            self._random.shuffle(acts)
            half = len(acts) // 2
            await asyncio.gather(self._play(acts[:half]), self._play(acts[half:]))
            report = await presence.sweep(deadline=5.0)
            self._diary.swept(report.sweep_id, [])
            self._fate.passes("face")
            await presence.hold_many(self._requests(range(OPENING), key="last"))
            self._fate.passes("face")

    def _requests(self, numbers: range, key: str) -> list[HoldRequest]:
        return [HoldRequest(user(n), "Busy", "InACall", key=key) for n in numbers]

    async def _play(self, acts: list[Callable[[], Awaitable[None]]]) -> None:
        for act in acts:
            try:
                await act()
            except PresenceError as error:  # another act was faster: it ended what was held here
                print(f"{act.__name__}: {error!r}", flush=True)
            self._fate.passes("face")

    async def _change(self) -> None:
        hold = await self._presence.hold(user(0), "Away", key="lunch")
        self._diary.told(await hold.release())

    async def _release(self) -> None:
        self._diary.told(await self._presence.release(user(1), key="first"))
        await self._presence.hold(user(1), "Busy", key="anew")

    async def _clear(self) -> None:
        self._diary.told(await self._presence.clear(user(2)))
        await self._presence.hold(user(2), "DoNotDisturb", wait=False)

    async def _sweep_users(self) -> None:
        users = [user(3), STRANGER, FOUND[0], user(0), user(1)]
        report = await self._presence.sweep(users, deadline=5.0)
        self._diary.swept(report.sweep_id, users)

    async def _track(self) -> None:
        for name in (FOUND[1], TRACKED_NOT_THERE):
            await self._presence.track(name, key="found")
        self._diary.told(await self._presence.release(FOUND[1], key="found"))

    async def _expire(self) -> None:
        await self._presence.hold(user(4), "Available", key="short", ttl=0.05)

    async def _cancel(self) -> None:
        task = asyncio.ensure_future(self._presence.hold(user(11), "Busy"))
        for _ in range(self._random.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    async def _renewals(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._renewed.wait()

    def _renew_soon(self) -> None:
        real = change.renewal_due
        shown: Counter[str] = Counter()

        def due(key: Any, pair: Any, lease: float, sent_at: float) -> float:
            shown[key.user] += 1
            if key.user not in RENEWED or shown[key.user] > RENEWALS:
                return real(key, pair, lease, sent_at)
            if shown[key.user] == RENEWALS:
                self._renewed.set()
            return sent_at + 0.03

        change.renewal_due = due


async def within_limit(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; if it hangs, tell where everybody stands."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=HANGS)
    if not done:
        for each in asyncio.all_tasks():
            print(f"{each.get_name()}: {' > '.join(_waits(each.get_coro()))}", flush=True)
        raise TimeoutError(f"not done within {HANGS} s")
    task.result()


def _waits(awaited: Any) -> Iterator[str]:
    """Where a task waits, from its own coroutine down to the future."""
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield f"{awaited.__qualname__}:{frame.f_lineno}"
        awaited = awaited.cr_await
    yield repr(awaited)


async def live(order: dict[str, Any], fate: Fate) -> None:
    """A life that ends well, unless it is ended."""
    await Life(order, fate).live()


async def recover(order: dict[str, Any], fate: Fate) -> None:
    """Start on what the dead have left, and stay until nothing is."""
    async with manager(order) as presence:
        await presence.recovered()
        fate.passes("face")
        await _nothing_left(presence, order, over=True)


async def watch(order: dict[str, Any], fate: Fate) -> None:
    """Be alive beside another process; see to what it leaves, if it is killed.

    What is `over` but for a clear that may still come is not waited for: of a process that had
    taken its leave before it died nobody is told, and the next start sees to that.
    """
    end = Path(order["folder"]) / END
    async with manager(order) as presence:
        async with asyncio.timeout(HANGS):
            while not end.exists():
                await asyncio.sleep(0.005)
        if end.read_text() == "killed":
            await _nothing_left(presence, order, over=False)


async def _nothing_left(presence: PresenceManager, order: dict[str, Any], over: bool) -> None:
    ledger = presence._ledger
    scope = Scope(origin=order["url"], app=APP)
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = await ledger.page(scope, None, 100)
            if all(row.over and not over for row in rows) and not await ledger.dead():
                return
            await asyncio.sleep(0.005)


ROLES = {"live": live, "recover": recover, "watch": watch}
