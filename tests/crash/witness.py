"""A ledger file as plain SQLite sees it, without a line of the product."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from presence_manager.ledger.schema import APPLICATION_ID, MIGRATIONS

LEDGER = "ledger.db"


class Row(NamedTuple):
    """A session's row. `verb` is that of its open attempt, if there is one."""

    user: str
    known: str
    verb: str | None
    answer: str | None
    sweeps: str


class Told(NamedTuple):
    """An outcome."""

    sweep: str
    user: str
    kind: str
    final: bool
    at: float
    status: int | None


@dataclass(frozen=True)
class State:
    """All that the file says; `integrity` is "ok" if it is sound."""

    integrity: str = "ok"
    rows: tuple[Row, ...] = ()
    holds: int = 0
    outcomes: tuple[Told, ...] = ()
    at: float = field(default_factory=time.time)


def read(folder: Path) -> State:
    """Read a copy, so that the file stays as its last writer has left it."""
    copy = folder / "copy"
    copy.mkdir(exist_ok=True)
    for suffix in ("", "-wal", "-journal"):
        found, place = folder / (LEDGER + suffix), copy / (LEDGER + suffix)
        place.unlink(missing_ok=True)
        if found.exists():
            shutil.copyfile(found, place)
    (copy / f"{LEDGER}-shm").unlink(missing_ok=True)
    if not (copy / LEDGER).exists():
        return State()
    with closing(sqlite3.connect(copy / LEDGER)) as db:
        integrity = db.execute("PRAGMA integrity_check").fetchone()[0]
        if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outcomes'").fetchone()[
            0
        ]:
            return State(integrity)
        rows = db.execute("SELECT user, known, verb, answer, sweeps FROM sessions").fetchall()
        holds = db.execute("SELECT count(*) FROM holds").fetchone()[0]
        told = db.execute("SELECT sweep, user, kind, final, at, status FROM outcomes").fetchall()
    return State(
        integrity,
        tuple(Row(*row) for row in rows),
        holds,
        tuple(Told(*one[:3], bool(one[3]), *one[4:]) for one in told),
    )


def make_older(folder: Path) -> None:
    """Replace the ledger by one of the first schema version with the same contents."""
    source = folder / LEDGER
    if not source.exists():
        return
    older = folder / "older.db"
    older.touch(0o600)
    with closing(sqlite3.connect(older, isolation_level=None)) as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        db.execute("ATTACH ? AS newer", (str(source),))
        if db.execute("PRAGMA newer.user_version").fetchone()[0]:
            for table in ("lanes", "sessions", "holds", "outcomes"):
                columns = ", ".join(c[1] for c in db.execute(f"PRAGMA main.table_info({table})"))
                db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")
        db.execute(f"PRAGMA main.application_id = {APPLICATION_ID}")
        db.execute("PRAGMA main.user_version = 1")
        db.execute("PRAGMA main.journal_mode = WAL")
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / (LEDGER + suffix)).unlink(missing_ok=True)
    older.rename(source)
