"""An event loop whose time jumps to the next thing that is due, and a Graph to go with it."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from presence_manager import PresenceManager, Settings
from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import Pair
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.ledger import MemoryLedger

START = 1_800_000_000.0
TENANT = "7a000000-0000-4000-8000-000000000001"
OTHER = "7a000000-0000-4000-8000-000000000002"
APP = "7a000000-0000-4000-8000-00000000000a"


def user(number: int) -> str:
    return str(UUID(int=0x5E << 120 | 4 << 76 | 2 << 62 | number))


class _Jump(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    jumped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        self.jumped += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        self.turns = 0
        super().__init__(self._jump)
        self.set_debug(False)  # as the dev mode would have it: several times as slow

    def time(self) -> float:
        return self._jump.jumped

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    del run.__wrapped__  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True)
class LoopClock:
    ahead: float = 0.0

    def now(self) -> float:
        return START + self.ahead + asyncio.get_running_loop().time()


def elapsed() -> float:
    """Seconds of virtual time since the test began."""
    return asyncio.get_running_loop().time()


Answer = Callable[[Key, Attempt], "int | Verdict | None"]


@dataclass
class FakeGraph:
    """Graph as the port promises it: a model of sessions, and answers on order.

    `answers[user]` are statuses for its next attempts (None: the answer is lost; negative: lost,
    but applied). `latency` is in seconds. `requests` are (time, [(verb, user)]). `ahead` is by how
    many seconds Graph's clock is ahead, None if it is not known. `clock` is the caller's.
    """

    latency: float = 0.0
    answers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    sessions: dict[Key, Pair] = field(default_factory=dict)
    requests: list[tuple[float, list[tuple[str, str]]]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None
    refuse_sign_in: Exception | None = None
    closed: bool = False
    ahead: float | None = 0.0
    clock: LoopClock = field(default_factory=LoopClock)

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        assert not self.closed
        assert 1 <= len(asks) <= 20
        assert len({key for key, _ in asks}) == len(asks)
        assert all(key.lane == lane for key, _ in asks)
        if self.refuse_sign_in is not None:
            raise self.refuse_sign_in
        sent_at = self.clock.now()
        self.requests.append((elapsed(), [(a.verb.value, k.user) for k, a in asks]))
        self.limits.append(timeout)
        orders = [self.answers[key.user].pop(0) if self.answers[key.user] else 0 for key, _ in asks]
        hang = any(order == "hang" for order in orders)
        if self.before is not None:
            await self.before()
        await asyncio.sleep(timeout if hang else min(self.latency, timeout))
        at = self.clock.now()
        return [
            self._judge(key, attempt, order, sent_at, at)
            for (key, attempt), order in zip(asks, orders, strict=True)
        ]

    def _judge(self, key: Key, attempt: Attempt, order: Any, sent_at: float, at: float) -> Verdict:
        common: dict[str, Any] = {"sent_at": sent_at, "at": at}
        if isinstance(order, tuple):
            order, common["retry_after"] = order
        if isinstance(order, Judgement):
            return Verdict(judgement=order, **common)
        if order == 429:
            return Verdict(judgement=Judgement.THROTTLED, status=429, **common)
        if order == 401:
            return Verdict(judgement=Judgement.UNAUTHORIZED, status=401, **common)
        if order == 403:
            return Verdict(judgement=Judgement.DENIED, status=403, code="Forbidden", **common)
        if order == 503:
            return Verdict(judgement=Judgement.LOST, status=503, **common)
        if order in (None, "hang"):
            return Verdict(judgement=Judgement.LOST, **common)
        if order == "singly":
            return Verdict(judgement=Judgement.LATER, singly=True, status=400, **common)
        if order == "refused":
            return Verdict(judgement=Judgement.LATER, **common)
        had = self.apply(key, attempt)
        if order == "applied, lost":
            return Verdict(judgement=Judgement.LOST, **common)
        if attempt.verb is Verb.SET and order == 404:
            return Verdict(judgement=Judgement.GONE, status=404, **common)
        if attempt.verb is Verb.SET or had:
            return Verdict(judgement=Judgement.DONE, status=200, **common)
        return Verdict(judgement=Judgement.GONE, status=404, **common)

    def apply(self, key: Key, attempt: Attempt) -> bool:
        if attempt.verb is Verb.SET:
            assert attempt.pair is not None
            self.sessions[key] = attempt.pair
            return True
        return self.sessions.pop(key, None) is not None

    def date(self) -> float | None:
        return None if self.ahead is None else LoopClock().now() + self.ahead

    async def close(self) -> None:
        self.closed = True

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [ask for _, asks in self.requests for ask in asks]

    def shown(self, name: str) -> str | None:
        return next((str(p) for k, p in self.sessions.items() if k.user == name), None)


class SharedLedger(MemoryLedger):
    """One ledger for several managers, as a file would be: each has a door of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.doors = 0
        self._dead: set[str] = set()

    async def open(self) -> None:
        if not self.doors:
            await super().open()
        self.doors += 1

    async def close(self) -> None:
        self.doors -= 1

    async def die(self, owner: str) -> None:
        self._owners.discard(owner)
        self._dead.add(owner)

    async def dead(self) -> frozenset[str]:
        return frozenset(self._dead)

    async def leave(self, owner: str) -> None:
        await super().leave(owner)
        self._dead.discard(owner)


class Door:
    """The ledger as one manager has it: if it closes it without leaving, it is dead."""

    def __init__(self, ledger: SharedLedger) -> None:
        self.ledger = ledger
        self._owner = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def enter(self, owner: str) -> None:
        self._owner = owner
        await self.ledger.enter(owner)

    async def leave(self, owner: str) -> None:
        await self.ledger.leave(owner)
        if owner == self._owner:
            self._owner = ""

    async def close(self) -> None:
        if self._owner:
            await self.ledger.die(self._owner)
        await self.ledger.close()


async def kill(presence: PresenceManager) -> None:
    """End a manager as SIGKILL would: nothing of it runs any more, and its lock is free."""
    for task in (presence._watch, presence._recovered):
        if task is not None:
            task.cancel()
    works = presence._works
    works.renewer._stopped = True
    for lane in works.lanes:
        lane.stopping = lane.books.stopping = True
        for task in lane._tasks._tasks:
            task.cancel()
    assert isinstance(presence._ledger, Door)
    await presence._ledger.ledger.die(presence.owner)


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "tenant_id": TENANT,
        "client_id": APP,
        "access_token": "unused",
        "ledger": {"url": "memory://"},
    }
    return Settings(**(given | changes))


def manager(fake: FakeGraph, ledger: MemoryLedger | None = None, **changes: Any) -> PresenceManager:
    """A manager on the fake Graph and a ledger in memory, in virtual time."""
    door: Any = Door(ledger) if isinstance(ledger, SharedLedger) else ledger or MemoryLedger()
    return PresenceManager(settings(**changes), graph=fake, ledger=door, clock=fake.clock)
