"""What is shown at one moment, wherever it came from."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

RATE_OVER = 60.0
"""Seconds over which a rate is the average, once they have been watched."""


class TenantLine(NamedTuple):
    """One tenant: a number for each of the frame's columns, the budget, and the gate.

    `budget` is None where it is not known; `closed_for` is in seconds.
    """

    tenant: str
    counts: tuple[int, ...]
    used: int
    budget: int | None
    closed_for: float


class OutcomeLine(NamedTuple):
    """How many outcomes there were of one kind, and how many in a second lately."""

    kind: str
    number: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One look: `counted` says over what time the outcomes are counted."""

    source: str
    about: str
    columns: tuple[str, ...]
    tenants: tuple[TenantLine, ...]
    counted: str
    outcomes: tuple[OutcomeLine, ...]
    shown: Mapping[str, int] = field(default_factory=dict)


class Source(Protocol):
    """Where frames come from."""

    async def open(self) -> None:
        """Make it ready."""
        ...

    async def look(self, now: float) -> Frame:
        """Return what there is at `now`, seconds since the epoch."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Rates:
    """Rates from totals that are told again and again."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, Counter[str]]] = deque()

    def of(self, now: float, totals: Counter[str]) -> dict[str, float]:
        """Take the totals at `now`; return by how many each grew in a second, lately."""
        self._past.append((now, totals))
        while len(self._past) > 2 and self._past[1][0] <= now - RATE_OVER:
            self._past.popleft()
        then, before = self._past[0]
        seconds = now - then
        return {
            kind: max(0, total - before[kind]) / seconds if seconds > 0 else 0.0
            for kind, total in totals.items()
        }
