"""Frames from a ledger, of all processes that share it.

Sessions are counted in the ledger. Of the outcomes each is read once: those of the last minutes
first, then only what has come since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from presence_manager.core.key import LaneId
from presence_manager.core.session import Known, Tally
from presence_manager.gate.door import shut_for
from presence_manager.hosts.doctor.held import size
from presence_manager.hosts.top.frame import RATE_OVER, Frame, OutcomeLine, TenantLine
from presence_manager.ports import Draw, Ledger, Query, slots
from presence_manager.settings import Settings

SPAN = 300.0
"""Seconds of outcomes that are counted."""
SOON = 60.0
"""Seconds within which a renewal is due soon."""
_COLUMNS = ("held", "not yet shown", "not certain", "to clear", f"due in {SOON:g} s")
_MOST_LANES = 60
"""Tenants whose budget is looked up: more are on no screen."""
_PAGE = 5_000
"""Outcomes that are read at a time."""


class Books:
    """A ledger; `path` is how it is named."""

    def __init__(self, ledger: Ledger, found: Settings, path: str) -> None:
        self._ledger = ledger
        self._found = found
        self._path = path
        self._origin, self._app = found.graph.base_url, found.client_id.lower()
        self._after = 0
        self._seen: Counter[tuple[int, str]] = Counter()

    async def open(self) -> None:
        """Open the ledger. Raises LedgerUnusable."""
        await self._ledger.open()

    async def look(self, now: float) -> Frame:
        """Return what there is at `now`. Raises LedgerError."""
        tallies = await self._ledger.tally(self._origin, self._app, now + SOON)
        return Frame(
            source=f"ledger {self._path}",
            about=await self._about(),
            columns=_COLUMNS,
            tenants=await self._tenants(tallies, now),
            counted=f"last {SPAN / 60:g} min",
            outcomes=await self._outcomes(now),
            shown=_pairs(tallies),
        )

    async def close(self) -> None:
        """Close the ledger."""
        await self._ledger.close()

    async def _about(self) -> str:
        alive, dead = await self._ledger.alive(), await self._ledger.dead()
        foreign = await self._ledger.foreign(self._origin, self._app)
        told = [f"{len(alive)} process{'es' if len(alive) != 1 else ''} alive"]
        if dead:
            told.append(f"{len(dead)} dead: `presence-manager recover` clears what they left")
        if foreign:
            told.append(f"{foreign:,} left alone, of another application or Graph")
        return ", ".join(told)

    async def _tenants(self, tallies: Sequence[Tally], now: float) -> tuple[TenantLine, ...]:
        counts: dict[str, list[int]] = {}
        for lane in await self._ledger.lanes(self._origin, self._app):
            counts[lane.tenant] = [0] * len(_COLUMNS)
        for each in tallies:
            line = counts.setdefault(each.tenant, [0] * len(_COLUMNS))
            if each.held:
                line[0] += each.sessions
                line[1] += each.sessions if each.known is Known.ABSENT else 0
                line[2] += each.sessions if each.known is Known.UNSURE else 0
                line[4] += each.due
            elif each.known is not Known.ABSENT:
                line[3] += each.sessions
        ranked = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        lines = await asyncio.gather(
            *(self._line(tenant, numbers, now) for tenant, numbers in ranked[:_MOST_LANES])
        )
        rest = ranked[_MOST_LANES:]
        return (*lines, *(TenantLine(name, tuple(c), 0, None, 0.0) for name, c in rest))

    async def _line(self, tenant: str, counts: list[int], now: float) -> TenantLine:
        lane = LaneId(self._origin, self._app, tenant)
        share = await self._ledger.draw(lane, "top", Draw(now=now))  # takes nothing
        return TenantLine(
            tenant,
            tuple(counts),
            slots(share.others, now),
            size(share.budget, self._found),
            shut_for(share.budget, now),
        )

    async def _outcomes(self, now: float) -> tuple[OutcomeLine, ...]:
        query = Query(origin=self._origin, app=self._app, since=now - SPAN)
        while found := await self._ledger.outcomes(query, self._after, _PAGE):
            self._after = found[-1][0]
            self._seen.update((int(outcome.at), str(outcome.kind)) for _, outcome in found)
        for old in [place for place in self._seen if place[0] < now - SPAN]:
            del self._seen[old]
        kinds: Counter[str] = Counter()
        lately: Counter[str] = Counter()
        for (at, kind), count in self._seen.items():
            kinds[kind] += count
            lately[kind] += count if at >= now - RATE_OVER else 0
        return tuple(
            OutcomeLine(kind, count, lately[kind] / RATE_OVER)
            for kind, count in kinds.most_common()
        )


def _pairs(tallies: Sequence[Tally]) -> dict[str, int]:
    pairs: Counter[str] = Counter()
    for each in tallies:
        if each.pair is not None and each.known is Known.SHOWN:
            pairs[str(each.pair)] += each.sessions
    return dict(pairs.most_common())
