"""A session as the ledger remembers it: what is wanted, what is known, what is open.

All records are immutable; a change is a new record with the next version. Times are seconds
since the epoch, durations seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, NamedTuple

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import Pair
from presence_manager.core.verdict import Verb


class Known(StrEnum):
    """What is known of the session on Graph's side."""

    ABSENT = "absent"
    SHOWN = "shown"
    UNSURE = "unsure"


UNNAMED = "~"
"""What the name of a hold begins with that nobody but its own process can release."""


class Wish(NamedTuple):
    """One hold: a caller's wish that the user be shown so, until released.

    `owner` is the process that has it; empty when the hold outlives its process and ends by
    itself at `until`. `pair` is None for a tracked session, which other code set. `lease` is 0
    where it is planned anew at each set. A name that begins with `UNNAMED` was given by us.
    """

    name: str
    owner: str
    pair: Pair | None
    lease: float
    made_at: float
    until: float = inf

    def live(self, now: float) -> bool:
        """Whether it still holds at `now`; it ends at the instant `until`."""
        return now < self.until

    @property
    def resumable(self) -> bool:
        """Whether another process may go on with it: its name is known, or it ends by itself."""
        return not self.name.startswith(UNNAMED)


class Attempt(NamedTuple):
    """One request for one session, from before it leaves until its answer, or its time, is over.

    `number` is unique within the owner's life. It may leave until `send_by`, not later.
    A set carries the name, pair and lease of the hold that asked for it.
    """

    verb: Verb
    owner: str
    number: int
    send_by: float
    wish: str = ""
    pair: Pair | None = None
    lease: float = 0.0


class Session(NamedTuple):
    """The row of one session.

    `version` is 0 for a row that the ledger does not have. `owner` is the process that sees to
    it, and on whose clock the settling is written; `clock` the process on whose clock
    `may_live_until` is, and `skew` how many seconds Graph's clock was ahead of that one, None if
    nobody knew. `wishes` run from the oldest to the newest. `due` is when the shown session wants
    renewal. `sets_settle` and `clears_settle` are the instants until which a set or clear that was
    given up may yet be applied. `doubt` says that a clear without an answer may explain a later
    404. `answer` is what the clears of the running clearing have proven so far. `attempts` counts
    its requests. `sweeps` are the sweeps that wait for the outcome.
    """

    key: Key
    version: int = 0
    owner: str = ""
    clock: str = ""
    skew: float | None = None
    wishes: tuple[Wish, ...] = ()
    known: Known = Known.ABSENT
    pair: Pair | None = None
    due: float = inf
    may_live_until: float = 0.0
    attempt: Attempt | None = None
    sets_settle: float = 0.0
    clears_settle: float = 0.0
    doubt: bool = False
    answer: Kind | None = None
    attempts: int = 0
    sweeps: tuple[str, ...] = ()

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self.key.lane.tenant

    @property
    def user(self) -> str:
        """The user's object id."""
        return self.key.user

    @property
    def over(self) -> bool:
        """Whether nothing is left of it but the memory of a clear that may still come."""
        return not (self.wishes or self.sweeps or self.attempt or self.known is not Known.ABSENT)

    def newest(self, now: float) -> Wish | None:
        """The hold whose pair is wanted at `now`; a tracked one only where there is no other."""
        tracked = None
        for wish in reversed(self.wishes):
            if wish.live(now):
                if wish.pair is not None:
                    return wish
                tracked = tracked or wish
        return tracked

    def wish(self, name: str) -> Wish | None:
        """The hold of that name, live or not."""
        for wish in self.wishes:
            if wish.name == name:
                return wish
        return None

    def evolve(self, now: float, owner: str, **changes: Any) -> Session:
        """Return the next version of the row, written by `owner`.

        A row that is new to the ledger starts its versions at the microsecond of its birth, so
        that a row deleted and made again never repeats a version: to write it takes longer.
        """
        values = list(self)  # half the time of _replace, on the busiest path of all
        values[_VERSION] = self.version + 1 if self.version else born(now)
        values[_OWNER] = owner
        for name, value in changes.items():
            values[_PLACES[name]] = value
        row: Session = _made(Session, values)
        return row


def born(now: float) -> int:
    """The first version of a row that is new to the ledger."""
    return int(now * 1e6)


def blank(key: Key) -> Session:
    """The row of a session that the ledger does not have: as `Session(key)`, in half the time."""
    row: Session = _made(Session, (key, *_UNKNOWN))
    return row


def alike(row: Session, keys: Iterable[Key], numbers: Iterable[int]) -> list[Session]:
    """Return the same row for other sessions, the attempt with a number of its own for each."""
    before, attempt, after = row[1:_ATTEMPT], row.attempt, row[_ATTEMPT + 1 :]
    if attempt is None:
        return [_made(Session, (key, *before, None, *after)) for key in keys]
    by, rest = attempt[:2], attempt[3:]
    return [
        _made(Session, (key, *before, _made(Attempt, (*by, number, *rest)), *after))
        for key, number in zip(keys, numbers, strict=True)
    ]


_PLACES = {name: place for place, name in enumerate(Session._fields)}
_VERSION, _OWNER, _ATTEMPT = _PLACES["version"], _PLACES["owner"], _PLACES["attempt"]
_UNKNOWN = tuple(Session._field_defaults.values())
_made: Any = tuple.__new__


class Step(NamedTuple):
    """One compare-and-set: the row moves from version `expected` to `row`, with its outcomes.

    `expected` is 0 where the ledger must not have the row. `delete` ends it. `wishes` says
    whether the holds differ from those of the expected version.
    """

    expected: int
    row: Session
    outcomes: tuple[Outcome, ...] = ()
    delete: bool = False
    wishes: bool = False


def step(
    old: Session, new: Session, outcomes: tuple[Outcome, ...] = (), *, delete: bool = False
) -> Step:
    """Return the step from one version of a row to the next."""
    held = old is not new and old.wishes != new.wishes
    made: Step = _made(Step, (old.version, new, outcomes, delete, held))
    return made


def ends(rows: Iterable[Session], told: Iterable[tuple[Outcome, ...]]) -> list[Step]:
    """Return the steps that end the rows, each with what its sweeps are told."""
    return [
        _made(Step, (row.version, row, outcomes, True, False))
        for row, outcomes in zip(rows, told, strict=True)
    ]


class Tally(NamedTuple):
    """How many sessions of one tenant are alike.

    `held` says whether anybody still holds them, `due` how many of them want renewal by the
    instant that was asked about. `oldest` is when the first of them came into the ledger.
    """

    tenant: str
    known: Known
    pair: Pair | None
    held: bool
    sessions: int
    due: int
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The durations the rules reckon with, in seconds.

    `timeout` bounds one HTTP attempt, `margin` covers clocks and rounding, `settle` is how long
    Graph may take to apply a request that was given up, `skew` is how far Graph's clock is ahead
    of ours, None before its first answer.
    """

    timeout: float = 10.0
    margin: float = 30.0
    settle: float = 10.0
    skew: float | None = None
