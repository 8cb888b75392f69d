"""What seldom happens to a ledger: each is one branch that nothing else goes through."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from pathlib import Path
from weakref import WeakSet

import pytest
from ledger_samples import APP, LANE, ORIGIN, key, new, row

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Step
from presence_manager.errors import LedgerError, LedgerUnusable
from presence_manager.ledger import SqliteLedger, database, owners, schema, sqlite
from presence_manager.ledger.database import Database
from presence_manager.ledger.owners import OwnerLocks
from presence_manager.ledger.writer import ThreadWriter


async def test_a_tally_of_damaged_rows_says_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.put(new("a"))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE sessions SET known = 'perhaps'")
    other.close()
    with pytest.raises(LedgerError, match=r"ledger\.db.*perhaps"):
        await ledger.tally(ORIGIN, APP, 0.0)
    await ledger.close()


async def test_a_history_of_damaged_outcomes_says_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    outcome = Outcome(key("a"), Kind.CLEARED, "one", 1000.0)
    await ledger.put([Step(0, row("a"), (outcome,))])
    assert await ledger.history(ORIGIN, APP, 0.0, 60.0) == [(16, Kind.CLEARED, 1)]
    with sqlite3.connect(path) as other:
        other.execute("UPDATE outcomes SET kind = 'perhaps'")
    other.close()
    with pytest.raises(LedgerError, match=r"ledger\.db.*perhaps"):
        await ledger.history(ORIGIN, APP, 0.0, 60.0)
    await ledger.close()


def test_a_file_without_the_right_to_write_is_refused_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"")
    monkeypatch.setattr(schema.os, "access", lambda *_: False)  # for root it never says so
    with pytest.raises(LedgerUnusable, match="cannot be written by this user"):
        schema.open_file(path, 0.1)
    assert path.read_bytes() == b""


async def test_a_ledger_carried_over_a_fork_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    monkeypatch.setattr(sqlite.os, "getpid", lambda: -1)
    with pytest.raises(LedgerError, match="carried over a fork"):
        await ledger.get([key("a")])
    await ledger.close()  # not ours to close
    monkeypatch.undo()
    await ledger.close()


async def test_a_file_that_was_open_at_the_fork_is_not_opened_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a forked child does (see test_ledger_processes), in this process."""
    monkeypatch.setattr(database, "_inherited", set())
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    database._note_inherited()
    with pytest.raises(LedgerUnusable, match="open when this process was forked"):
        Database(tmp_path / "ledger.db", 0.1)
    Database(tmp_path / "other.db", 0.1).close()
    await ledger.close()


@pytest.mark.parametrize("looking", [False, True])
def test_a_forked_child_has_no_share_in_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looking: bool
) -> None:
    monkeypatch.setattr(owners, "_all", WeakSet())
    monkeypatch.setattr(owners, "_looking", threading.Lock())
    locks = OwnerLocks(tmp_path / "ledger.db.owners")
    locks.enter("one")
    if looking:  # another thread was at it when the process was forked
        owners._looking.acquire()
    owners._after_fork_in_child()
    assert not owners._looking.locked()
    assert OwnerLocks(tmp_path / "ledger.db.owners").dead() == {"one"}


def test_a_database_that_gave_up_its_transaction_itself_is_not_rolled_back_again(
    tmp_path: Path,
) -> None:
    db = Database(tmp_path / "ledger.db", 0.1)
    db.lane(LANE)
    assert db.find_lane(LANE) is not None
    db._undo_all()
    assert not db.connection.in_transaction
    db.close()


async def test_a_caller_that_is_cancelled_as_patience_ends_is_told_once(tmp_path: Path) -> None:
    writer = ThreadWriter(patience=0.01)
    await writer.start(lambda: Database(tmp_path / "ledger.db", 0.1))
    entered, open_ = threading.Event(), threading.Event()

    def hang(_: Database) -> None:
        entered.set()
        open_.wait()

    caller = asyncio.create_task(writer.run(hang, writes=False))
    other = asyncio.create_task(writer.run(lambda _: None, writes=False))
    await asyncio.to_thread(entered.wait)
    stopping = asyncio.create_task(writer.stop(lambda: None))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.011, caller.cancel)
    time.sleep(0.05)
    await stopping
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(LedgerError, match="whether this call was saved is not known"):
        await other
    open_.set()
    await asyncio.to_thread(os.sched_yield)


def test_a_file_that_is_not_there_is_not_marked(tmp_path: Path) -> None:
    assert not owners._is_marked(tmp_path / "gone.lock")
