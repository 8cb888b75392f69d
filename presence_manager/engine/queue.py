"""What waits in a lane, in the order in which it may leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf

from presence_manager.engine.entry import Entry, Rank

CLEARS = (Rank.RELEASE, Rank.SWEEP)
"""The ranks in which the session with the longest life left goes first."""


class LaneQueue:
    """Entries by rank. Each rank that waits gets at least a tenth of what leaves.

    Clears leave in the order of the life that their sessions have left; those that lapse before
    their deadline by themselves come last. All else leaves in the order in which it came. An
    entry that is removed or promoted stays behind in its old place, where it is passed over.
    """

    def __init__(self) -> None:
        self._lines = tuple(_Line() for _ in Rank)
        self._waiting = [0 for _ in Rank]  # entries of each rank
        self._turn = 0
        self._count = 0
        self.bound = 0  # entries with a deadline
        self.deadline = 0.0  # the latest of theirs

    def __len__(self) -> int:
        return self._count

    def push(self, entries: Sequence[Entry]) -> None:
        """Queue entries of one rank and deadline, none of which is queued."""
        rank, deadline = entries[0].rank, entries[0].deadline
        bound, by_life = deadline < inf, rank in CLEARS
        for entry in entries:
            entry.queued = True
            entry.bound = bound
            life = entry.row.may_live_until if by_life else 0.0
            entry.place = 0.0 if bound and life <= deadline else -life
        self._lines[rank].add(entries)
        self._count += len(entries)
        self._waiting[rank] += len(entries)
        if bound:
            self.bound += len(entries)
            self.deadline = max(self.deadline, deadline)

    def promote(self, entry: Entry, rank: Rank) -> None:
        """Let a queued or future entry wait in a more urgent rank."""
        if rank < entry.rank:
            queued = entry.queued
            self.remove(entry)
            entry.rank = rank
            if queued:
                self.push([entry])

    def remove(self, entry: Entry) -> None:
        """Take the entry out."""
        if entry.queued:
            self._gone(entry.rank, [entry])

    def take(self, size: int, renewals: int) -> list[Entry]:
        """Take out up to `size` that may leave together, so many of them renewals at most.

        Every tenth turn goes to the less urgent ranks, in rotation. What goes singly goes alone.
        """
        taken: list[Entry] = []
        while len(taken) < size and self._count:
            waiting = [rank for rank in Rank if self._waiting[rank]]
            if renewals <= 0 and waiting[-1] is Rank.RENEWAL:
                waiting.pop()
                if not waiting:
                    break
            rank, most = waiting[0], 1
            if len(waiting) == 1:  # mostly
                most = size - len(taken)
            else:
                self._turn += 1
                turn = self._turn % 10 + 1
                rank = waiting[turn] if turn < len(waiting) else rank
            if rank is Rank.RENEWAL:
                most = min(most, renewals)
            more = self._lines[rank].take(rank, most, alone=not taken)
            self._gone(rank, more)
            taken += more
            if not more or more[-1].singly:
                break
            renewals -= len(more) if rank is Rank.RENEWAL else 0
        return taken

    def drain(self) -> list[Entry]:
        """Empty the queue."""
        drained: list[Entry] = []
        while self._count:
            drained += self.take(self._count, self._count)
        return drained

    def excess(self, room: int) -> list[Entry]:
        """Take out the entries with a deadline for which there is no room: the last ones."""
        waiting = [
            entry
            for rank in CLEARS
            for entry in self._lines[rank]
            if entry.bound and entry.rank is rank
        ]
        # one that was removed and queued again stands in its old place as well
        waiting = sorted(dict.fromkeys(waiting), key=lambda entry: entry.place)[room:]
        for entry in waiting:
            self.remove(entry)
        return waiting

    def _gone(self, rank: Rank, entries: list[Entry]) -> None:
        for entry in entries:
            entry.queued = False
            if entry.bound:
                entry.bound = False
                self.bound -= 1
        self._count -= len(entries)
        self._waiting[rank] -= len(entries)
        if not self._waiting[rank]:  # what was passed over is let go
            self._lines[rank].clear()


class _Line:
    """The entries of one rank by their places, mostly added in that very order.

    Those that are stand in a plain row, which costs no record for each; the others in a heap.
    """

    def __init__(self) -> None:
        self.row: deque[Entry] = deque()
        self.heap: list[tuple[float, int, Entry]] = []
        self._last = -inf
        self._order = count()

    def __iter__(self) -> Iterator[Entry]:
        yield from self.row
        yield from (entry for _, _, entry in self.heap)

    def add(self, entries: Iterable[Entry]) -> None:
        """Let each wait behind all whose place is not after its own."""
        row, last = self.row, self._last if self.row else -inf
        for entry in entries:
            if entry.place >= last:
                last = entry.place
                row.append(entry)
            else:
                heappush(self.heap, (entry.place, next(self._order), entry))
        self._last = last

    def clear(self) -> None:
        """Let go of all."""
        self.row.clear()
        self.heap.clear()

    def take(self, rank: Rank, most: int, *, alone: bool) -> list[Entry]:
        """Take out the first that still wait here; those before them are let go.

        One that goes singly is taken only if it is the first, and it may be `alone`.
        """
        row = self.row
        taken: list[Entry] = []
        while len(taken) < most and (row or self.heap):
            entry = self._first(rank) if self.heap else row.popleft()
            if not entry.queued or entry.rank is not rank:
                continue
            if entry.singly and (taken or not alone):
                row.appendleft(entry)
                self._last = max(self._last, entry.place)
                break
            entry.queued = False  # it may stand here in an old place as well
            taken.append(entry)
            if entry.singly:
                break
        return taken

    def _first(self, rank: Rank) -> Entry:
        row, heap = self.row, self.heap
        while row and not (row[0].queued and row[0].rank is rank):
            row.popleft()
        return row.popleft() if row and row[0].place <= heap[0][0] else heappop(heap)[2]
