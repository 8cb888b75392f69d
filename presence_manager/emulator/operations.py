"""From a target and its JSON body to a change that may be made, or to Graph's refusal."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from .answers import TOO_MANY, Answer, refusal
from .routes import Target, Verb
from .rules import LEASE_DEFAULT, LEASE_LONGEST, LEASE_SHORTEST, PREFERRED_PAIRS, SESSION_PAIRS
from .values import guid, seconds_of

MOST_IDS = 650
"""User ids in one *cloudCommunications: getPresencesByUserId*."""

_PROPERTIES: dict[Verb, AbstractSet[str]] = {
    Verb.SET: {"sessionId", "availability", "activity", "expirationDuration"},
    Verb.CLEAR: {"sessionId"},
    Verb.PREFER: {"availability", "activity", "expirationDuration"},
    Verb.UNPREFER: set(),
    Verb.READ_MANY: {"ids"},
}


class Operation(NamedTuple):
    """A valid operation. ``lease`` is in seconds; fields a verb does not need are empty."""

    verb: Verb
    user: str
    availability: str = ""
    activity: str = ""
    lease: float = 0.0
    ids: tuple[str, ...] = ()


def parse(target: Target, body: object, app: str) -> Operation | Answer:
    """Judge a body as strictly as the pages allow: no unknown property, no other spelling.

    ``body`` is a JSON value, None where none was sent, or the refusal of one that is unreadable.
    """
    verb, user = target
    if verb is Verb.READ:
        return Operation(verb, user)
    if isinstance(body, Answer):
        return body
    if body is None and verb is not Verb.UNPREFER:
        # No body at all is told which field it lacks (ms-teams-cli issue 71).
        body = {}
    if not isinstance(body, dict):
        return _invalid("The request body must be a JSON object.")
    unknown = body.keys() - _PROPERTIES[verb]
    if unknown:
        return refusal(
            400,
            f"The parameter '{min(map(str, unknown))}' in the request payload is not a valid "
            "parameter for the operation.",
        )
    if verb is Verb.READ_MANY:
        return _read_many(body)
    if verb is Verb.SET or verb is Verb.CLEAR:
        refused = _check_session_id(body, app)
        if refused is not None:
            return refused
    if verb is Verb.SET or verb is Verb.PREFER:
        return _pair(verb, user, body)
    return Operation(verb, user)


def _check_session_id(body: dict[str, object], app: str) -> Answer | None:
    session_id = body.get("sessionId")
    if session_id is None or session_id == "":
        return _invalid("[SessionId]: The SessionId field is required.")
    if guid(session_id) != app:
        return _invalid("[SessionId]: The SessionId must be the id of the calling application.")
    return None


def _pair(verb: Verb, user: str, body: dict[str, object]) -> Operation | Answer:
    availability, activity = body.get("availability"), body.get("activity")
    for name, value in (("Availability", availability), ("Activity", activity)):
        if value is None or value == "":
            return _invalid(f"[{name}]: The {name} field is required.")
    if not isinstance(availability, str) or not isinstance(activity, str):
        return _invalid("Availability and activity must be strings.")
    pair = (availability, activity)
    if pair not in (SESSION_PAIRS if verb is Verb.SET else PREFERRED_PAIRS):
        return _invalid(
            f"The combination of availability '{availability}' and activity '{activity}' "
            "is not supported."
        )
    default = LEASE_DEFAULT if verb is Verb.SET else PREFERRED_PAIRS[pair]
    lease = _lease(verb, body.get("expirationDuration"), default)
    if isinstance(lease, Answer):
        return lease
    return Operation(verb, user, availability, activity, lease)


def _lease(verb: Verb, duration: object, default: float) -> float | Answer:
    if duration is None:
        return default
    seconds = seconds_of(duration) if isinstance(duration, str) else None
    if seconds is None or seconds <= 0:
        return _invalid("[ExpirationDuration]: The value is not a valid ISO 8601 duration.")
    if verb is Verb.SET and not LEASE_SHORTEST <= seconds <= LEASE_LONGEST:
        return _invalid("[ExpirationDuration]: The value must be between PT5M and PT4H.")
    return seconds


def _read_many(body: dict[str, object]) -> Operation | Answer:
    ids = body.get("ids")
    if not isinstance(ids, list) or not ids:
        return _invalid("[Ids]: The Ids field is required.")
    if len(ids) > MOST_IDS:
        return TOO_MANY
    known = [guid(each) for each in ids]
    if None in known:
        return _invalid("[Ids]: Every id must be a GUID.")
    return Operation(Verb.READ_MANY, "", ids=tuple(each for each in known if each is not None))


def _invalid(message: str) -> Answer:
    return refusal(400, message, "InvalidArgument")
