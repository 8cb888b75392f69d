"""A token that somebody else obtained: used as it is, never renewed."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from presence_manager.errors import SettingsError, SignInRefused
from presence_manager.graph.tokens_failure import sendable
from presence_manager.graph.tokens_jwt import payload_of
from presence_manager.ports import Token


class ReadyToken:
    """Implements `Tokens` with one token, for every tenant that is asked for.

    `expires_at` is in seconds since the epoch; left out, it is read from the token if that is
    a JWT (unverified, for the sake of a helpful message), else taken as never. Raises
    SettingsError for what cannot be sent in a header.
    """

    def __init__(self, secret: str, expires_at: float | None = None) -> None:
        if not sendable(secret):
            raise SettingsError(
                "access_token (PRESENCE_ACCESS_TOKEN) cannot be sent: it is empty or has spaces, "
                "line breaks or other characters that no token has; give the token alone, "
                "without the word Bearer and without quotes"
            )
        if expires_at is None:
            expires_at = _expiry(secret)
        self._token = Token(secret, expires_at)

    def __repr__(self) -> str:
        return f"ReadyToken(expires_at={self._token.expires_at:.0f})"

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return the token; raises SignInRefused once it has been refused: there is no other."""
        if refused is not None and refused.secret == self._token.secret:
            raise SignInRefused(
                f"Graph refused the access token for tenant {tenant}: {self._why(claims)}; put a "
                "new one into access_token (PRESENCE_ACCESS_TOKEN), or set client_secret or "
                "client_certificate so that tokens are obtained and renewed here",
                code="invalid_token",
            )
        return self._token

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def _why(self, claims: str) -> str:
        ended = self._token.expires_at
        if ended <= time.time():
            return f"it expired at {datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M:%S} UTC"
        if claims:
            return "it was revoked, or a policy asks for a new sign-in (claims challenge)"
        if math.isinf(ended):
            return "it is expired, revoked, or not meant for this Graph and tenant"
        return "it was revoked, or is not meant for this Graph and tenant"


def _expiry(secret: str) -> float:
    """Return the `exp` of a JWT, in seconds since the epoch; infinity for anything else."""
    expiry = payload_of(secret).get("exp")
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return math.inf
    try:
        datetime.fromtimestamp(expiry, UTC)  # what cannot be shown cannot be meant
    except (ValueError, OverflowError, OSError):
        return math.inf
    return float(expiry)
