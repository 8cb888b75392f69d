"""Clears that leave although the ledger fails: clearing people matters more than the books.

Only clears do, and only of sessions that nobody else is known to hold: whose wish it is that a
user be shown cannot be told without the ledger. Their rows stay in memory, with a version below 0,
which no row of the ledger has. The ledger's own rows stay as they were; when it works again they
count as being cleared, and are cleared once more: that is harmless, and what a 404 means then is
known. A clear that still waits goes on in the ledger, for others may hold the user by then. Should
this process end before, its mark says the same to the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import structlog

from presence_manager.core import change
from presence_manager.core.decide import Rest
from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Step, Wish, step
from presence_manager.engine.entry import Rank
from presence_manager.engine.plan import Now, Plan
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger

if TYPE_CHECKING:
    from presence_manager.engine.lanes import Lanes

log = structlog.get_logger()

PAUSE = 1.0
"""Seconds between two looks whether the ledger works again."""
AT_ONCE = 1_000
"""Rows told to the ledger at a time."""


class Debt(NamedTuple):
    """What the ledger has yet to be told of a session.

    The holds that `ended`, as has every one that was made until `all_until`. A clear that has left
    may be applied until `settles`: infinite while it is at work, below 0 when none has left. The
    `sweeps` that the ledger has not heard of.
    """

    ended: frozenset[Wish] = frozenset()
    all_until: float = 0.0
    settles: float = -1.0
    sweeps: frozenset[str] = frozenset()


Owed = dict[Key, Debt]
_NONE: Mapping[Key, Session] = {}


class OwingNow(Now):
    """The moment, while the ledger has yet to be told of something."""

    unrecorded: Unrecorded

    def adopt(self, row: Session) -> Session:
        """The same, with what the ledger does not say of it."""
        return self.unrecorded.known_of(super().adopt(row), self)


class Unrecorded:
    """What the ledger has yet to be told of, and who tells it."""

    def __init__(
        self,
        lanes: Lanes,
        *,
        ledger: Ledger,
        owner: str,
        now: Callable[[], Now],
        rest: Callable[[Key], None],
    ) -> None:
        self.owed: Owed = {}
        self._lanes = lanes
        self._ledger = ledger
        self._owner = owner
        self._now = now
        self._rest = rest
        self._silent_until = 0.0
        self._marked = False
        self._telling: asyncio.Task[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self.owed)

    @property
    def is_silent(self) -> bool:
        """Whether the ledger has failed just now: a lock makes each call wait for seconds."""
        return asyncio.get_running_loop().time() < self._silent_until

    def failed_for(self, seconds: float) -> None:
        """The ledger has failed after so long: do not ask it for three times as long."""
        self._silent_until = asyncio.get_running_loop().time() + 3.0 * seconds

    async def known(self, rows: Sequence[Session]) -> list[Session]:
        """The rows as far as they are known, where the ledger cannot be written."""
        blank = [row.key for row in rows if not row.version]
        with suppress(LedgerError, TimeoutError):  # then nobody is known to hold these
            async with asyncio.timeout(PAUSE):
                await self.mark()
                found = {row.key: row for row in await self._ledger.get(blank) if row.version}
                rows = [found.get(row.key, row) for row in rows]
        return [self._lanes[row.key.lane].unrecorded(row.key) or row for row in rows]

    async def mark(self) -> None:
        """Let the next process know, before anything leaves, that clears may go unrecorded.

        Raises LedgerError.
        """
        if not self._marked:
            await self._ledger.mark(self._owner, on=True)
            self._marked = True
            self._go_on_telling()

    def may_leave(self, row: Session, planned: Session, now: Now) -> bool:
        """Whether the session is ours alone, and nobody wants it shown any more."""
        holders = {wish.owner for wish in row.wishes} or {row.owner}
        if row.attempt is not None:
            holders.add(row.attempt.owner)
        return holders <= {"", self._owner} and planned.newest(now.at) is None

    def owe(self, row: Session, planned: Session, *, all_until: float = 0.0) -> Session:
        """Remember to tell the ledger of the clear; return the row that stays in memory.

        It has ended the holds that the row lost, and every one that was made until `all_until`.
        """
        ended, until, settles, sweeps = self.owed.get(row.key, Debt())
        ended |= frozenset(row.wishes) - frozenset(planned.wishes)
        sweeps |= frozenset(planned.sweeps) - frozenset(row.sweeps)
        self.owed[row.key] = Debt(ended, max(until, all_until), settles, sweeps)
        self._rest(row.key)
        self._go_on_telling()
        if planned.version < 0:
            return planned
        return planned._replace(version=-planned.version)

    def leaves(self, key: Key) -> None:
        """A clear of the session leaves, or has left, that the ledger cannot be told of now."""
        self.owed[key] = self.owed.get(key, Debt())._replace(settles=inf)
        self._go_on_telling()

    def rested(self, row: Session) -> None:
        """No clear of the session is at work any more; one may yet be applied."""
        debt = self.owed.get(row.key, Debt())
        if debt.settles > 0:
            self.owed[row.key] = debt._replace(settles=row.clears_settle)

    def known_of(self, row: Session, now: Now) -> Session:
        """The row with what the ledger has not been told: it may have been cleared meanwhile.

        An attempt of ours that it takes for open, and that has left, counts as lost.
        """
        debt = self.owed.get(row.key)
        if debt is None or row.version < 0:  # the row in memory knows
            return row
        attempt = row.attempt
        if debt.settles >= 0:
            row = change.doubt(row, now.at, self._owner, now.terms)
        if attempt is None or attempt.owner != self._owner:
            return row
        if attempt.number in self._lanes[row.key.lane].unsent:
            return row
        lost = change.abandon(row, now.at, self._owner, now.terms)
        return lost._replace(version=row.version)

    def left(self, row: Session, sweep_id: str, now: Now) -> Outcome:
        """The outcome of a session that cannot be cleared without the ledger."""
        return Outcome(
            key=row.key,
            kind=Kind.UNFINISHED,
            sweep_id=sweep_id,
            at=now.at,
            owner=self._owner,
            reason="ledger",
            recorded=False,
            lapses_at=row.may_live_until,
        )

    def is_wanted(self, row: Session, now: Now) -> bool:
        """Whether a hold of the row is left."""
        kept = change.release(row, now.at, self._owner, names=self._ended(row))
        return kept.newest(now.at) is not None

    async def stop(self) -> None:
        """Tell nothing more: the mark stays, for the next start."""
        self._stopped = True
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})

    def _go_on_telling(self) -> None:
        if not self._stopped and (self._telling is None or self._telling.done()):
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Once the ledger works again, let it know; and clear once more what it still has."""
        while self.owed or self._marked:
            await asyncio.sleep(PAUSE)
            with suppress(LedgerError, TimeoutError):
                await self._tell_some(
                    [key for key in self.owed if not self._lanes[key.lane].has(key)]
                )
                await self._tell_of_waiting()
                if not self.owed:
                    self._marked = False  # first: who owes something from now on marks again
                    await self._ledger.mark(self._owner, on=False)

    async def _tell_of_waiting(self) -> None:
        """The same for what waits in memory: others may hold it by now, or be clearing it."""
        keys = [key for key in self.owed if self._lanes[key.lane].unrecorded(key)][:AT_ONCE]
        if not keys:
            return
        await self._ledger.get(keys[:1])  # one that hangs does not hold up the clears
        desks = {key: self._lanes[key.lane].desk for key in keys}
        taken = {key: entry for key, desk in desks.items() if (entry := desk.take_idle(key))}
        try:
            async with asyncio.timeout(PAUSE):
                await self._tell_some(list(taken), {key: e.row for key, e in taken.items()})
        finally:
            for key, entry in taken.items():
                desks[key].give_back(entry)

    async def _tell_some(self, keys: list[Key], waiting: Mapping[Key, Session] = _NONE) -> None:
        told = {key: self.owed[key] for key in keys[:AT_ONCE]}
        rows = await self._ledger.get(list(told))
        now = self._now()
        steps: list[Step] = [
            step(row, self._told(row, now, waiting.get(row.key)))
            for row in rows
            if row.version or row.key in waiting or told[row.key].settles > now.at
        ]
        lost = await self._ledger.put(steps) if steps else {}
        behind = {row.key for row in lost.values()}
        done = {each.row.key: each.row for each in steps}
        for row in rows:
            key = row.key
            if key in behind or self.owed[key] != told[key]:  # it was cleared again meanwhile
                continue
            del self.owed[key]
            if key in done:
                self._lanes[key.lane].submit(done[key], Rank.SWEEP)

    def _told(self, row: Session, now: Now, waiting: Session | None) -> Session:
        """The row with the clear as one whose answer was lost; holds made since stay.

        One that is `waiting` in memory goes on in the ledger, with the sweeps that wait for it.
        """
        if waiting is not None and not row.version:
            return waiting._replace(version=0).evolve(now.at, self._owner, attempt=None)
        new = now.adopt(row)
        if new.attempt is not None and new.attempt.owner == self._owner:  # it has not left
            self._lanes[row.key.lane].unsent.discard(new.attempt.number)
            new = change.withdraw(new, now.at, self._owner)
        new = change.release(new, now.at, self._owner, names=self._ended(row))
        if waiting is not None:
            sweeps = self.owed[row.key].sweeps
            joining = (s for s in waiting.sweeps if s in sweeps and s not in new.sweeps)
            new = new._replace(sweeps=(*new.sweeps, *joining))
        return new

    def _ended(self, row: Session) -> frozenset[str]:
        """The holds of the row that have ended, though the ledger has yet to be told."""
        ended, until, *_ = self.owed.get(row.key, Debt())
        return frozenset(w.name for w in row.wishes if w in ended or w.made_at <= until)


def goes_on_clearing(plan: Plan, owner: str) -> bool:
    """Whether nothing but a clear, or a wait before one, follows; of a session of ours."""
    attempt = plan.row.attempt
    return not (plan.delete or plan.row.wishes or isinstance(plan.action, Rest)) and (
        attempt is None or attempt.owner == owner
    )
