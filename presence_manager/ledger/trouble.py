"""What the database and the operating system complain of, in words that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from presence_manager.errors import LedgerError, LedgerUnusable

_SPACE = "Make room on that disk and try again"
_RIGHTS = "Give this user the right to write the file and its folder"
_BACKUP = (
    "Put it aside with its -wal and -shm files, restore a copy or start with a new one; sessions "
    "that only it knew of end by themselves within 4 hours"
)

DAMAGED = ("is damaged", _BACKUP)
NOT_OURS = (
    "is not a ledger, or its first bytes are damaged",
    "Name another file with PRESENCE_LEDGER__URL, or restore a copy",
)

_BY_CODE = {
    sqlite3.SQLITE_READONLY: ("cannot be written", _RIGHTS),
    sqlite3.SQLITE_PERM: ("cannot be accessed", _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check its folder, and the rights to it"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", _SPACE),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written by the system",
        "Check the disk: it may be full, failing or gone",
    ),
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: NOT_OURS,
}
_BY_ERRNO = {
    errno.EACCES: ("cannot be accessed", _RIGHTS),
    errno.EPERM: ("cannot be accessed", _RIGHTS),
    errno.EROFS: ("lies on a file system that cannot be written", "Name another file"),
    errno.ENOSPC: ("cannot grow: the disk is full", _SPACE),
    errno.EDQUOT: ("cannot grow: this user's share of the disk is used up", _SPACE),
    errno.ENOTDIR: ("has a file where a folder should be in its path", "Name another file"),
    errno.ENAMETOOLONG: ("has too long a name", "Name another file"),
}


def unusable(path: Path, what: str, remedy: str) -> LedgerUnusable:
    """Return the error of a ledger that cannot be opened."""
    return LedgerUnusable(f"the ledger {path} {what}: nothing was changed in it. {remedy}.")


def damaged(path: Path, what: str) -> LedgerError:
    """Return the error of a ledger with content that makes no sense."""
    return LedgerError(f"the ledger {path} is damaged: {what}. Nothing was saved. {_BACKUP}.")


def translated(error: Exception, path: Path, waited: float) -> Exception:
    """Return a LedgerError for what the database or the system raised; others stay as they are.

    `waited` is how many seconds it waited for a lock. A new object each time: many callers
    may have to be told of one error.
    """
    found = _explained(error, waited)
    if found is None:
        return type(error)(*error.args) if isinstance(error, LedgerError) else error
    what, remedy = found
    text = f"the ledger {path} {what}: nothing of this call was saved. {remedy}."
    raised = LedgerError(text)
    raised.__cause__ = error
    return raised


def refused(error: sqlite3.Error | OSError, path: Path, waited: float) -> LedgerUnusable:
    """Return the LedgerUnusable for what was raised while opening."""
    found = _explained(error, waited)
    assert found is not None
    return unusable(path, *found)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection is in the way, and may be gone in a moment."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _explained(error: Exception, waited: float) -> tuple[str, str] | None:
    if isinstance(error, sqlite3.Error):
        if is_busy(error):
            what = f"has been locked by another program for more than {waited:g} s"
            return what, "End that program (a database browser, a backup), or try again"
        return _BY_CODE.get(_code(error), (f"failed ({error})", "Try again; then check the file"))
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        number = error.errno or 0
        return _BY_ERRNO.get(number, (f"cannot be used ({reason})", "Check its folder"))
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return f"cannot hold such a value ({error})", "Use names of plain text"
    return None


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
