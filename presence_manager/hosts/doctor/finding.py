"""What a check has found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How it stands; WARN still works, SKIPPED could not, or need not, be looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """One line: which check, how it stands, what was seen, and what to do about it."""

    name: str
    state: State
    says: str
    do: str = ""


def ok(name: str, says: str) -> Finding:
    """All is well."""
    return Finding(name, State.OK, says)


def warn(name: str, says: str, do: str) -> Finding:
    """It works, and may not for long, or not for everybody."""
    return Finding(name, State.WARN, says, do)


def fail(name: str, says: str, do: str) -> Finding:
    """It does not work."""
    return Finding(name, State.FAIL, says, do)


def skipped(name: str, says: str, do: str = "") -> Finding:
    """It was not looked at."""
    return Finding(name, State.SKIPPED, says, do)
