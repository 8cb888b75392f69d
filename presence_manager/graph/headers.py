"""What Graph's headers and texts say, read with suspicion: nothing here raises or blocks.

Sources: Microsoft Graph throttling guidance (Retry-After is seen as a fraction, and RFC 9110 allows
a date), "Claims challenges, claims requests and client capabilities" (WWW-Authenticate).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; a longer Retry-After is taken for this: nobody can shut a lane for a day."""

_LONGEST_VALUE: Final = 64
_LONGEST_CHALLENGE: Final = 16_384
_LONGEST_CLAIMS: Final = 8192
_LONGEST_TEXT: Final = 300
_LONGEST_NAME: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}", re.ASCII)
# A parameter starts at the start of its name, so no run of letters is looked at twice.
_PARAMETER: Final = re.compile(
    r'(?<![\w-])([a-z_-]{1,40}+)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+))',
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_SECRET: Final = re.compile(r"\bbearer\s+[^\s,;\"']{20,}|eyJ[\w-]{8,}[\w.-]*", re.IGNORECASE)


def folded(headers: object) -> dict[str, str]:
    """Return headers under lower-case names; what is not text or a number is left out.

    The first of several values counts, except that challenges are joined.
    """
    if not isinstance(headers, Mapping):
        return {}
    found: dict[str, str] = {}
    for name, value in headers.items():
        text = _text(value)
        if text is None or not isinstance(name, str):
            continue
        low = name.lower()
        if low not in found:
            found[low] = text
        elif low == "www-authenticate":
            found[low] = f"{found[low]}, {text}"
    return found


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return str(value)
    except ValueError:  # an int of more digits than Python converts
        return None


@lru_cache(maxsize=8)  # it is the same for a second
def http_date(text: str) -> float | None:
    """Return an HTTP-date as seconds since the epoch; None for anything else."""
    if len(text) > _LONGEST_VALUE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def retry_after(text: str, date: str, now: float) -> float | None:
    """Return Retry-After in seconds, from 0 to LONGEST_RETRY_AFTER; None for nonsense.

    A date is relative to the answer's own Date, or where that is none to `now`, on our clock. One
    that has passed is 0: Graph asks for no further wait.
    """
    text = text.strip()
    if len(text) > _LONGEST_VALUE:
        return None
    if _NUMBER.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER)
    moment = http_date(text)
    if moment is None:
        return None
    present = http_date(date)
    return min(max(moment - (now if present is None else present), 0.0), LONGEST_RETRY_AFTER)


def insufficient_claims(headers: Mapping[str, str]) -> bool:
    """Whether a 403 asks for another token rather than refusing the request."""
    return any(
        name == "error" and value == "insufficient_claims" for name, value in _challenge(headers)
    )


def claims(headers: Mapping[str, str]) -> str:
    """Return the decoded claims challenge, a JSON object as text; empty if there is none.

    In the header it is base64 or base64url, with padding or without.
    """
    for name, value in _challenge(headers):
        if name == "claims" and len(value) <= _LONGEST_CLAIMS:
            return _decoded(value)
    return ""


def clean(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Return text for a log, a row or a terminal: one line, printable, short, without tokens."""
    if not isinstance(value, str):
        return ""
    text = value[: longest * 4]
    if "eyJ" in text or "earer" in text or "EARER" in text:
        text = _SECRET.sub("[token]", text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    text = text.strip()
    return text if len(text) <= longest else text[: longest - 3] + "..."


def clean_name(value: object) -> str:
    """Return a code or an id, made fit for a log."""
    return clean(value, _LONGEST_NAME)


def _challenge(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    text = headers.get("www-authenticate", "")[:_LONGEST_CHALLENGE]
    return [
        (match[1].lower(), match[2] if match[2] is not None else match[3])
        for match in _PARAMETER.finditer(text)
    ]


def _decoded(value: str) -> str:
    packed = value.strip().translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        text = b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
        if isinstance(json.loads(text), dict):
            return text
    except (ValueError, RecursionError):
        pass
    return ""
