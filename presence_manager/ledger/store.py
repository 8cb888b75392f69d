"""The work itself, inside a transaction: sessions, budgets and outcomes in SQLite's tables.

What is written of sessions and outcomes stands in `puts`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Tally
from presence_manager.ledger import rows
from presence_manager.ledger.database import SQL, Database
from presence_manager.ledger.shares import shared, used
from presence_manager.ledger.trouble import damaged
from presence_manager.ports import Budget, Draw, Query, Scope, Search, Share, Uses


def get(db: Database, keys: Sequence[Key]) -> list[Session]:
    """Return the rows of these keys, blank ones where there is none."""
    return [row(db, key) for key in keys]


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


def row(db: Database, key: Key) -> Session:
    """Return the row of this key, a blank one if there is none."""
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
