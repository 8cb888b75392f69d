"""A sliding window: how many of something there were in the last seconds."""

from __future__ import annotations

from collections import deque

from presence_manager.ports import Uses


class Window:
    """Counts by the instant from which each is remembered for `seconds`."""

    __slots__ = ("_past", "_total", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._past: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, at: float, count: int) -> None:
        """Count some at `at`; an instant before the newest is taken as that one."""
        past = self._past
        if past and at <= past[-1][0]:
            at, more = past.pop()
            past.append((at, more + count))
        else:
            past.append((at, count))
        self._total += count

    def total(self, now: float) -> int:
        """How many are remembered at `now`."""
        past = self._past
        while past and past[0][0] + self.seconds <= now:
            self._total -= past.popleft()[1]
        return self._total

    def first_end(self, now: float) -> float:
        """When the first of them is forgotten; infinite when there is none."""
        self.total(now)
        return self._past[0][0] + self.seconds if self._past else float("inf")

    def left_at(self, at: float) -> int:
        """How many of those counted so far will still be remembered at `at`."""
        left = 0
        for when, count in reversed(self._past):
            if when + self.seconds <= at:
                break
            left += count
        return left

    def uses(self, now: float, grain: float) -> Uses:
        """What is remembered, until when; gathered to within `grain` seconds, never too early."""
        self.total(now)
        found: list[tuple[float, int]] = []
        start = 0.0
        for at, count in self._past:
            until = at + self.seconds
            if found and until - start < grain:
                found[-1] = (until, found[-1][1] + count)
            else:
                start = until
                found.append((until, count))
        return tuple(found)
