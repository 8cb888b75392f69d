"""What the engine asks of the world: a ledger, Graph, tokens, a clock.

Every clause has a contract test of the same number (tests/contract), which every
implementation passes. Times are seconds since the epoch; `now` is always an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Known, Session, Step, Tally
from presence_manager.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which rows: always of one Graph origin and application, and only their own (rule 11).

    `tenant` narrows to a tenant. `owner` narrows to rows that this owner has a hold on or sees
    to. `orphans_of` is the set of owners alive: it narrows to rows that no living owner sees
    to, or on which an owner that is not alive has a hold. Both may not be given together.
    `sweep` narrows to rows that wait for an outcome in that sweep.
    """

    origin: str
    app: str
    tenant: str | None = None
    owner: str | None = None
    orphans_of: frozenset[str] | None = None
    sweep: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which rows of one origin and application an operator looks for; all that is given holds.

    `text` begins the user's id, in capitals or not, or is somewhere in the name of a hold, letter
    for letter. `held` says whether there is a hold.
    """

    origin: str
    app: str
    tenant: str | None = None
    text: str = ""
    known: Known | None = None
    held: bool | None = None


class Sessions(Protocol):
    """The rows of the sessions.

    1. `get` answers one row per key, in order; a key without a row gives a blank one (version 0).
    2. `put` applies each step whose row still has the expected version (0: no row), all of them
       in one durable commit, and leaves the others alone.
    3. `put` answers, by the index of each step that lost, the row as it is now (blank if none).
    4. A step's outcomes are written if and only if the step wins.
    5. An outcome replaces one of the same sweep and session only if that one is not final.
    6. When `put` has answered, what it won survives the death of the process; when it raises
       LedgerError, nothing of the call was written.
    7. A cancelled `put` may or may not have been applied, but never in part.
    8. `page` answers the rows of the scope in the order of (tenant, user), after `after`.
    9. A row comes back as it was put, its holds in order.
    10. One key may stand only once in a call of `put`.
    11. `foreign` counts the rows of other origins or applications.
    12. `lanes` answers every lane of the origin and application that has a row, perhaps more, by
        tenant.
    13. `tally` counts the sessions of the origin and application that are alike in tenant, known,
        pair and held, in this order; none of them twice.
    14. `search` answers the rows that are looked for, in the order of `page`.
    """

    async def get(self, keys: Sequence[Key]) -> list[Session]:
        """Return the rows of these keys."""
        ...

    async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
        """Apply the steps; return the rows that stood in the way."""
        ...

    async def page(self, scope: Scope, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows of the scope."""
        ...

    async def foreign(self, origin: str, app: str) -> int:
        """Return how many rows belong to other origins or applications."""
        ...

    async def lanes(self, origin: str, app: str) -> list[LaneId]:
        """Return the lanes of the application on that Graph."""
        ...

    async def tally(self, origin: str, app: str, due_by: float) -> list[Tally]:
        """Return how many sessions there are, and how many want renewal by `due_by`."""
        ...

    async def search(self, search: Search, after: Key | None, limit: int) -> list[Session]:
        """Return up to `limit` rows that are looked for, after `after`."""
        ...


class Owners(Protocol):
    """The running processes that have holds.

    1. After `enter` the owner is in `alive` of every process on this ledger, itself included.
    2. It stays so until `leave`, or until its process ends, however it ends.
    3. From then on it is not in `alive`, at once.
    4. `leave` of an unknown owner, or of one that is alive in another process, is harmless.
    5. An owner whose process ended, or closed the ledger, without `leave` is in `dead` of every
       process, until some process lets it `leave`: so nobody's death goes unseen.
    6. An owner that was `mark`ed is in `marked` of every process, also when it is dead, until it
       is unmarked or leaves. To mark it takes neither room on the disk nor a lock.
    """

    async def enter(self, owner: str) -> None:
        """Declare this process alive under the name `owner`."""
        ...

    async def leave(self, owner: str) -> None:
        """Declare it gone."""
        ...

    async def mark(self, owner: str, *, on: bool) -> None:
        """Note whether this process may have cleared more than the ledger was told of."""
        ...

    async def marked(self) -> frozenset[str]:
        """Return the owners that are marked so, living or dead."""
        ...

    async def alive(self) -> frozenset[str]:
        """Return all owners alive now."""
        ...

    async def dead(self) -> frozenset[str]:
        """Return the owners that died, and whose sessions nobody has seen to yet."""
        ...


class Budget(NamedTuple):
    """What is remembered of a lane's budget.

    `proven` is the number of requests per window that Graph is known to accept (0: unknown).
    `closed_until` is when the lane may send again. `probe_at` is when more than `proven` may be
    tried again, and `probe_wait` how many seconds the last refused try put that off. `closed_at`
    is when `closed_until` was written, by the same clock.
    """

    proven: int = 0
    closed_until: float = 0.0
    probe_at: float = 0.0
    probe_wait: float = 0.0
    closed_at: float = 0.0


Uses = tuple[tuple[float, int], ...]
"""Slots of a budget in use: until when, and how many."""


