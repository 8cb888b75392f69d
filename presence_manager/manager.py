"""The face: chooses the adapters, wires the engine, keeps the order of a shutdown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import structlog

from presence_manager.clock import SystemClock
from presence_manager.core.key import Key, LaneId, guid
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.core.pair import LONGEST_LEASE
from presence_manager.core.session import Session, Terms, Wish
from presence_manager.core.verdict import Verdict
from presence_manager.engine.entry import Rank
from presence_manager.engine.gate import Gate
from presence_manager.engine.lane import Lane, LaneTerms
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.placing import Placing
from presence_manager.engine.plan import Now
from presence_manager.engine.recovery import CHUNK, Recovery, pages
from presence_manager.engine.renewer import Renewer
from presence_manager.engine.retry import RetryPolicy
from presence_manager.engine.sweep import (
    Release,
    Sweep,
    Sweeper,
    release_all,
    release_named,
    release_own,
)
from presence_manager.errors import Closed, InvalidHold, PresenceError, SettingsError
from presence_manager.graph.client import GraphClient
from presence_manager.graph.tokens import adapt, tokens_for
from presence_manager.hold import Hold, HoldFailed, HoldRequest
from presence_manager.holds import Holds, instant
from presence_manager.ledger import open_ledger
from presence_manager.ports import Clock, Graph, Ledger, Query, Scope, Tokens
from presence_manager.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")

User = str | tuple[str, str]
"""A user's id, or (tenant's id, user's id)."""
Users = Iterable[User] | AsyncIterable[User]


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
        self.settings = settings if settings is not None else Settings()
        settings = self.settings
        self.owner = uuid4().hex
        self.last_report: Report | None = None
        self._app = _id(settings.client_id, "client", "client_id")
        self._tenant = _id(settings.tenant_id, "tenant", "tenant_id") if settings.tenant_id else ""
        self._origin = settings.graph.base_url
        self._clock = clock or SystemClock()
        self._ledger = ledger or open_ledger(
            settings.ledger.url, busy_timeout=settings.ledger.busy_timeout
        )
        self._tokens: Tokens | None = None
        if graph is None:
            self._tokens = adapt(tokens, settings) if tokens is not None else tokens_for(settings)
            graph = GraphClient(settings.graph, self._tokens, self._clock)
        self._graph = graph
        self._terms = Terms(
            timeout=settings.graph.timeout,
            margin=settings.retry.margin,
            settle=settings.retry.settle,
        )
        self._how = LaneTerms(
            terms=self._terms,
            policy=retry or _policy(settings),
            batching=settings.graph.batch == "auto",
            width=settings.graph.in_flight,
            retry=settings.recovery.retry,
        )
        self._lanes = Lanes(self._lane)
        self._sweeper = Sweeper(self._lanes, ledger=self._ledger, clock=self._clock, now=self._now)
        self._placing = Placing(self._lanes, ledger=self._ledger, now=self._now)
        self._renewer = Renewer(
            self._lanes,
            ledger=self._ledger,
            clock=self._clock,
            owner=self.owner,
            window=settings.graph.budget_window,
            gone=lambda row: self.rested(row, inf),
        )
        self._recovery = Recovery(
            self._sweeper,
            ledger=self._ledger,
            clock=self._clock,
            origin=self._origin,
            app=self._app,
        )
        self._holds = Holds(
            self._placing,
            settings.hold,
            self._clock,
            self.owner,
            find=self._key,
            release=self._release_hold,
        )
        self._background: set[asyncio.Task[Any]] = set()
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
        await self._ledger.open()
        await self._ledger.enter(self.owner)
        self._pid = os.getpid()
        self._state = "open"
        for warning in self._ledger.warnings():
            log.warning("ledger.place", warning=warning)
        foreign = await self._ledger.foreign(self._origin, self._app)
        if foreign:
            log.warning("ledger.foreign_rows", left_alone=foreign)
        keep = timedelta(days=self.settings.ledger.keep_outcomes).total_seconds()
        await self._ledger.forget(self._clock.now() - keep)
        if recover:
            self._recovered = asyncio.create_task(self._recovery.once())
            self._watch = asyncio.create_task(self._recovery.watch(self.settings.recovery.watch))

    async def recovered(self) -> Report:
        """Wait until what dead processes left has been seen to; return how it went.

        Raises LedgerError.
        """
        self._check()
        if self._recovered is None:
            self._recovered = asyncio.create_task(self._recovery.once())
        return await asyncio.shield(self._recovered)

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
           (`shutdown.deadline` by default); without `sweep` they are left to the next start.
        3. What is in flight is cut off and written down as unfinished.
        4. Connections, sign-in and ledger are let go, each even if another fails.
        """
        if self._state != "open":
            return self.last_report
        self._check()
        self._state = "closing"
        for task in (self._watch, self._recovered):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._renewer.stop()
        seconds = self.settings.shutdown.deadline if deadline is None else deadline
        try:
            if sweep:
                self.last_report = await self._sweep(
                    pages(self._ledger, self._scope(owner=self.owner)),
                    release_own,
                    deadline=seconds,
                    progress=progress,
                    rank=Rank.RELEASE,
                )
        finally:
            await self._let_go()
        return self.last_report

    async def _let_go(self) -> None:
        self._state = "closed"
        for name, let_go in (
            ("lanes", self._lanes.stop),
            ("background", self._end_background),
            ("graph", self._graph.close),
            ("tokens", self._tokens.close if self._tokens else None),
            ("owner", lambda: self._ledger.leave(self.owner)),
            ("ledger", self._ledger.close),
        ):
            if let_go is None:
                continue
            try:
                await let_go()
            except Exception:
                log.exception("close.failed", part=name)
        self._holds.close()

    async def _end_background(self) -> None:
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)

    # -- holds ------------------------------------------------------------------------------

    async def hold(
        self,
        user: str,
        availability: str,
        activity: str | None = None,
        *,
        tenant: str | None = None,
        lease: float | None = None,
        key: str | None = None,
        until: datetime | float | None = None,
        ttl: float | None = None,
        timeout: float | None = None,
        wait: bool = True,
    ) -> Hold:
        """Show the user so until the hold is released; return when Graph said 200.

        `lease` is in seconds, how long Graph keeps the session should this process die. `key`
        names the hold: to hold again under the same key changes it. `until` (an aware datetime,
        or seconds since the epoch) or `ttl` (seconds) end it. With `wait=False` it returns at
        once; `await hold.shown()` then waits.

        Raises InvalidHold before anything; LedgerError when the hold could not be made durable,
        then Graph was not asked; HoldRefused; HoldTimeout after `timeout` seconds; Closed. On
        time-out and on cancellation the hold is withdrawn, and cleared if it may have left.
        """
        request = HoldRequest(
            user, availability, activity, tenant, lease, key, until, ttl, timeout, wait
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
        where = self._key(user, tenant)
        now = self._clock.now()
        live_until = now + LONGEST_LEASE if expires_at is None else instant(expires_at)
        wish = Wish(
            name=key or f"track-{uuid4().hex}",
            owner=self.owner,
            pair=None,
            lease=max(0.0, live_until - now),
            made_at=now,
            until=now + self.settings.hold.max_age,
        )
        await self._placing.track(where, wish, live_until + self._terms.margin)

    async def release(self, user: str, *, key: str, tenant: str | None = None) -> Outcome:
        """End the hold of that name, from whichever process of the ledger.

        Harmless when there is none. Raises InvalidHold for a malformed id, LedgerError, Closed.
        """
        self._check()
        where = self._key(user, tenant)
        hold = self._holds.named(where, key)
        if hold is not None:
            return await hold.release()
        return await asyncio.shield(self._spawn(self._release_name(where, key)))

    # -- clearing ---------------------------------------------------------------------------

    async def clear(
        self, user: str, *, tenant: str | None = None, deadline: float | None = None
    ) -> Outcome:
        """Clear the user now, whoever holds it; all holds of the session end.

        Waits up to `deadline` seconds (`release.timeout` by default). Raises InvalidHold for a
        malformed id, LedgerError, Closed; what Graph answers is in the outcome.
        """
        self._check()
        where = self._key(user, tenant)
        return await asyncio.shield(
            self._spawn(self._sweep_one(Session(key=where), release_all, deadline))
        )

    async def sweep(
        self,
        users: Users | None = None,
        *,
        tenant: str | None = None,
        everyone: bool = False,
        deadline: float | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Clear all sessions of this process, or those of `users`, or with `everyone` all.

        `users` are ids or (tenant, id) pairs, from an iterable or an async iterable; those that
        the ledger does not know are cleared all the same, and all their holds end. `tenant`
        narrows to one tenant, and is the one meant where a user comes without. Ends within
        `deadline` seconds plus one; what is left then goes on in the background. `progress` is
        called at most ten times a second. Raises InvalidHold for a malformed id, LedgerError,
        Closed.
        """
        self._check()
        if users is not None:
            source: AsyncIterator[list[Session]] = self._chunks(users, tenant)
            release: Release = release_all
        else:
            narrow = _id(tenant, "tenant", "tenant=") if tenant else None
            owner = None if everyone else self.owner
            source = pages(self._ledger, self._scope(tenant=narrow, owner=owner))
            release = release_all if everyone else release_own
        return await self._sweep(source, release, deadline=deadline, progress=progress)

    async def sessions(self, *, tenant: str | None = None) -> AsyncIterator[Session]:
        """All sessions of this application that the ledger knows, of every process."""
        self._check()
        narrow = _id(tenant, "tenant", "tenant=") if tenant else None
        async for rows in pages(self._ledger, self._scope(tenant=narrow)):
            for row in rows:
                yield row

    async def outcomes(
        self,
        *,
        sweep_id: str | None = None,
        kind: Kind | str | None = None,
        tenant: str | None = None,
        user: str | None = None,
        since: datetime | float | None = None,
    ) -> AsyncIterator[Outcome]:
        """What became of sessions, oldest first; `since` is an instant."""
        self._check()
        query = Query(
            origin=self._origin,
            app=self._app,
            sweep_id=sweep_id,
            kind=Kind(kind) if kind else None,
            tenant=_id(tenant, "tenant", "tenant=") if tenant else None,
            user=_id(user, "user", "user=") if user else None,
            since=instant(since) if since is not None else None,
        )
        after = 0
        while found := await self._ledger.outcomes(query, after, CHUNK):
            for after, outcome in found:  # noqa: B007 - the last position is where to go on
                yield outcome

    # -- what the engine tells --------------------------------------------------------------

    def rested(self, row: Session, at: float) -> None:
        """A session came to rest (see `engine.lane.Audience`)."""
        self._renewer.schedule(row.key, at)
        self._holds.rested(row)

    def refused(self, key: Key, name: str, verdict: Verdict) -> None:
        """A hold was refused for good."""
        self._holds.refused(key, name, verdict)

    def became(self, outcome: Outcome) -> None:
        """A session has an outcome."""
        self._sweeper.became(outcome)

    # -- within -----------------------------------------------------------------------------

    def _check(self) -> None:
        if self._state != "open":
            raise Closed(f"the manager is {self._state}: use it within `async with`")
        if os.getpid() != self._pid:
            raise Closed(
                "the manager was carried over a fork: its ledger and connections belong to the "
                "parent; open a new one in this process"
            )

    def _now(self) -> Now:
        return Now(
            at=self._clock.now(),
            owner=self.owner,
            terms=self._how.terms,
            graph=self._graph.date(),
            retry=self._how.retry,
        )

    def _lane(self, lane_id: LaneId) -> Lane:
        graph = self.settings.graph
        return Lane(
            lane_id,
            ledger=self._ledger,
            graph=self._graph,
            clock=self._clock,
            gate=Gate(graph.budget, graph.budget_window),
            how=self._how,
            now=self._now,
            audience=self,
        )

    def _key(self, user: str, tenant: str | None) -> Key:
        if tenant is None and not self._tenant:
            raise InvalidHold(
                "no tenant: give tenant=, or set tenant_id (PRESENCE_TENANT_ID) as the default"
            )
        try:
            where = self._tenant if tenant is None else guid(tenant, "tenant")
            return Key(LaneId(self._origin, self._app, where), guid(user, "user"))
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidHold(str(error)) from None

    def _scope(self, *, tenant: str | None = None, owner: str | None = None) -> Scope:
        return Scope(origin=self._origin, app=self._app, tenant=tenant, owner=owner)

    async def _chunks(self, users: Users, tenant: str | None) -> AsyncIterator[list[Session]]:
        """The users as blank rows, each once, a chunk at a time."""
        seen: set[Key] = set()
        chunk: list[Session] = []
        async for user in _each(users):
            name, where = (user, tenant) if isinstance(user, str) else (user[1], user[0])
            key = self._key(name, where)
            if key in seen:
                continue
            seen.add(key)
            chunk.append(Session(key=key))
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _sweep(
        self,
        source: AsyncIterator[list[Session]],
        release: Release,
        *,
        deadline: float | None,
        progress: Callable[[Progress], None] | None = None,
        rank: Rank = Rank.SWEEP,
    ) -> Report:
        now = self._clock.now()
        sweep = Sweep(started=now, deadline=inf if deadline is None else now + deadline)
        report = await self._sweeper.run(sweep, source, release, rank=rank, progress=progress)
        log.info(
            "sweep.done",
            sweep=report.sweep_id,
            seconds=round(report.seconds, 3),
            counts=report.counts,
            ok=report.ok,
        )
        return report

    async def _sweep_one(self, row: Session, release: Release, deadline: float | None) -> Outcome:
        seconds = self.settings.release.timeout if deadline is None else deadline
        now = self._clock.now()
        sweep = Sweep(started=now, deadline=now + seconds)
        await self._sweeper.run(sweep, _once([row]), release, rank=Rank.RELEASE)
        if sweep.last is not None:
            return sweep.last
        return Outcome(
            key=row.key,
            kind=Kind.UNFINISHED,
            sweep_id=sweep.id,
            at=self._clock.now(),
            owner=self.owner,
            reason="deadline",
            recorded=False,
        )

    def _release_hold(self, hold: Hold) -> asyncio.Future[Outcome]:
        self._check()
        return self._spawn(self._release_name(self._key(hold.user, hold.tenant), hold.key, hold))

    async def _release_name(self, key: Key, name: str, hold: Hold | None = None) -> Outcome:
        row = (await self._ledger.get([key]))[0]
        if hold is not None:
            self._holds.released(hold)
        if row.wish(name) is None:
            return Outcome(
                key=key,
                kind=Kind.NEVER_SET,
                sweep_id="",
                at=self._clock.now(),
                owner=self.owner,
                reason="not held",
                recorded=False,
            )
        return await self._sweep_one(row, release_named(name), None)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _once(rows: list[Session]) -> AsyncIterator[list[Session]]:
    yield rows


async def _each(users: Users) -> AsyncIterator[User]:
    if isinstance(users, str):
        raise InvalidHold("users= takes several ids; for one user there is clear()")
    if isinstance(users, AsyncIterable):
        async for user in users:
            yield user
    else:
        for user in users:
            yield user


def _id(text: str, what: str, setting: str) -> str:
    if not text:
        raise SettingsError(
            f"{setting} is not set: give Settings({setting}=...) or PRESENCE_{setting.upper()}"
        )
    try:
        return guid(text, what)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None


def _policy(settings: Settings) -> RetryPolicy:
    retry = settings.retry
    return RetryPolicy(
        attempts=retry.attempts, first_wait=retry.first_wait, longest_wait=retry.longest_wait
    )
