"""What waits in a lane, in the order in which it may leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf

from presence_manager.engine.bundle import Bundle
from presence_manager.engine.entry import Entry, Rank

CLEARS = (Rank.RELEASE, Rank.SWEEP)
"""The ranks in which the session with the longest life left goes first."""


class LaneQueue:
    """Entries by rank. Each rank that waits gets at least a tenth of what leaves.

    Clears leave in the order of the life that their sessions have left, by the minute; those that
    lapse before their deadline by themselves come last. All else leaves in the order in which it
    came. An entry that is removed or promoted stays behind in its old place, where it is passed
    over. A bundle leaves as it is where it has the lane to itself; else it is split, by `split`.
    """

    def __init__(self, split: Callable[[Bundle], Sequence[Entry]]) -> None:
        self._split = split
        self._lines = tuple(_Line(rank) for rank in Rank)
        self._turn = 0
        self._count = 0  # sessions
        self.bound = 0  # sessions with a deadline
        self.deadline = 0.0  # the latest of theirs

    def __len__(self) -> int:
        return self._count

    def push(self, items: Sequence[Entry | Bundle]) -> None:
        """Queue what is of one rank and deadline and is not queued."""
        rank, deadline = items[0].rank, items[0].deadline
        bound, by_life = deadline < inf, rank in CLEARS
        for item in items:
            item.queued = True
            item.bound = bound
            life = item.row.may_live_until if by_life else 0.0
            item.place = 0.0 if bound and life <= deadline else -(life // 60.0)
        self._lines[rank].add(items)
        sessions = sum(map(len, items))
        self._count += sessions
        if bound:
            self.bound += sessions
            self.deadline = max(self.deadline, deadline)

    def promote(self, entry: Entry, rank: Rank) -> None:
        """Let a queued or future entry wait in a more urgent rank."""
        if rank < entry.rank:
            queued = entry.queued
            self.remove(entry)
            entry.rank = rank
            if queued:
                self.push([entry])

    def remove(self, item: Entry | Bundle) -> None:
        """Take it out."""
        if item.queued:
            item.queued = False
            self._lines[item.rank].less(1)
            self._gone([item])

    def take(self, size: int, renewals: int) -> Bundle | list[Entry]:
        """Take out up to `size` that may leave together, so many of them renewals at most.

        Every tenth turn goes to the less urgent ranks, in rotation. What goes singly goes alone.
        """
        taken: list[Entry] = []
        while len(taken) < size:
            waiting = [line for line in self._lines if line.waiting]
            if renewals <= 0 and waiting and waiting[-1].rank is Rank.RENEWAL:
                waiting.pop()
            if not waiting:
                break
            line, most = waiting[0], 1
            if len(waiting) == 1:  # mostly
                most = size - len(taken)
            else:
                self._turn += 1
                turn = self._turn % 10 + 1
                line = waiting[turn] if turn < len(waiting) else line
            first = line.first()
            if isinstance(first, Bundle):
                if len(waiting) == 1 and taken:
                    break
                if len(waiting) == 1 and len(first) <= size:
                    self.remove(first)
                    return first
                first.queued = False
                line.unpack(first, self._split(first))
            if line.rank is Rank.RENEWAL:
                most = min(most, renewals)
            more = line.take(most, alone=not taken)
            self._gone(more)
            taken += more
            if not more or more[-1].singly:
                break
            renewals -= len(more) if line.rank is Rank.RENEWAL else 0
        return taken

    def drain(self) -> list[Entry]:
        """Empty the queue."""
        drained: list[Entry] = []
        for line in self._lines:
            for item in line.all():
                self.remove(item)
                drained += self._split(item) if isinstance(item, Bundle) else [item]
        return drained

    def excess(self, room: int) -> list[Entry]:
        """Take out the entries with a deadline for which there is no room: the last ones."""
        bound = [item for rank in CLEARS for item in self._lines[rank].all() if item.bound]
        excess: list[Entry] = []
        for item in sorted(bound, key=lambda item: item.place):
            room -= len(item)
            if room >= 0:
                continue
            self.remove(item)
            entries = list(self._split(item)) if isinstance(item, Bundle) else [item]
            fits = max(0, room + len(item))
            if fits:
                self.push(entries[:fits])
            excess += entries[fits:]
        return excess

    def _gone(self, items: Sequence[Entry | Bundle]) -> None:
        for item in items:
            self._count -= len(item)
            if item.bound:
                item.bound = False
                self.bound -= len(item)


class _Line:
    """What waits in one rank by its place, mostly added in that very order.

    What was stands in a plain row, which costs no record for each; the rest in a heap.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.waiting = 0  # items
        self.row: deque[Entry | Bundle] = deque()
        self._heap: list[tuple[float, int, Entry | Bundle]] = []
        self._last = -inf
        self._order = count()

    def all(self) -> list[Entry | Bundle]:
        """All that waits, in no order; once each, though one may stand in an old place as well."""
        places = [*self.row, *(item for _, _, item in self._heap)]
        return [item for item in dict.fromkeys(places) if self._waits(item)]

    def add(self, items: Iterable[Entry | Bundle]) -> None:
        """Let each wait behind all whose place is not after its own."""
        row, last = self.row, self._last if self.row else -inf
        for item in items:
            if item.place >= last:
                last = item.place
                row.append(item)
            else:
                heappush(self._heap, (item.place, next(self._order), item))
            self.waiting += 1
        self._last = last

    def less(self, items: int) -> None:
        """So many wait no longer; when none does, what was passed over is let go."""
        self.waiting -= items
        if not self.waiting:
            self.row.clear()
            self._heap.clear()

    def first(self) -> Entry | Bundle:
        """What is the next to leave, at the head of the row now; something waits."""
        row, heap = self.row, self._heap
        while heap and not self._waits(heap[0][2]):
            heappop(heap)
        while row and not self._waits(row[0]):
            row.popleft()
        if heap and not (row and row[0].place <= heap[0][0]):
            if not row:
                self._last = heap[0][0]
            row.appendleft(heappop(heap)[2])
        return row[0]

    def take(self, most: int, *, alone: bool) -> list[Entry]:
        """Take out the first entries, up to the first bundle.

        One that goes singly is taken only if it is the first, and it may be `alone`.
        """
        row, rank = self.row, self.rank
        taken: list[Entry] = []
        while len(taken) < most and len(taken) < self.waiting:
            item = self.first() if self._heap else row[0]
            if not item.queued or item.rank is not rank:
                row.popleft()
                continue
            if isinstance(item, Bundle) or (item.singly and (taken or not alone)):
                break
            row.popleft()
            item.queued = False  # it may stand here in an old place as well
            taken.append(item)
            if item.singly:
                break
        self.less(len(taken))
        return taken

    def unpack(self, bundle: Bundle, entries: Sequence[Entry]) -> None:
        """Let the entries of the bundle, which is the first, wait in its stead."""
        for entry in entries:
            entry.queued, entry.bound, entry.place = True, bundle.bound, bundle.place
        self.row.popleft()
        self.row.extendleft(reversed(entries))
        self.waiting += len(entries) - 1

    def _waits(self, item: Entry | Bundle) -> bool:
        return item.queued and item.rank is self.rank
