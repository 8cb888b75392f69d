"""Compare-and-set until every plan has won."""

from __future__ import annotations

from collections.abc import Callable

from presence_manager.core.session import Session, Step
from presence_manager.engine.entry import Entry
from presence_manager.engine.plan import Now, Plan
from presence_manager.ports import Ledger

Planner = Callable[[Session], Plan]
"""From a row as it is now to its next version; called again whenever somebody was faster."""

Work = tuple[Entry, Planner]


async def commit(
    ledger: Ledger, left: list[Work], done: list[tuple[Entry, Plan]], moment: Callable[[], Now]
) -> None:
    """Commit the plan of every entry in `left`, and move it to `done` with the plan that won.

    Raises LedgerError; then `left` is what had not won before.
    """
    while left:
        steps: list[Step] = []
        staked: list[tuple[Entry, Planner, Plan]] = []
        settled: list[tuple[Entry, Plan]] = []
        for entry, planner in left:
            plan = planner(entry.row)
            step = plan.step(entry.row)
            if step is None:
                settled.append((entry, plan))
            else:
                steps.append(step)
                staked.append((entry, planner, plan))
        lost = await ledger.put(steps) if steps else {}
        done += settled
        left.clear()
        for index, (entry, planner, plan) in enumerate(staked):
            if index in lost:
                entry.see(moment().adopt(lost[index]))
                left.append((entry, planner))
                continue
            if entry.row.version <= plan.row.version:
                entry.row = Session(key=entry.key) if plan.delete else plan.row
            done.append((entry, plan))
