"""How a sweep went, told to people: a table of counts, the causes of what is left, what to do."""

from __future__ import annotations

from presence_manager.core.outcome import Kind
from presence_manager.hosts.cli.output import console, table
from presence_manager.hosts.cli.running import fail, say, warn
from presence_manager.hosts.cli.sweeping import Cause, Result
from presence_manager.hosts.cli.times import spoken

MEANING = {
    Kind.CLEARED: "Graph took the session back",
    Kind.ALREADY_GONE: "Graph had no session any more",
    Kind.GONE_AFTER_RETRY: "gone; an earlier try, whose answer was lost, may have done it",
    Kind.NEVER_SET: "no session had been set",
    Kind.LAPSED: "Graph had ended the session by itself",
    Kind.SUPERSEDED: "held again meanwhile: left as it is",
    Kind.FAILED: "Graph, or the sign-in, refused",
    Kind.UNFINISHED: "not known: the deadline or the attempts ran out",
}
MOST = 10
"""Causes that are told; `presence-manager outcomes --sweep` has all."""


def tell(result: Result) -> None:
    """Print the table of a sweep on stdout."""
    counts = table("", "outcome", "", header=False)
    counts.columns[0].justify = "right"
    for kind in Kind:
        number = result.counts[kind]
        if kind is Kind.UNFINISHED:
            number += result.waiting
        if number:
            counts.add_row(f"{number:,}", kind, _meaning(kind, result))
    screen = console()
    screen.print(_headline(result))
    if counts.row_count:
        screen.print(counts)


def explain(result: Result) -> None:
    """Say on stderr why sessions are left, each cause once, and what to do about it."""
    causes = result.causes
    if result.interrupted:  # what was cut off by that needs no other reason
        causes = [cause for cause in causes if cause.like.reason != "deadline"]
    for cause in causes[:MOST]:
        fail(_because(cause, result))
    if len(causes) > MOST:
        fail(f"... and {len(causes) - MOST} more causes")
    if number := len(result.unrecorded) + result.more:
        warn(
            f"{number:,} outcomes could not be written into the ledger, and are "
            "told here alone: it takes the sessions for not cleared, and `presence-manager "
            "recover` clears them once more when it works again, which is harmless"
        )
    if result.note:
        warn(result.note)
    if causes and result.kept and not result.interrupted:
        say(
            "What is left stays in the ledger: when the cause is gone, `presence-manager recover` "
            f"tries it again; `presence-manager outcomes --sweep {result.sweep_id}` lists it."
        )


def _meaning(kind: Kind, result: Result) -> str:
    if kind is Kind.UNFINISHED and result.interrupted:
        return "taken in, and not known to be gone"
    return MEANING[kind]


def _headline(result: Result) -> str:
    what = "1 session" if result.taken == 1 else f"{result.taken:,} sessions"
    text = f"{what} in {spoken(result.seconds)}"
    if result.requests is not None:
        text += f", {result.requests:,} requests"
    if result.refused:
        text += f" ({result.refused:,} of them refused with 429)"
    return text


def _because(cause: Cause, result: Result) -> str:
    like = cause.like
    if cause.count == result.taken and cause.count > 1:
        who = f"none of the {cause.count:,} sessions could be cleared"
    else:
        names = ", ".join(cause.users)
        more = ", ..." if cause.count > len(cause.users) else ""
        who = f"{cause.count:,} {like.kind} ({names}{more})"
    said = like.message
    if like.status is not None:
        said = f"Graph answered {like.status} {like.code}: {like.message}".rstrip(": ")
        if like.request_id:
            said += f" (request-id {like.request_id})"
    elif like.code and like.reason != "sign_in":
        said = f"{said} ({like.code})".strip()
    if like.reason == "deadline":
        said = (
            f"the deadline came first; the last answer: {said}"
            if said
            else ("the deadline came before their turn")
        )
    elif like.reason == "ledger":
        said = "the ledger fails, and without it nobody can tell who else holds them"
    elif like.reason == "attempts":
        said = f"{said or 'no answer'}, after {like.attempts or 'several'} attempts"
    if like.reason == "denied" and like.status in (401, 403):
        said += (
            "; has the application the permission Presence.ReadWrite.All, with consent? "
            "(the sign-in of a user reaches that user alone)"
        )
    return f"{who}: {said or like.reason or 'no reason is known'}"
