"""The two kinds of text that Graph is strict about: GUIDs and ISO 8601 durations."""

from __future__ import annotations

import re
from functools import lru_cache

_is_guid = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII
).fullmatch

_duration = re.compile(
    r"P(?:(?P<days>\d+)D)?"
    r"(?P<time>T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
).fullmatch


def guid(text: object) -> str | None:
    """Return the GUID in lower case, its one spelling here, or None if it is not a GUID."""
    if not isinstance(text, str):
        return None
    lowered = text.lower()
    return lowered if _is_guid(lowered) else None


@lru_cache(maxsize=1024)
def seconds_of(duration: str) -> float | None:
    """Return the length of an ISO 8601 duration such as ``PT5M`` in seconds, or None.

    Years, months and weeks have no fixed place in an ``Edm.Duration`` and are no duration here.
    """
    found = _duration(duration)
    if found is None or duration == "P" or duration.endswith("T"):
        return None
    days, hours, minutes = (int(found[name] or 0) for name in ("days", "hours", "minutes"))
    return days * 86_400 + hours * 3_600 + minutes * 60 + float(found["seconds"] or 0)
