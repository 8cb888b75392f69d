"""A ledger in memory: the same contract, for one process and for as long as it lives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Known, Session, Step, Tally
from presence_manager.ledger.checks import check_owner, check_scope, check_steps, not_open
from presence_manager.ledger.shares import shared, used
from presence_manager.ports import Budget, Draw, Query, Scope, Search, Share, Uses

_WHERE = "in memory"


class MemoryLedger:
    """A ledger that nothing outlives; what it knows stays in the object over close and open."""

    def __init__(self) -> None:
        self._rows: dict[Key, Session] = {}
        self._order: list[Key] = []
        self._budgets: dict[LaneId, Budget] = {}
        self._uses: dict[LaneId, dict[str, Uses]] = {}
        self._owners: set[str] = set()
        self._marked: set[str] = set()
        self._outcomes: dict[int, Outcome] = {}
        self._places: dict[tuple[str, Key], int] = {}
        self._last = 0
        self._open = False

    def __repr__(self) -> str:
        state = "open" if self._open else "closed"
        return f"<MemoryLedger {state}, {len(self._rows)} sessions, {len(self._outcomes)} outcomes>"

    async def open(self) -> None:
        """Make it ready."""
        self._open = True

    async def close(self) -> None:
        """End it; the owners that entered leave."""
        self._open = False
        self._owners.clear()

    def warnings(self) -> list[str]:
        """Return that nothing is kept."""
        return [
            "the ledger is in memory: if this process ends without a sweep, nobody knows which "
            "users are still shown, for up to 4 hours; use sqlite:///... for anything but tests"
        ]

    async def get(self, keys: Sequence[Key]) -> list[Session]:
        """Return the rows of these keys, blank ones where there is none."""
        self._check()
        return [self._row(key) for key in keys]

    async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
        """Apply the steps whose row has the expected version; return the rows of the others."""
        self._check()
        check_steps(steps)
        lost: dict[int, Session] = {}
        for index, step in enumerate(steps):
            now = self._row(step.row.key)
            if now.version != step.expected:
                lost[index] = now
                continue
            self._keep(step)
            for outcome in step.outcomes:
                self._write(outcome)
        return lost

    async def page(self, scope: Scope, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows of the scope, by (tenant, user), after `after`."""
        self._check()
        check_scope(scope)
        found: list[Session] = []
        for row in self._from(scope, after):
            if len(found) >= limit:
                break
            if _within(row, scope):
                found.append(row)
        return found

    async def foreign(self, origin: str, app: str) -> int:
        """Return how many rows belong to other origins or applications."""
        self._check()
        return sum(key.lane[:2] != (origin, app) for key in self._order)

    async def lanes(self, origin: str, app: str) -> list[LaneId]:
        """Return the lanes of the application on that Graph."""
        self._check()
        lanes = sorted({key.lane for key in self._rows})
        return [lane for lane in lanes if lane[:2] == (origin, app)]

    async def tally(self, origin: str, app: str, due_by: float) -> list[Tally]:
        """Return how many sessions there are of each kind."""
        self._check()
        alike: dict[tuple[str, Known, str, bool], list[Session]] = {}
        for row in self._from(Scope(origin=origin, app=app), None):
            like = (row.tenant, row.known, str(row.pair or ""), bool(row.wishes))
            alike.setdefault(like, []).append(row)
        return [
            Tally(
                tenant=tenant,
                known=known,
                pair=rows[0].pair,
                held=held,
                sessions=len(rows),
                due=sum(row.due <= due_by for row in rows),
                oldest=min(row.version for row in rows) / 1e6,
            )
            for (tenant, known, _, held), rows in sorted(alike.items())
        ]

    async def search(self, search: Search, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows that are looked for, by (tenant, user), after `after`."""
        self._check()
        scope = Scope(origin=search.origin, app=search.app, tenant=search.tenant)
        rows = (row for row in self._from(scope, after) if _looked_for(row, search))
        return list(islice(rows, max(limit, 0)))

    async def enter(self, owner: str) -> None:
        """Count the owner among the living."""
        self._check()
        check_owner(owner)
        self._owners.add(owner)

    async def leave(self, owner: str) -> None:
        """Count it no longer; harmless if it never entered."""
        self._check()
        self._owners.discard(owner)
        self._marked.discard(owner)

    async def mark(self, owner: str, *, on: bool) -> None:
        """Note whether this process may have cleared more than the ledger was told of."""
        self._check()
        (self._marked.add if on else self._marked.discard)(owner)

    async def marked(self) -> frozenset[str]:
        """Return the owners that are marked so."""
        self._check()
        return frozenset(self._marked)

    async def alive(self) -> frozenset[str]:
        """Return the owners that entered and have not left."""
        self._check()
        return frozenset(self._owners)

    async def dead(self) -> frozenset[str]:
        """Return nobody: this ledger dies with its process."""
        self._check()
        return frozenset()

    async def budget(self, lane: LaneId) -> Budget:
        """Return what was last saved for the lane, or the defaults."""
        self._check()
        return self._budgets.get(lane, Budget())

    async def save_budget(self, lane: LaneId, budget: Budget) -> None:
        """Replace what is known of the lane."""
        self._check()
        self._budgets[lane] = budget

    async def draw(self, lane: LaneId, owner: str, draw: Draw) -> Share:
        """Grant slots of the lane's budget to one process."""
        self._check()
        uses = self._uses.setdefault(lane, {})
        uses.pop(owner, None)
        share, kept = shared(uses, draw, self._budgets.get(lane, Budget()))
        self._uses[lane] = kept | ({owner: mine} if (mine := used(draw, share.granted)) else {})
        return share

    async def outcomes(self, query: Query, after: int, limit: int) -> list[tuple[int, Outcome]]:
        """Return up to `limit` matching outcomes after the position `after`, with positions."""
        self._check()
        found: list[tuple[int, Outcome]] = []
        for place, outcome in self._outcomes.items():
            if len(found) >= limit:
                break
            if place > after and _matches(outcome, query):
                found.append((place, outcome))
        return found

    async def told(self, sweep_id: str, keys: Sequence[Key]) -> frozenset[Key]:
        """Return which of these sessions have an outcome in the sweep."""
        self._check()
        return frozenset(key for key in keys if (sweep_id, key) in self._places)

    async def forget(self, before: float) -> int:
        """Delete the outcomes of before `before` (seconds since the epoch); return how many."""
        self._check()
        old = [place for place, outcome in self._outcomes.items() if outcome.at < before]
        for place in old:
            outcome = self._outcomes.pop(place)
            del self._places[outcome.sweep_id, outcome.key]
        return len(old)

    async def history(
        self, origin: str, app: str, since: float, interval: float
    ) -> list[tuple[int, Kind, int]]:
        """Return how many outcomes of each kind there were in each interval."""
        self._check()
        query = Query(origin=origin, app=app, since=since)
        counts = Counter(
            (int((outcome.at - since) / interval), outcome.kind)
            for outcome in self._outcomes.values()
            if _matches(outcome, query)
        )
        return [(number, kind, count) for (number, kind), count in sorted(counts.items())]

    def _check(self) -> None:
        if not self._open:
            raise not_open(_WHERE)

    def _row(self, key: Key) -> Session:
        return self._rows.get(key) or Session(key=key)

    def _keep(self, step: Step) -> None:
        key = step.row.key
        if not step.delete:
            if key not in self._rows:
                insort(self._order, key)
            self._rows[key] = step.row
        elif self._rows.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]

    def _write(self, outcome: Outcome) -> None:
        name = (outcome.sweep_id, outcome.key)
        place = self._places.get(name)
        if place is None:
            self._last += 1
            place = self._places[name] = self._last
        elif self._outcomes[place].kind.final:
            return
        self._outcomes[place] = outcome

    def _from(self, scope: Scope, after: Key | None) -> Iterator[Session]:
        own = (scope.origin, scope.app)
        first = Key(LaneId(*own, scope.tenant or ""), "")
        start = bisect_left(self._order, first)
        if after is not None:
            past = Key(LaneId(*own, after.lane.tenant), after.user)
            start = max(start, bisect_right(self._order, past))
        for index in range(start, len(self._order)):
            key = self._order[index]
            if key.lane[:2] != own or scope.tenant not in (None, key.lane.tenant):
                return
            yield self._rows[key]


def _within(row: Session, scope: Scope) -> bool:
    if scope.sweep is not None and scope.sweep not in row.sweeps:
        return False
    if scope.owner is not None:
        return row.owner == scope.owner or any(w.owner == scope.owner for w in row.wishes)
    if scope.orphans_of is not None:
        alive = scope.orphans_of
        return row.owner not in alive or any(w.owner and w.owner not in alive for w in row.wishes)
    return True


def _looked_for(row: Session, search: Search) -> bool:
    named = any(search.text in wish.name for wish in row.wishes)
    return (
        (named or row.user.startswith(search.text.lower()))
        and search.known in (None, row.known)
        and search.held in (None, bool(row.wishes))
    )


def _matches(outcome: Outcome, query: Query) -> bool:
    lane = outcome.key.lane
    return (
        lane.origin == query.origin
        and lane.app == query.app
        and query.sweep_id in (None, outcome.sweep_id)
        and query.kind in (None, outcome.kind)
        and query.tenant in (None, lane.tenant)
        and query.user in (None, outcome.user)
        and (query.since is None or outcome.at >= query.since)
    )
