"""A bundle's request while nothing comes between: it is judged and written down as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from presence_manager.core.ending import simply_gone
from presence_manager.core.outcome import Outcome
from presence_manager.core.session import ends
from presence_manager.core.verdict import Verdict
from presence_manager.engine.bundle import Bundle
from presence_manager.engine.commit import settle
from presence_manager.engine.entry import Entry
from presence_manager.engine.plan import Now, gone
from presence_manager.errors import LedgerError

if TYPE_CHECKING:
    from presence_manager.engine.lane import Lane


def may_leave(lane: Lane, bundle: Bundle) -> bool:
    """Whether nothing has come between since the bundle was taken in."""
    now = lane.clock.now()
    if bundle.entries is not None or lane.stopping:
        return False
    if bundle.deadline < now or now < lane.gate.closed_until:
        return False
    return lane.unsent.issuperset([attempt.number for _, attempt in bundle.asks])


async def record(
    lane: Lane,
    bundle: Bundle,
    verdicts: Sequence[Verdict],
    now: Now,
    noted: Callable[[list[Entry]], list[Entry]],
) -> None:
    """Commit that all its sessions are gone, if it is so.

    Where that cannot be done, each is seen to by itself, after `noted` has told it why.
    """
    rows, attempts = bundle.rows, [attempt for _, attempt in bundle.asks]
    told: list[tuple[Outcome, ...]] = []
    if bundle.entries is None:
        told = simply_gone(rows, attempts, verdicts, now.at, now.owner)
    if not (told and all(told)):
        await lane.books.apply(noted(lane.desk.entries_of(bundle)))
        return
    try:
        lost = await lane.books.put(ends(rows, told))
    except (LedgerError, asyncio.CancelledError) as error:
        await lane.books.apply(noted(lane.desk.entries_of(bundle)), error)
        return
    if not lost and bundle.entries is None:
        lane.end(bundle, [outcome for each in told for outcome in each])
        return
    entries = noted(lane.desk.entries_of(bundle))
    for entry, row, each in zip(entries, rows, told, strict=True):
        entry.plan = gone(row, each)
    done: list[Entry] = []
    left = settle(zip(entries, rows, strict=True), lost, done, lane.moment)
    lane.books.deliver(done)
    await lane.books.apply(left)
