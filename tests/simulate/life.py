"""One process: a manager with its ledger, its clock and its door to Graph, until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from presence_manager import PresenceManager, Settings
from presence_manager.core.key import LaneId
from tests.engine.virtual import TENANT

from .disk import SimLedger
from .graph import Door
from .loop import LIFE, SimClock

APPS = ("7a000000-0000-4000-8000-00000000000a", "7a000000-0000-4000-8000-00000000000b")
ORIGIN = "https://graph.microsoft.com"


class Life:
    """From a process's start to its end. `dead`: killed; `closed`: close() has returned."""

    def __init__(self, run: Any, slot: int, offset: float, *, last: bool = False) -> None:
        plan = run.plan
        self.run = run
        self.judge = run.judge
        self.slot = slot
        self.app = APPS[plan.slots[slot].app]
        self.origin = ORIGIN
        self.tasks: set[asyncio.Task[Any]] = set()
        self.slow_end = False
        self.dead = self.closing = self.closed = self.opened = False
        self.shut: dict[LaneId, float] = {}
        self.named: dict[LaneId, float] = {}
        self.sent: dict[LaneId, list[float]] = {}
        self.handles: dict[tuple[int, str], Any] = {}
        self.clock = SimClock(lambda: run.world.now, offset)
        self.ledger = SimLedger(
            run.path,
            lambda: run.disk_trouble(slot),
            lambda steps, lost: self.judge.committed(self, steps, lost),
        )
        settings = Settings(
            tenant_id=TENANT,
            client_id=self.app,
            access_token="unused",
            ledger={"url": "memory://"},
            graph={
                "budget": plan.budget,
                "in_flight": plan.width,
                "batch": plan.batch,
            },
            hold={"max_age": plan.max_age, "lease": plan.lease},
            retry={"attempts": plan.attempts, "settle": plan.settle},
            recovery={"watch": 30.0 if last else plan.watch},
        )
        self.manager = PresenceManager(
            settings,
            graph=Door(run.world, run.weather, self.clock, self, plan.latency),
            ledger=self.ledger,
            clock=self.clock,
        )
        self.owner = self.manager.owner
        self.judge.lives[self.owner] = self

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it within this process, so that it dies with it."""
        token = LIFE.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            LIFE.reset(token)

    def kill(self) -> None:
        """As SIGKILL would: nothing of it touches the world any more."""
        if self.dead or self.closed:
            return
        self.dead = True
        self.run.say("killed", self.owner[-4:])
        self.ledger.die()
        works = self.manager._works
        works.renewer._stopped = True
        for lane in works.lanes:
            lane.stopping = lane.books.stopping = True
        for task in sorted(self.tasks, key=lambda task: task.number):  # type: ignore[attr-defined]
            task.cancel()
        self.run.world.died(self.owner)

    def check_closed(self) -> None:
        """Rule 7: nothing is left over: no gate slot, no entry, no handle."""
        manager = self.manager
        for lane in manager._works.lanes:
            open_ = [e for e in lane.desk.entries() if e.row.attempt is not None]
            ours = [e for e in open_ if e.row.attempt.owner == self.owner]
            if lane.gate._out or lane._in_flight or ours:
                self.judge.blame(7, f"left over after close: {lane!r}, {len(ours)} open")
        if len(manager._holds):
            self.judge.blame(7, f"{len(manager._holds)} handles are left after close")
