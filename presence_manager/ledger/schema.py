"""Opening a SQLite file as a ledger: whether it is one, is sound, and of this version."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from presence_manager.errors import LedgerUnusable
from presence_manager.ledger.queries import load_migrations
from presence_manager.ledger.trouble import DAMAGED, NOT_OURS, is_busy, refused, unusable

T = TypeVar("T")

APPLICATION_ID = 0x50524D4C
"""What marks a SQLite file as a ledger of ours: "PRML"."""
MIGRATIONS = load_migrations("sqlite")
"""The statements that lead from each schema version to the next; version 0 is an empty file."""

_SMALL = 8 * 1024 * 1024  # bytes up to which a whole check costs no more than some milliseconds
_SMALLEST = 512  # bytes of the smallest SQLite file
_PATIENCE = 0.001  # seconds between two looks at a lock: often, so that nobody starves

_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 4000",
)


def open_file(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Return a connection to the ledger file; make the file, and its folders, if there is none.

    Waits up to `busy_timeout` seconds for other processes. Raises LedgerUnusable for what is no
    ledger, cannot be written, is damaged or of a newer version, and leaves it as it is.
    """
    connection = None
    try:
        _prepare(path)
        name = f"{path.as_uri()}?mode=rw"
        connection = sqlite3.connect(
            name, uri=True, isolation_level=None, check_same_thread=False, timeout=0
        )
        _adopt(connection, path, busy_timeout)
    except (OSError, sqlite3.Error, UnicodeDecodeError, LedgerUnusable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LedgerUnusable):
            raise
        if isinstance(error, UnicodeDecodeError):  # in the words of the check itself
            raise unusable(path, *DAMAGED) from error
        raise refused(error, path, busy_timeout) from error
    return connection


def patiently(attempt: Callable[[], T], busy_timeout: float) -> T:
    """Do what another process may be in the way of, again and again for `busy_timeout` seconds.

    SQLite's own waiting looks ten times a second at last: beside a busy writer that is too seldom.
    """
    end = time.monotonic() + busy_timeout
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= end:
                raise
        time.sleep(_PATIENCE)


def _prepare(path: Path) -> None:
    _make_folder(path.parent)
    # An existing file is not opened here: to close it again would drop the locks of every
    # other connection of this process to it.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    with suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise unusable(path, "is a folder", "Name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise unusable(path, "is not a file", "Name another file")
    wal = path.with_name(path.name + "-wal")
    if found.st_size == 0 and wal.exists() and wal.stat().st_size > 0:
        raise unusable(
            path,
            "has been emptied, but its -wal file beside it still has sessions",
            "Restore the file beside that -wal file, or put both aside",
        )
    if 0 < found.st_size < _SMALLEST:  # SQLite takes that for nothing, and would write over it
        raise unusable(path, *NOT_OURS)
    if not os.access(path, os.R_OK | os.W_OK):
        raise unusable(
            path, "cannot be written by this user", "Give it the right, or name another file"
        )


def _make_folder(folder: Path) -> None:
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _adopt(connection: sqlite3.Connection, path: Path, busy_timeout: float) -> None:
    version = patiently(lambda: _version(connection, path), busy_timeout)
    if version and path.stat().st_size <= _SMALL:
        verdict = patiently(lambda: _value(connection, "PRAGMA quick_check(1)"), busy_timeout)
        if verdict != "ok" or patiently(lambda: _has_odd_values(connection), busy_timeout):
            raise unusable(path, *DAMAGED)
    for pragma in _PRAGMAS:
        patiently(lambda pragma=pragma: connection.execute(pragma), busy_timeout)  # type: ignore[misc]
    for number in range(version, len(MIGRATIONS)):
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_timeout)
        if _value(connection, "PRAGMA user_version") == number:  # nobody else was quicker
            _migrate(connection, number)
        patiently(lambda: connection.execute("COMMIT"), busy_timeout)
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), busy_timeout)
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_timeout)  # may it be written?
    connection.execute("ROLLBACK")


def _has_odd_values(connection: sqlite3.Connection) -> bool:
    """Whether a column has a value of another type than its own: SQLite itself takes any."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        odd = [
            f"typeof({name}) NOT IN ('{kind.lower()}'" + (")" if needed or key else ", 'null')")
            for _, name, kind, needed, _, key in connection.execute(f"PRAGMA table_info({table})")
            if kind
        ]
        query = f"SELECT 1 FROM {table} WHERE {' OR '.join(odd)} LIMIT 1"  # noqa: S608 - our names
        if odd and connection.execute(query).fetchone():
            return True
    return False


def _version(connection: sqlite3.Connection, path: Path) -> int:
    # In this order: who makes the file meanwhile commits its first page and its mark together.
    if not _value(connection, "PRAGMA page_count"):
        return 0
    if _value(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise unusable(path, "is a database of another program", "Name another file for the ledger")
    version = int(_value(connection, "PRAGMA user_version"))
    if version > len(MIGRATIONS):
        raise unusable(
            path,
            f"is of schema version {version}, and this release knows none beyond {len(MIGRATIONS)}",
            "Use the newer release of presence-manager that wrote it",
        )
    return version


def _migrate(connection: sqlite3.Connection, number: int) -> None:
    for statement in MIGRATIONS[number]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {number + 1}")


def _value(connection: sqlite3.Connection, pragma: str) -> int | str:
    return connection.execute(pragma).fetchone()[0]  # type: ignore[no-any-return]
