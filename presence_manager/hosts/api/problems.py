"""Answers that say no, as application/problem+json (RFC 9457).

`type` is what programs go by: it never changes. `detail` is for people: what happened, to whom,
what was saved, and what to do next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from presence_manager.errors import (
    Closed,
    HoldRefused,
    HoldTimeout,
    InvalidHold,
    LedgerError,
    PresenceError,
)

PREFIX = "urn:presence-manager:problem:"
RETRY_AFTER = "2"
"""Seconds after which a caller that was turned away for the moment should try again."""


class Type(NamedTuple):
    """One kind of problem."""

    name: str
    status: int
    title: str


INVALID_REQUEST = Type("invalid-request", 400, "The request cannot be understood")
UNAUTHORIZED = Type("unauthorized", 401, "A bearer token is needed")
FORBIDDEN = Type("forbidden", 403, "The token does not allow this")
CROSS_SITE = Type("cross-site", 403, "Requests of other sites are refused")
NOT_FOUND = Type("not-found", 404, "There is nothing here")
METHOD_NOT_ALLOWED = Type("method-not-allowed", 405, "This cannot be done here")
TIMEOUT = Type("timeout", 408, "The request came too slowly")
HOLD_ENDED = Type("hold-ended", 409, "The hold ended before it was shown")
TOO_LARGE = Type("too-large", 413, "The request is too large")
UNSUPPORTED = Type("unsupported-media-type", 415, "A body must be application/json")
WRONG_HOST = Type("wrong-host", 421, "This daemon is not called by that name")
INVALID_HOLD = Type("invalid-hold", 422, "Graph would not take this")
HOLD_REFUSED = Type("hold-refused", 424, "Graph, or the sign-in, refused the hold")
INTERNAL = Type("internal", 500, "A fault of presence-manager itself")
DRAINING = Type("draining", 503, "No new holds: the daemon is being drained")
CLOSING = Type("closing", 503, "The daemon is closing")
LEDGER = Type("ledger", 503, "The ledger cannot be used")
TYPES = (
    *(INVALID_REQUEST, UNAUTHORIZED, FORBIDDEN, CROSS_SITE, NOT_FOUND, METHOD_NOT_ALLOWED),
    *(TIMEOUT, HOLD_ENDED, TOO_LARGE, UNSUPPORTED, WRONG_HOST, INVALID_HOLD, HOLD_REFUSED),
    *(INTERNAL, DRAINING, CLOSING, LEDGER),
)


class Problem(Exception):
    """A request ends with this problem; `more` are further members of the answer."""

    def __init__(
        self,
        kind: Type,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more
        if kind.status == 503:
            self.headers.setdefault("Retry-After", RETRY_AFTER)

    def answer(self) -> web.Response:
        """The answer."""
        return web.Response(
            status=self.kind.status,
            text=json.dumps(self.body()),
            content_type="application/problem+json",
            headers=self.headers,
        )

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = self.kind
        return {
            "type": PREFIX + kind.name,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            **self.more,
        }


def problem_of(error: PresenceError) -> Problem:
    """The problem that an error of the library is for a caller of the API."""
    match error:
        case InvalidHold():
            return Problem(INVALID_HOLD, str(error))
        case HoldRefused():
            more: dict[str, Any] = {
                "graph_status": error.status,
                "graph_code": error.code,
                "graph_message": error.message,
                "graph_request_id": error.request_id,
            }
            return Problem(HOLD_REFUSED, str(error), **more)
        case HoldTimeout():
            return Problem(HOLD_ENDED, str(error))
        case LedgerError():
            return Problem(LEDGER, f"{error}; Graph was not asked, and nothing has changed")
        case Closed():
            detail = "it is being stopped, and clears what it holds: ask its successor"
            return Problem(CLOSING, detail)
    return Problem(INTERNAL, "the daemon's log says more")
