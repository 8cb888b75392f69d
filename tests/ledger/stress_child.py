"""Processes that trouble a ledger: one that keeps it locked, one whose disk stops answering."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from typing import Any

from presence_manager import PresenceManager, Settings
from presence_manager.hosts.daemon import run_until_stopped
from presence_manager.ledger.database import Database


def lock(path: str) -> None:
    """Keep the write lock, as a database browser does, until a line comes."""
    connection = sqlite3.connect(path)
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.readline()
    connection.rollback()


def hang(*users: str) -> None:
    """Hold these users; from then on no statement of the ledger ends, deep within SQLite."""

    async def work(presence: PresenceManager) -> None:
        for user in users:
            await presence.hold(user, "Busy")
        ledger: Any = presence._ledger
        entered = threading.Event()

        def never() -> int:
            entered.set()
            threading.Event().wait()
            return 0

        def stop(db: Database) -> None:
            db.connection.set_progress_handler(never, 1)

        stuck = asyncio.create_task(ledger._run(stop, writes=False))
        await asyncio.to_thread(entered.wait)
        stuck.cancel()
        print("holding", flush=True)
        await asyncio.Future()

    status = asyncio.run(run_until_stopped(Settings(), work))
    print("ended", status, flush=True)
    sys.exit(status)


if __name__ == "__main__":
    assert os.environ.get("PRESENCE_GRAPH__BASE_URL", "") or sys.argv[1] == "lock"
    {"lock": lock, "hang": hang}[sys.argv[1]](*sys.argv[2:])