def slots(uses: Uses, now: float) -> int:
    """How many of these are in use beyond `now`."""
    return sum(count for until, count in uses if until > now)


class Draw(NamedTuple):
    """What a process asks of a lane's budget at `now`: see `Budgets`."""

    now: float
    uses: Uses = ()
    want: int = 0
    limit: int = 0
    until: float = 0.0


class Share(NamedTuple):
    """What one process was granted of a lane's budget, and what it should know besides.

    `others` are the slots in use by the other processes.
    """

    granted: int
    others: Uses
    budget: Budget


class Budgets(Protocol):
    """What the lanes learned of Graph's budget, and who uses how much of it.

    1. `budget` answers what was last saved for the lane, or the defaults.
    2. `save_budget` replaces it, durably.
    3. `draw` replaces the uses of this owner by `uses`, adds the slots that it grants as in use
       until `until`, and grants at most `want`.
    4. It grants no more than keeps all slots in use at `now`, of all owners, within `limit`.
    5. `others` are those of the other owners, living or dead, that are in use beyond `now`.
    6. Draws of several processes at the same time are granted one after the other.
    7. A draw that wants something keeps the slots of others in use until its own `until` at the
       longest, for good: a clock that is ahead costs nobody more than that.
    """

    async def budget(self, lane: LaneId) -> Budget:
        """Return what is known of the lane's budget."""
        ...

    async def save_budget(self, lane: LaneId, budget: Budget) -> None:
        """Remember it."""
        ...

    async def draw(self, lane: LaneId, owner: str, draw: Draw) -> Share:
        """Grant slots of the lane's budget to one process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which outcomes: of one origin and application, by sweep, kind, tenant, user and time."""

    origin: str
    app: str
    sweep_id: str | None = None
    kind: Kind | None = None
    tenant: str | None = None
    user: str | None = None
    since: float | None = None


class Outcomes(Protocol):
    """What became of the sessions.

    1. `outcomes` answers those that match, in the order in which they were first written,
       after the position `after` (0: from the start), with the position of each.
    2. `forget` deletes those written before `before`, and says how many.
    3. `history` counts those of the origin and application that ended at `since` or later, by the
       number of whole intervals between `since` and their end, and by kind, in this order.
    4. `told` answers which of the sessions have an outcome in the sweep, final or not.
    """

    async def outcomes(self, query: Query, after: int, limit: int) -> list[tuple[int, Outcome]]:
        """Return up to `limit` outcomes with their positions."""
        ...

    async def told(self, sweep_id: str, keys: Sequence[Key]) -> frozenset[Key]:
        """Return those that have an outcome in the sweep."""
        ...

    async def forget(self, before: float) -> int:
        """Delete outcomes older than `before`."""
        ...

    async def history(
        self, origin: str, app: str, since: float, interval: float
    ) -> list[tuple[int, Kind, int]]:
        """Return how many outcomes of each kind there were in each interval of that many seconds.

        An outcome replaced more than five hours after it was first written may be left out.
        """
        ...


class Ledger(Sessions, Owners, Budgets, Outcomes, Protocol):
    """The ledger as a whole, and where it is.

    1. `open` raises LedgerUnusable, naming the file, for what it cannot use, and never starts
       afresh over something that is there.
    2. `close` is harmless when not open, and everything raises LedgerError after it.
    """

    async def open(self) -> None:
        """Make it ready."""
        ...

    async def close(self) -> None:
        """Let it go."""
        ...

    def warnings(self) -> list[str]:
        """Return what an operator should know about where it lies; empty when all is well."""
        ...


class Graph(Protocol):
    """Microsoft Graph's presence API.

    1. `send` makes exactly one HTTP request for 1 to 20 attempts on different users of one
       lane, and answers one verdict each, in order. It never repeats a request.
    2. It answers within `timeout` seconds, whatever Graph does; what is not answered is lost.
    3. It raises nothing but SignInRefused (nothing was sent) and CancelledError.
    4. After `close` it sends nothing.
    5. `date` is Graph's own clock, at the last answer; None before the first.
    """

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        """Make one request; return what became of each session's attempt."""
        ...

    def date(self) -> float | None:
        """Return Graph's present time by its Date header, carried on by our clock."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; its repr shows nothing of it."""

    secret: str
    expires_at: float

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at:.0f})"


class Tokens(Protocol):
    """Sign-in.

    1. `token` answers a token for the tenant, from memory while it is good for long enough.
    2. Calls for one tenant at the same time make one request.
    3. With `refused` it answers a token that is not that one; concurrent calls with the same
       `refused` make one request. `claims` is the decoded claims challenge, empty if none.
    4. It raises SignInRefused for a definite no, SignInUnavailable when nobody answered, and
       SignInRefused when only the refused token can be had.
    5. It ends within its own timeout, and nothing it started can hold up the process's end.
    """

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Clock(Protocol):
    """Time.

    1. `now` is in seconds since the epoch, and never runs backwards within a process.
    """

    def now(self) -> float:
        """Return the present time."""
        ...
