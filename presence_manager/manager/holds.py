"""The holds that callers of this process have, from the request to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from secrets import token_hex
from typing import NamedTuple

import structlog

from presence_manager.core.key import Key
from presence_manager.core.outcome import Outcome
from presence_manager.core.pair import checked_lease, pair_of
from presence_manager.core.session import UNNAMED, Known, Session, Wish, blank
from presence_manager.core.verdict import Verdict
from presence_manager.engine.placing import Placing
from presence_manager.errors import Closed, InvalidHold, PresenceError
from presence_manager.manager.hold import Ended, Hold, HoldFailed, HoldRequest
from presence_manager.manager.ids import instant
from presence_manager.manager.refusal import late, refusal, replaced, unwritten
from presence_manager.ports import Clock
from presence_manager.settings import HoldSettings

log = structlog.get_logger()


class _Asked(NamedTuple):
    request: HoldRequest
    key: Key
    wish: Wish
    hold: Hold
    timeout: float


class Holds:
    """Places holds, waits for them, and tells their handles what became of them.

    `find` makes the key of a user and tenant, `release` ends the hold of a name in the ledger,
    `withdraw` does so in the background, however often the ledger fails.
    """

    def __init__(
        self,
        placing: Placing,
        defaults: HoldSettings,
        clock: Clock,
        owner: str,
        *,
        find: Callable[[str, str | None], Key],
        release: Callable[[Hold], asyncio.Future[Outcome]],
        withdraw: Callable[[Hold], object],
        trouble: Callable[[Key], Verdict | None],
    ) -> None:
        self._trouble = trouble
        self._placing = placing
        self._defaults = defaults
        self._clock = clock
        self._owner = owner
        self._find = find
        self._release = release
        self._release_later = withdraw
        self.closing = False
        self._handles: dict[Key, tuple[Hold, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._handles.values()))

    async def place(self, requests: Iterable[HoldRequest]) -> list[Hold | HoldFailed]:
        """Hold; return a Hold or a HoldFailed for each request, in order.

        On cancellation all of them are withdrawn, durably, in the background.
        """
        results: list[Hold | HoldFailed] = []
        asked: dict[int, _Asked] = {}
        for request in requests:
            try:
                one = self._ask(request)
            except InvalidHold as error:
                results.append(HoldFailed(request, error))
            else:
                self._adopt(one)  # at once: the next one of that name is to find it
                asked[len(results)] = one
                results.append(one.hold)
        placing = asyncio.create_task(self._commit(list(asked.values())))
        self._tasks.add(placing)
        placing.add_done_callback(self._tasks.discard)
        longest = max((one.timeout for one in asked.values()), default=0.0)
        try:
            async with asyncio.timeout(longest if asked else None):
                await asyncio.shield(placing)
            await self._wait(list(asked.values()))
        except (asyncio.CancelledError, TimeoutError) as error:
            undo = asyncio.create_task(self._undo(placing, list(asked.values())))
            self._tasks.add(undo)
            undo.add_done_callback(self._tasks.discard)
            if isinstance(error, asyncio.CancelledError):
                raise
            for position, one in asked.items():
                results[position] = HoldFailed(one.request, unwritten(one.key.user, longest))
            return results
        except PresenceError as error:  # the ledger: Graph was not asked
            for position, one in asked.items():
                self._withdraw(one)
                results[position] = HoldFailed(one.request, error)
            return results
        for position, one in asked.items():
            failure = self._failure(one) if one.request.wait else None
            if failure is not None:
                results[position] = HoldFailed(one.request, failure)
        return results

    def named(self, key: Key, name: str) -> Hold | None:
        """The live handle of that name, the newest, if a caller of this process has one."""
        for hold in reversed(self._handles.get(key, ())):
            if hold.key == name:
                return hold
        return None

    def is_alone(self, hold: Hold) -> bool:
        """Whether no other caller of this process holds the user."""
        return self._handles.get(hold.session) == (hold,)

    def held(self, policy: str) -> list[Key]:
        """The users whose sessions end with this process, by `shutdown.policy`."""
        keep = policy == "keep"
        return [
            key
            for key, holds in self._handles.items()
            if not any(h.outlives or (keep and not h.key.startswith(UNNAMED)) for h in holds)
        ]

    def gone(self, keys: Sequence[Key]) -> None:
        """Nothing is left of these sessions."""
        for key in keys:
            if key in self._handles:
                self.rested(blank(key))

    def rested(self, row: Session) -> None:
        """A session came to rest: its handles learn what it is now."""
        handles = self._handles.get(row.key)
        if handles is None:
            return
        now = self._clock.now()
        newest = row.newest(now)
        for hold in handles:
            if not hold.placed:  # its commit is on the way, and this row is from before it
                continue
            wish = row.wish(hold.key)
            if wish is None:
                self._end(hold, self._why_gone(hold, now))
            elif hold.state == "pending" and wish.pair == hold.pair and row.known is Known.SHOWN:
                covered = newest is not wish  # accepted, though a newer hold is what is seen
                if covered or row.pair == wish.pair:
                    hold.become_shown()

    def _why_gone(self, hold: Hold, now: float) -> Ended:
        if hold.releasing:
            return "released"
        if hold.until > now:
            return "cleared"
        log.info("hold.expired", user=hold.user, tenant=hold.tenant, hold=hold.key)
        return "expired"

    def refused(self, key: Key, name: str, verdict: Verdict) -> None:
        """Graph, or the sign-in, refused a hold for good."""
        hold = self.named(key, name)
        if hold is not None:
            log.warning(
                "hold.refused",
                user=hold.user,
                tenant=hold.tenant,
                status=verdict.status,
                code=verdict.code,
            )
            self._end(hold, "refused", refusal(hold, verdict))

    async def settled(self) -> None:
        """Wait until what is being committed has been."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Every hold has ended: the manager is closed."""
        for hold in [hold for handles in self._handles.values() for hold in handles]:
            self._end(hold, "cleared")

    def _ask(self, request: HoldRequest) -> _Asked:
        """Check a request whole, before anything is written or sent."""
        key = self._find(request.user, request.tenant)
        defaults = self._defaults
        now = self._clock.now()
        try:
            pair = pair_of(request.availability, request.activity)
            wanted = defaults.lease if request.lease is None else request.lease
            lease = 0.0 if wanted == "auto" else checked_lease(wanted)
            until = now + defaults.max_age
            if request.until is not None:
                until = min(until, instant(request.until))
            if request.ttl is not None:
                if not (isfinite(request.ttl) and request.ttl > 0):
                    raise ValueError(f"ttl is in seconds, more than 0, not {request.ttl}")
                until = min(until, now + request.ttl)
            if until <= now:
                raise ValueError("until= lies in the past: the hold would end before it began")
            if request.detached:
                lease = request.whole_life(until - now)
            timeout = defaults.timeout if request.timeout is None else request.timeout
            if not timeout > 0:
                raise ValueError(f"timeout is in seconds, more than 0, not {timeout}")
            name = request.key
            if name is None:
                ends = request.ttl is not None or request.until is not None
                name = ("" if ends else UNNAMED) + token_hex(16)
            if not 0 < len(name) <= 200:
                raise ValueError("key= is 1 to 200 characters long")
        except (TypeError, ValueError) as error:
            raise InvalidHold(f"user {key.user}: {error}") from None
        owner = "" if request.detached else self._owner
        wish = Wish(name=name, owner=owner, pair=pair, lease=lease, made_at=now, until=until)
        hold = self.named(key, name)
        if hold is None or hold.releasing:
            hold = Hold(key, name, pair, until, self._release)
        hold.outlives = request.detached
        return _Asked(request, key, wish, hold, timeout)

    async def _commit(self, asked: list[_Asked]) -> None:
        meanwhile = await self._placing.place([(one.key, one.wish) for one in asked])
        for one in asked:
            one.hold.placed = True
        for row in meanwhile:  # these may have come to rest before all were placed
            self.rested(row)

    def _adopt(self, one: _Asked) -> None:
        hold = one.hold
        if self.named(one.key, hold.key) is not hold:
            self._handles[one.key] = (*self._handles.get(one.key, ()), hold)
        assert one.wish.pair is not None
        hold.wish = one.wish
        hold.pending(one.wish.pair, one.wish.until)

    async def _wait(self, asked: list[_Asked]) -> None:
        """Wait until all that wait are shown or refused, or their time is over."""
        waiting = [one for one in asked if one.request.wait]
        started = self._clock.now()
        for timeout in sorted({one.timeout for one in waiting}):
            futures = [
                one.hold.done
                for one in waiting
                if one.timeout == timeout and one.hold.done is not None
            ]
            left = started + timeout - self._clock.now()
            if futures:
                await asyncio.wait(futures, timeout=max(0.0, left))

    def _failure(self, one: _Asked) -> PresenceError | None:
        """Why the hold is not shown, if it is not; one whose time is over is withdrawn."""
        hold = one.hold
        if hold.state != "pending":
            return hold.failure
        if hold.wish is not one.wish:
            return replaced(hold, one.wish.pair, one.timeout)
        self._withdraw(one, late(hold, one.timeout, self._trouble(one.key)))
        return hold.failure

    def _withdraw(self, one: _Asked, error: PresenceError | None = None) -> None:
        """End it in the background, unless it was put again meanwhile: that one stays."""
        hold = one.hold
        if hold.wish is not one.wish:
            return
        self._release_later(hold)
        self._end(hold, "withdrawn", error)

    async def _undo(self, placing: asyncio.Task[None], asked: list[_Asked]) -> None:
        await asyncio.wait({placing})
        if placing.cancelled():
            return
        placing.exception()  # seen: nobody waits for it any more
        for one in asked:
            self._withdraw(one)

    def released(self, hold: Hold) -> None:
        """The hold's end is committed."""
        self._end(hold, "released")

    def _end(self, hold: Hold, why: Ended, error: PresenceError | None = None) -> None:
        if self.closing and error is None and hold.state == "pending":
            error = Closed(f"the manager was closed before user {hold.user} was shown")
        hold.end(why, error)
        key = hold.session
        left = tuple(h for h in self._handles.get(key, ()) if h is not hold)
        if left:
            self._handles[key] = left
        else:
            self._handles.pop(key, None)
