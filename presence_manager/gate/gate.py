"""The gate says when the next request of a lane may leave, and learns how many Graph takes.

A request occupies a slot of the budget from its send until one window after its answer, for nobody
knows at which instant between the two Graph counted it; refused requests count as well (Graph:
throttling). The slots themselves are drawn from the ledger (see `engine/share.py`), which all
processes share: here is what one process does with its own.
"""

from __future__ import annotations

from math import inf

from presence_manager.gate.budget import GateTerms, LaneBudget
from presence_manager.gate.door import Door
from presence_manager.gate.window import Window
from presence_manager.ports import Budget, Draw, Share, Uses, slots

FIRST_WAIT = 1.0
"""Seconds to wait after a 429 that names no time."""
LONGEST_WAIT = 300.0
"""Seconds to which the wait after repeated refusals grows by itself; Graph may ask for more."""
STRIKES = 4
"""Refusals soon after one another that are taken for the limit, whatever Retry-After says."""
LIES = 2
"""Refusals in a row, each after the time that Graph asked for, that say it asked for too little."""
SOON = 8
"""Requests accepted in between that make a refusal a new one."""
SLOTS_LIFE = 5.0
"""Seconds within which slots that were drawn are used; then they are given back."""
SPARE = 20
"""Slots drawn at a time at least, so that a trickle does not pay for each."""
ASK_AGAIN = 1.0
"""Seconds before slots are asked for again that other processes may have given back."""


