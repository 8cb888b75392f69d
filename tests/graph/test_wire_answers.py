"""The table of the design's section 5 for a session asked alone, and what may arrive beside it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.graph.answers import Answer, judge, judgement_of
from presence_manager.graph.batches import judge_batch
from presence_manager.graph.errors import error_of
from presence_manager.graph.headers import folded

from .stage import DENIED, GONE, LOST, TABLE, THROTTLED, UNAUTHORIZED, D

DATE = "Tue, 15 Nov 1994 12:00:00 GMT"
CLAIMS = '{"access_token":{}}'
CHALLENGE = (
    f'Bearer realm="", error="insufficient_claims", claims="{b64encode(CLAIMS.encode()).decode()}"'
)


def answer(status: int = 200, body: object = b"", **headers: str) -> Answer:
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    low = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, low, body, 10.0, 11.0)


def one(status: int = 200, body: object = b"", **headers: str) -> Verdict:
    (verdict,) = judge(answer(status, body, **headers)).verdicts
    return verdict


@pytest.mark.parametrize(("status", "judgement"), TABLE)
def test_the_table(status: int, judgement: Judgement) -> None:
    verdict = one(status)
    assert verdict.judgement is judgement
    assert (verdict.status, verdict.sent_at, verdict.at) == (status, 10.0, 11.0)
    assert verdict.retry_after is None
    assert not verdict.singly


@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 199, 600, 999, -1])
def test_what_is_no_final_status_is_lost(status: int) -> None:
    assert one(status).judgement is LOST


@pytest.mark.parametrize(
    "body", [b"", b" \r\n", b"{}", b"null", b'{"@odata.context": "x"}', b"[1]"]
)
@pytest.mark.parametrize(("status", "judgement"), [(200, D), (204, D), (404, GONE)])
def test_an_empty_or_json_body_is_graphs(status: int, judgement: Judgement, body: bytes) -> None:
    assert one(status, body).judgement is judgement


NOT_GRAPHS = [b"<html>Blocked</html>", b"OK", b"\xff\xfe\x00", b"{", b"[" * 50_000, b"\x00" * 100]


@pytest.mark.parametrize("body", NOT_GRAPHS)
@pytest.mark.parametrize("status", [200, 404])
def test_a_success_that_is_not_graphs_proves_nothing(status: int, body: bytes) -> None:
    verdict = one(status, body, retry_after="3")
    assert verdict.judgement is LOST
    assert verdict.status == status
    assert "graph.base_url" in verdict.message
    assert verdict.retry_after == 3.0


@pytest.mark.parametrize("body", NOT_GRAPHS)
@pytest.mark.parametrize(("status", "judgement"), TABLE)
def test_a_strange_body_changes_no_other_verdict(
    status: int, judgement: Judgement, body: bytes
) -> None:
    if judgement not in (D, GONE):
        assert one(status, body).judgement is judgement


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_says_what_to_check(status: int) -> None:
    verdict = one(status, location="https://login.example/?a\r\nb" + "x" * 900)
    assert verdict.judgement is DENIED
    assert "graph.base_url" in verdict.message
    assert "https://login.example/" in verdict.message
    assert verdict.message.isprintable()
    assert len(verdict.message) <= 300


@pytest.mark.parametrize("status", [400, 403, 408, 429, 500, 503])
def test_retry_after_is_kept_whatever_the_status(status: int) -> None:
    assert one(status, retry_after="2.128").retry_after == 2.128
    assert one(status, retry_after="soon").retry_after is None


def test_a_date_is_relative_to_the_answers_own_date() -> None:
    later = "Tue, 15 Nov 1994 12:00:07 GMT"
    assert one(429, retry_after=later, date=DATE).retry_after == 7.0
    assert one(429, retry_after="Thu, 01 Jan 1970 00:00:21 GMT").retry_after == 10.0
    assert one(429, retry_after=later, date="rubbish").retry_after == 3600.0


def test_a_claims_challenge_is_unauthorized() -> None:
    for status in (401, 403):
        judged = judge(answer(status, www_authenticate=CHALLENGE))
        assert judged.verdicts[0].judgement is UNAUTHORIZED
        assert judged.claims == CLAIMS
    judged = judge(answer(403, www_authenticate='Bearer error="insufficient_scope"'))
    assert judged.verdicts[0].judgement is DENIED
    assert judge(answer(401)).claims == ""
    assert judge(answer(400, www_authenticate=CHALLENGE)).claims == ""


@pytest.mark.parametrize(
    ("content", "code", "message", "request_id"),
    [
        ({"error": {"code": "Forbidden", "message": "No."}}, "Forbidden", "No.", ""),
        (
            {
                "error": {
                    "code": "BadRequest",
                    "message": "outer",
                    "innerError": {
                        "code": "itemNotFound",
                        "innererror": {"code": "weird", "request-id": "r-1"},
                    },
                }
            },
            "itemNotFound",
            "outer",
            "r-1",
        ),
        (
            {"error": {"code": "TooManyRequests", "innerError": {"code": "429"}}},
            "TooManyRequests",
            "",
            "",
        ),
        ({"error": {"code": "", "innererror": {"code": "odd"}}}, "odd", "", ""),
        ({"error": {"code": "Unheard", "innerError": None}}, "Unheard", "", ""),
        ({"error": "invalid", "error_description": "why"}, "invalid", "why", ""),
        ({"error": {"code": 7, "message": ["x"], "innerError": [1]}}, "", "", ""),
        ({"error": None}, "", "", ""),
        ({"error": {"code": "a\nb" + "x" * 500}}, "a b" + "x" * 94 + "...", "", ""),
        ([], "", "", ""),
        (None, "", "", ""),
        ("text", "", "", ""),
        (float("nan"), "", "", ""),
    ],
)
def test_what_graph_says(content: Any, code: str, message: str, request_id: str) -> None:
    assert error_of(content) == (code, message, request_id)


def test_a_chain_of_errors_without_end_is_read_to_a_depth() -> None:
    chain: dict[str, Any] = {"code": "itemNotFound"}
    for _ in range(500):
        chain = {"code": "x", "innerError": chain}
    assert error_of({"error": chain}).code == "x"


def test_the_request_id_is_the_headers_or_else_the_bodys() -> None:
    body = {"error": {"code": "x", "innerError": {"request-id": "body"}}}
    assert one(500, body, request_id="head").request_id == "head"
    assert one(500, body).request_id == "body"
    assert one(200, request_id="head").request_id == "head"
    assert one(200, request_id="a\r\nInjected: b" + "x" * 500).request_id.isprintable()
    assert len(one(500, request_id="x" * 500).request_id) == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["error", "code", "message", "innerError", "innererror", "responses", "id", "status",
             "headers", "body", "request-id", "Retry-After", "WWW-Authenticate"]
        )
        | st.text(max_size=5),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "request-id", "www-authenticate", "location", "x"]),
    st.text(max_size=40),
    max_size=4,
)


@given(st.integers(0, 700), HEADERS, st.binary(max_size=60) | JSON)
def test_nothing_breaks_the_judges(status: int, headers: dict[str, str], body: Any) -> None:
    packed = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = Answer(status, folded(headers), packed, 10.0, 11.0)
    (alone,) = judge(told).verdicts
    assert alone.judgement in (judgement_of(status, told.headers), LOST)
    verdicts = judge_batch(told, 3).verdicts
    assert len(verdicts) == 3
    for verdict in (alone, *verdicts):
        for text in (verdict.code, verdict.message, verdict.request_id):
            assert text.isprintable()
            assert len(text) <= 300
        if not 200 <= status < 300 and status != 424:
            assert verdict.judgement is not D


@given(st.lists(st.dictionaries(st.sampled_from(["id", "status", "headers", "body"]), JSON)))
def test_nothing_in_an_item_breaks_the_batch(items: list[Any]) -> None:
    told = answer(200, {"responses": items})
    for verdict in judge_batch(told, 20).verdicts:
        if verdict.judgement not in (LOST, THROTTLED, D, GONE, DENIED, UNAUTHORIZED):
            raise AssertionError(verdict)
