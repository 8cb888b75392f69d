"""The virtual loop, made to repeat itself exactly: order never hangs on an address in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any

from tests.engine.virtual import START, VirtualLoop

MOST_TURNS = 50_000
"""Turns of the loop at one instant that look like work without end."""

LIFE: ContextVar[Any] = ContextVar("life", default=None)
"""The process whose code is running; every task and timer inherits it."""


class Livelock(Exception):
    """The loop turns and turns, and time stands still."""


class _Future(asyncio.Future):  # type: ignore[type-arg]
    """Its hash is its number, so that sets of futures run in the order of birth."""

    def __init__(self, number: int, **how: Any) -> None:
        self.number = number
        super().__init__(**how)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Task(asyncio.Task):  # type: ignore[type-arg]
    def __init__(self, number: int, work: Any, **how: Any) -> None:
        self.number = number
        super().__init__(work, **how)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(VirtualLoop):
    """Time jumps to what is due next; tasks are booked to the process that they belong to."""

    def __init__(self) -> None:
        self._number = count(1)
        self._still = (0.0, 0)
        super().__init__()
        self.set_task_factory(self._task)  # type: ignore[arg-type]

    def create_future(self) -> Any:
        return _Future(next(self._number), loop=self)

    def _task(self, loop: Any, work: Any, **how: Any) -> Any:
        task = _Task(next(self._number), work, loop=loop, **how)
        context = how.get("context")
        life = context.get(LIFE) if context is not None else LIFE.get()
        if life is not None:
            life.tasks.add(task)
            task.add_done_callback(life.tasks.discard)
        return task

    def _run_once(self) -> None:
        at, turns = self._still
        self._still = (at, turns + 1) if self.time() == at else (self.time(), 0)
        if turns > MOST_TURNS:
            self._still = (at, 0)
            raise Livelock(f"{MOST_TURNS} turns at {at:.3f} s")
        super()._run_once()


class SimClock:
    """A process's clock: right, but for an offset, as after somebody has set the machine's."""

    def __init__(self, now: Callable[[], float], offset: float) -> None:
        self._now = now
        self.offset = offset

    def now(self) -> float:
        return START + self.offset + self._now()
