"""Graph's answers to verdicts: the table of the design's section 5. Pure: no I/O, no clock.

Source: Microsoft Graph "error responses and resource types". Whatever arrives, nothing here raises.
In doubt a verdict is LOST: the request may have been applied.

Beyond the table: a 2xx or 404 with a body that is not JSON is not Graph's, but a proxy's own page,
say. It proves nothing, and is LOST.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.graph.errors import error_of
from presence_manager.graph.headers import (
    claims,
    clean,
    clean_name,
    http_date,
    insufficient_claims,
    retry_after,
)

UNREADABLE: Final = "unreadableAnswer"
"""Code of an answer that cannot be Graph's, or of an item that makes no sense."""

NOT_JSON: Final = object()
"""What `loaded` answers for a body that is not JSON."""
_NOTHING: Final[Mapping[str, str]] = {}


class Answer(NamedTuple):
    """One HTTP answer: headers under lower-case names; seconds since the epoch on our clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: float
    at: float


class Judged(NamedTuple):
    """The verdicts, one for each session asked for, and the claims challenge if there was one."""

    verdicts: list[Verdict]
    claims: str = ""


def judge(answer: Answer) -> Judged:
    """Return what the answer to a single request proves."""
    status, headers = answer.status, answer.headers
    content: Any = None
    judgement = judgement_of(status, headers)
    if answer.body.strip():
        content = loaded(answer.body)
        if content is NOT_JSON and judgement in (Judgement.DONE, Judgement.GONE):
            return Judged([not_graph(answer)])
    verdict = verdict_of(judgement, status, headers, content, answer)
    return Judged([verdict], claims_of(judgement, headers))


def judgement_of(status: int, headers: Mapping[str, str] = _NOTHING) -> Judgement:
    """Return what a status proves of one session (design, section 5)."""
    if 200 <= status < 300:
        return Judgement.DONE
    if status == 404:
        return Judgement.GONE
    if status == 429:
        return Judgement.THROTTLED
    if status == 401 or (status == 403 and insufficient_claims(headers)):
        return Judgement.UNAUTHORIZED
    if 300 <= status < 500 and status not in (408, 409):
        return Judgement.DENIED
    return Judgement.LOST


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return Graph's clock at the answer, by its Date header."""
    return http_date(headers.get("date", ""))


def verdict_of(
    judgement: Judgement, status: int, headers: Mapping[str, str], content: Any, answer: Answer
) -> Verdict:
    """Return a verdict with what Graph says of it; what the headers lack, the answer's may have."""
    request_id = request_id_of(headers)
    if judgement is Judgement.DONE:
        return plain(
            judgement, answer, status=status, request_id=request_id or request_id_of(answer.headers)
        )
    code, message, inner_id = error_of(content)
    if 300 <= status < 400:
        code = code or "redirected"
        where = f" (Location: {headers['location']})" if "location" in headers else ""
        message = clean(f"Graph does not redirect: check graph.base_url and the proxy{where}")
    wait = wait_of(headers, answer)
    if wait is None and headers is not answer.headers:
        wait = wait_of(answer.headers, answer)
    return plain(
        judgement,
        answer,
        status=status,
        code=code,
        message=message,
        request_id=request_id or inner_id or request_id_of(answer.headers),
        wait=wait,
    )


def plain(
    judgement: Judgement,
    answer: Answer,
    *,
    status: int | None = None,
    code: str = "",
    message: str = "",
    request_id: str = "",
    wait: float | None = None,
) -> Verdict:
    """Return a verdict on something of this answer."""
    return Verdict(
        judgement=judgement,
        sent_at=answer.sent_at,
        at=answer.at,
        status=status,
        code=code,
        message=message,
        request_id=request_id,
        retry_after=wait,
    )


def not_graph(answer: Answer) -> Verdict:
    """Return the verdict on an answer that proves nothing."""
    return plain(
        Judgement.LOST,
        answer,
        status=answer.status,
        code=UNREADABLE,
        message="the answer is not Graph's: check graph.base_url and the proxy",
        request_id=request_id_of(answer.headers),
        wait=wait_of(answer.headers, answer),
    )


def wait_of(headers: Mapping[str, str], answer: Answer) -> float | None:
    """Return the Retry-After among these headers, in seconds; None for none, or nonsense."""
    text = headers.get("retry-after")
    if text is None:
        return None
    return retry_after(text, answer.headers.get("date", ""), answer.at)


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return what Microsoft's support asks for; empty if Graph names none."""
    text = headers.get("request-id")
    return clean_name(text) if text else ""


def claims_of(judgement: Judgement, headers: Mapping[str, str]) -> str:
    """Return the claims challenge of a refused token; empty if there is none."""
    return claims(headers) if judgement is Judgement.UNAUTHORIZED else ""


def loaded(body: bytes) -> Any:
    """Return a body's JSON value, or NOT_JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return NOT_JSON
