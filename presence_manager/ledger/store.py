"""The work itself, inside a transaction: sessions, budgets and outcomes in SQLite's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Step, Tally
from presence_manager.ledger import rows
from presence_manager.ledger.database import SQL, Database
from presence_manager.ledger.shares import shared, used
from presence_manager.ledger.trouble import damaged
from presence_manager.ports import Budget, Draw, Query, Scope, Search, Share, Uses

ALIKE = 5
"""So many rows that differ in little more than the user are quicker written in one statement."""


def get(db: Database, keys: Sequence[Key]) -> list[Session]:
    """Return the rows of these keys, blank ones where there is none."""
    return [_row(db, key) for key in keys]


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
        row = _row(db, step.row.key)
        if row.version == step.expected:
            won.append(step)
        else:
            lost[index] = row
    if not _apply(db, won):
        raise damaged(db.path, "a row is not found again where it was read")
    return lost


def page(db: Database, scope: Scope, after: Key | None, limit: int) -> list[Session]:
    """Return up to `limit` rows of the scope, by (tenant, user), after `after`."""
    query = "page"
    values: dict[str, Any] = {
        "origin": scope.origin,
        "app": scope.app,
        "tenant": scope.tenant,
        "after_tenant": "" if after is None else after.lane.tenant,
        "after_user": "" if after is None else after.user,
        "sweep": scope.sweep,
        "limit": max(limit, 0),
    }
    if scope.owner is not None:
        query, values["owner"] = "page_of_owner", scope.owner
    elif scope.orphans_of is not None:
        query, values["alive"] = "page_of_orphans", json.dumps(sorted(scope.orphans_of))
    return _found(db, query, values)


def search(db: Database, search: Search, after: Key | None, limit: int) -> list[Session]:
    """Return up to `limit` rows that are looked for, by (tenant, user), after `after`."""
    values: dict[str, Any] = {
        **asdict(search),
        "after_tenant": "" if after is None else after.lane.tenant,
        "after_user": "" if after is None else after.user,
        "limit": max(limit, 0),
    }
    return _found(db, "search", values)


def _found(db: Database, query: str, values: dict[str, Any]) -> list[Session]:
    lanes: dict[int, LaneId] = {}
    page = db.connection.execute(SQL[query], values).fetchall()
    held: dict[int, list[str]] = {}
    for number, tenant, user, *columns in page:
        if number not in lanes:
            lanes[number] = LaneId(values["origin"], values["app"], tenant)
        if columns[-1]:
            held.setdefault(number, []).append(user)
    wishes: dict[tuple[int, str], list[rows.Columns]] = {}
    for number, users in held.items():
        holds = db.connection.execute(SQL["holds_of"], (number, json.dumps(users)))
        for user, *columns in holds:
            wishes.setdefault((number, user), []).append(columns)
    return [
        _session(db, Key(lanes[number], user), columns, wishes.get((number, user), ()))
        for number, _, user, *columns in page
    ]


def foreign(db: Database, origin: str, app: str) -> int:
    """Return how many rows belong to other origins or applications."""
    return int(db.connection.execute(SQL["foreign"], (origin, app)).fetchone()[0])


def lanes(db: Database, origin: str, app: str) -> list[LaneId]:
    """Return the lanes of the application on that Graph."""
    found = db.connection.execute(SQL["lanes"], (origin, app)).fetchall()
    return [LaneId(origin, app, tenant) for (tenant,) in found]


def tally(db: Database, origin: str, app: str, due_by: float) -> list[Tally]:
    """Return how many sessions there are of each kind."""
    values = {"origin": origin, "app": app, "due_by": due_by}
    found = db.connection.execute(SQL["tally"], values).fetchall()
    try:
        return [rows.tally(columns) for columns in found]
    except (KeyError, TypeError) as error:
        raise damaged(db.path, f"a session holds {error}") from error


def budget(db: Database, lane: LaneId) -> Budget:
    """Return what was last saved for the lane, or the defaults."""
    number = db.find_lane(lane)
    return Budget() if number is None else _budget(db, number)


def save_budget(db: Database, lane: LaneId, budget: Budget) -> None:
    """Replace what is known of the lane."""
    db.connection.execute(SQL["save_budget"], (*budget, db.lane(lane)))


def draw(db: Database, lane: LaneId, owner: str, draw: Draw) -> Share:
    """Grant slots of the lane's budget to one process."""
    number = db.lane(lane)
    execute = db.connection.execute
    others: dict[str, Uses] = {}
    mine: Uses = ()
    for name, text in execute(SQL["uses"], (number,)).fetchall():
        try:
            uses = rows.uses(text)
        except (ValueError, AttributeError) as error:
            raise damaged(db.path, f"a budget in use holds {error}") from error
        if name == owner:
            mine = uses
        else:
            others[name] = uses
    share, kept = shared(others, draw, _budget(db, number))
    for name, uses in others.items():
        if name not in kept:
            execute(SQL["end_uses"], (number, name))
        elif kept[name] != uses:
            execute(SQL["save_uses"], (number, name, rows.uses_text(kept[name])))
    now_mine = used(draw, share.granted)
    if now_mine != mine:
        execute(SQL["save_uses"], (number, owner, rows.uses_text(now_mine)))
    return share


