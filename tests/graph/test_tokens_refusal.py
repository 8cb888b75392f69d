"""What the identity platform's error answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from presence_manager.graph.tokens_refusal import refusal, scrub

from .token_server import SECRET
from .token_server import refused as entra


def body(code: int, error: str, text: str, **more: Any) -> dict[str, Any]:
    answer = entra(code, error, text, **more).body
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    ("code", "error", "hint"),
    [
        (7000215, "invalid_client", "the secret's value, not its id"),
        (7000222, "invalid_client", "has expired"),
        (700016, "unauthorized_client", "PRESENCE_CLIENT_ID"),
        (7000229, "unauthorized_client", "consent"),
        (7000112, "unauthorized_client", "enable it"),
        (90002, "invalid_request", "national cloud"),
        (900023, "invalid_request", "PRESENCE_TENANT_ID"),
        (700027, "invalid_client", "upload its public part"),
        (700024, "invalid_client", "clock"),
        (53003, "interaction_required", "conditional access"),
        (500011, "invalid_resource", "same cloud"),
        (70011, "invalid_scope", "graph.base_url"),
    ],
)
def test_the_usual_refusals_say_what_to_do(code: int, error: str, hint: str) -> None:
    failure = refusal(body(code, error, "Something is wrong"))
    assert failure.refused
    assert failure.code == error
    assert failure.text.startswith(f"{error}: AADSTS{code}: Something is wrong (correlation id ")
    assert "deadbeef-0000-4000-8000-000000000000" in failure.text
    assert hint in failure.text
    for noise in ("Trace", "0a1b2c3d", "Timestamp", "2026-11-24"):
        assert noise not in failure.text


@pytest.mark.parametrize(
    ("code", "error"),
    [(90033, "invalid_grant"), (90024, "invalid_request"), (0, "temporarily_unavailable")],
)
def test_trouble_of_the_platform_is_no_refusal(code: int, error: str) -> None:
    assert not refusal(body(code, error, "Later")).refused


def test_the_number_is_found_without_a_description() -> None:
    assert "expired" in refusal({"error": "invalid_client", "error_codes": [7000222]}).text


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"error": None, "error_description": None, "error_codes": None},
        {"error": ["x"], "error_description": {"a": 1}, "error_codes": ["x"]},
        {"error": "x\r\ny", "error_description": "\n\n", "error_codes": []},
        {"error": "e" * 1000, "error_description": "d" * 100_000, "correlation_id": "z" * 36},
        {"error": "x", "error_description": "\x1b[31mred\x00\r\nsecond", "correlation_id": 5},
    ],
)
def test_odd_answers_are_one_short_line(answer: dict[str, Any]) -> None:
    failure = refusal(answer)
    assert failure.refused
    assert failure.text.isprintable()
    assert 0 < len(failure.text) < 500


def test_an_echoed_secret_is_blotted_out_in_every_spelling() -> None:
    from urllib.parse import quote, quote_plus

    jwt = "eyJhbGciOiJub25lIn0.eyJwbGFudGVkIjoxfQ.planted-signature"
    forms = [SECRET, quote(SECRET), quote_plus(SECRET), quote(SECRET, safe=""), jwt]
    text = refusal(body(7000215, "invalid_client", " ".join(forms)), (SECRET, "")).text
    assert "planted" not in text
    assert text.count("***") == 5
    assert scrub("nothing here") == "nothing here"


def test_the_correlation_id_is_found_in_the_description_too() -> None:
    answer = body(1, "x", "y")
    del answer["correlation_id"]
    assert "(correlation id deadbeef-0000-4000-8000-000000000000)" in refusal(answer).text
