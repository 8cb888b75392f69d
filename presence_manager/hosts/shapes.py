"""Sessions, outcomes and reports as JSON has them: the same in the command and in the HTTP API."""

from __future__ import annotations

from datetime import UTC, datetime

from typing_extensions import TypedDict  # typing's own is not enough for pydantic before 3.12

from presence_manager.core.outcome import Outcome, Report
from presence_manager.core.session import Session


class HoldOfSession(TypedDict):
    """One hold on a session; without a pair it is tracked, other code has set it."""

    key: str
    availability: str | None
    activity: str | None
    until: str | None
    owner: str


class SessionShape(TypedDict):
    """What the ledger knows of a session."""

    tenant: str
    user: str
    app: str
    known: str
    availability: str | None
    activity: str | None
    renew_at: str | None
    may_live_until: str | None
    holds: list[HoldOfSession]


class OutcomeShape(TypedDict):
    """What became of one session in one sweep."""

    tenant: str
    user: str
    app: str
    kind: str
    at: str | None
    attempts: int
    status: int | None
    code: str
    message: str
    request_id: str
    sweep_id: str
    owner: str
    reason: str
    recorded: bool


class ReportShape(TypedDict):
    """How a sweep went; `problems` are the first outcomes that are not success.

    `unrecorded` counts the outcomes that the ledger could not be told of.
    """

    sweep_id: str
    ok: bool
    complete: bool
    seconds: float
    requests: int
    refused: int
    counts: dict[str, int]
    problems: list[OutcomeShape]
    unrecorded: int
    note: str


def iso(at: float) -> str | None:
    """An instant in seconds since the epoch as ISO 8601 in UTC; None for what is beyond it."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_session(session: Session) -> SessionShape:
    """A session as JSON has it."""
    pair = session.pair
    return {
        "tenant": session.tenant,
        "user": session.user,
        "app": session.key.lane.app,
        "known": str(session.known),
        "availability": pair.availability if pair else None,
        "activity": pair.activity if pair else None,
        "renew_at": iso(session.due),
        "may_live_until": iso(session.may_live_until) if session.may_live_until else None,
        "holds": [
            {
                "key": wish.name,
                "availability": wish.pair.availability if wish.pair else None,
                "activity": wish.pair.activity if wish.pair else None,
                "until": iso(wish.until),
                "owner": wish.owner,
            }
            for wish in session.wishes
        ],
    }


def of_outcome(outcome: Outcome) -> OutcomeShape:
    """An outcome as JSON has it; `at` is in ISO 8601, UTC."""
    return {
        "tenant": outcome.tenant,
        "user": outcome.user,
        "app": outcome.app,
        "kind": str(outcome.kind),
        "at": iso(outcome.at),
        "attempts": outcome.attempts,
        "status": outcome.status,
        "code": outcome.code,
        "message": outcome.message,
        "request_id": outcome.request_id,
        "sweep_id": outcome.sweep_id,
        "owner": outcome.owner,
        "reason": outcome.reason,
        "recorded": outcome.recorded,
    }


def of_report(report: Report) -> ReportShape:
    """A report as JSON has it."""
    return {
        "sweep_id": report.sweep_id,
        "ok": report.ok,
        "complete": report.complete,
        "seconds": round(report.seconds, 3),
        "requests": report.requests,
        "refused": report.refused,
        "counts": report.counts,
        "problems": [of_outcome(outcome) for outcome in report.problems],
        "unrecorded": report.unrecorded_total,
        "note": report.note,
    }
