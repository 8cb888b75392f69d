"""The gate says when the next request of a lane may leave."""

from __future__ import annotations

from collections import deque

FIRST_WAIT = 1.0
"""Seconds to wait after a 429 that names no time."""
LONGEST_WAIT = 300.0
"""Seconds to which the wait after repeated refusals grows by itself; Graph may ask for more."""


class Gate:
    """A budget of requests in a sliding window, and a door that Graph can shut.

    A request occupies a slot from its send until one window after its answer, for nobody knows
    at which instant between the two Graph counted it. Refused requests count as well (Graph:
    throttling). After a 429 nothing leaves until the time Graph asked for is over; then one
    request leaves, and only its acceptance opens the door. Each further refusal without an
    acceptance doubles the wait.
    """

    def __init__(self, budget: int, window: float) -> None:
        self.budget = budget
        self.window = window
        self.closed_until = 0.0
        self.sent = 0
        self.refused = 0
        self._out = 0
        self._past: deque[tuple[float, int]] = deque()
        self._recent = 0
        self._wait = 0.0
        self._shut_at = 0.0
        self._testing = False

    def __repr__(self) -> str:
        return (
            f"<Gate {self._out + self._recent} of {self.budget} used in {self.window:g} s, "
            f"{self._out} in flight, {self.refused} refused>"
        )

    def free(self, now: float) -> int:
        """How many requests may leave now."""
        if now < self.closed_until:
            return 0
        self._slide(now)
        left = self.budget - self._out - self._recent
        if self._testing:
            return min(left, 0 if self._out else 1)
        return left

    def next_free(self, now: float) -> float:
        """When one may leave at the earliest, if no answer comes before.

        Infinite while all slots are taken by requests in flight.
        """
        self._slide(now)
        at = self.closed_until
        if self._out + self._recent >= self.budget:
            at = max(at, self._past[0][0] + self.window if self._past else float("inf"))
        elif self._testing and self._out:
            at = float("inf")
        return max(at, now)

    def leave(self, count: int) -> None:
        """Count requests that leave."""
        self._out += count
        self.sent += count

    def stay(self, count: int) -> None:
        """Take back requests that did not leave after all."""
        self._out -= count
        self.sent -= count

    def answered(self, now: float, count: int) -> None:
        """Count answers, or requests that were given up."""
        self._out -= count
        self._past.append((now, count))
        self._recent += count

    def accept(self, sent_at: float) -> None:
        """Graph took a request: the door is open, if that one left after it was shut."""
        if self._testing and sent_at >= self._shut_at:
            self._testing = False
            self._wait = 0.0

    def refuse(self, now: float, sent_at: float, retry_after: float | None, count: int) -> None:
        """Graph refused `count` requests with 429: shut the door.

        Refusals of requests that had left before the door was shut say nothing new.
        """
        self.refused += count
        if sent_at >= self._shut_at:
            self._wait = min(self._wait * 2, LONGEST_WAIT) if self._wait else FIRST_WAIT
            if not self._testing and retry_after:
                self._wait = min(self._wait, retry_after)
            self._shut_at = now
            self._testing = True
        self.closed_until = max(self.closed_until, now + max(retry_after or 0.0, self._wait))

    def _slide(self, now: float) -> None:
        past = self._past
        while past and past[0][0] + self.window <= now:
            self._recent -= past.popleft()[1]
