"""How a caller is told that a hold cannot be had."""

from __future__ import annotations

from presence_manager.core.pair import Pair
from presence_manager.core.verdict import Verdict
from presence_manager.errors import HoldRefused, HoldTimeout
from presence_manager.manager.hold import Hold


def refusal(hold: Hold, verdict: Verdict) -> HoldRefused:
    """What Graph, or the sign-in, said, and what may be the matter."""
    if verdict.status is None:
        text = f"user {hold.user} cannot be shown as {hold.pair}: {verdict.message}"
    else:
        text = (
            f"Graph refused to show user {hold.user} as {hold.pair}: {verdict.status} "
            f"{verdict.code}: {verdict.message} (request-id {verdict.request_id or 'none'})"
        )
    if verdict.status == 404:
        text += "; is the user id right, and the user licensed for Teams?"
    elif verdict.status in (401, 403):
        text += (
            "; has the application the permission Presence.ReadWrite.All, with consent? "
            "(the sign-in of a user reaches that user alone)"
        )
    return HoldRefused(
        text + "; the hold is withdrawn",
        status=verdict.status,
        code=verdict.code,
        message=verdict.message,
        request_id=verdict.request_id,
    )


def unwritten(user: str, seconds: float) -> HoldTimeout:
    """The ledger does not answer: nobody knows yet whether the hold is written down."""
    return HoldTimeout(
        f"the hold of user {user} could not be written down within {seconds:g} s, for the ledger "
        "does not answer; it is withdrawn as soon as that does. Is its disk well?"
    )


def late(hold: Hold, seconds: float, verdict: Verdict | None) -> HoldTimeout:
    """The error of a hold that Graph has not accepted in time; `verdict` was the last answer."""
    why = f" ({verdict.message or verdict.code or verdict.judgement})" if verdict else ""
    return HoldTimeout(
        f"user {hold.user} was not shown as {hold.pair} within {seconds:g} s{why}; the hold is "
        "withdrawn, and the session cleared in the background if a request has left"
    )


def replaced(hold: Hold, pair: Pair | None, seconds: float) -> HoldTimeout:
    """The error of one that was put again before it was shown as `pair`, and goes on as that."""
    return HoldTimeout(
        f"user {hold.user} was not shown as {pair} within {seconds:g} s: meanwhile the hold was "
        f"put again as {hold.pair}, and goes on as that"
    )
