"""What an access token says of itself: read in memory, unverified, and never shown.

Microsoft calls tokens for Graph opaque to clients. So what cannot be read is no fault, and what
is read only helps to say beforehand what Graph would refuse.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from presence_manager.hosts.doctor.finding import Finding, fail, ok, skipped, warn

Claims = Mapping[str, Any]

PERMISSION = "Presence.ReadWrite.All"
_DELEGATED = ("Presence.ReadWrite", PERMISSION)
_GRAPH = "https://graph.microsoft.com"
_GRAPH_ID = "00000003-0000-0000-c000-000000000000"
_LONGEST = 65_536
"""Characters of a token's middle part that are looked at."""
_OPAQUE = "the token is opaque: what it allows shows at the first request (--user ID tries one)"


def claims_of(secret: str) -> Claims | None:
    """Return the claims of a JWT; None for anything else."""
    parts = secret.split(".")
    if len(parts) != 3 or len(parts[1]) > _LONGEST:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


async def token(claims: Claims | None, tenant: str, app: str, origin: str) -> Finding:
    """Whether it is for this Graph, of this application and of this tenant."""
    if claims is None:
        return skipped("token", f"tenant {tenant}: {_OPAQUE}")
    wrong = list(_strangers(claims, tenant, app, origin))
    if wrong:
        does = dict.fromkeys(do for _, do in wrong)
        says = ", ".join(says for says, _ in wrong)
        return fail("token", f"tenant {tenant}: the token is {says}", "; ".join(does))
    return ok("token", f"tenant {tenant}: the token is for this Graph, application and tenant")


def _strangers(claims: Claims, tenant: str, app: str, origin: str) -> Iterator[tuple[str, str]]:
    audience = _text(claims, "aud").rstrip("/")
    if audience and not _is_graph(audience, origin):
        do = f"obtain it for {origin}/.default; PRESENCE_GRAPH__BASE_URL names the cloud"
        yield "not for this Graph", do
    whose = _text(claims, "appid") or _text(claims, "azp")
    if whose and whose != app:
        yield (
            "of another application than client_id, which is the sessionId that Graph wants",
            "set PRESENCE_CLIENT_ID to the id of the application that signs in, or its credential",
        )
    where = _text(claims, "tid")
    if where and where != tenant:
        yield "of another tenant", "check PRESENCE_TENANT_ID, and which tenant the token is of"


async def permission(claims: Claims | None, tenant: str) -> Finding:
    """Whether it carries Presence.ReadWrite.All; that it does not is the commonest fault."""
    if claims is None:
        return skipped("permission", f"tenant {tenant}: {_OPAQUE}")
    roles = claims.get("roles")
    if isinstance(roles, list) and PERMISSION in roles:
        return ok("permission", f"tenant {tenant}: the token has the role {PERMISSION}")
    scopes = claims.get("scp")
    grant = (
        f"grant the application permission {PERMISSION} of Microsoft Graph, have an administrator "
        "of that tenant consent, and start the process again for a new token"
    )
    if not isinstance(scopes, str):
        says = f"tenant {tenant}: the token lacks the role {PERMISSION}: Graph will answer 403"
        return fail("permission", says, grant)
    if any(scope in scopes.split() for scope in _DELEGATED):
        says = f"tenant {tenant}: the token is a user's (delegated): it reaches that user alone"
        return warn("permission", says, f"for other users, {grant}")
    says = f"tenant {tenant}: the token is a user's (delegated), without Presence.ReadWrite"
    return fail("permission", says, "sign in with the scope Presence.ReadWrite, or " + grant)


def _is_graph(audience: str, origin: str) -> bool:
    local = urlsplit(origin).hostname in ("localhost", "127.0.0.1", "::1")
    return audience in (origin, _GRAPH_ID) or (local and audience == _GRAPH)


def _text(claims: Claims, name: str) -> str:
    value = claims.get(name)
    return value.lower() if isinstance(value, str) else ""
