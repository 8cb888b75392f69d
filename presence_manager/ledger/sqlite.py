"""A ledger in a SQLite file: durable, shared by the processes of one machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Step, Tally
from presence_manager.errors import LedgerError
from presence_manager.ledger import puts, store
from presence_manager.ledger.checks import check_owner, check_scope, check_steps, not_open
from presence_manager.ledger.database import Database
from presence_manager.ledger.owners import OwnerLocks
from presence_manager.ledger.place import file_warnings, place_warnings
from presence_manager.ledger.writer import ThreadWriter, Writer
from presence_manager.ports import Budget, Draw, Query, Scope, Search, Share

T = TypeVar("T")

_COUNT_AT_ONCE = 20_000  # outcomes counted in one transaction, for the same reason
_REPLACED_WITHIN = 5 * 3600.0  # a session that an outcome leaves behind lives four hours at most
_FORGET_AT_ONCE = 5000  # outcomes deleted in one transaction, so that others get in between


class SqliteLedger:
    """A ledger in the file at `path`, made if there is none.

    `busy_timeout` is how many seconds a call waits for another process that is writing. `writer`
    runs the work: a daemon thread, or, with `InlineWriter()`, the caller itself. Owners that have
    not left when it is closed are dead. Carried over a fork it raises LedgerError: open another.
    """

    def __init__(
        self, path: str | os.PathLike[str], busy_timeout: float = 5.0, writer: Writer | None = None
    ) -> None:
        self._path = Path(path).absolute()
        self._busy_timeout = busy_timeout
        self._writer: Writer = writer or ThreadWriter()
        self._process: int | None = None
        self._owners: OwnerLocks | None = None
        self._warnings: list[str] = []

    def __repr__(self) -> str:
        state = "closed" if self._process is None else "open"
        return f"<SqliteLedger {self._path}, {state}>"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def open(self) -> None:
        """Open the file, or make it; LedgerUnusable for what is no sound ledger of ours."""
        if self._process == os.getpid():
            return
        await self._writer.start(self._opened)
        self._process = os.getpid()

    async def close(self) -> None:
        """Finish what was asked, within the writer's patience, and close the file."""
        if self._process != os.getpid():  # not open, or carried over a fork: not ours to close
            return
        self._process = None
        assert self._owners is not None
        await self._writer.stop(self._owners.let_go)

    def warnings(self) -> list[str]:
        """Return what was noticed of the file's place and rights when it was opened."""
        return list(self._warnings)

    async def get(self, keys: Sequence[Key]) -> list[Session]:
        """Return the rows of these keys, blank ones where there is none."""
        return await self._run(lambda db: store.get(db, keys), writes=False)

    async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
        """Apply the steps whose row has the expected version; return the rows of the others."""
        check_steps(steps)
        return await self._run(lambda db: puts.put(db, steps), writes=True)

    async def page(self, scope: Scope, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows of the scope, by (tenant, user), after `after`."""
        check_scope(scope)
        return await self._run(lambda db: store.page(db, scope, after, limit), writes=False)

    async def foreign(self, origin: str, app: str) -> int:
        """Return how many rows belong to other origins or applications."""
        return await self._run(lambda db: store.foreign(db, origin, app), writes=False)

    async def lanes(self, origin: str, app: str) -> list[LaneId]:
        """Return the lanes of the application on that Graph."""
        return await self._run(lambda db: store.lanes(db, origin, app), writes=False)

    async def tally(self, origin: str, app: str, due_by: float) -> list[Tally]:
        """Return how many sessions there are of each kind."""
        return await self._run(lambda db: store.tally(db, origin, app, due_by), writes=False)

    async def search(self, search: Search, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows that are looked for, by (tenant, user), after `after`."""
        return await self._run(lambda db: store.search(db, search, after, limit), writes=False)

    async def enter(self, owner: str) -> None:
        """Lock this owner's file; LedgerError if another process of that name is alive."""
        check_owner(owner)
        await self._run(lambda _: self._locks().enter(owner), writes=True)

    async def leave(self, owner: str) -> None:
        """Unlock and remove this owner's file; harmless if it never entered here."""
        await self._run(lambda _: self._locks().leave(owner), writes=True)

    async def mark(self, owner: str, *, on: bool) -> None:
        """Note in this owner's file whether it may have cleared more than is written here."""
        await self._run(lambda _: self._locks().mark(owner, on=on), writes=False)

    async def marked(self) -> frozenset[str]:
        """Return the owners whose file says so."""
        return await self._run(lambda _: self._locks().marked(), writes=False)

    async def alive(self) -> frozenset[str]:
        """Return the owners whose process has their file locked."""
        return await self._run(lambda _: self._locks().alive(), writes=True)

    async def dead(self) -> frozenset[str]:
        """Return all owners that ended without leaving; raises LedgerError."""
        return await self._run(lambda _: self._locks().dead(), writes=True)

    async def budget(self, lane: LaneId) -> Budget:
        """Return what was last saved for the lane, or the defaults."""
        return await self._run(lambda db: store.budget(db, lane), writes=False)

    async def save_budget(self, lane: LaneId, budget: Budget) -> None:
        """Replace what is known of the lane."""
        await self._run(lambda db: store.save_budget(db, lane, budget), writes=True)

    async def draw(self, lane: LaneId, owner: str, draw: Draw) -> Share:
        """Grant slots of the lane's budget to one process."""
        return await self._run(lambda db: store.draw(db, lane, owner, draw), writes=True)

    async def outcomes(self, query: Query, after: int, limit: int) -> list[tuple[int, Outcome]]:
        """Return up to `limit` matching outcomes after the position `after`, with positions."""
        return await self._run(lambda db: store.outcomes(db, query, after, limit), writes=False)

    async def told(self, sweep_id: str, keys: Sequence[Key]) -> frozenset[Key]:
        """Return which of these sessions have an outcome in the sweep."""
        return await self._run(lambda db: store.told(db, sweep_id, keys), writes=False)

    async def forget(self, before: float) -> int:
        """Delete the outcomes of before `before` (seconds since the epoch); return how many."""
        total = 0
        while True:
            deleted = await self._run(
                lambda db: store.forget(db, before, _FORGET_AT_ONCE), writes=True
            )
            total += deleted
            if deleted < _FORGET_AT_ONCE:
                return total

    async def history(
        self, origin: str, app: str, since: float, interval: float
    ) -> list[tuple[int, Kind, int]]:
        """Return how many outcomes of each kind there were in each interval, from the newest on."""
        values: dict[str, Any] = {"origin": origin, "app": app, "since": since}
        values |= {"interval": interval, "before": 2**63 - 1, "limit": _COUNT_AT_ONCE}
        counts: Counter[tuple[int, Kind]] = Counter()
        while found := await self._run(lambda db: store.history(db, values), writes=False):
            for counted, number, kind, count, _, _ in found:
                if counted:
                    counts[number, kind] += count
            if max(last for *_, last in found) < since - _REPLACED_WITHIN:
                break
            values["before"] = min(first for *_, first, _ in found)
        return [(number, kind, count) for (number, kind), count in sorted(counts.items())]

    def _opened(self) -> Database:
        database = Database(self._path, self._busy_timeout)
        real = database.path
        self._owners = OwnerLocks(real.with_name(real.name + ".owners"))
        self._warnings = [*place_warnings(real), *file_warnings(real)]
        return database

    def _locks(self) -> OwnerLocks:
        assert self._owners is not None
        return self._owners

    async def _run(self, work: Callable[[Database], T], *, writes: bool) -> T:
        if self._process is None:
            raise not_open(str(self._path))
        if self._process != os.getpid():
            raise LedgerError(
                f"the ledger {self._path} was opened by another process and carried over a fork: "
                "nothing was read or saved. Open one in this process."
            )
        return await self._writer.run(work, writes=writes)
