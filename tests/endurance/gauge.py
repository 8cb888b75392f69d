"""What may grow: the process's memory, descriptors, tasks and threads, and what our parts keep."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from pathlib import Path

from presence_manager import PresenceManager
from presence_manager.ledger.database import Database
from presence_manager.ledger.sqlite import SqliteLedger

MEMORY = {"rss KiB": 12 * 1024, "blocks": 12_000, "objects": 3_000}
"""What a process may have more of at the end than when it was warm: caches, and chance."""
PAGES = 64
"""Pages by which the ledger file may be larger: its trees are never full in the same way."""


def ours() -> Counter[str]:
    """How many objects of each of our types, and of those of asyncio, are alive."""
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        module = getattr(kind, "__module__", "")
        if module.startswith(("presence_manager", "_asyncio", "asyncio", "aiohttp")):
            found[kind.__qualname__] += 1
    return found


def process() -> dict[str, int]:
    """Descriptors, tasks and threads."""
    return {
        "descriptors": len(list(Path("/dev/fd").iterdir())),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }


def parts(presence: PresenceManager) -> dict[str, int]:
    """What the parts of a manager keep while nothing is held; all of it is to be nothing."""
    works = presence._works
    kept: Counter[str] = Counter()
    for lane in works.lanes:
        gate, desk = lane.gate, lane.desk
        kept["desk entries"] += len(desk)
        kept["desk inbox"] += len(desk._inbox)
        kept["queue"] += len(desk.queue)
        kept["queue's places"] += sum(len(line.row) + len(line._heap) for line in desk.queue._lines)
        kept["waiting for time"] += len(desk.later)
        kept["lane's tasks"] += len(lane._tasks)
        kept["requests in flight"] += lane.in_flight
        kept["gate: out"] += gate._out
    kept["renewals"] += len(works.renewer)
    kept["renewer's looks"] += len(works.renewer._looking)
    kept["sweeps"] += len(works.sweeper._running)
    kept["sweeps being cut"] += len(works.sweeper._cutting)
    kept["sweeps' refills"] += len(works.sweeper._fetching)
    kept["holds"] += len(presence._holds)
    kept["holds' tasks"] += len(presence._holds._tasks)
    kept["background"] += len(presence._background)
    return dict(kept)


def bounded(presence: PresenceManager) -> dict[str, tuple[int, int]]:
    """What may be kept, and how much of it at most."""
    works = presence._works
    found = {"renewer's heap": (len(works.renewer._heap), 2 * len(works.renewer) + 1_000 + 1)}
    for lane in works.lanes:
        gate = lane.gate
        for name, window in (("past", gate._past), ("renewed", gate._renewed)):
            window.total(works.now().at + 2 * gate.window)
            found[f"gate: {name}"] = (len(window._past), 0)
        # forgets when it is asked: a fixed budget's never is, and then nothing may be in it
        accepted = gate.budget._accepted
        accepted.total(works.now().at + 2 * gate.window)
        found["budget: accepted"] = (len(accepted._past), 0)
    return found


async def ledger_file(ledger: SqliteLedger) -> dict[str, int]:
    """Pages in use, and rows that are to be none."""

    def look(db: Database) -> dict[str, int]:
        def one(sql: str) -> int:
            return int(db.connection.execute(sql).fetchone()[0])

        pages = one("PRAGMA page_count") - one("PRAGMA freelist_count")
        wal = Path(f"{db.path}-wal")
        return {
            "pages": pages,
            "sessions": one("SELECT count(*) FROM sessions"),
            "holds": one("SELECT count(*) FROM holds"),
            "wal MiB": wal.stat().st_size >> 20 if wal.exists() else 0,
        }

    return await ledger._run(look, writes=False)


def memory() -> dict[str, int]:
    """What is resident, in KiB, and how many blocks and objects are alive."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "rss KiB": resident >> 10,
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
    }
