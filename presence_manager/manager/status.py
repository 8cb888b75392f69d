"""What a manager is busy with at this moment, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass

from presence_manager.engine.entry import Rank
from presence_manager.engine.lane import Lane
from presence_manager.manager.works import Works

_RENEWALS = (Rank.LAPSING, Rank.RENEWAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """One tenant's lane.

    `held` counts sessions at rest that this process looks after, `waiting` those that wait for
    Graph, `due` those of them that wait for a renewal, `late` by how many seconds the latest.
    `in_flight`, `sent` and `refused` count requests; `sent` and `refused` since the start. Of the
    `budget` of requests in `window` seconds `used` are in use, by every process of the ledger.
    `closed_for` is for how many seconds nothing leaves, since Graph refused.
    """

    tenant: str
    held: int
    waiting: int
    due: int
    late: float
    in_flight: int
    sent: int
    refused: int
    budget: int
    used: int
    window: float
    closed_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A manager: "new", "open", "closing" or "closed"; `holds` are those that callers have."""

    state: str
    owner: str
    holds: int
    lanes: tuple[LaneStatus, ...]


def status_of(state: str, owner: str, holds: int, works: Works) -> Status:
    """Look at all lanes."""
    now, held = works.now().at, works.renewer.held
    lanes = tuple(_lane(lane, held[lane.id], now) for lane in works.lanes)
    return Status(state=state, owner=owner, holds=holds, lanes=lanes)


def _lane(lane: Lane, held: int, now: float) -> LaneStatus:
    gate = lane.gate
    renewals = [item.row.due for item in lane.desk.items() if item.rank in _RENEWALS]
    return LaneStatus(
        tenant=lane.id.tenant,
        held=held,
        waiting=len(lane),
        due=len(renewals),
        late=max(0.0, now - min(renewals, default=now)),
        in_flight=lane.in_flight,
        sent=gate.sent,
        refused=gate.refused,
        budget=gate.budget.size,
        used=gate.used(now),
        window=gate.window,
        closed_for=max(0.0, gate.closed_until - now),
    )
