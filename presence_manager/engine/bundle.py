"""Sessions that leave in one request unless something comes between: nearly all of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from presence_manager.core.decide import Send
from presence_manager.core.key import Key
from presence_manager.core.session import Attempt, Session
from presence_manager.engine.entry import Entry, Rank, Waiting

FULL_BATCH = 20
"""Sessions in one $batch (Graph: json-batching)."""

Asks = list[tuple[Key, Attempt]]
"""Which attempts a request makes."""


def asks_of(rows: Iterable[Session]) -> Asks:
    """The open attempts of these rows."""
    return [(row.key, row.attempt) for row in rows if row.attempt is not None]


class Bundle(Waiting):
    """The entries of a full batch that nobody has had to make yet.

    Each of the `rows` has an open clear of ours. Whoever has to do with one of them splits the
    bundle (`Desk.split`): it is its `entries` from then on, in whatever state it is.
    """

    __slots__ = ("asks", "entries", "rows", "send")

    def __init__(self, rows: Sequence[Session], rank: Rank, deadline: float, send: Send) -> None:
        super().__init__(rows[0], rank, deadline)
        self.rows = rows
        self.asks = asks_of(rows)
        self.send = send
        self.entries: list[Entry] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def landed(self) -> None:
        """Its request is over, for those entries too that were made while it was in flight."""
        super().landed()
        for entry in self.entries or ():
            entry.landed()

    def split(self) -> list[Entry]:
        """Make its entries, in the state that it is in."""
        entries = [Entry(row, self.rank, self.deadline) for row in self.rows]
        for entry in entries:
            entry.decided, entry.send = entry.row, self.send
            entry.busy, entry.scope = self.busy, self.scope
        return entries
