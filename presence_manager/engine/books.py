"""A lane's books: what is committed, and who is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Protocol

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Step
from presence_manager.core.verdict import Verdict
from presence_manager.engine.commit import commit
from presence_manager.engine.entry import Entry
from presence_manager.engine.plan import Now, take_over
from presence_manager.engine.unrecorded import PAUSE, Unrecorded, goes_on_clearing
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Query


class Audience(Protocol):
    """Who is told what became of the sessions."""

    def rested(self, rows: Iterable[tuple[Session, float]]) -> None:
        """Sessions came to rest; each wants a look at that instant (infinite: never)."""
        ...

    def gone(self, keys: Sequence[Key]) -> None:
        """The same of sessions of which nothing is left."""
        ...

    def refused(self, key: Key, name: str, verdict: Verdict) -> None:
        """The hold of that name was refused for good, by Graph or the sign-in."""
        ...

    def became(self, outcomes: Iterable[Outcome]) -> None:
        """Sessions have these outcomes, each in a sweep."""
        ...


class Books:
    """Commits plans, tells the audience, and hands the entries back to their lane by `go_on`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        moment: Callable[[], Now],
        audience: Audience,
        unrecorded: Unrecorded,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        go_on: Callable[[list[Entry]], None],
        wake: Callable[[], None],
        log: Any,
    ) -> None:
        self.stopping = False
        self._ledger = ledger
        self._moment = moment
        self._audience = audience
        self._unrecorded = unrecorded
        self._spawn = spawn
        self._go_on = go_on
        self._wake = wake
        self._log = log

    async def apply(self, entries: list[Entry], failed: BaseException | None = None) -> None:
        """Commit plans, tell who waits, and go on with what is left to do: see `committed`."""
        if entries:
            self.deliver(await self.committed(entries, failed))

    async def put(self, steps: list[Step]) -> Mapping[int, Session]:
        """Commit the steps of a bundle: see `Ledger.put`."""
        return await self._ledger.put(steps)

    def ended(self, rows: Iterable[Session], outcomes: list[Outcome]) -> None:
        """Tell that these sessions have ended, and nothing else is to be said of them."""
        self._audience.became(outcomes)
        self._audience.gone([row.key for row in rows])

    async def committed(
        self, entries: list[Entry], failed: BaseException | None = None
    ) -> list[Entry]:
        """Commit plans, and try again while the ledger fails: no verdict may be forgotten.

        Clears do not wait for it: they go on unrecorded, while what else there is is committed in
        the background. A lane that is being stopped does not wait either. `failed` is how a first
        try has ended just now: one that took seconds costs a sweep no more of its time.
        """
        done: list[Entry] = []
        left = list(entries)
        told = False
        while True:
            if self._unrecorded:
                left = self._advance_unrecorded(left, done)
            try:
                if failed is not None:
                    first, failed = failed, None
                    raise first
                await commit(self._ledger, left, done, self._moment)
                return done
            except LedgerError as error:
                self._log.error("ledger.failed", error=str(error))
                if self.stopping:
                    for entry in left:
                        entry.plan = entry.planner(entry).unrecorded()
                    return done + left
            except asyncio.CancelledError:  # the loop closes: see what was saved, and go on
                if self.stopping:
                    raise
                continue
            if not told:
                left = await self._go_on_unrecorded(left, done)
                told = True
            if done:
                if left:
                    self._spawn(self._apply_later(left))
                return done
            await asyncio.sleep(PAUSE)

    async def _apply_later(self, entries: list[Entry]) -> None:
        await asyncio.sleep(PAUSE)
        await self.apply(entries)

    def _advance_unrecorded(self, left: list[Entry], done: list[Entry]) -> list[Entry]:
        """Move to `done` what the ledger knows nothing of; return the others."""
        others: list[Entry] = []
        for entry in left:
            if entry.row.version >= 0:
                others.append(entry)
                continue
            plan = entry.plan = entry.planner(entry).unrecorded()
            blank = Session(key=entry.key, version=plan.row.version)
            entry.row = blank if plan.delete else plan.row
            done.append(entry)
        return others

    async def _go_on_unrecorded(self, left: list[Entry], done: list[Entry]) -> list[Entry]:
        """The ledger fails: tell the sweeps what came of their clears, and let others go on.

        Return what waits for the ledger all the same: no request of it is left to be made.
        """
        waiting: list[Entry] = []
        owner = self._moment().owner
        for entry in left:
            entry.plan = entry.planner(entry).unrecorded()
        if any(goes_on_clearing(entry.plan, owner) for entry in left):
            with suppress(LedgerError, TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._unrecorded.mark()
        for entry in left:
            plan = entry.plan
            if goes_on_clearing(plan, owner):
                entry.row = self._unrecorded.owe(entry.row, plan.row)
                self._unrecorded.leaves(entry.key)
                entry.plan = plan._replace(row=entry.row)
                done.append(entry)
                continue
            self._audience.became(plan.outcomes)
            waiting.append(entry)
        return waiting

    def leaves(self, entries: list[Entry]) -> None:
        """Remember which of these requests the ledger knows nothing of, before they leave."""
        if self._unrecorded:
            for entry in entries:
                if entry.row.version < 0:
                    self._unrecorded.leaves(entry.key)

    def deliver(self, entries: list[Entry]) -> None:
        """Tell what became of the sessions, and go on with what is left to do."""
        for entry in entries:
            entry.busy = False
        self.tell(entries)
        self._go_on(entries)
        self._wake()

    def tell(self, entries: list[Entry]) -> None:
        """Tell what became of the sessions by the plans that were committed."""
        outcomes: list[Outcome] = []
        for entry in entries:
            if not entry.row.sweeps:  # nobody waits for it any more
                entry.deadline = inf
            outcomes += entry.plan.outcomes
            if entry.missing:
                missing, entry.missing = entry.missing, ()
                self._spawn(self._look_up(entry.row, missing))
        if outcomes:
            self._audience.became(outcomes)

    def rested(self, entries: list[tuple[Entry, float]]) -> None:
        """Tell that sessions came to rest, and which of their holds were refused before."""
        rows: list[tuple[Session, float]] = []
        for entry, at in entries:
            row = entry.row
            if row.version < 0:
                self._unrecorded.rested(row)
            if entry.refused:
                for name, verdict in entry.refused.items():
                    if row.wish(name) is None:  # else put again meanwhile
                        self._audience.refused(entry.key, name, verdict)
            # what the ledger was not told of is looked at again when it has been
            rows.append((row, at if row.version >= 0 else inf))
        self._audience.rested(rows)

    async def reread(self, entries: list[Entry]) -> None:
        """See what another process has made of these sessions, and whether it is still there."""
        while True:
            try:
                rows = await self._ledger.get([entry.key for entry in entries])
                alive = await self._ledger.alive()
                break
            except LedgerError as error:
                self._log.error("ledger.failed", error=str(error))
                if self.stopping:
                    return
            except asyncio.CancelledError:
                if self.stopping:
                    raise
                continue
            await asyncio.sleep(PAUSE)
        now = self._moment()
        dead = frozenset(row.attempt.owner for row in rows if row.attempt is not None) - alive
        for entry, row in zip(entries, rows, strict=True):
            if row.version != entry.row.version:
                entry.see(now.adopt(row))
            entry.stale = False
            entry.planner = lambda entry: take_over(entry.row, now, entry.waited(now.at), dead)
        await self.apply(entries)

    async def others_owe(self) -> bool:
        """Whether another process may have cleared something that the ledger was not told of.

        Where nobody can say, it may.
        """
        try:
            async with asyncio.timeout(PAUSE):
                return bool(await self._ledger.marked() - {self._moment().owner})
        except (LedgerError, TimeoutError):
            return True
        except asyncio.CancelledError:  # the loop closes; what was answered must not be forgotten
            if self.stopping:
                raise
            return True

    async def _look_up(self, row: Session, sweeps: tuple[str, ...]) -> None:
        """These sweeps no longer wait for the session: read what another process has told them.

        Those that the ledger was not told of have waited for a clear in memory, until the session
        was written to by others, nearly always for a hold.
        """
        wanted = self._unrecorded.is_wanted(row, self._moment())
        for sweep_id in sweeps:
            told = await self._outcomes(row.key, sweep_id)
            owner = self._moment().owner  # what we finish is told at once
            self._audience.became(o for o in told or () if o.owner != owner)
            if told == []:
                left = self._unrecorded.left(row, sweep_id, self._moment())
                if wanted:
                    left = left._replace(kind=Kind.SUPERSEDED, lapses_at=None)
                self._audience.became([left])

    async def _outcomes(self, key: Key, sweep_id: str) -> list[Outcome] | None:
        """What the ledger has of it, once it can be read; None at the end."""
        while True:
            try:
                found = await self._ledger.outcomes(of_sweep(key, sweep_id), 0, 1)
                return [outcome for _, outcome in found]
            except LedgerError as error:
                self._log.error("ledger.failed", error=str(error))
                if self.stopping:
                    return None
            await asyncio.sleep(PAUSE)


def of_sweep(key: Key, sweep_id: str) -> Query:
    """What became of one session in one sweep."""
    lane = key.lane
    return Query(
        origin=lane.origin, app=lane.app, sweep_id=sweep_id, tenant=lane.tenant, user=key.user
    )