def _budget(db: Database, number: int) -> Budget:
    return Budget(*db.connection.execute(SQL["budget"], (number,)).fetchone())


def outcomes(db: Database, query: Query, after: int, limit: int) -> list[tuple[int, Outcome]]:
    """Return up to `limit` matching outcomes after the position `after`."""
    name = "outcomes" if query.sweep_id is None else "outcomes_of_sweep"
    values = {
        "origin": query.origin,
        "app": query.app,
        "sweep": query.sweep_id,
        "kind": None if query.kind is None else query.kind.value,
        "tenant": query.tenant,
        "user": query.user,
        "since": query.since,
        "after": after,
        "limit": max(limit, 0),
    }
    found = db.connection.execute(SQL[name], values).fetchall()
    try:
        return [rows.outcome(columns) for columns in found]
    except KeyError as error:
        raise damaged(db.path, f"an outcome holds {error}") from error


def told(db: Database, sweep_id: str, keys: Sequence[Key]) -> frozenset[Key]:
    """Return which of these sessions have an outcome in the sweep."""
    users: dict[LaneId, list[str]] = {}
    for key in keys:
        users.setdefault(key.lane, []).append(key.user)
    found: set[Key] = set()
    for lane, asked in users.items():
        values = (sweep_id, db.find_lane(lane), json.dumps(asked))
        found.update(Key(lane, user) for (user,) in db.connection.execute(SQL["told"], values))
    return frozenset(found)


def forget(db: Database, before: float, limit: int) -> int:
    """Delete up to `limit` outcomes of before `before`; return how many."""
    return db.connection.execute(SQL["forget"], (before, limit)).rowcount


def history(db: Database, values: dict[str, Any]) -> list[tuple[bool, int, Kind, int, int, float]]:
    """Count the `limit` outcomes before the position `before`, the newest.

    For each group: whether it counts, its interval, kind and number, the first position and the
    last instant in it.
    """
    found = db.connection.execute(SQL["history"], values).fetchall()
    try:
        return [(bool(own), n, rows.kind(kind), *more) for own, n, kind, *more in found]
    except KeyError as error:
        raise damaged(db.path, f"an outcome holds {error}") from error


def _row(db: Database, key: Key) -> Session:
    lane = db.find_lane(key.lane)
    if lane is None:
        return Session(key=key)
    execute = db.connection.execute
    columns = execute(SQL["get"], (lane, key.user)).fetchone()
    if columns is None:
        return Session(key=key)
    holds = execute(SQL["holds"], (lane, key.user)).fetchall() if columns[-1] else ()
    return _session(db, key, columns, holds)


def _session(
    db: Database, key: Key, columns: Sequence[Any], holds: Sequence[rows.Columns]
) -> Session:
    try:
        return rows.session(key, columns, rows.wishes_of(holds))
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise damaged(db.path, f"the row of user {key.user} holds {error}") from error


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
        elif _row(db, row.key).version:
            return False
        if expected and (wishes or (delete and row.wishes)):
            ended.append(step)
        if wishes and not delete:
            held.append(step)
        if outcomes:
            told.append(step)
    holds = sum(len(step.row.wishes) for step in held)
    applied = (
        _inserted(db, inserts) == len(inserts)
        and _changed(db, "update", updates, rows.update_columns) == len(updates)
        and _changed(db, "delete", deletes, rows.delete_columns) == len(deletes)
        and _changed(db, "end_holds", ended, rows.end_holds_columns) >= 0
        and _changed(db, "add_hold", held, rows.hold_columns) == holds
    )
    if applied:
        _tell(db, told)
    return applied


def _inserted(db: Database, steps: list[Step]) -> int:
    """Write the new rows, those that are alike in one statement; return their number."""
    number = 0
    others: list[Step] = []
    for (lane, *_), run in groupby(steps, rows.row_but_for_user):
        alike = list(run)
        users = rows.numbers(alike) if len(alike) >= ALIKE else ""
        if users:
            columns = rows.alike_columns(alike[0].row, db.lane(lane), users)
            number += db.connection.execute(SQL["insert_alike"], columns).rowcount
        else:
            others += alike
    return number + _changed(db, "insert", others, rows.insert_columns)


def _tell(db: Database, steps: list[Step]) -> None:
    """Write what became of the sessions, in the same way."""
    others: list[rows.Columns] = []
    outcomes = [outcome for step in steps for outcome in step.outcomes]
    for (lane, *_), run in groupby(outcomes, rows.outcome_but_for_user):
        alike, number = list(run), db.lane(lane)
        users = rows.request_ids(alike) if len(alike) >= ALIKE else ""
        if users:
            columns = rows.alike_outcome_columns(alike[0], number, users)
            db.connection.execute(SQL["add_alike_outcomes"], columns)
        else:
            others += [rows.outcome_columns(outcome, number) for outcome in alike]
    db.connection.executemany(SQL["add_outcome"], others)


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
