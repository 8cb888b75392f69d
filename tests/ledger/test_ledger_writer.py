"""The writer thread: shared commits, failures kept apart, callers that go away, bounded ends."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import ALL, OWN, key, new, row

from presence_manager.core.session import Step
from presence_manager.errors import LedgerError
from presence_manager.ledger import SqliteLedger, database, writer
from presence_manager.ledger.database import Database
from presence_manager.ledger.writer import InlineWriter, ThreadWriter

Statements = list[str]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The first words of every statement of every ledger opened in this test."""
    seen: Statements = []

    def opened(*arguments: Any) -> sqlite3.Connection:
        connection = real(*arguments)
        connection.set_trace_callback(lambda sql: seen.append(sql.split()[0]))
        return connection

    real = database.open_file
    monkeypatch.setattr(database, "open_file", opened)
    return seen


@pytest.fixture
async def ledger(tmp_path: Path, traced: Statements) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db", busy_timeout=0.05)
    await ledger.open()
    yield ledger
    await ledger.close()


class Gate:
    """Keeps the writer thread busy until it is opened, so that all that comes next waits."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._job = asyncio.ensure_future(ledger._run(self._work, writes=False))

    def _work(self, _: Database) -> None:
        self._entered.set()
        self._open.wait()

    async def __aenter__(self) -> Callable[[], None]:
        await asyncio.to_thread(self._entered.wait)
        return self._open.set

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await asyncio.gather(self._job, return_exceptions=True)


async def test_callers_that_wait_share_one_commit(ledger: SqliteLedger, traced: Statements) -> None:
    async with Gate(ledger) as let_go:
        puts = [asyncio.ensure_future(ledger.put(new(f"{n}-a", f"{n}-b"))) for n in range(200)]
        await asyncio.sleep(0)
        traced.clear()
        let_go()
        assert await asyncio.gather(*puts) == [{}] * 200
    counts = Counter(traced)
    assert counts["COMMIT"] == 2, "the gate's own, and one for 200 callers"
    assert counts["SAVEPOINT"] == 200
    assert len(await ledger.page(OWN, None, 1000)) == 400


async def test_no_caller_waits_for_more_than_so_many_others(
    ledger: SqliteLedger, traced: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_TOGETHER", 4)
    async with Gate(ledger) as let_go:
        puts = [asyncio.ensure_future(ledger.put(new(str(n)))) for n in range(10)]
        await asyncio.sleep(0)
        traced.clear()
        let_go()
        await asyncio.gather(*puts)
    assert Counter(traced)["COMMIT"] == 1 + 3


async def test_nobody_is_told_before_the_commit(ledger: SqliteLedger, traced: Statements) -> None:
    other = sqlite3.connect(ledger.path)
    await ledger.put(new("a", "b"))
    assert other.execute("SELECT count(*) FROM sessions").fetchone() == (2,)
    other.close()


async def test_one_that_fails_does_not_undo_the_others(
    ledger: SqliteLedger, traced: Statements
) -> None:
    def broken(db: Database) -> None:
        db.connection.execute("DELETE FROM sessions")
        raise ZeroDivisionError("a fault of ours")

    async with Gate(ledger) as let_go:
        calls = [
            asyncio.ensure_future(ledger.put(new("a"))),
            asyncio.ensure_future(ledger._run(broken, writes=True)),
            asyncio.ensure_future(ledger.put(new("b", "a"))),
            asyncio.ensure_future(ledger.put([Step(0, row("\ud800"))])),
            asyncio.ensure_future(ledger.put([Step(0, row("c", 2**63))])),
            asyncio.ensure_future(ledger.get([key("a"), key("b")])),
        ]
        await asyncio.sleep(0)
        traced.clear()
        let_go()
        got = await asyncio.gather(*calls, return_exceptions=True)
    assert got[0] == {}
    assert isinstance(got[1], ZeroDivisionError)
    assert got[2] == {1: row("a")}
    for error in got[3:5]:
        assert isinstance(error, LedgerError)
        assert "cannot hold such a value" in str(error)
    assert got[5] == [row("a"), row("b")], "it sees what came before it in the same commit"
    assert Counter(traced)["COMMIT"] == 2
    assert [r.key.user for r in await ledger.page(OWN, None, 9)] == ["a", "b"]


async def test_a_commit_that_fails_fails_all_and_saves_nothing(ledger: SqliteLedger) -> None:
    await ledger.put(new("before"))

    def refuse(db: Database) -> None:
        db.connection.set_authorizer(
            lambda action, what, *_: (
                sqlite3.SQLITE_DENY
                if (action, what) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")
                else sqlite3.SQLITE_OK
            )
        )

    async with Gate(ledger) as let_go:
        calls = [
            asyncio.ensure_future(ledger._run(refuse, writes=False)),
            asyncio.ensure_future(ledger.put(new("a"))),
            asyncio.ensure_future(ledger.put(new("b"))),
        ]
        await asyncio.sleep(0)
        let_go()
        got = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, LedgerError) for error in got)
    assert "nothing of this call was saved" in str(got[1])
    assert got[1] is not got[2], "each caller has an error of its own"
    await ledger.close()
    await ledger.open()
    assert [r.key.user for r in await ledger.page(OWN, None, 9)] == ["before"]


async def test_those_after_a_broken_transaction_get_another(ledger: SqliteLedger) -> None:
    def give_up(db: Database) -> None:
        db.connection.execute("ROLLBACK")  # as SQLite does when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    async with Gate(ledger) as let_go:
        calls = [
            asyncio.ensure_future(ledger.put(new("undone"))),
            asyncio.ensure_future(ledger._run(give_up, writes=True)),
            asyncio.ensure_future(ledger.put(new("kept"))),
        ]
        await asyncio.sleep(0)
        let_go()
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, LedgerError)
    assert isinstance(second, LedgerError)
    assert third == {}
    assert [r.key.user for r in await ledger.page(OWN, None, 9)] == ["kept"]


async def test_a_cancelled_caller_does_not_stop_its_work(ledger: SqliteLedger) -> None:
    async with Gate(ledger) as let_go:
        put = asyncio.ensure_future(ledger.put(new("a")))
        await asyncio.sleep(0)
        put.cancel()
        await asyncio.wait([put])
        let_go()
    assert await ledger.get([key("a")]) == [row("a")]


async def test_a_loop_that_closed_is_no_matter(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()

    def other_thread() -> None:
        async def ask() -> None:
            asyncio.ensure_future(ledger.put(new("a"))).add_done_callback(lambda _: None)
            await asyncio.sleep(0)

        asyncio.run(ask())

    async with Gate(ledger):
        await asyncio.to_thread(other_thread)
    assert await ledger.get([key("a")]) == [row("a")]
    await ledger.close()


async def test_close_finishes_what_was_asked_before(ledger: SqliteLedger) -> None:
    async with Gate(ledger) as let_go:
        put = asyncio.ensure_future(ledger.put(new("a")))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(ledger.close())
        await asyncio.sleep(0)
        with pytest.raises(LedgerError, match="not open"):
            await ledger.put(new("b"))
        let_go()
        assert await put == {}
        await closing
    await ledger.open()
    assert len(await ledger.page(OWN, None, 9)) == 1


async def test_close_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", writer=ThreadWriter(patience=0.01))
    await ledger.open()
    async with Gate(ledger):
        put = asyncio.ensure_future(ledger.put(new("a")))
        await asyncio.sleep(0)
        await ledger.close()
        with pytest.raises(LedgerError, match="whether this call was saved is not known"):
            await put


async def test_an_open_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    ledger = SqliteLedger(tmp_path / "ledger.db")
    opening = asyncio.ensure_future(ledger.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    (thread,) = set(threading.enumerate()) - before
    await asyncio.to_thread(thread.join)
    await ledger.open()
    assert await ledger.outcomes(ALL, 0, 1) == []
    await ledger.close()


async def test_inline_runs_at_once_without_the_loop(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", writer=InlineWriter())
    threads = threading.active_count()
    for step in (ledger.open(), ledger.put(new("a")), ledger.enter("me")):
        with pytest.raises(StopIteration):
            step.send(None)
    with pytest.raises(LedgerError, match="cannot hold"):
        ledger.put(new("\ud800")).send(None)
    with pytest.raises(StopIteration):
        ledger.close().send(None)
    assert threading.active_count() == threads


async def test_a_writer_that_was_not_started_ends_at_once() -> None:
    for idle in (ThreadWriter(), InlineWriter()):
        await idle.stop(lambda: pytest.fail("there is nothing to end"))
