"""What a sweep commits of a session before anything leaves: that it is to be cleared."""

from __future__ import annotations

from itertools import groupby
from math import inf
from typing import Any

from presence_manager.core import change
from presence_manager.core.decide import Send
from presence_manager.core.key import LaneId
from presence_manager.core.session import Session, Step, alike, step
from presence_manager.core.verdict import Verb
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.plan import Now, attempt_for
from presence_manager.engine.sweep import Release
from presence_manager.engine.unrecorded import Unrecorded

_made: Any = tuple.__new__


class Intents:
    """Makes the next versions of the rows of one sweep."""

    def __init__(
        self, release: Release, sweep_id: str, lanes: Lanes, unrecorded: Unrecorded
    ) -> None:
        self._release = release
        self._sweep_id = sweep_id
        self._lanes = lanes
        self._unrecorded = unrecorded

    def of(self, row: Session, now: Now, *, at_once: bool = True) -> tuple[Step, Send | None]:
        """The next version of the row, and what is to be sent if that is decided with it.

        Not `at_once`: the session is only marked with the sweep.
        """
        new = self._release.next(now.adopt(row), now, self._sweep_id)
        send = None
        if at_once and new.attempt is None:
            action = now.decide(new)
            if isinstance(action, Send) and action.verb is Verb.CLEAR:
                number = self._lanes[row.key.lane].numbers(1)[0]
                attempt = attempt_for(row.key, action, now, number, inf)
                new = change.begin(new, attempt, now.at, now.terms)
                send = action
        return step(row, new), send

    def of_all(
        self, rows: list[Session], now: Now, *, at_once: bool
    ) -> tuple[list[Step], list[Send | None]]:
        """The same for each; those unknown to the ledger differ in nothing but the key."""
        # while something is owed, one may have been cleared before and another not
        alone = any(row.version for row in rows) or bool(self._unrecorded)
        found = [self.of(row, now, at_once=at_once) for row in (rows if alone else rows[:1])]
        steps, sends = [step for step, _ in found], [send for _, send in found]
        if not alone:
            like, rest = steps[0].row, steps[0][2:]
            for lane, run in groupby(rows[1:], _lane_of):
                keys = [row.key for row in run]
                numbers = self._lanes[lane].numbers(len(keys)) if like.attempt else ()
                steps += [_made(Step, (0, new, *rest)) for new in alike(like, keys, numbers)]
            sends *= len(rows)
        return steps, sends


def _lane_of(row: Session) -> LaneId:
    return row.key.lane
