"""The limit that Graph enforces, which clients can only guess.

A sliding window for each application and tenant. Refused requests count too, and each item of a
$batch counts as one. Retry-After is the whole seconds until a slot is free, at least 1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class Limit:
    """How many requests each (application, tenant) may send in any window.

    `schedule` changes the limit: (seconds since the first request, the limit from then on).
    `stolen` slots of each window are taken by somebody else. A limit of 0 means none.
    """

    def __init__(
        self,
        limit: int = 0,
        window: float = 30.0,
        schedule: Sequence[tuple[float, int]] = (),
        stolen: int = 0,
    ) -> None:
        self.window = window
        self._limit = limit
        self._schedule = sorted((float(after), int(new)) for after, new in schedule)
        self._stolen = stolen
        self._first: float | None = None
        self._lanes: dict[str, deque[float]] = {}

    @property
    def enforced(self) -> bool:
        """Whether there is any limit at all."""
        return bool(self._limit or self._schedule)

    def take(self, lane: str, now: float) -> int:
        """Count one request; return 0 when it may pass, or its Retry-After in seconds."""
        if self._first is None:
            self._first = now
        lately = self._lanes.get(lane)
        if lately is None:
            lately = self._lanes[lane] = deque()
        oldest = now - self.window
        while lately and lately[0] <= oldest:
            lately.popleft()
        limit = self._limit_at(now)
        lately.append(now)
        if not limit or len(lately) <= limit:
            return 0
        leaves = len(lately) - limit  # so many must leave the window before one more fits
        wait = lately[min(leaves, len(lately) - 1)] + self.window - now
        return max(1, math.ceil(wait))

    def _limit_at(self, now: float) -> int:
        limit = self._limit
        for after, new in self._schedule:
            if now - (self._first or 0.0) >= after:
                limit = new
        return max(1, limit - self._stolen) if limit else 0
