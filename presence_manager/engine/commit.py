"""Compare-and-set until every plan has won."""

from __future__ import annotations

from collections.abc import Callable

from presence_manager.core.session import Session, Step, blank, step
from presence_manager.engine.entry import Entry
from presence_manager.engine.plan import Now
from presence_manager.ports import Ledger


async def commit(
    ledger: Ledger, left: list[Entry], done: list[Entry], moment: Callable[[], Now]
) -> None:
    """Commit what the planner of every entry in `left` says, and move it to `done` with its plan.

    Whenever somebody was faster, the planner is called again. Raises LedgerError; then `left` is
    what had not won before.
    """
    while left:
        steps: list[Step] = []
        staked: list[tuple[Entry, Session]] = []
        for entry in left:
            plan = entry.plan = entry.planner(entry)
            row, _, outcomes, delete = plan
            old = entry.row
            if row is old and not outcomes and not delete:  # nothing is to be written
                done.append(entry)
            else:
                steps.append(step(old, row, outcomes, delete=delete))
                staked.append((entry, old))
        left[:] = [entry for entry, _ in staked]
        lost = await ledger.put(steps) if steps else {}
        left.clear()
        for index, (entry, old) in enumerate(staked):
            if index in lost:
                entry.see(moment().adopt(lost[index]))
                left.append(entry)
                continue
            plan = entry.plan
            if entry.row.version < 0:  # it went unrecorded meanwhile, for another sweep
                entry.see(plan.row)
            if entry.row is old or entry.row.version <= plan.row.version:
                entry.row = blank(entry.key) if plan.delete else plan.row
            done.append(entry)
