"""A manager, its ports, and the books that must be right in the end."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from structlog.testing import capture_logs

from presence_manager import Outcome, PresenceManager, Settings
from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import Pair
from tests.engine.virtual import (
    APP,
    TENANT,
    Door,
    FakeGraph,
    LoopClock,
    SharedLedger,
    settings,
    user,
)

from .ports import DISK, Disk, SteppedGraph, Steps

LANE = LaneId("https://graph.microsoft.com", APP, TENANT)
BUSY, AWAY = Pair("Busy", "InACall"), Pair("Away", "Away")
PACE = {"recovery": {"watch": 60.0}}
CALM = 70.0
"""Seconds in which everything comes to rest: longer than any settling, time-out or pause."""
FAULTS = {"lane.fault", "graph.fault", "close.failed", "release.failed", "sweep.unanswered"}
"""What the log must not say when nothing but a cancellation has happened."""


@functools.cache
def paced() -> Settings:
    """The settings of all managers here; to make them takes longer than most of the runs."""
    return settings(**PACE)


class Stage:
    """A manager on ports that can hang; `left` are users that the end may leave shown."""

    def __init__(self, steps: Steps, **changes: Any) -> None:
        self.steps = steps
        self.ledger = SharedLedger()
        self.graph = SteppedGraph()
        self.graph.steps = steps
        self.disk = Disk(self.ledger, steps)
        self.presence = PresenceManager(
            settings(**PACE, **changes) if changes else paced(),
            graph=self.graph,
            ledger=self.disk,
            clock=LoopClock(),
        )
        self.kept: dict[str, Any] = {}
        self.left: set[str] = set()
        self.said: list[Any] = []
        self.complaints: list[str] = []
        self._capture = capture_logs()

    async def __aenter__(self) -> Stage:
        self.said = self._capture.__enter__()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: self.complaints.append(str(what)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._capture.__exit__(None, None, None)
        await self.disk.end()

    async def orphans(self, *numbers: int) -> None:
        """Leave holds of a process that has died."""
        dead = PresenceManager(
            paced(),
            graph=FakeGraph(sessions=self.graph.sessions),
            ledger=_Dead(self.ledger),
            clock=LoopClock(),
        )
        await dead.open(recover=False)
        for number in numbers:
            await dead.hold(user(number), "Busy")
        await dead.close(sweep=False)

    def wishes(self, number: int) -> set[str]:
        """The names of the holds that the ledger knows of this user."""
        row = self.ledger._rows.get(Key(LANE, user(number)))
        return {wish.name for wish in row.wishes} if row else set()

    def outcomes(self, sweep_id: str) -> list[Outcome]:
        return [each for each in self.ledger._outcomes.values() if each.sweep_id == sweep_id]

    # -- the books --------------------------------------------------------------------------

    def at_rest(self) -> list[str]:
        """What is wrong while the manager is open, and nothing is under way."""
        wrong = self._engine()
        shown = dict(self.graph.sessions)
        named: set[tuple[str, str]] = set()
        for key, row in self.ledger._rows.items():
            wish = row.newest(LoopClock().now())
            if row.attempt is not None or row.sweeps:
                wrong.append(f"unresolved: {row}")
            if wish is None and key in shown and key.user not in self.left:
                wrong.append(f"nobody wants it, and it is shown: {row}")
            if wish is None and not row.over and key.user not in self.left:
                wrong.append(f"nobody wants it, and it is in the ledger: {row}")
            if wish is not None and wish.pair and shown.get(key) != wish.pair:
                wrong.append(f"{wish.pair} is wanted, {shown.get(key)} shown: {row}")
            named |= {(key.user, each.name) for each in row.wishes if each.pair is not None}
        wrong += [f"shown, and not in the ledger: {key}" for key in shown.keys() - self._rows()]
        handles = [h for handles in self.presence._holds._handles.values() for h in handles]
        wrong += [f"not shown: {handle}" for handle in handles if handle.state != "shown"]
        if (theirs := {(handle.user, handle.key) for handle in handles}) != named - self._foreign():
            wrong.append(f"handles {theirs}, holds {named}")
        return wrong

    def _rows(self) -> set[Key]:
        return set(self.ledger._rows)

    def _foreign(self) -> set[tuple[str, str]]:
        own = {self.presence.owner, ""}
        rows = self.ledger._rows.values()
        return {(row.user, w.name) for row in rows for w in row.wishes if w.owner not in own}

    def _engine(self) -> list[str]:
        wrong: list[str] = []
        works = self.presence._works
        for lane in works.lanes:
            if lane.gate._out or lane._in_flight:
                wrong.append(f"slots that nobody gives back: {lane!r}")
            if lane._tasks or lane._share.drawing:
                wrong.append(f"tasks that go on: {lane._tasks._tasks}")
            entries = lane.desk.entries()
            wrong += [f"left at work: {entry.row}" for entry in entries if self._own(entry)]
        sweeper = works.sweeper
        if sweeper._running or sweeper._cutting or any(not t.done() for t in sweeper._fetching):
            wrong.append(f"sweeps that go on: {sweeper._running}")
        if self.presence._background or self.presence._holds._tasks:
            wrong.append(f"in the background: {self.presence._background}")
        return wrong

    def _own(self, entry: Any) -> bool:
        return entry.key.user not in self.left

    def after_close(self, *, open_attempts: bool = False) -> list[str]:
        """What is wrong when the manager is closed."""
        wrong = [each for each in self._engine() if not each.startswith("left at work")]
        ours = {asyncio.current_task()}
        tasks = {t for t in asyncio.all_tasks() - ours if t.get_name() != DISK}
        wrong += [f"an orphan task: {task}" for task in tasks]
        loop: Any = asyncio.get_running_loop()
        wrong += [f"an orphan timer: {h}" for h in loop._scheduled if not h._cancelled]
        if len(self.presence._holds):
            wrong.append(f"handles are left: {self.presence._holds._handles}")
        if self.ledger.doors or not self.graph.closed:
            wrong.append(f"open: {self.ledger.doors} ledgers, Graph {not self.graph.closed}")
        if self.ledger._owners:
            wrong.append(f"alive in the ledger: {self.ledger._owners}")
        missing = {key.user for key in self.graph.sessions.keys() - self._rows()}
        wrong += [f"shown, and not in the ledger: {name}" for name in missing]
        for row in self.ledger._rows.values():
            attempt = row.attempt
            if attempt is not None and not open_attempts:
                wrong.append(f"an open attempt: {row}")
        return wrong

    def faults(self) -> list[str]:
        """What the log says that a cancellation does not explain."""
        return [str(each) for each in self.said if each["event"] in FAULTS]

    async def successor(self) -> list[str]:
        """What is wrong after the next start on the same ledger."""
        self.steps.armed = False
        graph = FakeGraph(sessions=self.graph.sessions)
        disk = Disk(self.ledger, self.steps)
        after = PresenceManager(paced(), graph=graph, ledger=disk, clock=LoopClock())
        async with after:
            await after.recovered()
            await asyncio.sleep(CALM)
        await disk.end()
        wrong = [f"shown after all: {k.user}" for k in graph.sessions if k.user not in self.left]
        rows = [row for row in self.ledger._rows.values() if row.user not in self.left]
        return wrong + [f"in the ledger after all: {row}" for row in rows if not row.over]


class _Dead(Door):
    """A ledger whose owner dies when it is closed, whatever it says before."""

    async def leave(self, owner: str) -> None:
        pass
