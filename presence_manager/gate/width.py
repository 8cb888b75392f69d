"""How many HTTP requests of a lane may be in flight at a time."""

from __future__ import annotations

FIRST = 8
"""Requests in flight that a lane starts with."""
FIRST_PAUSE = 0.25
"""Seconds for which a lane is silent when the only request in flight was lost; it doubles."""
LONGEST_PAUSE = 8.0
"""Seconds to which that grows."""
FAILURES = 16
"""Requests in a row answered with nothing but server errors that are taken for an outage."""


class Width:
    """Doubles with each round that lost no answer, and halves with each that lost one.

    How long the answers take is of no account. When not even one request at a time gets through,
    the lane falls silent for a while instead, so that an outage is not met with a storm.
    """

    def __init__(self, most: int) -> None:
        self.now = min(FIRST, most)
        self.silent_until = 0.0
        self._most = most
        self._kept = 0
        self._shrunk_at = 0.0
        self._pause = 0.0
        self._failed = 0

    def kept(self) -> None:
        """Count a request that was answered."""
        self._pause = 0.0
        self._failed = 0
        self._kept += 1
        if self._kept >= self.now:
            self._kept = 0
            self.now = min(2 * self.now, self._most)

    def lost(self, now: float, sent_at: float) -> None:
        """Count one that got no answer; those of one round count once."""
        if sent_at < self._shrunk_at:
            return
        self._shrunk_at = now
        self._kept = 0
        if self.now > 1:
            self.now //= 2
            return
        self._fall_silent(now)

    def failed(self, now: float) -> None:
        """Count one that was answered with nothing but server errors."""
        self._failed += 1
        if self._failed >= FAILURES and now >= self.silent_until:
            self._fall_silent(now)

    def _fall_silent(self, now: float) -> None:
        self._pause = min(2 * self._pause, LONGEST_PAUSE) if self._pause else FIRST_PAUSE
        self.silent_until = now + self._pause
