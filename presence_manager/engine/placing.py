"""From a caller's wish to a session that is on its way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

from presence_manager.core import change
from presence_manager.core.decide import Send
from presence_manager.core.key import Key
from presence_manager.core.session import Session, Step, Wish, step
from presence_manager.core.verdict import Verb
from presence_manager.engine.entry import Rank
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.plan import SEND_WITHIN, attempt_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from presence_manager.engine.plan import Now
    from presence_manager.ports import Ledger


class Placing:
    """Commits holds together with their first attempt, and hands the sessions to their lanes."""

    def __init__(self, lanes: Lanes, *, ledger: Ledger, now: Callable[[], Now]) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._now = now

    async def place(self, wishes: Sequence[tuple[Key, Wish]]) -> list[Session]:
        """Make the holds durable, and their sessions asked for.

        Return the rows as they are now, when that took more than one commit.

        Raises LedgerError: then Graph is not asked.
        """
        by_key: dict[Key, list[Wish]] = {}
        for key, wish in wishes:
            by_key.setdefault(key, []).append(wish)
        rows = [Session(key=key) for key in by_key]
        rounds = 0
        while rows:
            now = self._now()
            steps = [self._intent(row, by_key[row.key], now) for row in rows]
            lost = await self._ledger.put(steps)
            placed = [planned.row for index, planned in enumerate(steps) if index not in lost]
            for lane, run in groupby(placed, lambda row: row.key.lane):
                self._lanes[lane].submit_all([*run], Rank.SET, inf, None)
            rows = list(lost.values())
            rounds += 1
        return await self._ledger.get(list(by_key)) if rounds > 1 else []

    async def track(self, key: Key, wish: Wish, live_until: float) -> None:
        """Remember a session that other code has set. Raises LedgerError."""
        row = Session(key=key)
        while True:
            now = self._now()
            new = change.track(now.adopt(row), wish, now.at, now.owner, live_until, now.terms)
            lost = await self._ledger.put([step(row, new)])
            if not lost:
                self._lanes[key.lane].submit(new, Rank.SET)
                return
            row = lost[0]

    def _intent(self, row: Session, wishes: list[Wish], now: Now) -> Step:
        new = now.adopt(row)
        for wish in wishes:
            new = change.hold(new, wish, now.at, now.owner)
        if new.attempt is None:
            action = now.decide(new)
            if isinstance(action, Send) and action.verb is Verb.SET:
                number = self._lanes[row.key.lane].numbers(1)[0]
                attempt = attempt_for(row.key, action, now, number, now.at + SEND_WITHIN)
                new = change.begin(new, attempt, now.at, now.terms)
        return step(row, new)
