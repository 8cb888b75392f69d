"""How many requests a window Graph takes, as far as we know."""

from __future__ import annotations

from typing import NamedTuple

from presence_manager.gate.window import Window
from presence_manager.ports import Budget

FIRST_BUDGET = 1500
"""Requests a window that a lane begins with: the lower of the documented figures."""
LEAST_BUDGET = 20
"""Requests a window that no refusal takes away: fewer would be no limit, but an outage."""
PROBE_WAIT = 600.0
"""Seconds for which no more than what is proven is tried after that was refused; it doubles."""
LONGEST_PROBE_WAIT = 86_400.0
"""Seconds to which that grows."""


class GateTerms(NamedTuple):
    """`budget` in requests per `window` seconds (None: it learns, up to `ceiling`)."""

    budget: int | None = None
    window: float = 30.0
    ceiling: int = 10_000
    timeout: float = 10.0


class LaneBudget:
    """A fixed budget, or one that learns.

    What was accepted within a window is proven. A refusal lowers the budget to what was accepted
    in the window that it ended; a refusal of more than was proven also puts off the next try.
    """

    def __init__(self, terms: GateTerms) -> None:
        self.known = Budget()
        self._accepted = Window(terms.window)
        self._probe_at = self._probe_words = 0.0  # on our clock; as the ledger has it
        self._probe_wait = 0.0
        self.change(terms)

    def change(self, terms: GateTerms) -> None:
        """Go on with another budget, or ceiling; one that learns begins with what is known."""
        self.learning = terms.budget is None
        self.ceiling = terms.ceiling if terms.budget is None else terms.budget
        self._first = min(FIRST_BUDGET, self.ceiling)
        known = min(self.known.proven, self.ceiling) or self._first
        self.size = known if terms.budget is None else terms.budget

    def may_probe(self, now: float) -> bool:
        """Whether to try more than what is proven."""
        return self.learning and now >= self._probe_at and self.size < self.ceiling

    @property
    def unrefused(self) -> bool:
        """Whether more than at first was tried, and Graph took all of it."""
        return self.size > self._first and not self._probe_wait

    def most(self, until: float) -> int:
        """What the budget may come to until then, at best."""
        return self.ceiling if self.learning and self._probe_at < until else self.size

    def accepted(self, now: float, sent_at: float, count: int, *, probing: bool) -> None:
        """Learn from requests that Graph took."""
        self._accepted.add(sent_at, count)
        proven = min(self._accepted.total(now), self.ceiling)
        if self.learning and proven > self.size:
            self.size = proven
            if probing:
                self._probe_wait = 0.0

    def refused(self, now: float, others: int, *, probing: bool) -> None:
        """Learn from a refusal, while others had so many slots in use."""
        if not self.learning:
            return
        if probing:
            self._probe_wait = min(max(PROBE_WAIT, 2 * self._probe_wait), LONGEST_PROBE_WAIT)
            self._probe_at = self._probe_words = now + self._probe_wait
        proven = self._accepted.total(now) + others
        self.size = min(max(LEAST_BUDGET, proven), self.ceiling)

    def learn(self, budget: Budget, now: float) -> None:
        """Take over what another process has written; its clock may be ahead."""
        if budget != self.known and self.learning and budget.proven:
            self.size = min(budget.proven, self.ceiling)
            if budget.probe_at != self.known.probe_at:
                self._probe_at = min(budget.probe_at, now + budget.probe_wait)
                self._probe_words = budget.probe_at
            self._probe_wait = budget.probe_wait
        self.known = budget

    def lesson(self, closed_until: float, closed_at: float) -> Budget | None:
        """What the ledger should know by now; None if it does."""
        proven = self.known.proven
        if self.learning and (proven or self.size != self._first):
            proven = self.size
        known = self.known.probe_at  # as it does, if we have it from there
        probe_at = known if known == self._probe_words else self._probe_at
        lesson = Budget(proven, closed_until, probe_at, self._probe_wait, closed_at)
        return None if lesson == self.known else lesson
