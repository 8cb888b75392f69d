"""Holds what the product says against what the server knows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from uuid import UUID

from presence_manager import Kind, Outcome, Settings
from presence_manager.emulator import Emulator

TENANT = "7a000000-0000-4000-8000-000000000001"
APP = "7a000000-0000-4000-8000-00000000000a"


def user(number: int) -> str:
    """The id of the nth user."""
    return str(UUID(int=0x5E << 120 | 4 << 76 | 2 << 62 | number))


def settings(emulator: Emulator, **changes: object) -> Settings:
    """Settings that reach the emulator with a ready token, quick to try again."""
    graph = {"base_url": emulator.graph_url, "budget": 100_000, "timeout": 2.0}
    given = {
        "tenant_id": TENANT,
        "client_id": APP,
        "access_token": emulator.token(TENANT, APP),
        "graph": graph | dict(changes.pop("graph", {})),  # type: ignore[call-overload]
        "ledger": {"url": "memory://"},
        "retry": {"first_wait": 0.01, "longest_wait": 0.05, "settle": 0.05, "attempts": 50},
    }
    return Settings(**given | changes)  # type: ignore[arg-type]


def contradictions(emulator: Emulator, outcomes: Iterable[Outcome], users: list[str]) -> list[str]:
    """Every point in which the outcomes say what the server's journal does not bear out."""
    lines: defaultdict[str, list[tuple[int | None, bool, bool]]] = defaultdict(list)
    for entry in emulator.journal:
        if entry.verb == "clear":
            told = entry.answered and entry.fault != "garbage"
            lines[entry.user].append((entry.status, entry.applied, told))
    found: list[str] = []
    seen = Counter(outcome.user for outcome in outcomes)
    found += [f"{u}: {n} outcomes" for u, n in seen.items() if n != 1]
    found += [f"{u}: no outcome" for u in users if u not in seen]
    for outcome in outcomes:
        clears = lines[outcome.user]
        told = {status for status, _, answered in clears if answered}
        doubtful = any(
            not answered or (status is not None and status >= 500) for status, _, answered in clears
        )
        if outcome.kind is Kind.CLEARED and 200 not in told:
            found.append(f"{outcome.user}: cleared, but no 200 was ever delivered: {clears}")
        if outcome.kind is Kind.ALREADY_GONE:
            if 404 not in told:
                found.append(f"{outcome.user}: already_gone without a delivered 404: {clears}")
            if any(applied and status != 404 for status, applied, _ in clears[:-1]):
                found.append(f"{outcome.user}: already_gone after a clear of ours: {clears}")
        if outcome.kind is Kind.GONE_AFTER_RETRY and not doubtful:
            found.append(f"{outcome.user}: gone_after_retry without any doubt: {clears}")
    left = {session.user for session in emulator.sessions()}
    ended = {Kind.CLEARED, Kind.ALREADY_GONE, Kind.GONE_AFTER_RETRY, Kind.NEVER_SET, Kind.LAPSED}
    found += [
        f"{outcome.user}: {outcome.kind}, but the server has a session"
        for outcome in outcomes
        if outcome.kind in ended and outcome.user in left
    ]
    return found
