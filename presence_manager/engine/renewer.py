"""The renewer looks at each session again when it is due: to renew it, or to end a hold.

It sleeps until the earliest of them; nothing is polled. What it wakes for is read from the ledger
at that moment, so that what other processes have done is seen, and nothing is kept but a key and
an instant.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Iterable
from heapq import heapify, heappop, heappush
from math import inf

import structlog

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import SHORTEST_LEASE
from presence_manager.core.session import Session
from presence_manager.engine.entry import Rank
from presence_manager.engine.lanes import Lanes
from presence_manager.errors import LedgerError
from presence_manager.ports import Clock, Ledger

log = structlog.get_logger()

CHUNK = 500
"""Rows read from the ledger at a time."""
SPARE = 1_000
"""Instants out of date that are kept at least: sessions that have ended, or are due later."""
LATER = 5.0
"""Seconds to wait when the ledger cannot be read."""


class Renewer:
    """One timer over all sessions at rest. `window` is the budget's, in seconds.

    `held` counts them, by lane. Those in `not_now` are left alone: the ledger's word on them is
    out of date.
    """

    def __init__(
        self,
        lanes: Lanes,
        *,
        ledger: Ledger,
        clock: Clock,
        owner: str,
        window: float,
        gone: Callable[[Session], None],
        not_now: Container[Key] = (),
    ) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._clock = clock
        self._owner = owner
        self._window = window
        self._gone = gone
        self._not_now = not_now
        self._heap: list[tuple[float, Key]] = []
        self._due: dict[Key, float] = {}
        self.held: Counter[LaneId] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._looking: set[asyncio.Task[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._due)

    def schedule(self, key: Key, at: float) -> None:
        """Look at the session at `at`, and not before; infinite: never."""
        if self._stopped:
            return
        if at == inf:
            self.forget([key])
            return
        if key not in self._due:
            self.held[key.lane] += 1
        self._due[key] = at
        heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._due) + SPARE:  # most of it is out of date
            self._heap = [(each, name) for name, each in self._due.items()]
            heapify(self._heap)
        if at < self._timer_at:
            self._arm()

    def forget(self, keys: Iterable[Key]) -> None:
        """Look at these sessions no more."""
        for key in keys:
            if key in self._due:
                self._forget(key)

    async def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._looking:
            await asyncio.wait(self._looking)

    def _forget(self, key: Key) -> None:
        del self._due[key]
        self.held[key.lane] -= 1

    def _arm(self) -> None:
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = heap[0][0] if heap else inf
        if heap:
            delay = max(0.0, self._timer_at - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        now = self._clock.now()
        heap = self._heap
        keys: list[Key] = []
        while heap and heap[0][0] <= now:
            at, key = heappop(heap)
            if self._due.get(key) == at:
                self._forget(key)
                keys.append(key)
        if keys:
            task = asyncio.get_running_loop().create_task(self._look(keys))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        self._arm()

    async def _look(self, keys: list[Key]) -> None:
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            try:
                rows = await self._ledger.get(chunk)
            except LedgerError as error:
                log.error("ledger.failed", error=str(error))
                for key in chunk:
                    self.schedule(key, self._clock.now() + LATER)
                continue
            if self._stopped:
                return
            for row in rows:
                if row.key not in self._not_now:
                    self._see_to(row)

    def _see_to(self, row: Session) -> None:
        now = self._clock.now()
        if not row.version:
            self._gone(row)
            return
        wish = row.newest(now)
        if wish is None:
            self._lanes[row.key.lane].submit(row, Rank.RELEASE)
            return
        if wish.owner not in ("", self._owner):
            # its own process renews it; we step in when it does not
            grace = (wish.lease or SHORTEST_LEASE) / 4
            own = (w.until for w in row.wishes if w.owner in ("", self._owner))
            at = max(min(row.due + grace, *own, inf), now)
            if at > now:
                self.schedule(row.key, at)
                return
        lapsing = row.may_live_until - now < 2 * self._window
        rank = Rank.LAPSING if lapsing else Rank.RENEWAL
        self._lanes[row.key.lane].submit(row, rank)
