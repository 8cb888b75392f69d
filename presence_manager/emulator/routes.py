"""From method and path to what is asked of whom. One table for single requests and batch items."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote

from .answers import Answer, refusal
from .values import guid


class Verb(StrEnum):
    """What can be asked for, one name each in faults, journal and statistics."""

    SET = "set"
    CLEAR = "clear"
    PREFER = "prefer"
    UNPREFER = "unprefer"
    READ = "read"
    READ_MANY = "read_many"
    UNKNOWN = "unknown"


class Target(NamedTuple):
    """One operation's verb and user; the user is "" where the operation names none."""

    verb: Verb
    user: str = ""


_ACTIONS = {
    "setPresence": Verb.SET,
    "clearPresence": Verb.CLEAR,
    "setUserPreferredPresence": Verb.PREFER,
    "clearUserPreferredPresence": Verb.UNPREFER,
}


def segments_of(path: str) -> list[str] | None:
    """Split a path into decoded segments, or None for one that tries to be another path.

    The split comes before the decoding, once, so that an encoded slash inside an id stays inside
    the id and no id can change the route. Dot segments, empty ones, and slashes or backslashes
    that appear only after decoding are refused as a strict front end does.
    """
    path = path.partition("?")[0]
    if "#" in path:
        return None
    parts = path.removeprefix("/").split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
    for part in parts:
        if part in {"", ".", ".."} or "/" in part or "\\" in part:
            return None
    return parts


def route(method: str, path: str) -> Target | Answer:
    """Return the target of a path relative to the version, or the refusal."""
    parts = segments_of(path)
    if parts is None:
        return refusal(400, "The request URI is malformed.")
    match parts:
        case ["users", user, "presence", action] if action in _ACTIONS:
            wanted, verb = "POST", _ACTIONS[action]
        case ["users", user, "presence"] | ["communications", "presences", user]:
            wanted, verb = "GET", Verb.READ
        case ["communications", "getPresencesByUserId"]:
            return Target(Verb.READ_MANY) if method == "POST" else _wrong_method()
        case ["me", *_]:
            return refusal(400, "/me request is only valid with delegated authentication flow.")
        case _:
            message = f"Resource not found for the segment '{parts[-1]}'."
            return refusal(404, message, "ResourceNotFound")
    if method != wanted:
        return _wrong_method()
    known = guid(user)
    if known is None:
        return refusal(400, "The user id in the request URI is not a GUID.")
    return Target(verb, known)


def _wrong_method() -> Answer:
    return refusal(405, "Specified HTTP method is not allowed for the request target.")
