"""The gate says when the next request of a lane may leave, and learns how many Graph takes.

A request occupies a slot of the budget from its send until one window after its answer, for nobody
knows at which instant between the two Graph counted it; refused requests count as well (Graph:
throttling). The slots themselves are drawn from the ledger (see `share`), which all processes
share: here is what one process does with its own.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from presence_manager.engine.window import Window
from presence_manager.ports import Budget, Draw, Share, Uses

FIRST_BUDGET = 1500
"""Requests a window that a lane begins with: the lower of the documented figures."""
LEAST_BUDGET = 20
"""Requests a window that no refusal takes away: fewer would be no limit, but an outage."""
FIRST_WAIT = 1.0
"""Seconds to wait after a 429 that names no time."""
LONGEST_WAIT = 300.0
"""Seconds to which the wait after repeated refusals grows by itself; Graph may ask for more."""
PROBE_WAIT = 600.0
"""Seconds for which no more than what is proven is tried after that was refused; it doubles."""
LONGEST_PROBE_WAIT = 86_400.0
"""Seconds to which that grows."""
CLOSED_AT_MOST = 3600.0
"""Seconds for which a door that another process found shut is believed to be."""
STRIKES = 4
"""Refusals soon after one another that are taken for the limit, whatever Retry-After says."""
SOON = 8
"""Requests accepted in between that make a refusal a new one."""
SLOTS_LIFE = 5.0
"""Seconds within which slots that were drawn are used; then they are given back."""
SPARE = 20
"""Slots drawn at a time at least, so that a trickle does not pay for each."""
ASK_AGAIN = 1.0
"""Seconds before slots are asked for again that other processes may have given back."""


class GateTerms(NamedTuple):
    """`budget` in requests per `window` seconds (None: it learns, up to `ceiling`)."""

    budget: int | None = None
    window: float = 30.0
    ceiling: int = 10_000
    timeout: float = 10.0


class Gate:
    """A door, a budget and a pace.

    The door: after a 429 nothing leaves until the time Graph asked for is over; then one request
    leaves, and only its acceptance opens. Each further refusal without an acceptance doubles the
    wait.

    The budget: what was accepted within a window is proven. When more is waiting, more is tried.
    A refusal lowers the budget to what was accepted in the window that it ended, unless
    Retry-After is much shorter than it takes until a slot of ours is free again: then it was not
    our own use that was refused, and what we know of the limit still stands, as long as requests
    are accepted in between.

    The pace: after a refusal, and beyond what is proven, requests in flight start at one and
    double with each round that was accepted.
    """

    def __init__(self, terms: GateTerms) -> None:
        self.window = terms.window
        self.learning = terms.budget is None
        self.ceiling = terms.ceiling if terms.budget is None else terms.budget
        self.budget = min(FIRST_BUDGET, self.ceiling) if terms.budget is None else terms.budget
        self.closed_until = 0.0
        self.sent = 0
        self.refused = 0
        self._timeout = terms.timeout
        self._out = 0
        self._past = Window(terms.window)
        self._accepted = Window(terms.window)
        self._renewed = Window(terms.window)
        self._slots = 0
        self._slots_until = 0.0
        self._others: Uses = ()
        self._ask_at = 0.0
        self.known = Budget()
        self._probe_at = 0.0
        self._probe_wait = 0.0
        self._probing = False
        self._pace = inf
        self._yes = 0
        self._careful_until = 0.0
        self._wait = 0.0
        self._shut_at = 0.0
        self._testing = False
        self._patient = True
        self._run = 0
        self._strikes = 0

    def __repr__(self) -> str:
        used = self._out + self._past.left_at(-inf)
        return (
            f"<Gate {used} of {self.budget} used in {self.window:g} s, "
            f"{self._out} in flight, {self.refused} refused>"
        )

    # -- may it leave? ----------------------------------------------------------------------

    def free(self, now: float) -> int:
        """How many requests may leave now."""
        if now < self.closed_until or now > self._slots_until:
            return 0
        if self._testing:
            return min(self._slots, 0 if self._out else 1)
        if self._pace < inf and not self._probing and now >= self._careful_until:
            self._pace = inf
        return int(min(self._slots, max(0.0, self._pace - self._out)))

    def renewals(self, now: float) -> int:
        """How many of them may be renewals: half of the budget is kept for the rest."""
        return max(1, self.budget // 2) - self._renewed.total(now)

    def next_free(self, now: float) -> float:
        """When to look again, if no answer comes before, since nothing may leave now.

        Infinite while all depends on requests in flight.
        """
        if now < self.closed_until:
            return self.closed_until
        if self._out and (self._testing or self._out >= self._pace):
            return inf
        return max(min(self._past.first_end(now), self._first_of_others(now)), self._ask_at)

    def capacity(self, now: float, until: float) -> float:
        """How many may leave until `until`, at the very most."""
        start = max(now, self.closed_until)
        if start >= until:
            return 0
        limit = self.ceiling if self.learning and self._probe_at < until else self.budget
        windows, rest = divmod(until - start, self.window)
        end = start + rest
        used = self._out + self._past.left_at(end) + _count(self._others, end)
        return limit * windows + max(0, limit - used)

    # -- slots ------------------------------------------------------------------------------

    def draw(self, now: float, waiting: int) -> Draw | None:
        """What to ask of the ledger, so that what waits may leave; None for nothing now."""
        if not waiting or now < max(self.closed_until, self._ask_at):
            return None
        if now > self._slots_until:
            self._slots = 0
        limit = self.budget
        room = limit - self._used(now) - self._slots
        if self._testing:
            want = 0 if self._out or self._slots else 1
            if not self._patient:
                limit = max(limit, self._used(now) + 1)
            elif room <= 0:
                return None
        elif room > 0:
            self._probing = False
            chunk = max(SPARE, limit // 8)
            want = min(max(waiting, SPARE), chunk) - self._slots
            if 2 * self._slots > min(waiting, chunk):
                want = 0
        elif self._may_probe(now):
            limit = self.ceiling
            want = min(waiting, 2 * int(self._pace)) - self._slots
            if self._slots >= self._pace - self._out:
                want = 0
        else:  # the ledger knows whether other processes have given some back
            want = min(waiting, SPARE) if self._others else 0
        if want <= 0:
            return None
        return Draw(now, self.uses(now), want, limit, now + self._worst())

    def granted(self, draw: Draw, share: Share) -> None:
        """Take what the ledger granted, and what the other processes have learned."""
        now = draw.now
        self._slots += share.granted
        self._slots_until = now + SLOTS_LIFE
        self._others = share.others
        if draw.want and not share.granted:
            ends = self._past.first_end(now), self._first_of_others(now)
            self._ask_at = max(now + 0.05, min(ends))
        self.learn(share.budget, now)

    def learn(self, budget: Budget, now: float) -> None:
        """Take over what the ledger knows, if another process has written it."""
        if budget == self.known:
            return
        self.known = budget
        self.closed_until = max(self.closed_until, min(budget.closed_until, now + CLOSED_AT_MOST))
        if self.learning and budget.proven:
            self.budget = min(budget.proven, self.ceiling)
            self._probe_at, self._probe_wait = budget.probe_at, budget.probe_wait

    def lesson(self) -> Budget | None:
        """What the ledger should know by now; None if it does."""
        proven = self.known.proven
        if self.learning and (proven or self.budget != min(FIRST_BUDGET, self.ceiling)):
            proven = self.budget
        lesson = Budget(proven, self.closed_until, self._probe_at, self._probe_wait)
        return None if lesson == self.known else lesson

    def uses(self, now: float) -> Uses:
        """The slots in use: those of the past, and those that are out or may still leave."""
        own = self._past.uses(now, self.window / 60)
        open_ = self._out + (self._slots if now <= self._slots_until else 0)
        return (*own, (now + self._worst(), open_)) if open_ else own

    @property
    def alone(self) -> bool:
        """Whether no other process was seen to use this budget."""
        return not self._others

    # -- what became of them ----------------------------------------------------------------

    def leave(self, count: int) -> None:
        """Count requests that leave."""
        self._slots -= count
        self._out += count
        self.sent += count

    def stay(self, count: int) -> None:
        """Take back requests that did not leave after all."""
        self._slots += count
        self._out -= count
        self.sent -= count

    def answered(self, now: float, count: int, renewals: int = 0) -> None:
        """Count answers, or requests that were given up; so many of them renewals."""
        self._out -= count
        if count:
            self._past.add(now, count)
        if renewals:
            self._renewed.add(now, renewals)

    def accept(self, now: float, sent_at: float, count: int) -> None:
        """Graph took requests: the door is open, if they left after it was shut."""
        self._accepted.add(sent_at, count)
        self._run += count
        if self._testing and sent_at >= self._shut_at:
            self._testing = False
            self._wait = 0.0
            self._pace, self._yes = 1.0, 0
            self._careful_until = now + self.window
        if self._pace < inf and sent_at >= self._shut_at:
            self._yes += count
            while self._yes >= self._pace:
                self._yes -= int(self._pace)
                self._pace *= 2
        proven = min(self._accepted.total(now), self.ceiling)
        if self.learning and proven > self.budget:
            self.budget = proven
            if self._probing:
                self._probe_wait = 0.0

    def refuse(self, now: float, sent_at: float, retry_after: float | None, count: int) -> None:
        """Graph refused `count` requests with 429: shut the door.

        Refusals of requests that had left before the door was shut say nothing new.
        """
        self.refused += count
        if sent_at >= self._shut_at:
            self._wait = min(self._wait * 2, LONGEST_WAIT) if self._wait else FIRST_WAIT
            if not self._testing and retry_after:
                self._wait = min(self._wait, retry_after)
            self._judge(now, max(retry_after or 0.0, self._wait))
            self._shut_at = now
            self._testing = True
        self.closed_until = max(self.closed_until, now + max(retry_after or 0.0, self._wait))

    def _judge(self, now: float, wait: float) -> None:
        """Find out whether the refusal says something about the budget."""
        self._strikes = self._strikes + 1 if self._run < SOON else 0
        self._run = 0
        ours = self._past.first_end(now) - now
        limit = self._testing or self._probing or self._strikes >= STRIKES or 2 * wait >= ours
        self._patient = self._testing or not self.learning
        if not (self.learning and limit):
            return
        if self._probing:
            self._probe_wait = min(max(PROBE_WAIT, 2 * self._probe_wait), LONGEST_PROBE_WAIT)
            self._probe_at = now + self._probe_wait
            self._probing = False
        proven = self._accepted.total(now) + _count(self._others, now)
        self.budget = min(max(LEAST_BUDGET, proven), self.ceiling)
        self._slots = 0

    # -- within -----------------------------------------------------------------------------

    def _may_probe(self, now: float) -> bool:
        """Whether to try more than what is proven."""
        if not self._probing:
            if not self.learning or now < self._probe_at or self.budget >= self.ceiling:
                return False
            self._probing = True
            self._pace, self._yes = 1.0, 0
        return True

    def _used(self, now: float) -> int:
        return self._out + self._past.total(now) + _count(self._others, now)

    def _worst(self) -> float:
        """Seconds for which a slot that is drawn now may be in use."""
        return SLOTS_LIFE + self._timeout + self.window

    def _first_of_others(self, now: float) -> float:
        first = min((until for until, _ in self._others if until > now), default=inf)
        return min(first, now + ASK_AGAIN) if first < inf else inf


def _count(uses: Uses, beyond: float) -> int:
    return sum(count for until, count in uses if until > beyond)
