"""Tokens are remembered, and asked for once at a time.

`TokenMemory` is what every way of signing in has in common: it is wrapped around one function
that signs in once. It decides when a token is good for long enough, lets all callers of a tenant
share one request, tries again what a second attempt may mend, and remembers a failure for some
seconds. That memory is the only one: long enough that a thousand sessions waiting for a token
are not a thousand requests, short enough that a corrected secret is seen soon.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from presence_manager.graph.tokens_failure import Failure
from presence_manager.ports import Token

SignIn = Callable[[str, Token | None, str], Awaitable[Token]]
"""Signs in once: (tenant, refused, claims) to a token; raises Failure."""

_EARLY = 300.0  # seconds before its end at which a token is renewed, ...
_EARLY_SHARE = 0.5  # ... but never with more than this share of its life left
_LATE = 60.0  # seconds before its end from which callers wait for the new one, ...
_LATE_SHARE = 0.1  # ... but never with more than this share of its life left
_SHORTEST_USE = 1.0  # seconds for which any token is used, however short its life
_REFUSED_PAUSE = 5.0  # seconds for which a definite no is repeated without asking
_FIRST_PAUSE = 1.0  # seconds after the first time that nobody answered; doubles from there
_LONGEST_PAUSE = 8.0
_LONGEST_RETRY_AFTER = 300.0  # seconds of a Retry-After that are obeyed


def default_retry() -> AsyncRetrying:
    """Return the policy within one sign-in: a fault that a second attempt may mend, 3 times."""
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, Failure) and error.again),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.2, max=1.0),
        sleep=asyncio.sleep,
        reraise=True,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """A token, when to ask for the next one, and from when on to wait for that."""

    token: Token
    renew_at: float
    wait_at: float


@dataclass(slots=True)
class _Desk:
    """One tenant: the token kept, the request in flight, the last failure and its pause."""

    kept: _Kept | None = None
    flight: asyncio.Task[Token | Failure] | None = None
    failure: Failure | None = None
    failures: int = 0
    paused_until: float = 0.0


class TokenMemory:
    """Implements `Tokens` over a function that signs in once.

    `timeout` is the seconds one call may take, retries included. `retry` is any AsyncRetrying
    that retries on `Failure.again`. `now` gives seconds since the epoch, `ticks` monotonic
    seconds. For one event loop at a time.
    """

    def __init__(
        self,
        sign_in: SignIn,
        *,
        timeout: float,
        retry: AsyncRetrying | None = None,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sign_in = sign_in
        self._timeout = timeout
        self._retry = retry or default_retry()
        self._now = now
        self._ticks = ticks
        self._desks: dict[str, _Desk] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"TokenMemory({len(self._desks)} tenants)"

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant that is not `refused`.

        Raises SignInRefused or SignInUnavailable. Cancelling one caller leaves the request to
        the others.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        limit: float | None = None  # the first flight ends by its own timeout
        while True:
            if self._closed:
                raise _closed().error(tenant)
            desk = self._desks.setdefault(tenant, _Desk())
            self._drop(desk, refused)
            kept, now = desk.kept, self._now()
            if kept is not None and now < kept.renew_at:
                return kept.token
            if desk.flight is None or desk.flight.done():
                if desk.failure is not None and self._ticks() < desk.paused_until:
                    return self._make_do(desk, tenant, desk.failure)
                desk.flight = loop.create_task(
                    self._fly(desk, tenant, refused, claims), name=f"sign-in {tenant}"
                )
            if kept is not None and now < kept.wait_at:
                return kept.token  # a platform that hangs must not stop who has a good token
            # Not awaited itself, so that a caller's cancellation is the caller's alone.
            flight = desk.flight
            await asyncio.wait([flight], timeout=limit)
            if not flight.done():
                return self._make_do(desk, tenant, self._no_answer())
            result = _closed() if flight.cancelled() else flight.result()
            if isinstance(result, Failure):
                return self._make_do(desk, tenant, result)
            if refused is None or result.secret != refused.secret:
                return result
            # This flight set out for someone else and brought the very token that was refused.
            limit = max(deadline - loop.time(), 0.0)

    async def close(self) -> None:
        """Forget all tokens and give up what is in flight."""
        self._closed = True
        flights = [desk.flight for desk in self._desks.values() if desk.flight is not None]
        self._desks.clear()
        flights = [flight for flight in flights if not flight.done()]
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    @staticmethod
    def _drop(desk: _Desk, refused: Token | None) -> None:
        if desk.kept and refused and desk.kept.token.secret == refused.secret:
            desk.kept = None

    def _make_do(self, desk: _Desk, tenant: str, failure: Failure) -> Token:
        """Return the token that should have been renewed, while it lasts; else raise."""
        if desk.kept is not None and self._now() < desk.kept.token.expires_at:
            return desk.kept.token
        raise failure.error(tenant)

    def _no_answer(self) -> Failure:
        return Failure(f"there was no answer within {self._timeout:g} s (sign_in_timeout)")

    async def _fly(
        self, desk: _Desk, tenant: str, refused: Token | None, claims: str
    ) -> Token | Failure:
        """Sign in, and remember what came of it; never raises but when cancelled."""
        began = self._now()
        result = await self._attempts(tenant, refused, claims)
        if isinstance(result, Token):
            if refused is not None and result.secret == refused.secret:
                result = Failure(
                    "the identity platform gave out the same token again that Graph has refused",
                    refused=True,
                    code="invalid_token",
                )
            else:
                desk.kept = _kept(result, began)
                desk.failure, desk.failures, desk.paused_until = None, 0, 0.0
                return result
        desk.failure = result
        desk.paused_until = self._ticks() + _pause(result, desk.failures)
        desk.failures += 1
        return result

    async def _attempts(self, tenant: str, refused: Token | None, claims: str) -> Token | Failure:
        # What is raised is turned into a value here: its frames have secrets in their locals,
        # and several callers may be told of it.
        try:
            async with asyncio.timeout(self._timeout):
                return await self._retry.copy()(self._sign_in, tenant, refused, claims)
        except Failure as failure:
            return failure.bare()
        except TimeoutError:
            return self._no_answer()
        except Exception as error:  # whatever else: its text may have anything in it
            return Failure(f"the sign-in ended in an unexpected {type(error).__name__}")


def _kept(token: Token, began: float) -> _Kept:
    """Return how long to use a token that was asked for at `began`."""
    life = token.expires_at - began
    renew = max(life - min(_EARLY, life * _EARLY_SHARE), _SHORTEST_USE)
    wait = max(life - min(_LATE, life * _LATE_SHARE), _SHORTEST_USE)
    return _Kept(token, renew_at=began + renew, wait_at=began + wait)


def _pause(failure: Failure, failures: int) -> float:
    """Return for how many seconds this failure is repeated without asking again."""
    if failure.refused:
        return _REFUSED_PAUSE
    pause = min(_FIRST_PAUSE * 2.0 ** min(failures, 10), _LONGEST_PAUSE)
    return max(pause, min(failure.wait or 0.0, _LONGEST_RETRY_AFTER))


def _closed() -> Failure:
    return Failure("it was closed")
