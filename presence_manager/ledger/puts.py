"""Compare-and-set, many steps at a time, inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from presence_manager.core.session import Session, Step
from presence_manager.ledger import rows
from presence_manager.ledger.database import SQL, Database
from presence_manager.ledger.queries import for_many
from presence_manager.ledger.store import row as row_of
from presence_manager.ledger.trouble import damaged

T = TypeVar("T")

MANY = {name: for_many(SQL[name]) for name in ("insert", "add_outcome")}
ALIKE = 5
"""So many rows that differ in little more than the user are quicker written in one statement."""


def put(db: Database, steps: Sequence[Step]) -> dict[int, Session]:
    """Apply the steps that win; return the rows in the way of the others, by index.

    All steps are taken for winners first, which costs no look at any row. If the counts then
    do not add up, all is undone, and the winners are sorted out by looking.
    """
    if _apply(db, steps):
        return {}
    db.undo()
    lost: dict[int, Session] = {}
    won: list[Step] = []
    for index, step in enumerate(steps):
        row = row_of(db, step.row.key)
        if row.version == step.expected:
            won.append(step)
        else:
            lost[index] = row
    if not _apply(db, won):
        raise damaged(db.path, "a row is not found again where it was read")
    return lost


def _apply(db: Database, steps: Sequence[Step]) -> bool:
    """Write all steps, many rows in one statement; whether each found the row it expects."""
    inserts: list[Step] = []
    updates: list[Step] = []
    deletes: list[Step] = []
    ended: list[Step] = []
    held: list[Step] = []
    told: list[Step] = []
    for step in steps:
        expected, row, outcomes, delete, wishes = step
        if not delete:
            (updates if expected else inserts).append(step)
        elif expected:
            deletes.append(step)
        elif row_of(db, row.key).version:
            return False
        if expected and (wishes or (delete and row.wishes)):
            ended.append(step)
        if wishes and not delete:
            held.append(step)
        if outcomes:
            told.append(step)
    holds = sum(len(step.row.wishes) for step in held)
    applied = (
        _insert(db, "insert", rows.SESSIONS, (step.row for step in inserts)) == len(inserts)
        and _changed(db, "update", updates, rows.update_columns) == len(updates)
        and _changed(db, "delete", deletes, rows.delete_columns) == len(deletes)
        and _changed(db, "end_holds", ended, rows.end_holds_columns) >= 0
        and _changed(db, "add_hold", held, rows.hold_columns) == holds
    )
    if applied:
        _insert(db, "add_outcome", rows.OUTCOMES, (each for step in told for each in step.outcomes))
    return applied


def _insert(db: Database, query: str, kind: rows.Insert[T], records: Iterable[T]) -> int:
    """Insert the records, those that are alike in one statement; return the number of rows."""
    number = 0
    others: list[tuple[T, int]] = []
    for (lane_id, *_), run in groupby(records, kind.shared):
        alike, lane = list(run), db.lane(lane_id)
        users = rows.users_text(map(kind.own, alike)) if len(alike) >= ALIKE else ""
        if users:
            values = (*kind.columns(alike[0], lane)[:-2], users)
            number += db.connection.execute(MANY[query], values).rowcount
        else:
            others += [(record, lane) for record in alike]
    if others:
        values_of_each = (kind.columns(record, lane) for record, lane in others)
        number += db.connection.executemany(SQL[query], values_of_each).rowcount
    return number


def _changed(
    db: Database, query: str, steps: list[Step], columns: Callable[[Step, int], list[rows.Columns]]
) -> int:
    """Carry out the query for all that these steps have for it; return the number of rows."""
    if not steps:
        return 0
    return db.connection.executemany(SQL[query], _values(db, steps, columns)).rowcount


def _values(
    db: Database, steps: list[Step], columns: Callable[[Step, int], list[rows.Columns]]
) -> Iterator[rows.Columns]:
    """The values as they are written: thousands that waited would keep the collector busy."""
    last, lane = None, 0
    for step in steps:
        lane_id = step.row.key.lane
        if lane_id is not last:
            last, lane = lane_id, db.lane(lane_id)
        yield from columns(step, lane)
