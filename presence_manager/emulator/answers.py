"""Answers in Graph's shape. Source: *Microsoft Graph error responses and resource types*."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final


@dataclass(slots=True, frozen=True)
class Answer:
    """What is to be told, before it is known whether it travels alone or in a batch.

    ``error`` is (code, message); ``body`` a JSON value for success; neither means an empty body.
    ``html`` replaces the body by a proxy's page.
    """

    status: int
    error: tuple[str, str] | None = None
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] | None = None
    html: bool = False

    @property
    def ok(self) -> bool:
        """Whether the operation was accepted."""
        return self.status < 400


DONE: Final = Answer(200)
NO_SESSION: Final = Answer(404, ("NotFound", "The presence session was not found."))
NO_USER: Final = Answer(404, ("NotFound", "The user was not found."))
FORBIDDEN: Final = Answer(403, ("Forbidden", "Missing role permissions on the request."))
TOO_MANY: Final = Answer(400)
"""More than 650 ids: a bare 400 in the field (microsoft-graph-docs-contrib issue 777)."""

CODES: Final[Mapping[int, str]] = {
    400: "BadRequest",
    401: "InvalidAuthenticationToken",
    403: "Forbidden",
    404: "NotFound",
    405: "BadRequest",
    408: "RequestTimeout",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    424: "FailedDependency",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
HTML: Final = (
    b"<html><head><title>502 Bad Gateway</title></head>\r\n"
    b"<body><center><h1>502 Bad Gateway</h1></center></body></html>\r\n"
)


def refusal(
    status: int,
    message: str,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    html: bool = False,
) -> Answer:
    """Return an error answer; its code is the usual one of the status unless one is given."""
    return Answer(status, (code or CODES.get(status, "UnknownError"), message), None, headers, html)


def throttled(retry_after: str | None) -> Answer:
    """Return 429 as *Microsoft Graph throttling guidance* shows it; None leaves the header out."""
    headers = None if retry_after is None else {"Retry-After": retry_after}
    return Answer(429, ("TooManyRequests", "Too many requests."), None, headers)


@lru_cache(maxsize=8)
def _iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def body_of(
    answer: Answer, now: float, request_id: str, client_request_id: str
) -> Mapping[str, object] | None:
    """Return the answer's JSON body, or None where it has none."""
    if answer.error is None:
        return answer.body
    code, message = answer.error
    return {
        "error": {
            "code": code,
            "message": message,
            "innerError": {
                # The field repeats the status of a 429 here (throttling guidance, example).
                **({"code": "429"} if answer.status == 429 else {}),
                "date": _iso(int(now)),
                "request-id": request_id,
                "client-request-id": client_request_id,
            },
        }
    }


def bytes_of(
    answer: Answer, now: float, request_id: str, client_request_id: str
) -> tuple[bytes, str]:
    """Return body and content type for an answer that travels alone."""
    if answer.html:
        return HTML, "text/html"
    body = body_of(answer, now, request_id, client_request_id)
    return (b"" if body is None else json.dumps(body).encode()), "application/json"
