"""What a sweep hears from the ledger, since memory for all of its sessions would have no bounds."""

from __future__ import annotations

import asyncio

import structlog

from presence_manager.core.key import LaneId
from presence_manager.core.session import Session
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.sources import CHUNK
from presence_manager.engine.sweep import Sweep
from presence_manager.engine.unrecorded import PAUSE
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Query

log = structlog.get_logger()


async def unnamed(rows: list[Session], sweep: Sweep, lanes: Lanes, ledger: Ledger) -> list[Session]:
    """Those that are new to the sweep: neither at work for it nor done. Raises LedgerError.

    What waits for it in the ledger is left in: its row stands in the way of another one.
    """
    # in this order: what comes to its end meanwhile is written before it leaves its lane
    rows = [row for row in rows if not lanes[row.key.lane].has(row.key, sweep.id)]
    told = await ledger.told(sweep.id, [row.key for row in rows])
    return [row for row in rows if row.key not in told] if told else rows


async def hear(sweep: Sweep, lanes: Lanes, ledger: Ledger, lane: LaneId) -> None:
    """Count what another process finished before we came to it, when nothing else is left.

    `lane` is any of the sweep. It goes on until the ledger answers.
    """
    query = Query(origin=lane.origin, app=lane.app, sweep_id=sweep.id)
    after = 0
    while sweep.taken - sweep.done > sum(len(each.of(sweep.id)) for each in lanes):
        try:
            found = await ledger.outcomes(query, after, CHUNK)
        except LedgerError as error:
            log.error("ledger.failed", error=str(error))
            await asyncio.sleep(PAUSE)
            continue
        if not found:
            return
        after = found[-1][0]
        others = [outcome for _, outcome in found if outcome.owner != sweep.owner]
        sweep.became(outcome for outcome in others if outcome.kind.final)
