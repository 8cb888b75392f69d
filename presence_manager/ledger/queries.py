"""The SQL of the ledgers, which lies beside the code in files of its own."""

from __future__ import annotations

import re
import sqlite3
from importlib.resources import files

_SQL = files("presence_manager.ledger") / "sql"
_VALUES = re.compile(r"VALUES \(([?, ]*)\?, \?\)")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(name: str) -> dict[str, str]:
    """Return the queries of the file `sql/<name>.sql` by their names."""
    text = (_SQL / f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {key: sql.strip() for key, sql in zip(parts[::2], parts[1::2], strict=True)}


def for_many(insert: str) -> str:
    """The same for rows that share all but their last two values, which a JSON object holds."""
    return _VALUES.sub(r"SELECT \1key, value FROM json_each(?) WHERE true", insert)


def load_migrations(name: str) -> list[list[str]]:
    """Return the statements of each migration in `sql/<name>/`, in the order of their numbers."""
    found = sorted((file for file in (_SQL / name).iterdir()), key=lambda file: file.name)
    return [statements(file.read_text(encoding="utf-8")) for file in found]


def statements(text: str) -> list[str]:
    """Split a script into its statements: `executescript` would end the transaction."""
    found, begun = [], ""
    for line in text.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun.strip())
            begun = ""
    if begun.strip():
        raise ValueError(f"an SQL script ends within a statement: {begun.strip()[:60]}")
    return found
