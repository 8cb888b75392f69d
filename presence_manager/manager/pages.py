"""Sessions and outcomes a page at a time, for those who go on later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Known, Session, Tally
from presence_manager.engine.sources import CHUNK, pages
from presence_manager.manager.ids import Ids, checked, instant
from presence_manager.ports import Ledger, Query, Search


class Pages:
    """Reads the rows of this application. Raises InvalidHold for a malformed id, LedgerError."""

    def __init__(self, ledger: Ledger, ids: Ids, check: Callable[[], None]) -> None:
        self._ledger = ledger
        self._ids = ids
        self._check = check

    async def tenants(self) -> list[str]:
        """The tenants of whom the ledger has, or had, a session."""
        self._check()
        lanes = await self._ledger.lanes(self._ids.origin, self._ids.app)
        return [lane.tenant for lane in lanes]

    async def sessions(
        self,
        *,
        tenant: str | None = None,
        user: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = CHUNK,
    ) -> list[Session]:
        """Up to `limit` sessions in the order of (tenant, user), those `after` this one."""
        self._check()
        if user is not None:
            rows = await self._of_user(checked(user, "user"), tenant)
            rows = [row for row in rows if after is None or (row.tenant, row.user) > after]
            return rows[:limit]
        scope = self._ids.scope(tenant=tenant)
        return await self._rows(partial(self._ledger.page, scope), after, limit)

    async def search(
        self,
        text: str = "",
        *,
        tenant: str | None = None,
        known: Known | None = None,
        held: bool | None = None,
        after: tuple[str, str] | None = None,
        limit: int = CHUNK,
    ) -> list[Session]:
        """Up to `limit` sessions that are looked for (see `ports.Search`), those `after` this."""
        self._check()
        search = Search(
            origin=self._ids.origin,
            app=self._ids.app,
            tenant=checked(tenant, "tenant") if tenant else None,
            text=text,
            known=known,
            held=held,
        )
        return await self._rows(partial(self._ledger.search, search), after, limit)

    async def tally(self, due_by: float) -> list[Tally]:
        """How many sessions are alike, and how many of them want renewal by that instant."""
        self._check()
        return await self._ledger.tally(self._ids.origin, self._ids.app, due_by)

    async def history(self, since: float, interval: float) -> list[tuple[int, Kind, int]]:
        """How many outcomes of each kind ended in each interval of that many seconds."""
        self._check()
        return await self._ledger.history(self._ids.origin, self._ids.app, since, interval)

    async def outcomes(
        self,
        *,
        sweep_id: str | None = None,
        kind: Kind | str | None = None,
        tenant: str | None = None,
        user: str | None = None,
        since: datetime | float | None = None,
        after: int = 0,
        limit: int = CHUNK,
    ) -> list[tuple[int, Outcome]]:
        """Up to `limit` outcomes, oldest first, those after this position, with their own."""
        self._check()
        query = Query(
            origin=self._ids.origin,
            app=self._ids.app,
            sweep_id=sweep_id,
            kind=Kind(kind) if kind else None,
            tenant=checked(tenant, "tenant") if tenant else None,
            user=checked(user, "user") if user else None,
            since=instant(since) if since is not None else None,
        )
        return await self._ledger.outcomes(query, after, limit)

    async def all_sessions(self, tenant: str | None) -> AsyncIterator[Session]:
        """Every session, page by page."""
        self._check()
        async for rows in pages(self._ledger, self._ids.scope(tenant=tenant)):
            for row in rows:
                yield row

    async def all_outcomes(self, **which: object) -> AsyncIterator[Outcome]:
        """Every outcome that `outcomes` would answer, page by page."""
        after = 0
        while found := await self.outcomes(**which, after=after):  # type: ignore[arg-type]
            for after, outcome in found:  # noqa: B007 - the last position is where to go on
                yield outcome

    async def _rows(
        self,
        read: Callable[[Key | None, int], Awaitable[list[Session]]],
        after: tuple[str, str] | None,
        limit: int,
    ) -> list[Session]:
        """Read on until `limit` rows are found of which something is left."""
        place = None if after is None else Key(self._lane(after[0]), after[1])
        found: list[Session] = []
        while len(found) < limit:
            rows = await read(place, limit - len(found))
            if not rows:
                break
            place = rows[-1].key
            found += [row for row in rows if not row.over]
        return found

    async def _of_user(self, user: str, tenant: str | None) -> list[Session]:
        tenants = [checked(tenant, "tenant")] if tenant else await self.tenants()
        keys = [Key(self._lane(each), user) for each in tenants]
        return [row for row in await self._ledger.get(keys) if row.version and not row.over]

    def _lane(self, tenant: str) -> LaneId:
        return LaneId(self._ids.origin, self._ids.app, tenant)
