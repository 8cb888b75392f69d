"""Where the sessions of a lane are looked at, and wait.

Nothing here awaits: each look says what is to be done, and the lane does it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import inf

from presence_manager.core.decide import Send, Wait
from presence_manager.core.key import Key
from presence_manager.core.session import Session
from presence_manager.core.verdict import Verb, Verdict
from presence_manager.engine.bundle import FULL_BATCH, Bundle
from presence_manager.engine.entry import Entry, Planner, Rank
from presence_manager.engine.later import Later
from presence_manager.engine.plan import Now, give_up, take_over, withdraw
from presence_manager.engine.queue import CLEARS, LaneQueue
from presence_manager.gate.gate import Gate


class Desk:
    """The sessions of a lane: in the inbox, in the queue, waiting for time to pass, or busy.

    Each is an entry, or in a bundle until somebody has to do with it.
    """

    def __init__(self, gate: Gate, wake: Callable[[], None]) -> None:
        self.queue = LaneQueue(self.split)
        self.later = Later(wake)
        self._wake = wake
        self.refusal: Planner | None = None
        self._gate = gate
        self._at_work: dict[Key, Entry | Bundle] = {}
        self._inbox: list[Entry] = []

    def __len__(self) -> int:
        """How many sessions are at work."""
        return len(self._at_work)

    def items(self) -> list[Entry | Bundle]:
        """What is at work, each bundle as a whole."""
        return [*dict.fromkeys(self._at_work.values())]

    def entries(self, sweep_id: str = "") -> list[Entry]:
        """What is at work, for that sweep if one is given, each session by itself."""
        rows = [row for item in self.items() for row in item.rows]
        keys = [row.key for row in rows if not sweep_id or sweep_id in row.sweeps]
        return [entry for key in keys if (entry := self.entry(key)) is not None]

    def entry(self, key: Key) -> Entry | None:
        """The entry of a session that is at work."""
        item = self._at_work.get(key)
        if isinstance(item, Bundle):
            return next(entry for entry in self.split(item) if entry.key == key)
        return item

    def row(self, key: Key) -> Session | None:
        """The row of a session that is at work, as it is known here."""
        item = self._at_work.get(key)
        return None if item is None else next(row for row in item.rows if row.key == key)

    def verdict(self, key: Key) -> Verdict | None:
        """The last verdict on a session that is at work."""
        item = self._at_work.get(key)
        return item.verdict if isinstance(item, Entry) else None

    def remove(self, keys: Iterable[Key]) -> None:
        """Forget sessions at which no work is left."""
        for key in keys:
            del self._at_work[key]

    def put(
        self,
        rows: Sequence[Session],
        rank: Rank,
        deadline: float,
        send: Send | None,
        now: float,
        *,
        batching: bool,
    ) -> None:
        """Have the sessions looked at: see `Lane.submit`."""
        at_work = self._at_work
        fresh = [row for row in rows if row.key not in at_work]
        if len(fresh) < len(rows):
            for row in rows:
                entry = self.entry(row.key)
                if entry is not None:
                    self._put_again(entry, row, rank, deadline, send, now)
        closed = self.refusal is not None or (deadline < inf and deadline < self._opens(now))
        if send is None or closed:
            self._inbox += [self._new(row, rank, deadline, send) for row in fresh]
            return
        items: list[Entry | Bundle] = []
        if batching and rank in CLEARS:
            fresh.sort(key=_life, reverse=True)  # as they leave
            while len(fresh) >= FULL_BATCH:
                some, fresh = fresh[:FULL_BATCH], fresh[FULL_BATCH:]
                bundle = Bundle(some, rank, deadline, send)
                at_work.update(dict.fromkeys([row.key for row in some], bundle))
                items.append(bundle)
        items += [self._new(row, rank, deadline, send) for row in fresh]
        if items:
            self.queue.push(items)

    def _new(self, row: Session, rank: Rank, deadline: float, send: Send | None) -> Entry:
        entry = self._at_work[row.key] = Entry(row, rank, deadline)
        if send is not None:
            entry.decided, entry.send = row, send
        return entry

    def split(self, bundle: Bundle) -> list[Entry]:
        """See to each session of the bundle by itself, in whatever state it is."""
        if bundle.entries is None:
            bundle.entries = bundle.split()
            self._at_work.update({entry.key: entry for entry in bundle.entries})
            if bundle.queued:
                self.queue.remove(bundle)
                self.queue.push(bundle.entries)
        return bundle.entries

    def entries_of(self, chunk: Bundle | list[Entry]) -> list[Entry]:
        """What was taken, each session by itself."""
        return self.split(chunk) if isinstance(chunk, Bundle) else chunk

    def _put_again(
        self, entry: Entry, row: Session, rank: Rank, deadline: float, send: Send | None, now: float
    ) -> None:
        if row.version > entry.row.version:
            entry.see(row)
        self.queue.promote(entry, rank)
        if deadline < inf:  # a request in flight gets a third of what is left
            entry.shorten((deadline - now) / 3)
        if send is not None and entry.row is row:
            entry.decided, entry.send = row, send
        entry.deadline = min(entry.deadline, deadline)
        if not entry.busy:
            self.look_again(entry)

    def look_again(self, entry: Entry) -> None:
        """Have the entry looked at in the next look."""
        self.queue.remove(entry)
        self._inbox.append(entry)

    def look_at_all(self) -> None:
        """The same for all that is queued: the door has been shut, or the sign-in refused."""
        self._inbox += self.queue.drain()

    def shut(self, planner: Planner, seconds: float) -> None:
        """Answer all that comes in the next seconds by `planner`, without a request."""
        self.refusal = planner
        self.look_at_all()
        asyncio.get_running_loop().call_later(seconds, self._unshut)

    def _unshut(self) -> None:
        self.refusal = None

    def take(self, entry: Entry) -> None:
        """Keep the entry from everybody else; it is `busy` from now on."""
        self.queue.remove(entry)
        entry.busy = True

    def take_idle(self, key: Key) -> Entry | None:
        """Take a session that waits here without the ledger, unless somebody is at work on it."""
        entry = self._at_work.get(key)
        if not isinstance(entry, Entry) or entry.busy or entry.row.version >= 0:
            return None
        self.take(entry)
        return entry

    def give_back(self, entry: Entry) -> None:
        """Go on with one that was taken so."""
        entry.busy = False
        self.look_again(entry)
        self._wake()

    def look(self, now: Now) -> tuple[list[Entry], list[Entry]]:
        """Sort the inbox: what wants a request queues for it.

        Return what is to be committed, and what is to be read again from the ledger first.
        """
        for entry in self.later.due(now.at):
            if self._at_work.get(entry.key) is entry and not entry.busy:
                self.look_again(entry)
        books: list[Entry] = []
        stale: list[Entry] = []
        ready: defaultdict[tuple[Rank, float], list[Entry]] = defaultdict(list)
        inbox, self._inbox = self._inbox, []
        for entry in dict.fromkeys(inbox):  # some were put there twice
            if entry.busy or entry.queued or self._at_work.get(entry.key) is not entry:
                continue
            if entry.stale and entry.deadline >= now.at:
                entry.busy = True
                stale.append(entry)
                continue
            planner = self._planner(entry, now)
            if planner is not None:
                entry.busy, entry.planner = True, planner
                books.append(entry)
            elif entry.not_before > now.at:
                self.later.put(entry, entry.not_before)
            else:
                ready[entry.rank, entry.deadline].append(entry)
        for entries in ready.values():
            self.queue.push(entries)
        return books, stale

    def _planner(self, entry: Entry, now: Now) -> Planner | None:
        """What to commit about an entry that is not to be sent; None for one that is."""
        action = entry.decide(now)
        if isinstance(action, Wait):
            if entry.deadline < now.at:
                return self.surrender(entry, now)
            return lambda entry: take_over(entry.row, now, entry.waited(now.at))
        if not isinstance(action, Send):
            return lambda entry: withdraw(entry.row, now)
        if self.refusal is not None:
            return self.refusal
        if action.verb is Verb.CLEAR and self.too_late(entry, now.at):
            return self.surrender(entry, now)
        return None

    def chunk(self, now: float, size: int) -> Bundle | list[Entry]:
        """Take up to `size` sessions from the queue, or one that must go alone."""
        if size <= 0:
            return []
        chunk = self.queue.take(size, self._gate.renewals(now))
        for item in [chunk] if isinstance(chunk, Bundle) else chunk:
            item.busy = True
        return chunk

    def hopeless(self, now: Now) -> list[Entry]:
        """Take out what cannot leave before its deadline, whatever comes: the budget forbids it."""
        queue = self.queue
        if not queue.bound or queue.bound <= self._gate.free(now.at):
            return []
        room = self._gate.capacity(now.at, queue.deadline)
        if queue.bound <= room:
            return []
        entries = queue.excess(int(room))
        for entry in entries:
            entry.busy = True
            entry.planner = self.surrender(entry, now, "budget", entry.deadline)
        return entries

    def surrender(
        self, entry: Entry, now: Now, reason: str = "deadline", not_before: float = 0.0
    ) -> Planner:
        """Leave a clear for after its deadline; go on with it as soon as Graph allows."""
        again_at = max(not_before, self.again_at(entry, now.at))
        return lambda entry: give_up(
            entry.row, now, reason=reason, verdict=entry.verdict, again_at=again_at
        )

    def too_late(self, entry: Entry, now: float) -> bool:
        """Whether nothing can leave for this session before its deadline."""
        deadline = entry.deadline
        return deadline < inf and deadline < max(self._opens(now), entry.not_before)

    def again_at(self, entry: Entry, now: float) -> float:
        """When to go on with what a deadline cut off."""
        return max(self._opens(now + 1.0), entry.not_before)

    def _opens(self, now: float) -> float:
        return max(now, self._gate.closed_until)


def _life(row: Session) -> float:
    return row.may_live_until
