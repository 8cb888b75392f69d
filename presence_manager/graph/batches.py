"""The answer to a $batch: one verdict for each session, in the order they were asked.

Sources: Microsoft Graph "JSON batching", throttling guidance. The answers come in any order, and an
outer 200 says only that the batch could be read. Pure: no I/O, no clock; nothing here raises.

- A session that is missing, or answered twice and differently, is LOST; unknown ids are ignored.
- An outer 424 that carries readable items is read item by item; without any, it is THROTTLED.
- A batch refused as a whole is LATER with `singly`. When that says there is no $batch here at all
  (404, 405, 501), its code is "batchUnavailable".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.graph.answers import (
    UNREADABLE,
    Answer,
    Judged,
    claims_of,
    judgement_of,
    loaded,
    not_graph,
    plain,
    request_id_of,
    verdict_of,
    wait_of,
)
from presence_manager.graph.headers import folded
from presence_manager.graph.wire import ITEM_IDS

BATCH_UNAVAILABLE: Final = "batchUnavailable"
"""Code of a verdict that says: there is no $batch endpoint here; do without."""
MISSING: Final = "missingFromBatch"
"""Code of a session that the answer to its batch does not mention."""
CONTRADICTORY: Final = "contradictoryAnswers"
"""Code of a session to which a batch answer gives two different answers."""

_REQUEST_ID: Final = len("request-id")
_INDEX: Final = {name: index for index, name in enumerate(ITEM_IDS)}


def judge_batch(answer: Answer, count: int) -> Judged:
    """Return what the answer to a batch of `count` sessions proves."""
    status = answer.status
    if 200 <= status < 300 or status == 424:
        content = loaded(answer.body)
        items = content.get("responses") if isinstance(content, dict) else None
        if isinstance(items, list):
            return _by_item(answer, items, count)
        if status != 424:
            return Judged([not_graph(answer)] * count)
    judgement = _outer_judgement(status, answer.headers)
    verdict = verdict_of(judgement, status, answer.headers, loaded(answer.body), answer)
    if judgement is Judgement.LATER:
        verdict = _again_singly(verdict)
    return Judged([verdict] * count, claims_of(judgement, answer.headers))


def _outer_judgement(status: int, headers: Mapping[str, str]) -> Judgement:
    if status == 424:
        return Judgement.THROTTLED
    judgement = judgement_of(status, headers)
    refused = judgement is Judgement.GONE or (judgement is Judgement.DENIED and status >= 400)
    return Judgement.LATER if refused or status == 501 else judgement


def _again_singly(verdict: Verdict) -> Verdict:
    missing = verdict.status in (404, 405, 501)
    return verdict._replace(
        code=BATCH_UNAVAILABLE if missing else verdict.code,
        message=verdict.message or "the batch was refused as a whole",
        singly=True,
    )


def _by_item(answer: Answer, items: list[Any], count: int) -> Judged:
    found: list[Verdict | None] = [None] * count
    request_id = request_id_of(answer.headers)
    done = plain(Judgement.DONE, answer, status=200, request_id=request_id)
    challenge, alike, like = "", done, None
    for item in items:
        if not isinstance(item, dict):
            continue
        name = item.get("id")
        index = _INDEX.get(name, -1) if isinstance(name, str) else name
        if type(index) is not int or not 0 <= index < count:
            continue
        status, headers = item.get("status"), item.get("headers")
        if status == 200 and type(status) is int:
            if headers != like:  # mostly all items have the same ones
                like, alike = headers, _done(done, headers)
            verdict = alike
        else:
            verdict, asked = _item_verdict(answer, item, _status(status))
            challenge = challenge or asked
        before = found[index]
        if before is not None and (before.judgement, before.status) != (
            verdict.judgement,
            verdict.status,
        ):
            verdict = plain(
                Judgement.LOST, answer, code=CONTRADICTORY, request_id=verdict.request_id
            )
        found[index] = verdict
    missing = plain(
        Judgement.LOST,
        answer,
        code=MISSING,
        message="the answer to the batch does not mention this session",
        request_id=request_id,
        wait=wait_of(answer.headers, answer),
    )
    return Judged([verdict or missing for verdict in found], challenge)


def _done(done: Verdict, headers: Any) -> Verdict:
    """The verdict on a 200: the same for all items, but for Graph's own name of the request."""
    if type(headers) is not dict:
        return done
    for name in headers:
        if len(name) == _REQUEST_ID and name.lower() == "request-id":
            return done._replace(request_id=request_id_of(folded(headers)) or done.request_id)
    return done


def _item_verdict(answer: Answer, item: Mapping[str, Any], status: int) -> tuple[Verdict, str]:
    headers = folded(item.get("headers"))
    if not status:
        verdict = plain(
            Judgement.LOST, answer, code=UNREADABLE, request_id=request_id_of(answer.headers)
        )
        return verdict, ""
    judgement = judgement_of(status, headers)
    verdict = verdict_of(judgement, status, headers, item.get("body"), answer)
    return verdict, claims_of(judgement, headers)


def _status(value: object) -> int:
    if isinstance(value, bool):
        return 0
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 100 <= value < 600 else 0
