"""What waits in a lane for time alone to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from math import inf

from presence_manager.engine.entry import Entry


class Later:
    """Entries by the instant from which they may be looked at again, and one timer for all."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, entry: Entry, at: float) -> None:
        """Have the entry come back at `at`."""
        heappush(self._heap, (at, next(self._order), entry))

    def due(self, now: float) -> Iterator[Entry]:
        """Take out all whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            yield heappop(self._heap)[2]

    def arm(self, now: float, other: float) -> None:
        """Ring at the earliest of them, or at `other`."""
        self.stop()
        at = min(self._heap[0][0], other) if self._heap else other
        if at < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, at - now), self._ring)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
