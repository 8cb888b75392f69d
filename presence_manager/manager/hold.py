"""What a caller gets for a hold, and what it may ask for in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Literal

import structlog

from presence_manager.core.key import Key
from presence_manager.core.outcome import Outcome
from presence_manager.core.pair import SHORTEST_LEASE, Pair, checked_lease
from presence_manager.core.session import Wish
from presence_manager.engine.shield import unless_closed
from presence_manager.engine.unrecorded import PAUSE
from presence_manager.errors import Closed, HoldTimeout, LedgerError, PresenceError

log = structlog.get_logger()

State = Literal["pending", "shown", "ended"]
Ended = Literal["", "released", "refused", "withdrawn", "expired", "cleared"]


class Hold:
    """One hold: the user is shown so until `release`.

    `state` is "pending" until Graph has said 200, then "shown", then "ended"; `ended` says why:
    "released", "refused" by Graph, "withdrawn" before it was shown, "expired" (until=, ttl= or
    hold.max_age), or "cleared" by somebody who cleared the user whoever holds it.
    """

    __slots__ = (
        "_outcome",
        "_release",
        "done",
        "ended",
        "failure",
        "key",
        "outlives",
        "pair",
        "placed",
        "releasing",
        "session",
        "state",
        "until",
        "wish",
    )

    def __init__(
        self,
        session: Key,
        key: str,
        pair: Pair,
        until: float,
        release: Callable[[Hold], asyncio.Future[Outcome]],
    ) -> None:
        self.session = session
        self.key = key
        self.pair = pair
        self.until = until
        self.state: State = "pending"
        self.ended: Ended = ""
        self.failure: PresenceError | None = None
        self.done: asyncio.Future[None] | None = None
        self.releasing = False
        self.placed = False
        self.wish: Wish | None = None
        self.outlives = False  # a detached one: Graph keeps it when this process has ended
        self._release = release
        self._outcome: asyncio.Future[Outcome] | None = None

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self.session.lane.tenant

    @property
    def user(self) -> str:
        """The user's object id."""
        return self.session.user

    def __repr__(self) -> str:
        why = f" ({self.ended})" if self.ended else ""
        return f"<Hold {self.pair} of {self.user}, {self.state}{why}>"

    async def shown(self) -> Hold:
        """Wait until Graph has said 200, however long that takes.

        Raises HoldRefused when Graph denies it, HoldTimeout when it ended before it was shown.
        Cancelling this wait does not withdraw the hold.
        """
        if self.done is not None:
            await asyncio.wait({self.done})
        if self.failure is not None:
            raise self.failure
        return self

    async def release(self) -> Outcome:
        """End the hold, and clear the session if nobody else holds it.

        The intent is committed even if the caller is cancelled. Waits for Graph for up to
        `release.timeout` seconds; what is left then goes on in the background. Releasing
        twice is harmless and returns the same outcome. Raises LedgerError when the ledger
        cannot be told, and Closed; never for what Graph answers.
        """
        if self._outcome is None or (
            self._outcome.done() and not self._outcome.cancelled() and self._outcome.exception()
        ):
            self._outcome = self._release(self)
        return await unless_closed(self._outcome)

    def pending(self, pair: Pair, until: float) -> None:
        """The hold is on its way, perhaps again; `done` tells when it is shown, or has ended."""
        self.pair, self.until = pair, until
        if self.done is None or self.done.done():
            self.done = asyncio.get_running_loop().create_future()
        self.state = "pending"
        self.placed = False

    def become_shown(self) -> None:
        """Graph said 200."""
        self.state = "shown"
        self._tell()

    def end(self, why: Ended, error: PresenceError | None = None) -> None:
        """The hold has ended; the first reason stays."""
        if self.state == "ended":
            return
        if self.state == "pending" and error is None:
            error = HoldTimeout(f"the hold of user {self.user} was {why} before it was shown")
        self.state, self.ended = "ended", why
        self.failure = error
        self._tell()

    def _tell(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """The arguments of `PresenceManager.hold`, for `hold_many`."""

    user: str
    availability: str
    activity: str | None = None
    tenant: str | None = None
    lease: float | Literal["auto"] | None = None
    key: str | None = None
    until: datetime | float | None = None
    ttl: float | None = None
    timeout: float | None = None
    wait: bool = True
    detached: bool = False

    def whole_life(self, seconds: float) -> float:
        """The lease of a hold that nobody will renew: until it ends, or as short as Graph takes.

        Raises ValueError for one that has no end.
        """
        if self.until is None and self.ttl is None:
            raise ValueError("a detached hold needs until= or ttl=: nobody else would end it")
        return checked_lease(max(SHORTEST_LEASE, ceil(seconds)))


@dataclass(frozen=True, slots=True)
class HoldFailed:
    """A hold of `hold_many` that could not be had, and the error that `hold` would raise."""

    request: HoldRequest
    error: PresenceError


async def withdrawn(hold: Hold, release: Callable[[Hold], Awaitable[object]]) -> None:
    """End a hold of which its caller was told that it ends.

    However often the ledger fails: until the manager is closed, whose sweep sees to it.
    """
    while True:
        try:
            await release(hold)
            return
        except Closed:
            return
        except LedgerError as error:
            log.error("release.failed", error=str(error))
        await asyncio.sleep(PAUSE)
