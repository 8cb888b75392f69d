"""What a token says of itself, unverified: for messages and for checks against mistakes only."""

from __future__ import annotations

import base64
import json
from typing import Any

from presence_manager.graph.headers import clean_name

_LONGEST_PAYLOAD = 65_536  # characters of a JWT's middle part that are looked at
_JWT_PARTS = 3


def payload_of(secret: str) -> dict[str, Any]:
    """Return the claims of a JWT; none for anything else, as a token need not be one."""
    parts = secret.split(".")
    if len(parts) != _JWT_PARTS or len(parts[1]) > _LONGEST_PAYLOAD:
        return {}
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def application_of(claims: dict[str, Any]) -> str:
    """Return the id of the application that the token was given to; empty if it does not say."""
    return _id(claims.get("appid") or claims.get("azp"))


def tenant_of(claims: dict[str, Any]) -> str:
    """Return the tenant that the token is for; empty if it does not say."""
    return _id(claims.get("tid"))


def _id(said: object) -> str:
    """The id, fit for a message: nobody has looked at the token yet."""
    return clean_name(said).lower()
