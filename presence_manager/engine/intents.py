"""What a sweep commits of a session before anything leaves: that it is to be cleared."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from presence_manager.core import change
from presence_manager.core.decide import Send
from presence_manager.core.key import Key, LaneId
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
                number = self._lanes[row.key.lane].number()
                attempt = attempt_for(row.key, action, now, number, inf)
                new = change.begin(new, attempt, now.at, now.terms)
                send = action
        return step(row, new), send

    def of_all(
        self, rows: list[Session], now: Now, *, at_once: bool
    ) -> tuple[list[Step], list[Send | None]]:
        """The same for each; those unknown to the ledger differ in nothing but the key."""
        steps: list[Step] = []
        sends: list[Send | None] = []
        made: Callable[[Key, int], Session] | None = None
        lane: LaneId | None = None
        owing = bool(self._unrecorded)  # then one may have been cleared before, another not
        for row in rows:
            if row.version or owing or made is None:
                each, does = self.of(row, now, at_once=at_once)
                if not (row.version or owing):
                    made, send, rest = alike(each.row), does, each[2:]
            else:
                key = row.key
                if key.lane is not lane:
                    lane = key.lane
                    number = self._lanes[lane].number
                each, does = _made(Step, (0, made(key, number()), *rest)), send
            steps.append(each)
            sends.append(does)
        return steps, sends
