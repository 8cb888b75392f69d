"""A sweep: one pass that clears sessions under one deadline and ends in a report.

A lone clear or release is a sweep of one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import NamedTuple

import structlog

from presence_manager.core import change
from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.core.pair import LONGEST_LEASE
from presence_manager.core.session import Session, Wish
from presence_manager.engine.plan import Now, new_sweep_id

log = structlog.get_logger()

PROBLEMS = 100
"""Outcomes that a report carries; all are in the ledger."""
UNRECORDED = 10_000
"""The same for those that the ledger was not told of, which are nowhere else."""
PROGRESS_EVERY = 0.1
"""Seconds between two calls of a progress callback, at least."""
STRANGERS = 20
"""Users unknown to the ledger, all of them already gone, that look like a mistake."""
LAST_WORD = 0.7
"""Seconds after its deadline within which a sweep has written down what it left: the rest of the
one second is for the end of the process."""


class Release(NamedTuple):
    """How a sweep ends the holds of a session: (row, now, sweep id) to its next version.

    That of `everyone` ends all there are, those that cannot be read just now among them.
    """

    next: Callable[[Session, Now, str], Session]
    everyone: bool = False


def found(row: Session, now: Now) -> Session:
    """Reckon with a session that the ledger does not know, or cannot be asked about."""
    live_until = now.at + LONGEST_LEASE + now.terms.margin
    return change.found(row, live_until, now.owner, now.terms)


def _end_all(row: Session, now: Now, sweep_id: str) -> Session:
    row = found(row, now)
    return change.release(row, now.at, now.owner, sweep_id=sweep_id)


release_all = Release(_end_all, everyone=True)
"""End all holds of the session, in every process."""


@Release
def release_own(row: Session, now: Now, sweep_id: str) -> Session:
    """End the holds of this process only."""
    own = frozenset(wish.name for wish in row.wishes if wish.owner == now.owner)
    return change.release(row, now.at, now.owner, names=own, sweep_id=sweep_id)


@Release
def release_unnamed(row: Session, now: Now, sweep_id: str) -> Session:
    """End those holds of this process that no other can go on with."""
    own = frozenset(w.name for w in row.wishes if w.owner == now.owner and not w.resumable)
    return change.release(row, now.at, now.owner, names=own, sweep_id=sweep_id)


def is_kept(row: Session, now: Now) -> bool:
    """Whether this process has nothing in it but what another can go on with."""
    own = [wish for wish in row.wishes if wish.owner == now.owner]
    kept = any(wish.resumable and wish.live(now.at) for wish in own)
    return kept and all(wish.resumable for wish in own)


def release_one(wish: Wish) -> Release:
    """End one hold, unless it was put again meanwhile: the last word wins."""

    @Release
    def release(row: Session, now: Now, sweep_id: str) -> Session:
        names = frozenset({wish.name} if row.wish(wish.name) == wish else ())
        return change.release(row, now.at, now.owner, names=names, sweep_id=sweep_id)

    return release


def release_dead(
    gone: Set[str],
    resumed: set[Key] | None = None,
    doubtful: Set[Key] = frozenset(),
    others: Set[Key] = frozenset(),
) -> Release:
    """End the holds whose process is `gone`, and what it left open.

    The sessions that are `doubtful` may have been cleared without the ledger. So may `others`, with
    which these processes have nothing to do: whoever holds them goes on, and shows them again.
    With `resumed`, which takes their keys, go on with the holds that somebody can still end.
    """

    @Release
    def release(row: Session, now: Now, sweep_id: str) -> Session:
        if row.key in others:
            return change.doubt(row.evolve(now.at, now.owner), now.at, now.owner, now.terms)
        attempt = row.attempt
        if attempt is not None and attempt.owner in gone:
            row = change.abandon(row, now.at, now.owner, now.terms)
        if row.key in doubtful:
            row = change.doubt(row, now.at, now.owner, now.terms)
        if resumed is not None:
            orphan, row = row, change.inherit(row, gone, now.at, now.owner)
            if row is not orphan:
                resumed.add(row.key)
        dead = frozenset(w.name for w in row.wishes if w.owner in gone)
        row = change.release(row, now.at, now.owner, names=dead)
        if row.newest(now.at) is None and not row.over:
            row = change.release(row, now.at, now.owner, names=frozenset(), sweep_id=sweep_id)
        return row

    return release


def owners_of(row: Session) -> set[str]:
    """All processes that the row names."""
    owners = {row.owner, *(wish.owner for wish in row.wishes)}
    if row.attempt is not None:
        owners.add(row.attempt.owner)
    return owners - {""}


@dataclass(slots=True, kw_only=True, eq=False)
class Sweep:
    """The state of a running sweep; `deadline` is in seconds since the epoch.

    `owner` is the process that it is of; what another one finished is `strange`, and counted once.
    """

    started: float
    owner: str = ""
    id: str = field(default_factory=new_sweep_id)
    deadline: float = inf
    taken: int = 0
    done: int = 0
    strangers: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    last: Outcome | None = None
    all_taken: bool = False
    complete: bool = True
    unfinal: dict[Key, Outcome] = field(default_factory=dict)
    strange: set[Key] = field(default_factory=set)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def finished(self) -> bool:
        """Whether every session taken in has its outcome, and none is to come."""
        return self.all_taken and self.done >= self.taken

    def became(self, outcomes: Iterable[Outcome]) -> None:
        """Count outcomes; a later one of the session replaces one not final, or not recorded."""
        ours, strange, unfinal = self.owner, self.strange, self.unfinal
        kinds: list[Kind] = []
        for outcome in outcomes:
            key, kind, _, _, _, _, _, _, _, owner, _, recorded, _ = outcome
            if strange and key in strange:
                continue
            self.last = outcome
            if owner != ours and kind.final:
                strange.add(key)
            before = unfinal.pop(key, None) if unfinal else None
            if before is None:
                self.done += 1
            else:
                self.counts[before.kind] -= 1
            kinds.append(kind)
            if not (kind.final and recorded):
                unfinal[key] = outcome
        self.counts.update(kinds)
        self.moved.set()

    def progress(self, now: float) -> Progress:
        """How far it is."""
        return Progress(
            sweep_id=self.id,
            taken=self.taken,
            done=self.done,
            counts={str(kind): n for kind, n in self.counts.items() if n},
            seconds=now - self.started,
            all_taken=self.all_taken,
        )

    def report(self, now: float, requests: int, refused: int) -> Report:
        """How it went."""
        gone = self.counts.get(Kind.ALREADY_GONE, 0)
        unfinal = self.unfinal.values()
        unrecorded = [outcome for outcome in unfinal if not outcome.recorded]
        note = ""
        if self.strangers >= STRANGERS and gone == self.strangers == self.taken:
            note = (
                f"all {gone} users were unknown to the ledger and had no session: "
                "is this the application that set them?"
            )
        if not self.complete:
            note = "the deadline came before all sessions were taken in: the rest is as it was"
        return Report(
            sweep_id=self.id,
            complete=self.complete,
            seconds=now - self.started,
            requests=requests,
            refused=refused,
            counts={str(kind): n for kind, n in self.counts.items() if n},
            problems=tuple(islice((o for o in unfinal if not o.kind.final), PROBLEMS)),
            unrecorded=tuple(unrecorded[:UNRECORDED]),
            unrecorded_total=len(unrecorded),
            note=note,
        )
