"""The face: chooses the adapters, wires the engine, keeps the order of a shutdown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import uuid4

import structlog

from presence_manager.clock import SystemClock
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.core.pair import LONGEST_LEASE
from presence_manager.core.session import UNNAMED, Session, Wish
from presence_manager.engine.recovery import owner_prefix
from presence_manager.engine.shield import unless_closed
from presence_manager.engine.sources import Source, by_lane
from presence_manager.engine.sweep import Release, release_all, release_own
from presence_manager.errors import Closed, PresenceError
from presence_manager.ledger import open_ledger
from presence_manager.manager.adapters import microsoft_graph
from presence_manager.manager.closing import PATIENCE, end, ended, let_go, sweep_own, within
from presence_manager.manager.hold import Hold, HoldFailed, HoldRequest, withdrawn
from presence_manager.manager.holds import Holds
from presence_manager.manager.ids import Ids, Users, instant
from presence_manager.manager.pages import Pages
from presence_manager.manager.status import Status, status_of
from presence_manager.manager.works import Works
from presence_manager.ports import Clock, Graph, Ledger, Tokens
from presence_manager.settings import GraphSettings, Settings

if TYPE_CHECKING:
    from presence_manager.engine.retry import RetryPolicy

log = structlog.get_logger()

T = TypeVar("T")


class PresenceManager:
    """Tracks, renews and clears the presence sessions of one application.

    Entering needs neither Graph nor sign-in; what dead processes left is recovered in the
    background. Leaving sweeps all of this process's sessions within `shutdown.deadline` seconds.
    Raises SettingsError for settings that cannot be right, LedgerUnusable when the ledger
    cannot be opened.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        tokens: Tokens | Any | None = None,
        ledger: Ledger | None = None,
        graph: Graph | None = None,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.settings = settings = settings if settings is not None else Settings()
        self.last_report: Report | None = None
        self._ids = Ids(settings)
        self.owner = owner_prefix(self._ids.origin, self._ids.app) + uuid4().hex[:16]
        self._clock = clock or SystemClock()
        self._ledger = ledger or open_ledger(
            settings.ledger.url, busy_timeout=settings.ledger.busy_timeout
        )
        self._tokens: Tokens | None = None
        if graph is None:
            self._tokens, graph = microsoft_graph(settings, tokens, self._clock)
        self._graph = graph
        self._works = Works(
            settings,
            self.owner,
            ledger=self._ledger,
            graph=graph,
            clock=self._clock,
            policy=retry,
        )
        self._holds = Holds(
            self._works.placing,
            settings.hold,
            self._clock,
            self.owner,
            find=self._ids.key,
            release=self._release_hold,
            withdraw=lambda hold: self._spawn(withdrawn(hold, self._release_hold)),
            trouble=lambda key: self._works.lanes[key.lane].trouble(key),
        )
        self._works.on_rest = self._holds.rested
        self._works.on_gone = self._holds.gone
        self._works.on_refusal = self._holds.refused
        self.pages = Pages(self._ledger, self._ids, self._check)
        self._background: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[Report | None] | None = None
        self._recovered: asyncio.Task[Report] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._pid = 0
        self._state = "new"

    def __repr__(self) -> str:
        return f"<PresenceManager {self._state}, {len(self._holds)} holds>"

    # -- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except Exception:
            if error is None:
                raise
            log.exception("close.failed")  # the block's own exception goes first

    async def open(self, *, recover: bool = True) -> None:
        """Open the ledger, and recover in the background what dead processes left.

        Raises LedgerUnusable.
        """
        if self._state != "new":
            raise Closed("a manager is opened once; make a new one")
        try:
            await self._ledger.open()
            await self._ledger.enter(self.owner)
            self._pid = os.getpid()
            for warning in self._ledger.warnings():
                log.warning("ledger.place", warning=warning)
            if foreign := await self._ledger.foreign(self._ids.origin, self._ids.app):
                log.warning("ledger.foreign_rows", left_alone=foreign)
            keep = timedelta(days=self.settings.ledger.keep_outcomes).total_seconds()
            await self._ledger.forget(self._clock.now() - keep)
        except BaseException:  # nobody closes what was not opened
            await self._let_go(asyncio.get_running_loop().time() + PATIENCE)
            raise
        self._state = "open"
        if recover:
            self._recovered = asyncio.create_task(self._works.recovery.once())
            self._watch = asyncio.create_task(
                self._works.recovery.watch(self.settings.recovery.watch, keep)
            )

    async def recovered(self, *, deadline: float | None = None) -> Report:
        """Wait until what dead processes left has been seen to; return how it went.

        `deadline` is in seconds, for a manager that was opened without recovery: that which
        begins with `open` has none. Raises LedgerError, Closed.
        """
        self._check()
        if self._recovered is None:
            self._recovered = asyncio.create_task(self._works.recovery.once(deadline=deadline))
        return await unless_closed(self._recovered)

    async def close(
        self,
        *,
        deadline: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        sweep: bool = True,
    ) -> Report | None:
        """Close, in this order; after it nothing is sent.

        1. No new holds; recovery and renewals stop.
        2. All sessions of this process are cleared, within `deadline` seconds
           (`shutdown.deadline` by default); without `sweep` they are left to the next start, and
           so are, where `shutdown.policy` is keep, those that it can go on with.
        3. What is in flight is cut off and written down as unfinished.
        4. Connections, sign-in and ledger are let go, each even if another fails.

        A second call waits for the first. Cancelling it hurries, and lets go all the same.
        Raises LedgerError when the ledger could not be read; all is let go even then.
        """
        if self._closing is None:
            if self._state != "open":
                return self.last_report
            self._check()
            self._state = "closing"
            self._closing = asyncio.create_task(self._close(deadline, progress, sweep))
        try:
            return await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            self.hurry()
            await ended(self._closing)
            if self._state == "closing":  # cancelled before it began: the loop itself closes
                await self._let_go(asyncio.get_running_loop().time() + PATIENCE)
            raise

    def hurry(self) -> None:
        """End the closing sweep now: what is left is written down for the next start."""
        self._works.hurry()

    async def _close(
        self,
        deadline: float | None,
        progress: Callable[[Progress], None] | None,
        sweep: bool,
    ) -> Report | None:
        seconds = self.settings.shutdown.deadline if deadline is None else deadline
        by = asyncio.get_running_loop().time() + seconds + PATIENCE
        self._holds.closing = True
        try:
            recovery = end({task for task in (self._watch, self._recovered) if task is not None})
            await within(by, "recovery", recovery)
            await within(by, "renewals", self._works.renewer.stop())
            if sweep:
                held = partial(self._holds.held, self.settings.shutdown.policy)
                own = self._ledger, self._ids.scope(owner=self.owner), held
                self.last_report = await sweep_own(self._works, *own, by - PATIENCE, progress)
        finally:
            soon = asyncio.get_running_loop().time() + PATIENCE
            await self._let_go(min(by, soon) if self._works.hurried else by)
        return self.last_report

    async def _let_go(self, by: float) -> None:
        self._state = "closed"
        doors = (self._graph, self._tokens, self._leave, self._ledger)
        await let_go(by, self._works, self._holds, self._background, *doors)

    async def _leave(self) -> None:
        """Leave the ledger; with sessions left, as one that died: its siblings see to them."""
        scope = self._ids.scope(owner=self.owner)
        if self._pid and not await self._ledger.page(scope, None, 1):
            await self._ledger.leave(self.owner)

    # -- holds ------------------------------------------------------------------------------

    async def hold(
        self,
        user: str,
        availability: str,
        activity: str | None = None,
        *,
        tenant: str | None = None,
        lease: float | Literal["auto"] | None = None,
        key: str | None = None,
        until: datetime | float | None = None,
        ttl: float | None = None,
        timeout: float | None = None,
        wait: bool = True,
        detached: bool = False,
    ) -> Hold:
        """Show the user so until the hold is released; return when Graph said 200.

        `lease` is in seconds, how long Graph keeps the session should this process die; "auto" is
        the shortest whose renewals fit into half of the budget, planned anew at each. `key` names
        the hold: to hold again under the same key changes it. `until` (an aware datetime, or
        seconds since the epoch) or `ttl` (seconds) end it. With `wait=False` it returns at once;
        `await hold.shown()` then waits. A `detached` hold outlives this process: Graph keeps it
        until `until` or `ttl`, at most four hours, and nobody renews it.

        Raises InvalidHold before anything; LedgerError when the hold could not be made durable,
        then Graph was not asked; HoldRefused; HoldTimeout after `timeout` seconds; Closed. On
        time-out and on cancellation the hold is withdrawn, and cleared if it may have left.
        """
        request = HoldRequest(
            user, availability, activity, tenant, lease, key, until, ttl, timeout, wait, detached
        )
        result = (await self.hold_many([request]))[0]
        if isinstance(result, HoldFailed):
            raise result.error
        return result

    async def hold_many(self, requests: Iterable[HoldRequest]) -> list[Hold | HoldFailed]:
        """Hold many users at once; return a Hold or a HoldFailed for each request, in order.

        Raises Closed; what `hold` raises otherwise is in the HoldFailed.
        """
        self._check()
        return await self._holds.place(requests)

    @asynccontextmanager
    async def holding(
        self, user: str, availability: str, activity: str | None = None, **how: Any
    ) -> AsyncIterator[Hold]:
        """Hold for the length of a block; takes the arguments of `hold`.

        The block's own exception wins over one of the release.
        """
        hold = await self.hold(user, availability, activity, **how)
        try:
            yield hold
        except BaseException:
            try:
                await hold.release()
            except PresenceError as error:
                log.warning("release.failed", user=hold.user, error=str(error))
            raise
        with suppress(Closed):  # then the closing sweep sees to it
            await hold.release()

    async def track(
        self,
        user: str,
        *,
        tenant: str | None = None,
        key: str | None = None,
        expires_at: datetime | float | None = None,
    ) -> None:
        """Remember a session that other code of this application has set.

        It is cleared like any other, and never renewed. `expires_at` is when Graph ends it by
        itself; by default the longest lease from now. Raises InvalidHold, LedgerError, Closed.
        """
        self._check()
        where = self._ids.key(user, tenant)
        now = self._clock.now()
        live_until = now + LONGEST_LEASE if expires_at is None else instant(expires_at)
        wish = Wish(
            name=key or f"{UNNAMED}{uuid4().hex}",
            owner=self.owner,
            pair=None,
            lease=max(0.0, live_until - now),
            made_at=now,
            until=now + self.settings.hold.max_age,
        )
        await self._works.placing.track(where, wish, live_until + self._works.terms.margin)

    async def release(self, user: str, *, key: str, tenant: str | None = None) -> Outcome:
        """End the hold of that name, from whichever process of the ledger.

        Harmless when there is none. Raises InvalidHold for a malformed id, LedgerError, Closed.
        """
        self._check()
        where = self._ids.key(user, tenant)
        hold = self._holds.named(where, key)
        if hold is not None:
            return await hold.release()
        return await unless_closed(self._spawn(self._works.release(where, key)))

    # -- clearing ---------------------------------------------------------------------------

    async def clear(
        self, user: str, *, tenant: str | None = None, deadline: float | None = None
    ) -> Outcome:
        """Clear the user now, whoever holds it; all holds of the session end.

        Waits up to `deadline` seconds (`release.timeout` by default). Raises InvalidHold for a
        malformed id, LedgerError, Closed; what Graph answers is in the outcome.
        """
        self._check()
        where = self._ids.key(user, tenant)
        seconds = self.settings.release.timeout if deadline is None else deadline
        return await unless_closed(
            self._spawn(self._works.sweep_one(Session(key=where), release_all, seconds))
        )

    async def sweep(
        self,
        users: Users | None = None,
        *,
        tenant: str | None = None,
        everyone: bool = False,
        deadline: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        sweep_id: str | None = None,
        leaving: bool = False,
    ) -> Report:
        """Clear all sessions of this process, or those of `users`, or with `everyone` all.

        `users` are ids or (tenant, id) pairs, from an iterable or an async iterable of any length;
        each is cleared once, known to the ledger or not, and all its holds end. `tenant`
        narrows to one tenant, and is the one meant where a user comes without. Ends within
        `deadline` seconds plus one; what is left then goes on in the background. `progress` is
        called at most ten times a second. `sweep_id` is a name never used before, by default a new
        one. With `leaving` it clears what `close` would, by `shutdown.policy`. Raises InvalidHold
        for a malformed id, LedgerError, Closed.
        """
        self._check()
        if leaving:
            return await self._works.sweep_own(
                await by_lane(
                    self._ledger,
                    self._ids.scope(tenant=tenant, owner=self.owner),
                    within=deadline,
                ),
                deadline=deadline,
                progress=progress,
                sweep_id=sweep_id,
            )
        if users is not None:
            source: Source | list[Source] = self._ids.chunks(users, tenant)
            release: Release = release_all
        else:
            scope = self._ids.scope(tenant=tenant, owner=None if everyone else self.owner)
            source = await by_lane(self._ledger, scope, within=deadline)
            release = release_all if everyone else release_own
        return await self._works.sweep(
            source, release, deadline=deadline, progress=progress, sweep_id=sweep_id
        )

    async def sessions(self, *, tenant: str | None = None) -> AsyncGenerator[Session, None]:
        """All sessions of this application that the ledger knows, of every process.

        Raises InvalidHold for a malformed id, LedgerError, Closed.
        """
        async for row in self.pages.all_sessions(tenant):
            yield row

    async def outcomes(
        self,
        *,
        sweep_id: str | None = None,
        kind: Kind | str | None = None,
        tenant: str | None = None,
        user: str | None = None,
        since: datetime | float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """What became of sessions, oldest first; `since` is an instant."""
        which = {"sweep_id": sweep_id, "kind": kind, "tenant": tenant, "user": user, "since": since}
        async for outcome in self.pages.all_outcomes(**which):
            yield outcome

    def status(self) -> Status:
        """What it is busy with at this moment."""
        return status_of(self._state, self.owner, len(self._holds), self._works)

    def change_budget(self, graph: GraphSettings) -> None:
        """Go on with the budget and its ceiling of these settings; what has left counts."""
        self._works.change_budget(graph)

    # -- within -----------------------------------------------------------------------------

    def _check(self) -> None:
        if self._state != "open":
            raise Closed(f"the manager is {self._state}: use it within `async with`")
        if os.getpid() != self._pid:
            raise Closed(
                "the manager was carried over a fork: its ledger and connections belong to the "
                "parent; open a new one in this process"
            )

    def _release_hold(self, hold: Hold) -> asyncio.Future[Outcome]:
        self._check()
        hold.releasing = True  # from now on its name makes a new hold
        return self._spawn(self._release_and_tell(hold))

    async def _release_and_tell(self, hold: Hold) -> Outcome:
        try:
            key = self._ids.key(hold.user, hold.tenant)
            alone = hold.wish if self._holds.is_alone(hold) else None
            only = hold.wish if hold.ended == "withdrawn" else None
            outcome = await self._works.release(key, hold.key, alone=alone, only=only)
        except BaseException:
            hold.releasing = False
            raise
        self._holds.released(hold)
        return outcome

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
