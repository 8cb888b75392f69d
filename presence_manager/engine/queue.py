"""What waits in a lane, in the order in which it may leave."""

from __future__ import annotations

from collections import deque

from presence_manager.engine.entry import Entry, Rank


class LaneQueue:
    """Entries by rank. Each rank that waits gets at least a tenth of what leaves.

    An entry that is removed or promoted stays behind in its old place, where it is passed over.
    """

    def __init__(self) -> None:
        self._ranks: dict[Rank, deque[Entry]] = {rank: deque() for rank in Rank}
        self._turn = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, entry: Entry) -> None:
        """Queue the entry, once."""
        if not entry.queued:
            entry.queued = True
            self._count += 1
            self._ranks[entry.rank].append(entry)

    def promote(self, entry: Entry, rank: Rank) -> None:
        """Let a queued or future entry wait in a more urgent rank."""
        if rank < entry.rank:
            entry.rank = rank
            if entry.queued:
                self._ranks[rank].append(entry)

    def push_front(self, entry: Entry) -> None:
        """Queue the entry before all others of its rank."""
        entry.queued = True
        self._count += 1
        self._ranks[entry.rank].appendleft(entry)

    def remove(self, entry: Entry) -> None:
        """Take the entry out."""
        if entry.queued:
            entry.queued = False
            self._count -= 1

    def pop(self) -> Entry | None:
        """Return the next entry: every tenth turn goes to the less urgent ranks, in rotation."""
        self._turn += 1
        waiting = [rank for rank in Rank if self._waits(rank)]
        if not waiting:
            return None
        lower = waiting[1:]
        turn = self._turn % 10
        return self._take(lower[turn] if turn < len(lower) else waiting[0])

    def drain(self) -> list[Entry]:
        """Empty the queue."""
        entries = []
        for rank in Rank:
            while self._waits(rank):
                entries.append(self._take(rank))
        return entries

    def _waits(self, rank: Rank) -> bool:
        entries = self._ranks[rank]
        while entries and not (entries[0].queued and entries[0].rank is rank):
            entries.popleft()
        return bool(entries)

    def _take(self, rank: Rank) -> Entry:
        entry = self._ranks[rank].popleft()
        entry.queued = False
        self._count -= 1
        return entry
