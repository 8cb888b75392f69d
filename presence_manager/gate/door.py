"""The door of a lane: until when nothing leaves, by what Graph has said to any process."""

from __future__ import annotations

from math import inf

from presence_manager.ports import Budget

CLOSED_AT_MOST = 3600.0
"""Seconds for which a door that another process found shut is believed to be."""


def closed_for(budget: Budget) -> float:
    """Seconds for which it was shut when that was written: as many on every clock."""
    return min(budget.closed_until - budget.closed_at, CLOSED_AT_MOST)


def shut_for(budget: Budget, now: float) -> float:
    """Seconds for which it is shut, at the most, if nothing more is known."""
    return max(0.0, min(budget.closed_until - now, closed_for(budget)))


class Door:
    """`until` is on our own clock. A door that another process found shut has words of its own."""

    def __init__(self) -> None:
        self.until = 0.0
        self._words = 0.0
        self._looked_at = -inf

    def shut(self, until: float) -> None:
        """Graph has told us."""
        if until > self.until:
            self.until = self._words = until

    def learn(self, budget: Budget, known: Budget, asked: float, now: float) -> None:
        """Take over what the ledger, asked at `asked`, has said by `now`.

        Whose clock `closed_until` is of is not known. But a door that is news has been shut since
        the last look, for as long as was left when it was written: no clock makes that wrong.
        """
        last, self._looked_at = self._looked_at, asked
        if budget.closed_until == known.closed_until:
            return
        rest = closed_for(budget)
        until = min(max(budget.closed_until, last + rest), now + rest)
        if until > self.until:
            self.until, self._words = until, budget.closed_until

    def lesson(self, known: Budget, now: float) -> tuple[float, float]:
        """What the ledger should say: `closed_until` and `closed_at`.

        As it does, if it has the door in our words or in those that we have it from: else two
        clocks would teach each other for ever. One that is open again is no news either.
        """
        if now >= self.until or known.closed_until in (self.until, self._words):
            return known.closed_until, known.closed_at
        return self.until, now