class Gate:
    """A door, a budget and a pace.

    The door: after a 429 nothing leaves until the time Graph asked for is over; then one request
    leaves, and only its acceptance opens. Each further refusal without an acceptance doubles the
    wait.

    The budget: when more is waiting than what is proven, more is tried. A refusal lowers it, unless
    Retry-After is much shorter than it takes until a slot of ours is free again: then it was not
    our own use that was refused, and what we know of the limit still stands, as long as requests
    are accepted in between.

    The pace: after a refusal, unless it was of more than what is proven, and beyond that, requests
    in flight start at one and double with each round that was accepted; they start at a full batch
    where Graph has taken all that was ever tried.
    """

    def __init__(self, terms: GateTerms) -> None:
        self.window = terms.window
        self.budget = LaneBudget(terms)
        self.door = Door()
        self.sent = 0
        self.refused = 0
        self._timeout = terms.timeout
        self._out = 0
        self._past = Window(terms.window)
        self._renewed = Window(terms.window)
        self._slots = 0
        self._slots_until = 0.0
        self.others: Uses = ()
        self._ask_at = 0.0
        self._probing = False
        self._pace = inf
        self._yes = 0
        self._slow_since = 0.0
        self._careful_until = 0.0
        self._wait = 0.0
        self._shut_at = 0.0
        self._testing = False
        self._patient = True
        self._proven = False
        self._run = 0
        self._strikes = 0
        self._lies = 0

    def __repr__(self) -> str:
        used = self._out + self._past.left_at(-inf)
        return (
            f"<Gate {used} of {self.budget.size} used in {self.window:g} s, "
            f"{self._out} in flight, {self.refused} refused>"
        )

    def change(self, terms: GateTerms) -> None:
        """Go on with another budget; `window` and `timeout` stay. What has left counts."""
        self.budget.change(terms)
        self._slots = 0  # they were drawn of the other one
        self._ask_at = 0.0
        self._probing = False

    @property
    def closed_until(self) -> float:
        """When the door is open again."""
        return self.door.until

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
        return max(1, self.budget.size // 2) - self._renewed.total(now)

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
        limit = self.budget.most(until)
        windows, rest = divmod(until - start, self.window)
        end = start + rest
        used = self._out + self._past.left_at(end) + slots(self.others, end)
        return limit * windows + max(0, limit - used)

    # -- slots ------------------------------------------------------------------------------

    def draw(self, now: float, waiting: int) -> Draw | None:
        """What to ask of the ledger, so that what waits may leave; None for nothing now."""
        if not waiting or now < max(self.closed_until, self._ask_at):
            return None
        if now > self._slots_until:
            self._slots = 0
        limit = self.budget.size
        room = limit - self.used(now) - self._slots
        if self._testing:
            want = 0 if self._out or self._slots else 1
            if not self._patient:
                limit = max(limit, self.used(now) + 1)
            elif room <= 0:
                return None
        elif room > 0:
            self._probing = False
            chunk = max(SPARE, limit // 8)
            want = min(max(waiting, SPARE) - self._slots, chunk - self._slots, room)
            if 2 * self._slots > min(waiting, chunk):
                want = 0
        elif self._may_probe(now):
            limit = self.budget.ceiling
            want = min(waiting, 2 * int(self._pace)) - self._slots
            if self._slots >= self._pace - self._out:
                want = 0
        else:  # the ledger knows whether other processes have given some back
            want = min(waiting, SPARE) if self.others else 0
        if want <= 0:
            return None
        return Draw(now, self.uses(now), want, limit, now + self._worst())

    def granted(self, draw: Draw, share: Share) -> None:
        """Take what the ledger granted."""
        now = draw.now
        self._slots += share.granted
        self._slots_until = now + SLOTS_LIFE
        self.others = share.others
        probed = draw.limit >= self.budget.ceiling or not self.budget.may_probe(now)
        if draw.want and not share.granted and probed:
            ends = self._past.first_end(now), self._first_of_others(now)
            self._ask_at = max(now + 0.05, min(ends))

    def learn(self, budget: Budget, asked: float, now: float) -> None:
        """Take over what the ledger, asked at `asked`, has said by `now`."""
        self.door.learn(budget, self.budget.known, asked, now)
        self.budget.learn(budget, now)

    def lesson(self, now: float) -> Budget | None:
        """What the ledger should know by now; None if it does."""
        return self.budget.lesson(*self.door.lesson(self.budget.known, now))

    def uses(self, now: float) -> Uses:
        """The slots in use: those of the past, and those that are out or may still leave."""
        own = self._past.uses(now, self.window / 60)
        open_ = self._out + (self._slots if now <= self._slots_until else 0)
        return (*own, (now + self._worst(), open_)) if open_ else own

    def reckoned(self, draw: Draw) -> Share:
        """What a ledger that does not answer would grant, by what was last seen of the others."""
        others = tuple(use for use in self.others if use[0] > draw.now)
        taken = slots(draw.uses, draw.now) + slots(others, draw.now)
        return Share(max(0, min(draw.want, draw.limit - taken)), others, self.budget.known)

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
        self.budget.accepted(now, sent_at, count, probing=self._probing)
        self._run += count
        if self._testing and sent_at >= self._shut_at:
            self._testing = False
            self._wait = 0.0
            self._careful_until = now + self.window
            if self._proven:
                self._pace = inf
            else:
                self._begin_slowly(sent_at)
        if self._pace < inf and sent_at >= self._slow_since:
            self._yes += count
            while self._yes >= self._pace:
                self._yes -= int(self._pace)
                self._pace *= 2

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
        self.door.shut(now + max(retry_after or 0.0, self._wait))

    def _judge(self, now: float, wait: float) -> None:
        """Find out whether the refusal says something about the budget."""
        if not self._testing:
            self._strikes = self._strikes + 1 if self._run < SOON else 0
        self._run = 0
        ours = self._past.first_end(now) - now
        self._lies = self._lies + 1 if self._testing else 0
        self._patient = self._lies >= LIES or not self.budget.learning
        full = 2 * wait >= ours > self.window / 4
        limit = self._probing or full or self._lies >= LIES or self._strikes >= STRIKES
        stands = not limit and not self._strikes
        self._proven = self._probing or stands or (self._proven and self._testing)
        if limit:
            self.budget.refused(now, slots(self.others, now), probing=self._probing)
            self._slots = 0
        self._probing = False

    # -- within -----------------------------------------------------------------------------

    def _may_probe(self, now: float) -> bool:
        """Whether to try more than what is proven."""
        if not self._probing:
            if self._out or self._slots or not self.budget.may_probe(now):
                return False
            self._probing = True
            self._begin_slowly(now, SPARE if self.budget.unrefused else 1)
        return True

    def _begin_slowly(self, now: float, pace: int = 1) -> None:
        self._pace, self._yes, self._slow_since = float(pace), 0, now

    def used(self, now: float) -> int:
        """How many slots of the budget are in use, those of other processes too."""
        return self._out + self._past.total(now) + slots(self.others, now)

    def _worst(self) -> float:
        """Seconds for which a slot that is drawn now may be in use."""
        return SLOTS_LIFE + self._timeout + self.window

    def _first_of_others(self, now: float) -> float:
        first = min((until for until, _ in self.others if until > now), default=inf)
        return min(first, now + ASK_AGAIN) if first < inf else inf
