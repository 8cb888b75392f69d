"""Which token a request carries, and when a new one is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from presence_manager.errors import SignInRefused
from presence_manager.ports import Clock, Token, Tokens

PATIENCE: Final = 60.0
"""Seconds for which a token that replaced a refused one is not replaced for the same reason: Graph
also says 401 where a permission is missing, and a new token for every session would not help."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    token: Token
    claims: str


@dataclass(frozen=True, slots=True)
class _Replacement:
    refusal: _Refusal
    token: Token
    at: float


class SignIn:
    """Asks for one new token per refused token, at the next request after the refusal."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._refused: dict[str, _Refusal] = {}
        self._replaced: dict[str, _Replacement] = {}

    async def token(self, tenant: str) -> Token:
        """Return the token to send.

        Raises SignInRefused and SignInUnavailable as `Tokens` does; a refusal that could not be
        answered is asked about again by the next request.
        """
        refusal = self._refused.get(tenant)
        if refusal is None:
            token = await self._tokens.token(tenant)
        else:
            token = await self._tokens.token(tenant, refused=refusal.token, claims=refusal.claims)
            if self._refused.get(tenant) is refusal:
                del self._refused[tenant]
                self._replaced[tenant] = _Replacement(refusal, token, self._clock.now())
        if not (token.secret and token.secret.isascii() and token.secret.isprintable()) or (
            " " in token.secret
        ):
            raise SignInRefused(
                "the access token holds blanks, control characters or nothing: it cannot be sent",
                code="invalidToken",
            )
        return token

    def refused(self, tenant: str, token: Token, claims: str, sent_at: float) -> None:
        """Remember that Graph answered 401 to a request that left with this token at `sent_at`."""
        last = self._replaced.get(tenant)
        if last is not None:
            if token.secret == last.refusal.token.secret and sent_at <= last.at:
                return  # old news: that token has been replaced since
            if (
                token.secret == last.token.secret
                and claims == last.refusal.claims
                and self._clock.now() < last.at + PATIENCE
            ):
                return
        self._refused[tenant] = _Refusal(token, claims)
