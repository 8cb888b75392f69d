"""Who an activity is about: the tenant and the user, as a bot of any SDK receives them.

botbuilder, the Agents SDK and the Teams SDK each parse the same JSON into objects of their own,
with other names. All of them are understood here, by their shape, and so is the plain JSON; none
is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from presence_manager.core.key import guid
from presence_manager.errors import InvalidHold

_SENDER = ("from_property", "from_", "from")
_USER = ("aad_object_id", "aadObjectId")
_CHANNEL_DATA = ("channel_data", "channelData")
_TENANT = ("tenant_id", "tenantId")


class Identity(NamedTuple):
    """A user of Entra ID: both are GUIDs, in lower case."""

    tenant: str
    user: str


def identity(activity: Any, *, tenant: str | None = None) -> Identity:
    """Return who sent the activity, for `hold(user, ..., tenant=...)`.

    The user is the sender's Entra object id; the tenant comes from Teams' channel data, else from
    the conversation. A guest's activity names the team's tenant, not the guest's own: give
    `tenant` where another is meant. Raises InvalidHold when one of the two is missing or is no
    id; nothing is ever guessed.
    """
    user = _first(_first(activity, _SENDER), _USER)
    if not isinstance(user, str) or not user:
        raise InvalidHold(
            "the activity names no user: its sender has no Entra object id (aadObjectId); only "
            "people have one, and channels other than Teams send none"
        )
    if tenant is None:
        tenant = _tenant_of(activity)
    try:
        return Identity(guid(tenant, "tenant"), guid(user, "user"))
    except (TypeError, ValueError) as error:
        raise InvalidHold(str(error)) from None


def _tenant_of(activity: Any) -> str:
    named = _first(_first(activity, _CHANNEL_DATA), ("tenant",))
    for found in (_first(named, ("id",)), _first(_first(activity, ("conversation",)), _TENANT)):
        if isinstance(found, str) and found:
            return found
    raise InvalidHold(
        "the activity names no tenant, neither in its channel data (tenant.id) nor in its "
        "conversation (tenantId): give tenant="
    )


def _first(thing: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes, or keys, that is there and not empty."""
    for name in names:
        found = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
        if found:
            return found
    return None
