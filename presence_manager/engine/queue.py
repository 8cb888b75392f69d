"""What waits in a lane, in the order in which it may leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
        self._last = Rank.SWEEP
        self._count = 0
        self.bound = 0  # entries with a deadline
        self.deadline = 0.0  # the latest of theirs

    def __len__(self) -> int:
        return self._count

    def push(self, entry: Entry, *, first: bool = False) -> None:
        """Queue an entry that is not queued; `first`: before all others of its rank."""
        entry.queued = True
        self._count += 1
        self._waiting[entry.rank] += 1
        if entry.deadline < inf:
            entry.bound = True
            self.bound += 1
            self.deadline = max(self.deadline, entry.deadline)
        entry.place = -inf if first else 0.0
        if entry.rank in CLEARS and not first:
            life = entry.row.may_live_until
            entry.place = -life if entry.deadline == inf or life > entry.deadline else 0.0
        self._lines[entry.rank].add(entry)

    def promote(self, entry: Entry, rank: Rank) -> None:
        """Let a queued or future entry wait in a more urgent rank."""
        if rank < entry.rank:
            queued = entry.queued
            self.remove(entry)
            entry.rank = rank
            if queued:
                self.push(entry)

    def remove(self, entry: Entry) -> None:
        """Take the entry out."""
        if entry.queued:
            entry.queued = False
            self._count -= 1
            rank = entry.rank
            self._waiting[rank] -= 1
            if not self._waiting[rank]:  # what was passed over is let go
                self._lines[rank].clear()
            if entry.bound:
                entry.bound = False
                self.bound -= 1

    def pop(self, *, renewals: bool = True) -> Entry | None:
        """Return the next entry: every tenth turn goes to the less urgent ranks, in rotation.

        Without `renewals` those that can wait do.
        """
        if not self._count:
            return None
        if renewals and self._waiting[self._last] == self._count:  # mostly there is but one rank
            return self._take(self._last)
        waiting = [rank for rank in Rank if self._waiting[rank]]
        if not renewals and waiting and waiting[-1] is Rank.RENEWAL:
            waiting.pop()
        if not waiting:
            return None
        self._last = waiting[0]
        if len(waiting) == 1:
            return self._take(waiting[0])
        self._turn += 1
        turn = self._turn % 10 + 1
        return self._take(waiting[turn] if turn < len(waiting) else waiting[0])

    def drain(self) -> list[Entry]:
        """Empty the queue."""
        return [self._take(rank) for rank in Rank for _ in range(self._waiting[rank])]

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

    def _take(self, rank: Rank) -> Entry:
        entry = self._lines[rank].pop(rank)
        self.remove(entry)
        return entry


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

    def add(self, entry: Entry) -> None:
        """Let the entry wait behind all whose place is not after its own."""
        if not self.row or entry.place >= self._last:
            self._last = entry.place
            self.row.append(entry)
        else:
            heappush(self.heap, (entry.place, next(self._order), entry))

    def clear(self) -> None:
        """Let go of all."""
        self.row.clear()
        self.heap.clear()

    def pop(self, rank: Rank) -> Entry:
        """Take out the first that still waits here; those before it are let go."""
        row, heap = self.row, self.heap
        while row and not (row[0].queued and row[0].rank is rank):
            row.popleft()
        while heap and not (heap[0][2].queued and heap[0][2].rank is rank):
            heappop(heap)
        if heap and not (row and row[0].place <= heap[0][0]):
            return heappop(heap)[2]
        return row.popleft()
