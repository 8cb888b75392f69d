"""Time that runs faster, for the event loop and for the clock alike."""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

SPEED = 60.0
"""Seconds that pass in one: a renewal comes after two, a time-out of 100 after less than two."""


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / SPEED if timeout and timeout > 0 else timeout)


class FastLoop(asyncio.SelectorEventLoop):
    """Every timer and time-out of it comes so much sooner."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return super().time() * SPEED


class FastClock:
    """The time of day to go with it."""

    def __init__(self) -> None:
        self._start = time.time()
        self._ticks = time.monotonic()

    def now(self) -> float:
        return self._start + (time.monotonic() - self._ticks) * SPEED
