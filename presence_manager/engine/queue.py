"""What waits in a lane, in the order in which it may leave."""

from __future__ import annotations

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
        self._ranks: dict[Rank, list[tuple[float, int, Entry]]] = {rank: [] for rank in Rank}
        self._order = count(1)
        self._turn = 0
        self._count = 0
        self.bound = 0  # entries with a deadline
        self.deadline = 0.0  # the latest of theirs

    def __len__(self) -> int:
        return self._count

    def push(self, entry: Entry, *, first: bool = False) -> None:
        """Queue the entry, once; `first`: before all others of its rank."""
        if entry.queued:
            return
        entry.queued = True
        self._count += 1
        if entry.deadline < inf:
            entry.bound = True
            self.bound += 1
            self.deadline = max(self.deadline, entry.deadline)
        self._add(entry, first=first)

    def promote(self, entry: Entry, rank: Rank) -> None:
        """Let a queued or future entry wait in a more urgent rank."""
        if rank < entry.rank:
            entry.rank = rank
            if entry.queued:
                self._add(entry)

    def remove(self, entry: Entry) -> None:
        """Take the entry out."""
        if entry.queued:
            entry.queued = False
            self._count -= 1
            if entry.bound:
                entry.bound = False
                self.bound -= 1

    def pop(self, *, renewals: bool = True) -> Entry | None:
        """Return the next entry: every tenth turn goes to the less urgent ranks, in rotation.

        Without `renewals` those that can wait do.
        """
        waiting = [rank for rank, heap in self._ranks.items() if heap and self._waits(rank)]
        if not renewals and waiting and waiting[-1] is Rank.RENEWAL:
            waiting.pop()
        if not waiting:
            return None
        if len(waiting) == 1:
            return self._take(waiting[0])
        self._turn += 1
        turn = self._turn % 10 + 1
        return self._take(waiting[turn] if turn < len(waiting) else waiting[0])

    def drain(self) -> list[Entry]:
        """Empty the queue."""
        entries = []
        for rank in Rank:
            while self._waits(rank):
                entries.append(self._take(rank))
        return entries

    def excess(self, room: int) -> list[Entry]:
        """Take out the entries with a deadline for which there is no room: the last ones."""
        waiting = sorted(
            place
            for rank in CLEARS
            for place in self._ranks[rank]
            if place[2].bound and place[2].rank is rank
        )
        # one that was removed and queued again has an old place as well
        entries = list(dict.fromkeys(entry for _, _, entry in waiting))[room:]
        for entry in entries:
            self.remove(entry)
        return entries

    def _add(self, entry: Entry, *, first: bool = False) -> None:
        number = next(self._order)
        place = -inf if first else 0.0
        if entry.rank in CLEARS and not first:
            life = entry.row.may_live_until
            place = -life if entry.deadline == inf or life > entry.deadline else 0.0
        heappush(self._ranks[entry.rank], (place, number, entry))

    def _waits(self, rank: Rank) -> bool:
        heap = self._ranks[rank]
        while heap and not (heap[0][2].queued and heap[0][2].rank is rank):
            heappop(heap)
        return bool(heap)

    def _take(self, rank: Rank) -> Entry:
        entry = heappop(self._ranks[rank])[2]
        self.remove(entry)
        return entry
