"""Where sessions, holds, owners, budgets and outcomes are remembered."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from presence_manager.errors import LedgerUnusable
from presence_manager.ledger.memory import MemoryLedger
from presence_manager.ledger.place import default_path
from presence_manager.ledger.sqlite import SqliteLedger
from presence_manager.ports import Ledger

__all__ = ["MemoryLedger", "SqliteLedger", "open_ledger"]

_ACCEPTED = (
    "accepted are sqlite:///relative/path.db, sqlite:////absolute/path.db, memory:// (nothing is "
    "kept), and nothing at all for the file in the user's state folder"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}(?=://)")


def open_ledger(url: str, *, busy_timeout: float = 5.0) -> Ledger:
    """Return the ledger that the URL names; `open()` it before use.

    `busy_timeout` is how many seconds it waits for another process that is writing. Raises
    LedgerUnusable for any other URL, without repeating what stands in it: there may be a password.
    """
    if not url:
        return SqliteLedger(default_path(sys.platform, os.environ, _home()), busy_timeout)
    if url in ("memory://", "memory:"):
        return MemoryLedger()
    found = _SCHEME.match(url)
    scheme = found.group().lower() if found else ""
    if scheme != "sqlite":
        what = f"a {scheme}:// ledger" if scheme else "a ledger URL without a scheme"
        raise LedgerUnusable(f"{what} is not known here; {_ACCEPTED}")
    rest = url[len("sqlite://") :]
    if not rest.startswith("/"):
        raise LedgerUnusable(
            f"a sqlite:// URL has a third slash before its path, and no host; {_ACCEPTED}"
        )
    name = rest[1:]
    if not name or name.startswith(":memory:"):
        raise LedgerUnusable(f"the sqlite:/// URL names no file; {_ACCEPTED}")
    if "?" in name or "#" in name or "\0" in name:
        raise LedgerUnusable(f"a sqlite:/// URL takes a path only, no options; {_ACCEPTED}")
    return SqliteLedger(_expanded(name), busy_timeout)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise LedgerUnusable("the ledger URL begins with ~, but this user has no home") from None
