"""The answers to batches: items in disorder, and batches that fail as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.graph.batches import (
    BATCH_UNAVAILABLE,
    CONTRADICTORY,
    MISSING,
    judge_batch,
)

from .stage import DENIED, GONE, LATER, LOST, TABLE, THROTTLED, UNAUTHORIZED, D
from .test_wire_answers import CHALLENGE, CLAIMS, NOT_GRAPHS, answer


def items(*told: Any, count: int = 3, status: int = 200, **headers: str) -> list[Verdict]:
    return judge_batch(answer(status, {"responses": list(told)}, **headers), count).verdicts


def item(index: object, status: object = 200, **more: Any) -> dict[str, Any]:
    return {"id": index, "status": status, **more}


def kinds(verdicts: list[Verdict]) -> list[Judgement]:
    return [verdict.judgement for verdict in verdicts]


@pytest.mark.parametrize(("status", "judgement"), TABLE)
def test_the_table_item_by_item(status: int, judgement: Judgement) -> None:
    verdicts = items(item("2"), item("0", status), item("1", 404))
    assert kinds(verdicts) == [judgement, GONE, D]
    assert [verdict.status for verdict in verdicts] == [status, 404, 200]
    assert not any(verdict.singly for verdict in verdicts)


@pytest.mark.parametrize("status", [200, 201, 207])
def test_any_outer_success_is_read(status: int) -> None:
    assert kinds(items(item("0"), item("1"), item("2"), status=status)) == [D, D, D]


@pytest.mark.parametrize("status", ["200", 200.0, 200])
@pytest.mark.parametrize("index", ["0", 0])
def test_odd_types_are_understood(index: object, status: object) -> None:
    (verdict,) = items(item(index, status), count=1)
    assert (verdict.judgement, verdict.status) == (D, 200)


@pytest.mark.parametrize(
    "status",
    [None, True, "", "2OO", "٢٠٠", "0200", 200.5, float("nan"), float("inf"), -200, 20, 1000,
     10**400, [200], {"status": 200}],
)  # fmt: skip
def test_a_status_that_is_none_is_lost(status: object) -> None:
    verdicts = items(item("0", status), item("1"), item("2"))
    assert kinds(verdicts) == [LOST, D, D]
    assert verdicts[0].status is None


@pytest.mark.parametrize("index", [None, True, -1, 3, 20, 0.0, "3", "00", "-1", " 0", [0], {}, ""])
def test_an_unknown_id_is_ignored(index: object) -> None:
    verdicts = items(item(index), item("1"), item("2"))
    assert kinds(verdicts) == [LOST, D, D]
    assert verdicts[0].code == MISSING


def test_what_is_missing_is_lost_and_waits_as_the_answer_says() -> None:
    verdicts = items(item("1"), retry_after="4", request_id="outer")
    assert kinds(verdicts) == [LOST, D, LOST]
    assert (verdicts[0].retry_after, verdicts[0].request_id) == (4.0, "outer")
    assert not verdicts[0].singly


@pytest.mark.parametrize("junk", [None, 1, "x", [], [{"id": "0"}], True])
def test_junk_among_the_items_is_ignored(junk: Any) -> None:
    assert kinds(items(junk, item("0"), item("1"), item("2"))) == [D, D, D]


def test_duplicates_that_agree_are_fine() -> None:
    assert kinds(items(item("0"), item("0"), item(0, "200"), item("1"), item("2"))) == [D, D, D]


@pytest.mark.parametrize("more", [[], [item("0")], [item("0", 404)]])
def test_duplicates_that_do_not_agree_are_in_doubt(more: list[dict[str, Any]]) -> None:
    verdicts = items(item("0"), item("0", 404), *more, item("1"), item("2"))
    assert kinds(verdicts) == [LOST, D, D]
    assert verdicts[0].code == CONTRADICTORY


def test_an_items_headers_come_before_the_outer_ones() -> None:
    verdicts = items(
        item("0", 429, headers={"ReTry-aFter": "2.128", "Request-ID": "inner"}),
        item("1", 429, headers={"Retry-After": 1}),
        item("2", 503, headers="nonsense"),
        retry_after="9",
        request_id="outer",
    )
    assert kinds(verdicts) == [THROTTLED, THROTTLED, LOST]
    assert [verdict.retry_after for verdict in verdicts] == [2.128, 1.0, 9.0]
    assert [verdict.request_id for verdict in verdicts] == ["inner", "outer", "outer"]


def test_an_item_that_is_done_does_not_wait() -> None:
    assert items(item("0"), count=1, retry_after="9")[0].retry_after is None


def test_an_items_error() -> None:
    body = {"error": {"code": "Forbidden", "message": "No.", "innerError": {"request-id": "r"}}}
    (verdict,) = items(item("0", 403, body=body), count=1, request_id="outer")
    assert verdict.judgement is DENIED
    assert (verdict.code, verdict.message, verdict.request_id) == ("Forbidden", "No.", "r")


def test_an_items_challenge() -> None:
    told = answer(
        200,
        {
            "responses": [
                item("0"),
                item("1", 401),
                item("2", 403, headers={"www-Authenticate": CHALLENGE}),
            ]
        },
    )
    judged = judge_batch(told, 3)
    assert kinds(judged.verdicts) == [D, UNAUTHORIZED, UNAUTHORIZED]
    assert judged.claims == CLAIMS


@pytest.mark.parametrize(
    "body", [b"", *NOT_GRAPHS, b"{}", b"[]", b"null", b'{"responses":{}}', b'{"responses":"x"}']
)
def test_garbage_with_a_good_status_is_lost(body: bytes) -> None:
    verdicts = judge_batch(answer(200, body), 3).verdicts
    assert kinds(verdicts) == [LOST, LOST, LOST]
    assert not verdicts[0].singly


OUTER = [
    (401, UNAUTHORIZED),
    (429, THROTTLED),
    (424, THROTTLED),
    (408, LOST),
    (409, LOST),
    (500, LOST),
    (502, LOST),
    (503, LOST),
    (504, LOST),
    (101, LOST),
    (600, LOST),
    (301, DENIED),
    (307, DENIED),
]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":{"code":"UnknownError"}}'])
@pytest.mark.parametrize(("status", "judgement"), OUTER)
def test_a_whole_answer(status: int, judgement: Judgement, body: bytes) -> None:
    verdicts = judge_batch(answer(status, body, retry_after="5"), 3).verdicts
    assert kinds(verdicts) == [judgement] * 3
    assert {verdict.retry_after for verdict in verdicts} == {5.0}
    assert {verdict.status for verdict in verdicts} == {status}
    assert not verdicts[0].singly


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 406, 410, 413, 415, 422, 501])
def test_a_batch_refused_as_a_whole_goes_again_singly(status: int) -> None:
    body = {"error": {"code": "BadRequest", "message": "Invalid batch payload"}}
    verdicts = judge_batch(answer(status, body), 3).verdicts
    assert kinds(verdicts) == [LATER] * 3
    assert all(verdict.singly for verdict in verdicts)
    missing = status in (404, 405, 501)
    assert verdicts[0].code == (BATCH_UNAVAILABLE if missing else "BadRequest")
    assert verdicts[0].message == "Invalid batch payload"
    assert judge_batch(answer(status), 3).verdicts[0].message


def test_a_refused_batch_does_not_believe_the_items_it_carries() -> None:
    for status in (400, 429, 500):
        assert D not in kinds(items(item("0"), item("1"), item("2"), status=status))


def test_a_424_that_carries_items_is_read_item_by_item() -> None:
    verdicts = items(item("0"), item("1", 429), status=424, retry_after="2")
    assert kinds(verdicts) == [D, THROTTLED, LOST]
    assert verdicts[1].retry_after == 2.0


def test_an_outer_challenge() -> None:
    for status in (401, 403):
        judged = judge_batch(answer(status, www_authenticate=CHALLENGE), 3)
        assert kinds(judged.verdicts) == [UNAUTHORIZED] * 3
        assert judged.claims == CLAIMS


def test_a_long_answer_is_read_once() -> None:
    told = answer(200, json.dumps({"responses": [item("x")] * 20_000 + [item("0")]}).encode())
    assert kinds(judge_batch(told, 1).verdicts) == [D]
