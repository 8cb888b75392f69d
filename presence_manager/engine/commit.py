"""Compare-and-set until every plan has won."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from presence_manager.core.session import Session, Step
from presence_manager.engine.entry import Entry
from presence_manager.engine.plan import Plan
from presence_manager.ports import Ledger

Planner = Callable[[Session], Plan]
"""From a row as it is now to its next version; called again whenever somebody was faster."""

Work = tuple[Entry, Planner]


async def commit(ledger: Ledger, work: Sequence[Work]) -> list[tuple[Entry, Plan]]:
    """Commit the plan of every entry, and answer each with the plan that won.

    Raises LedgerError; then what had not won before is as it was.
    """
    done: list[tuple[Entry, Plan]] = []
    while work:
        steps: list[Step] = []
        staked: list[tuple[Entry, Planner, Plan]] = []
        for entry, planner in work:
            plan = planner(entry.row)
            step = plan.step(entry.row)
            if step is None:
                done.append((entry, plan))
            else:
                steps.append(step)
                staked.append((entry, planner, plan))
        lost = await ledger.put(steps) if steps else {}
        again: list[Work] = []
        for index, (entry, planner, plan) in enumerate(staked):
            if index in lost:
                entry.see(lost[index])
                again.append((entry, planner))
                continue
            if entry.row.version <= plan.row.version:
                entry.row = Session(key=entry.key) if plan.delete else plan.row
            done.append((entry, plan))
        work = again
    return done
