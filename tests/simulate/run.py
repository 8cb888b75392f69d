"""One run of one plan, from the first call until all is calm."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Known, Session, Wish, step
from presence_manager.errors import LedgerError
from presence_manager.ledger.sqlite import SqliteLedger
from presence_manager.ledger.writer import InlineWriter
from tests.engine.virtual import START, TENANT, user

from .actors import Callers
from .graph import Weather
from .life import APPS, ORIGIN, Life
from .loop import Livelock, SimLoop
from .plan import DAY, Act, Plan
from .rules import Broken, Judge
from .world import World

LAST_LIFE = 2 * DAY
"""Seconds that the last process has to find everything in order: a clock may be a day off."""
FOREIGN = Key(LaneId("http://127.0.0.1:9", APPS[0], TENANT), user(1))


@dataclass(frozen=True)
class Result:
    """How a run went. `digest` is of the whole trace; `tail` are its last lines."""

    plan: Plan
    broken: Broken | None
    digest: str
    seconds: float
    requests: int
    commits: int
    tail: tuple[str, ...]


class Run:
    """See the module."""

    def __init__(self, plan: Plan, folder: Path, keep: int | None) -> None:
        self.plan = plan
        self.path = folder / "ledger.db"
        self.lines: deque[str] = deque(maxlen=keep)
        self._hash = hashlib.sha256()
        self.requests = 0
        self.world = World(plan.settle, self.say)
        self.judge = Judge(plan, self.world)
        self.users = [user(n) for n in range(plan.users)]
        self.weather = Weather(plan.faults, self.users, Random(f"weather {plan.seed}"))
        self.callers = Callers(self)
        self.lives: list[Life | None] = [None] * len(plan.slots)
        self._births = [0] * len(plan.slots)
        self._closing: set[asyncio.Task[Any]] = set()
        for app in APPS:
            for n in plan.wrong:
                self.world.wrong.add(Key(LaneId(ORIGIN, app, TENANT), user(n)))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def say(self, *what: Any) -> None:
        try:
            at = asyncio.get_running_loop().time()
        except RuntimeError:
            at = 0.0
        line = f"{at:.6f} " + " ".join(map(str, what))
        self.requests += what[0] == "sent"
        self._hash.update(line.encode())
        self.lines.append(line)

    def key(self, life: Life, number: int) -> Key:
        return Key(LaneId(ORIGIN, life.app, TENANT), self.users[number])

    def alive(self) -> list[Life]:
        return [life for life in self.lives if life is not None and life.opened]

    def disk_trouble(self, slot: int) -> tuple[float, bool]:
        now = self.world.now
        slow, fails = 0.0, False
        for disk in self.plan.disks:
            if disk.slot == slot and disk.at <= now < disk.at + disk.span:
                slow = max(slow, disk.seconds)
                fails = fails or disk.kind == "fail"
        return slow, fails

    def disk_troubled(self, start: float, end: float) -> bool:
        """Whether a disk was in trouble then, or had been shortly before."""
        return any(d.at <= end and start <= d.at + d.span + 10.0 for d in self.plan.disks)

    def loop_call_after_turns(self, turns: int, call: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self.loop_call_after_turns, turns - 1, call)
        else:
            call()

    # -- the story --------------------------------------------------------------------------

    async def main(self) -> None:
        plan = self.plan
        foreign = await self._foreign_row() if plan.foreign else None
        for slot in range(len(plan.slots)):
            await self._open(slot)
        events = [(act.at, 0, n, act) for n, act in enumerate(plan.acts)]
        events += [(at, 1, n, None) for n, at in enumerate(plan.probes)]  # type: ignore[misc]
        for at, _, _, act in sorted(events, key=lambda event: event[:3]):
            await self._until(at)
            if self.judge.broken is not None:
                return
            if act is None:
                self.say("peace")
                self.judge.peace()
                self.callers.peace()
            else:
                await self._act(act)
        await self._until(plan.horizon)
        for slot, life in enumerate(self.lives):
            if life is not None:
                await self._close(slot, None)
        await asyncio.sleep(30.0)
        await self._last_lives()
        if self.judge.broken is None:
            self.judge.at_the_end()
            await self._ledger_agrees(foreign)

    async def _until(self, at: float) -> None:
        now = self.world.now
        if at > now:
            await asyncio.sleep(at - now)

    async def _act(self, act: Act) -> None:
        life = self.lives[act.slot]
        if act.what == "open":
            if life is None:
                await self._open(act.slot)
        elif life is None or not life.opened:
            return
        elif act.what == "kill":
            life.kill()
            self.lives[act.slot] = None
        elif act.what == "close":
            self.lives[act.slot] = None
            task = asyncio.get_running_loop().create_task(self._close_life(life, act.seconds))
            self._closing.add(task)
        else:
            self.callers.start(life, act)

    async def _open(self, slot: int) -> None:
        offsets = self.plan.slots[slot].offsets
        life = Life(self, slot, offsets[self._births[slot] % len(offsets)])
        self._births[slot] += 1
        self.lives[slot] = life
        self.say("born", slot, life.owner[-4:], life.clock.offset)
        life.start(self._opened(life))
        await asyncio.sleep(0)

    async def _opened(self, life: Life) -> None:
        while True:
            try:
                await life.manager.open()
            except LedgerError:
                life.kill()
                self.lives[life.slot] = None
                return
            life.opened = True
            return

    async def _close(self, slot: int, deadline: float | None) -> None:
        life = self.lives[slot]
        self.lives[slot] = None
        if life is not None and life.opened:
            await self._close_life(life, deadline)

    async def _close_life(self, life: Life, deadline: float | None) -> None:
        started = self.world.now
        closing = life.start(life.manager.close(deadline=deadline))
        await asyncio.wait({closing})
        if life.dead:
            return
        ended = self.world.now
        life.slow_end = self.disk_troubled(started, ended)
        life.closed = True
        self.say("closed", life.owner[-4:])
        if closing.cancelled() or (error := closing.exception()) is None:
            error = None
        calm = not self.disk_troubled(started, ended)
        if error is not None and not isinstance(error, LedgerError):
            self.judge.blame(0, f"close raised {error!r}")
        if calm:
            life.check_closed()
            seconds = 8.0 if deadline is None else deadline
            if ended - started > seconds + 1.3:
                self.judge.blame(10, f"close took {ended - started:.3f} s of {seconds:g}")
            await asyncio.sleep(1.0)
            left = [task for task in life.tasks if not task.done()]
            if left:
                self.judge.blame(7, f"left over after close: {sorted(map(_name, left))}")

    async def _last_lives(self) -> None:
        """A last healthy process of each application finds what is left."""
        for slot, one in enumerate(self.plan.slots):
            if one.app in [other.app for other in self.plan.slots[:slot]]:
                continue
            life = Life(self, slot, self.plan.last_offset, last=True)
            self.say("last", life.owner[-4:])
            await life.start(life.manager.open())
            life.opened = True
            until = self.world.now + LAST_LIFE
            while self.world.now < until and self.judge.broken is None:
                if not [key for key in self.judge.rows if key.lane.app == life.app]:
                    break
                await asyncio.sleep(60.0)
            await self._close_life(life, None)

    # -- other people's rows ----------------------------------------------------------------

    async def _foreign_row(self) -> Session:
        """A row of another Graph, whose owner is long dead: the bait of rule 11."""
        ledger = SqliteLedger(self.path, writer=InlineWriter())
        await ledger.open()
        wish = Wish(name="k1", owner="x", pair=None, lease=600.0, made_at=START, until=inf)
        row = Session(key=FOREIGN, version=7, owner="x", wishes=(wish,), known=Known.SHOWN)
        await ledger.put([step(Session(key=FOREIGN), row)])
        await ledger.close()
        return row

    async def _ledger_agrees(self, foreign: Session | None) -> None:
        ledger = SqliteLedger(self.path, writer=InlineWriter())
        await ledger.open()
        if foreign is not None and await ledger.get([FOREIGN]) != [foreign]:
            self.judge.blame(11, "the row of another Graph was touched")
        await ledger.close()


def _name(task: Any) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


@contextmanager
def _seeded(seed: int, bundle: int) -> Iterator[None]:
    """No randomness from outside: names, jitter and logs are the seed's."""
    names = Random(f"names {seed}")

    def name() -> UUID:
        return UUID(int=names.getrandbits(128), version=4)

    # Virtual time stands still while a row is written, deleted and made again. A real clock has
    # moved on by far more than the row had versions: none of an earlier life is met again.
    births = 0

    def born(now: float) -> int:
        nonlocal births
        births += 1_000
        return int(now * 1e6) + births

    state = random.getstate()
    random.seed(f"jitter {seed}")
    patches = [
        patch("presence_manager.core.session.born", born),
        patch("presence_manager.engine.desk.FULL_BATCH", bundle),
        patch("presence_manager.engine.plan.uuid4", name),
        patch("presence_manager.manager.manager.uuid4", name),
        patch("presence_manager.manager.holds.token_hex", lambda _: name().hex),
    ]
    for each in patches:
        each.start()
    logs = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**logs)
        for each in patches:
            each.stop()
        random.setstate(state)


def run(plan: Plan, keep: int | None = 200) -> Result:
    """Run a plan; `keep` is how many lines of the trace to keep (None: all)."""
    with tempfile.TemporaryDirectory() as folder, _seeded(plan.seed, plan.bundle):
        loop = SimLoop()
        one = Run(plan, Path(folder), keep)
        faults: list[str] = []
        loop.set_exception_handler(lambda _, what: faults.append(str(what.get("message"))))
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(one.main())
        except Livelock as error:
            one.judge.broken = Broken(10, str(error))
        finally:
            seconds = loop.time()
            _end(loop)
            for life in one.judge.lives.values():
                life.ledger.die()
            asyncio.set_event_loop(None)
        return Result(
            plan,
            one.judge.broken,
            one.digest,
            seconds,
            one.requests,
            one.judge.commits,
            tuple(one.lines),
        )


def _end(loop: SimLoop) -> None:
    for _ in range(5):
        left = asyncio.all_tasks(loop)
        if not left:
            break
        for task in left:
            task.cancel()
        for _ in range(20):
            loop.call_soon(loop.stop)
            loop.run_forever()
    loop.close()
