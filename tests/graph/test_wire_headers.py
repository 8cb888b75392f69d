"""Headers and texts: what they say, and that nothing in them can hurt."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.graph.headers import (
    LONGEST_RETRY_AFTER,
    claims,
    clean,
    clean_name,
    folded,
    http_date,
    insufficient_claims,
    retry_after,
)

NOON = 784_900_800.0  # Tue, 15 Nov 1994 12:00:00 GMT
DATE = "Tue, 15 Nov 1994 12:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("2.128", 2.128),
        ("0.249", 0.249),
        (".5", 0.5),
        ("3.", 3.0),
        (" 7 ", 7.0),
        ("3600", 3600.0),
        ("3601", LONGEST_RETRY_AFTER),
        ("1000000000000", LONGEST_RETRY_AFTER),
        ("Tue, 15 Nov 1994 12:00:05 GMT", 5.0),
        ("Tuesday, 15-Nov-94 12:00:05 GMT", 5.0),
        ("Tue Nov 15 12:00:05 1994", 5.0),
        ("Tue, 15 Nov 1994 11:59:00 GMT", 0.0),
        ("Wed, 16 Nov 1994 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("nan", None),
        ("inf", None),
        ("9e999", None),
        ("1e2", None),
        ("0x10", None),
        ("1_000", None),
        ("1,5", None),
        ("٣", None),
        ("soon", None),
        ("1" * 21, None),
        ("1" * 5000, None),
        ("Tue, 99 Nov 1994 12:00:05 GMT", None),
        ("Tue, 15 Nov 99999 12:00:05 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text, DATE, 0.0) == seconds
    assert retry_after(text, "", NOON) == seconds


def test_http_date() -> None:
    assert http_date(DATE) == NOON
    assert http_date("Tue, 15 Nov 1994 14:00:00 +0200") == NOON
    assert http_date("yesterday") is None


@given(st.text(max_size=80))
def test_no_text_breaks_a_date_or_a_wait(text: str) -> None:
    http_date(text)
    wait = retry_after(text, DATE, NOON)
    assert wait is None or 0 <= wait <= LONGEST_RETRY_AFTER


CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"},"ü":"?>~"}}'


@pytest.mark.parametrize(
    "packed",
    [
        b64encode(CLAIMS.encode()).decode(),
        b64encode(CLAIMS.encode()).decode().rstrip("="),
        urlsafe_b64encode(CLAIMS.encode()).decode(),
        urlsafe_b64encode(CLAIMS.encode()).decode().rstrip("="),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        'Bearer realm="", authorization_uri="https://login/x", error="insufficient_claims", '
        'claims="{}"',
        'bearer CLAIMS = "{}" , error=insufficient_claims',
        'Basic realm="a, claims=\\"no\\"", Bearer error="insufficient_claims",claims={}',
    ],
)
def test_a_claims_challenge(packed: str, form: str) -> None:
    headers = {"www-authenticate": form.replace("{}", packed)}
    assert claims(headers) == CLAIMS
    assert insufficient_claims(headers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer",
        'Bearer claims=""',
        'Bearer claims="!!!"',
        f'Bearer claims="{b64encode(b"[]").decode()}"',
        f'Bearer claims="{b64encode(b"not json").decode()}"',
        f'Bearer claims="{b64encode(bytes([255, 254])).decode()}"',
        f'Bearer claims="{b64encode(b"[" * 5000).decode()}"',
        f'Bearer claims="{b64encode(json.dumps({"a": "b" * 9000}).encode()).decode()}"',
        'Bearer claims="unclosed',
        'Bearer xclaims="e30="',
    ],
)
def test_no_claims(text: str) -> None:
    assert claims({"www-authenticate": text}) == ""


def test_a_bearer_error_of_another_kind_is_no_challenge() -> None:
    assert not insufficient_claims({"www-authenticate": 'Bearer error="invalid_token"'})
    assert not insufficient_claims({})


@pytest.mark.parametrize(
    "unit",
    ["a", "a=", 'a="', '\\"', 'a="\\"', "claims ", "claims=", "=", " ", ",", '"', "-", "a ="],
)
def test_a_hostile_challenge_takes_no_time(unit: str) -> None:
    started = time.process_time()
    claims({"www-authenticate": unit * 100_000})
    assert time.process_time() - started < 0.25


@given(st.text(max_size=200))
def test_no_challenge_breaks(text: str) -> None:
    headers = {"www-authenticate": text}
    claims(headers)
    insufficient_claims(headers)


def test_headers_in_any_case_and_type() -> None:
    odd = {"ReTry-AFTER": 3, "DATE": DATE, "x": None, "y": True, 7: "z", "list": ["a"], "f": 0.5}
    assert folded(odd) == {"retry-after": "3", "date": DATE, "f": "0.5"}
    assert folded([("a", "b")]) == {}
    assert folded(None) == {}
    assert folded({"n": 10**5000}) == {}


def test_the_first_value_counts_and_challenges_are_joined() -> None:
    from multidict import CIMultiDict

    many = CIMultiDict(
        [("A", "1"), ("a", "2"), ("WWW-Authenticate", "X"), ("www-authenticate", "Y z=1")]
    )
    assert folded(many) == {"a": "1", "www-authenticate": "X, Y z=1"}


def test_a_text_is_one_short_line() -> None:
    assert clean("a\r\nb\x1b[31mc\u202ed\ud800e\x00") == "a  b [31mc d e"
    assert clean("x" * 1000) == "x" * 297 + "..."
    assert clean("Grüße, 你好") == "Grüße, 你好"
    assert clean_name("y" * 1000) == "y" * 97 + "..."
    assert clean(None) == clean(7) == clean(["a"]) == ""


def test_a_text_holds_no_token() -> None:
    token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwcyJ9.c2lnbmF0dXJl"
    assert clean(f"refused: {token}!") == "refused: [token]!"
    assert clean("Authorization: Bearer " + "s" * 30) == "Authorization: [token]"
    assert clean("Bearer authentication failed") == "Bearer authentication failed"
    assert "eyJ" not in clean("x" * 290 + token * 20)


@given(st.text())
def test_whatever_the_text_it_is_printable_and_short(text: str) -> None:
    assert len(clean(text)) <= 300
    assert clean(text).isprintable()
