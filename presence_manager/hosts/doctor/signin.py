"""Whether the application can sign in to a tenant."""

from __future__ import annotations

import time
from math import isinf

from presence_manager.errors import SignInError, SignInRefused
from presence_manager.hosts.cli.times import spoken
from presence_manager.hosts.doctor.finding import Finding, fail, ok, warn
from presence_manager.ports import Tokens
from presence_manager.settings import Settings

_DO = {
    "invalid_client": "give the application's own secret or certificate, one that has not expired",
    "unauthorized_client": "check PRESENCE_CLIENT_ID and PRESENCE_TENANT_ID; an administrator of "
    "the tenant must have consented to the application",
}
_REFUSED = "check PRESENCE_TENANT_ID, PRESENCE_CLIENT_ID, the credential, PRESENCE_GRAPH__AUTHORITY"
_SILENT = "check PRESENCE_GRAPH__AUTHORITY, the network and HTTPS_PROXY; then look again"
_SHORT = 300.0
"""Seconds that a ready token should still last."""


async def sign_in(tokens: Tokens, tenant: str, found: Settings) -> Finding:
    """Ask for a token, once; the next check takes it from memory."""
    try:
        token = await tokens.token(tenant)
    except SignInError as error:
        refused = isinstance(error, SignInRefused)
        do = _DO.get(getattr(error, "code", ""), _REFUSED) if refused else _SILENT
        return fail("sign-in", f"tenant {tenant}: {error}", do)
    left = token.expires_at - time.time()
    ready = bool(found.access_token.get_secret_value())
    what = "there is a ready token" if ready else "signed in"
    if isinf(left):
        return ok("sign-in", f"tenant {tenant}: {what}; it does not say when it ends")
    if ready and left <= _SHORT:
        ends = f"ends in {left:.0f} s" if left > 0 else f"ended {-left:.0f} s ago"
        do = "put a new one into PRESENCE_ACCESS_TOKEN, or set a secret or a certificate instead"
        says = f"tenant {tenant}: {what}, never renewed, and it {ends}"
        return (warn if left > 0 else fail)("sign-in", says, do)
    never = ", never renewed" if ready else ""
    return ok("sign-in", f"tenant {tenant}: {what}; the token is good for {spoken(left)}{never}")
