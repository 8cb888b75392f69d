"""Where the sessions of a lane are looked at, and wait.

Nothing here awaits: each look says what is to be done, and the lane does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from presence_manager.core.decide import Send, Wait
from presence_manager.core.key import Key
from presence_manager.core.session import Session
from presence_manager.core.verdict import Verb
from presence_manager.engine.entry import Entry, Planner, Rank
from presence_manager.engine.gate import Gate
from presence_manager.engine.later import Later
from presence_manager.engine.plan import Now, give_up, take_over, withdraw
from presence_manager.engine.queue import LaneQueue


class Desk:
    """The entries of a lane: in the inbox, in the queue, waiting for time to pass, or busy."""

    def __init__(self, gate: Gate, wake: Callable[[], None]) -> None:
        self.entries: dict[Key, Entry] = {}
        self.queue = LaneQueue()
        self.later = Later(wake)
        self._wake = wake
        self.refusal: Planner | None = None
        self._gate = gate
        self._inbox: list[Entry] = []

    def put(
        self, rows: Sequence[Session], rank: Rank, deadline: float, send: Send | None, now: float
    ) -> None:
        """Have the sessions looked at: see `Lane.submit`."""
        entries = self.entries
        closed = self.refusal is not None or (deadline < inf and deadline < self._opens(now))
        fresh: list[Entry] = []
        for row in rows:
            key = row.key
            if key in entries:
                self._put_again(entries[key], row, rank, deadline, send, now)
                continue
            entry = entries[key] = Entry(row, rank, deadline)
            if send is not None:
                entry.decided, entry.send = row, send
            fresh.append(entry)
        if send is None or closed:
            self._inbox += fresh
        elif fresh:
            self.queue.push(fresh)

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

    def take(self, entry: Entry) -> None:
        """Keep the entry from everybody else; it is `busy` from now on."""
        self.queue.remove(entry)
        entry.busy = True

    def take_idle(self, key: Key) -> Entry | None:
        """Take a session that waits here without the ledger, unless somebody is at work on it."""
        entry = self.entries.get(key)
        if entry is None or entry.busy or entry.row.version >= 0:
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
            if self.entries.get(entry.key) is entry and not entry.busy:
                self.look_again(entry)
        books: list[Entry] = []
        stale: list[Entry] = []
        inbox, self._inbox = self._inbox, []
        for entry in inbox:
            if entry.busy or entry.queued or self.entries.get(entry.key) is not entry:
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
                self.queue.push([entry])
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

    def chunk(self, now: float, size: int) -> list[Entry]:
        """Take up to `size` sessions from the queue, or one that must go alone."""
        if size <= 0:
            return []
        chunk = self.queue.take(size, self._gate.renewals(now))
        for entry in chunk:
            entry.busy = True
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
