"""One session at work in a lane."""

from __future__ import annotations

from asyncio import Timeout, get_running_loop
from collections.abc import Callable
from enum import IntEnum
from math import inf

from presence_manager.core.decide import Action, Send
from presence_manager.core.session import Attempt, Session
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.engine.plan import Now, Plan
from presence_manager.engine.retry import RetryPolicy


class Rank(IntEnum):
    """The classes of a lane, most urgent first (design, section 3)."""

    RELEASE = 0
    LAPSING = 1
    SET = 2
    SWEEP = 3
    RENEWAL = 4


_DONE = Judgement.DONE

Planner = Callable[["Entry"], Plan]
"""From an entry's row as it is now to its next version."""


class Waiting:
    """What waits in a lane for its request.

    `busy` while a task has it; `queued` while it waits for a slot, at its `place`, and `bound` if
    with a deadline. `scope` is the time limit of its request in flight.
    """

    __slots__ = ("bound", "busy", "deadline", "place", "queued", "rank", "row", "scope")

    def __init__(self, row: Session, rank: Rank, deadline: float) -> None:
        self.row = row
        self.rank = rank
        self.deadline = deadline
        self.busy = self.bound = self.queued = False
        self.place = 0.0
        self.scope: Timeout | None = None

    def __len__(self) -> int:
        return 1

    def landed(self) -> None:
        """Its request is over: nothing is left to be shortened."""
        self.scope = None


class Entry(Waiting):
    """One session at work in a lane.

    `send` is what was last decided, of the version `decided`. While it is busy, `planner` says what
    is to be committed of it, and `plan` is what was; `asked` is the attempt in flight, and `meant`
    what came of it.

    `verdict` is the last on it, and `troubled` says that there was one that did not do:
    `not_before` is when it may be tried again, `tries` counts the tries in a row that failed since
    `since`, and `spent` says that they were enough. `refusals` counts tokens refused in a row.
    `singly` keeps it out of batches. `stale` says that another process is about to change the
    row, and `met` the attempt of it that stands in the way, and when that was met. `missing` are
    sweeps that another process has finished for us.
    """

    __slots__ = (
        "__dict__",  # for what nearly none of them has
        "asked",
        "decided",
        "key",
        "meant",
        "plan",
        "planner",
        "send",
        "troubled",
        "verdict",
    )

    asked: Attempt
    meant: Verdict
    planner: Planner
    plan: Plan
    not_before = 0.0
    tries = 0
    since = 0.0
    spent = False
    refusals = 0
    singly = False
    stale = False
    met: tuple[Attempt | None, float] = (None, 0.0)
    missing: tuple[str, ...] = ()
    refused: dict[str, Verdict] | None = None

    def __init__(self, row: Session, rank: Rank, deadline: float = inf) -> None:
        super().__init__(row, rank, deadline)
        self.key = row.key
        self.decided: Session | None = None
        self.send: Send | None = None
        self.verdict: Verdict | None = None
        self.troubled = False

    @property
    def rows(self) -> tuple[Session]:
        """Its row, as a bundle has several."""
        return (self.row,)

    @property
    def unwritten(self) -> bool:
        """Whether its open attempt was answered, and the ledger could not be told."""
        attempt = self.row.attempt
        return attempt is not None and getattr(self, "asked", None) == attempt

    def decide(self, now: Now) -> Action:
        """What comes next; what was decided of this very version holds until its hold ends."""
        send = self.send if self.decided is self.row else None
        if send is not None and (send.wish is None or send.wish.live(now.at)):
            return send
        action = now.decide(self.row)
        self.decided = self.row
        self.send = action if isinstance(action, Send) else None
        return action

    def waited(self, now: float) -> float:
        """Seconds for which the attempt that stands in the way has been open before our eyes."""
        if self.met[0] != self.row.attempt:
            self.met = self.row.attempt, now
        return now - self.met[1]

    def see(self, row: Session) -> None:
        """Take the row as the ledger has it now."""
        if self.row.sweeps != row.sweeps:
            gone = tuple(sweep for sweep in self.row.sweeps if sweep not in row.sweeps)
            self.missing += gone
        self.row = row

    def shorten(self, seconds: float) -> None:
        """Let the request in flight, if there is one, take no longer than that."""
        scope = self.scope
        if scope is not None and not scope.expired():
            at = get_running_loop().time() + max(0.0, seconds)
            when = scope.when()
            scope.reschedule(at if when is None else min(at, when))

    def drop(self, name: str, verdict: Verdict) -> None:
        """Remember that the hold of this name was refused for good."""
        self.refused = {**(self.refused or {}), name: verdict}

    def note(self, attempt: Attempt, verdict: Verdict, now: float, policy: RetryPolicy) -> Verdict:
        """Learn from a verdict when to try again; return what it amounts to.

        A second token refused in a row is a denial. A verdict that says nothing about this
        session alone (`singly`) costs it no try.
        """
        judgement = verdict.judgement
        self.verdict = verdict
        if judgement is _DONE:
            if self.troubled:
                self.troubled = self.singly = self.spent = False
                self.refusals, self.tries, self.not_before = 0, 0, 0.0
            return verdict
        self.troubled = True
        self.singly = verdict.singly
        self.refusals = self.refusals + 1 if judgement is Judgement.UNAUTHORIZED else 0
        if self.refusals > 1:
            verdict = verdict._replace(judgement=Judgement.DENIED)
            judgement = verdict.judgement
        if judgement in (Judgement.LOST, Judgement.LATER):
            if not verdict.singly:
                self._failed(verdict, now, policy)
        elif judgement is Judgement.GONE:
            self.tries, self.spent, self.not_before = 0, False, 0.0
        if judgement in (Judgement.DENIED, Judgement.GONE) and attempt.verb is Verb.SET:
            self.drop(attempt.wish, verdict)
        return verdict

    def _failed(self, verdict: Verdict, now: float, policy: RetryPolicy) -> None:
        if not self.tries:
            self.since = verdict.sent_at
        self.tries += 1
        seconds = now - self.since
        self.spent = policy.spent(self.tries, seconds)
        self.not_before = now + policy.delay(self.tries, seconds, verdict.retry_after)
