"""Sessions to HTTP requests. Pure: no I/O, no clock.

Sources: Microsoft Graph, presence-setpresence, presence-clearpresence, "JSON batching".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from presence_manager.core.key import Key, is_guid
from presence_manager.core.pair import Pair, checked_lease
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Verb

BATCH_MAX: Final = 20
"""Requests that one $batch may carry."""
ITEM_IDS: Final = tuple(str(index) for index in range(BATCH_MAX))
"""The ids of a batch's items, by position."""


_made: Any = tuple.__new__


class Part(NamedTuple):
    """One session's request: the path below the version, and the JSON body."""

    path: str
    body: str


class Request(NamedTuple):
    """One HTTP request, a POST of JSON."""

    url: str
    body: bytes


def part(key: Key, attempt: Attempt) -> Part:
    """Return what to ask of Graph for one session.

    Raises ValueError for an id that is not a GUID, which could change the path, and for a lease
    outside of Graph's bounds. Nothing else of a key or attempt reaches a path.
    """
    (_, app, _), user = key
    _checked(user, "a user")
    verb, _, _, _, _, pair, lease = attempt
    if verb is Verb.CLEAR:
        what, body = "clearPresence", _clear_body(app)
    elif pair is None:
        raise ValueError("a set needs a pair")
    else:
        what, body = "setPresence", _set_body(app, pair, lease)
    made: Part = _made(Part, (f"/users/{user}/presence/{what}", body))
    return made


def single(root: str, one: Part) -> Request:
    """Return the request for one session; `root` is the origin and the version."""
    return Request(root + one.path, one.body.encode())


def batch(root: str, parts: Sequence[Part]) -> Request:
    """Return one $batch request for 2 to 20 sessions, their ids being their positions."""
    if not 1 <= len(parts) <= BATCH_MAX:
        raise ValueError(f"a batch takes 1 to {BATCH_MAX} requests, not {len(parts)}")
    items = ",".join(
        [
            f'{{"id":"{name}","method":"POST","url":"{path}",'
            f'"headers":{{"Content-Type":"application/json"}},"body":{body}}}'
            for name, (path, body) in zip(ITEM_IDS, parts, strict=False)
        ]
    )
    return Request(f"{root}/$batch", f'{{"requests":[{items}]}}'.encode())


@lru_cache(maxsize=256)
def _clear_body(app: str) -> str:
    return json.dumps({"sessionId": _checked(app, "an application")}, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _set_body(app: str, pair: Pair, lease: float) -> str:
    return json.dumps(
        {
            "sessionId": _checked(app, "an application"),
            "availability": pair.availability,
            "activity": pair.activity,
            "expirationDuration": duration(lease),
        },
        separators=(",", ":"),
    )


def duration(seconds: float) -> str:
    """Return a lease as an ISO 8601 duration of whole minutes where it can be, else of seconds."""
    whole = int(checked_lease(seconds))
    return f"PT{whole}S" if whole % 60 else f"PT{whole // 60}M"


def _checked(text: str, what: str) -> str:
    if not is_guid(text):
        raise ValueError(f"{text[:60]!a} is not the id of {what}: nothing was sent")
    return text
