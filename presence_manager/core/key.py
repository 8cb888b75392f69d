"""Who a session belongs to: the names under which everything is kept."""

from __future__ import annotations

import re
from typing import NamedTuple


class LaneId(NamedTuple):
    """What shares one budget and one token: a Graph origin, an application, a tenant."""

    origin: str
    app: str
    tenant: str


class Key(NamedTuple):
    """One presence session: Graph keeps one per application and user in a tenant."""

    lane: LaneId
    user: str


_GUID = re.compile("-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12)))
"""Both cases by name: half the time of IGNORECASE."""
_FOLDED = re.compile(_GUID.pattern.replace("A-F", ""))


def is_guid(text: str) -> bool:
    """Whether this is a GUID, in any spelling."""
    return _GUID.fullmatch(text) is not None


def is_folded(text: object) -> bool:
    """Whether this is a GUID in its one spelling: the quick question, asked of millions."""
    return type(text) is str and _FOLDED.fullmatch(text) is not None


def guid(text: str, what: str) -> str:
    """Return the id folded to lower case, so that one user has one spelling.

    Raises ValueError, with the way to find the id, for anything but a GUID. User principal
    names and domains are refused although Graph takes some: two spellings would be two rows
    for one session, and the second would blank the first.
    """
    if is_guid(text):
        return text.lower()
    shown = ascii(text[:60]) + ("..." if len(text) > 60 else "")
    if "@" in text:
        way = f"look it up with GET /users/{{name}}?$select=id; {what}s are GUIDs, not names"
    elif what == "tenant" and "." in text:
        way = "the Entra admin centre shows the tenant id; a domain is not accepted"
    else:
        way = "an id looks like 0f8fad5b-d9cb-469f-a165-70867728950e"
    raise ValueError(f"{shown} is not a {what} id: {way}")
