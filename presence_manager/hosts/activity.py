"""Who a Teams activity comes from, whichever bot SDK has parsed it.

Works by looking, not by importing: botbuilder, the Microsoft 365 Agents SDK, the Teams SDK, and
the bare JSON all name the same things, each a little differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SENDER = ("from_property", "from_", "from")
_OBJECT_ID = ("aad_object_id", "aadObjectId")
_CHANNEL_DATA = ("channel_data", "channelData")
_CONVERSATION_TENANT = ("tenant_id", "tenantId")


def identity(activity: Any) -> tuple[str, str]:
    """Return (tenant's id, user's Entra object id) of whoever sent the activity.

    The tenant is that of the channel data, else of the conversation; it is never guessed. A
    guest's activity bears the team's tenant: where guests are to be shown in their own, use the
    user's id alone. Raises ValueError when the activity names no object id or no tenant, as those
    from channels other than Teams do.
    """
    user = _text(activity, _SENDER, _OBJECT_ID)
    tenant = _text(activity, _CHANNEL_DATA, ("tenant",), ("id",)) or _text(
        activity, ("conversation",), _CONVERSATION_TENANT
    )
    if not user:
        raise ValueError("the activity names no Entra object id of its sender")
    if not tenant:
        raise ValueError("the activity names no tenant, neither its channel data nor conversation")
    return tenant, user


def _text(thing: Any, *path: tuple[str, ...]) -> str:
    """Follow the path, each step under the first of its names that is there; "" if it ends."""
    for names in path:
        thing = next((found for name in names if (found := _part(thing, name))), None)
    return thing.strip() if isinstance(thing, str) else ""


def _part(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
