"""Durations and instants as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from presence_manager.hosts.cli.running import Wrong
from presence_manager.hosts.shapes import iso

__all__ = ["clock_time", "instant", "iso", "seconds", "spoken"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str, option: str) -> float:
    """Read 90, 90s, 30m, 2h or 1d, a number alone being seconds. Raises Wrong."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or len(text) > 20:
        raise Wrong(
            f"{option}: {ascii(text)[:40]} is not a duration; write 90s, 30m, 2h or 1d "
            "(a number alone is seconds)"
        )
    return float(found[1]) * _SECONDS[found[2] or "s"]


def instant(text: str, option: str, now: datetime | None = None) -> datetime:
    """Read a duration before now, or an ISO 8601 time (without a zone: local). Raises Wrong."""
    now = now or datetime.now(UTC)
    try:
        if _DURATION.fullmatch(text.strip()):
            return now - timedelta(seconds=seconds(text, option))
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong(
            f"{option}: {ascii(text)[:40]} is not a time; write 2h (two hours ago) or "
            "2026-11-24T09:30:00Z"
        ) from None


def spoken(length: float) -> str:
    """A length of time in words short enough for a line."""
    if length < 90:
        return f"{length:.1f} s" if length < 10 else f"{length:.0f} s"
    minutes = round(length / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def clock_time(at: float) -> str:
    """The local time of day of an instant, with its date if that is not today."""
    moment = datetime.fromtimestamp(at, UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M:%S")
