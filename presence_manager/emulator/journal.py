"""The server's truth: what was judged, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Entry:
    """One operation that was judged.

    ``at`` is the emulator's clock, POSIX seconds. ``status`` is what the client was told, or was
    being told when a fault cut the answer off; None where nothing was said. ``applied``: the state
    was changed (or read). ``answered``: a whole answer was written, which becomes true only then;
    that is why an entry is not frozen. ``fault`` names the effect that was at work. ``late`` marks
    the second line of an operation that was applied after its answer was lost; its first line
    stands where it arrived. ``availability`` and ``activity`` are what was asked for.
    """

    at: float
    tenant: str
    app: str
    user: str
    verb: str
    status: int | None
    applied: bool
    answered: bool
    in_batch: bool
    fault: str | None
    request_id: str = ""
    availability: str = ""
    activity: str = ""
    late: bool = False


class Journal:
    """The entries, and the figures that are cheaper to keep than to count.

    ``keep`` bounds the memory of a long run: the newest so many entries, None for all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.entries: list[Entry] = []
        self.operations = 0
        self.refused = 0
        self.dropped = 0
        self._keep = keep

    def add(self, entry: Entry) -> None:
        """Write one line; the figures count operations, so a late line is not counted again."""
        self.entries.append(entry)
        if not entry.late:
            self.operations += 1
            if entry.status == 429:
                self.refused += 1
        if self._keep is not None and len(self.entries) > 2 * self._keep:
            surplus = len(self.entries) - self._keep
            del self.entries[:surplus]
            self.dropped += surplus
