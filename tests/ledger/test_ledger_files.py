"""Files that cannot be used: one clear error that names the file, and nothing changed in it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from ledger_samples import ALL, OWN, key, new, row

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Step
from presence_manager.errors import LedgerError, LedgerUnusable
from presence_manager.ledger import SqliteLedger
from presence_manager.ledger.database import Database
from presence_manager.ledger.schema import APPLICATION_ID, MIGRATIONS

USERS = [f"{n:036}" for n in range(500)]


async def made(path: Path) -> bytes:
    """Make a ledger with rows, closed, and return its bytes."""
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.put(new(*USERS))
    await ledger.close()
    return path.read_bytes()


def other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def marked(application: int, version: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA application_id = {application}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("VACUUM")
        connection.close()

    return make


def emptied(path: Path) -> None:
    path.touch()
    path.with_name(path.name + "-wal").write_bytes(b"sessions")


NEWER = len(MIGRATIONS) + 1


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is not a file"),
        (lambda path: path.write_text("hello\n" * 500), "is not a ledger"),
        (lambda path: path.write_text("x"), "is not a ledger"),
        (other_program, "is a database of another program"),
        (marked(0, 0), "is a database of another program"),
        (marked(7, 1), "is a database of another program"),
        (marked(APPLICATION_ID, NEWER), f"is of schema version {NEWER}.*newer release"),
        (emptied, "has been emptied, but its -wal file"),
        (lambda path: path.symlink_to(path), "cannot be used"),
    ],
)
async def test_what_is_no_ledger_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    names = sorted(file.name for file in tmp_path.iterdir())
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerUnusable, match=what) as caught:
        await ledger.open()
    assert f"the ledger {path} " in str(caught.value)
    assert "nothing was changed in it. " in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert not path.is_file() or path.read_bytes() == before
    with pytest.raises(LedgerError, match="not open"):
        await ledger.get([])
    await ledger.close()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda data: bytes(100) + data[100:], "first bytes are damaged"),
        (lambda data: data[: len(data) // 2], "is damaged"),
        (lambda data: data[:4096] + b"\xa5" * 8192 + data[12288:], "is damaged"),
        (lambda data: data[:4096] + bytes(len(data) - 4096), "is damaged"),
        (lambda data: data[:100] + b"\xff" * 3996 + data[4096:], "is damaged"),
    ],
)
async def test_a_damaged_ledger_is_refused_and_left_alone(
    tmp_path: Path, damage: Callable[[bytes], bytes], what: str
) -> None:
    path = tmp_path / "ledger.db"
    data = damage(await made(path))
    path.write_bytes(data)
    with pytest.raises(LedgerUnusable, match=what) as caught:
        await SqliteLedger(path).open()
    assert str(path) in str(caught.value)
    assert re.search("restore a copy", str(caught.value))
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("name", "what"),
    [("file/ledger.db", "file where a folder should be"), ("x" * 300, "too long a name")],
)
async def test_a_place_that_cannot_be(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnusable, match=what):
        await SqliteLedger(tmp_path / name).open()


async def test_a_ledger_locked_for_long(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await made(path)
    ledger = SqliteLedger(path, busy_timeout=0.02)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnusable, match=r"locked by another program for more than 0\.02 s"):
        await ledger.open()
    other.execute("ROLLBACK")
    await ledger.open()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match=r"locked by another.*nothing of this call was saved"):
        await ledger.put(new("a"))
    assert await ledger.get([key("a")]) == [row("a", 0)], "who only reads does not wait"
    other.execute("ROLLBACK")
    assert await ledger.put(new("a")) == {}
    other.close()
    await ledger.close()


async def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o600)
    await made(path)
    ledger = SqliteLedger(path)
    await ledger.open()
    assert len(await ledger.page(OWN, None, 1000)) == 500
    await ledger.close()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db", busy_timeout=0.02)
    await ledger.open()
    yield ledger
    await ledger.close()


async def pragma(ledger: SqliteLedger, text: str) -> None:
    def run(db: Database) -> None:
        db.connection.execute(f"PRAGMA {text}").fetchall()

    await ledger._run(run, writes=False)


async def test_a_full_disk_in_mid_run(ledger: SqliteLedger) -> None:
    await ledger.put(new("before"))
    await pragma(ledger, "max_page_count = 1")
    with pytest.raises(
        LedgerError, match=r"disk is full: nothing of this call.*Make room"
    ) as caught:
        await ledger.put(new(*USERS))
    assert not isinstance(caught.value, LedgerUnusable)
    await pragma(ledger, "max_page_count = 100000")
    assert await ledger.put(new("after")) == {}
    assert [r.key.user for r in await ledger.page(OWN, None, 9)] == ["after", "before"]


async def test_a_ledger_that_turns_read_only_in_mid_run(ledger: SqliteLedger) -> None:
    await pragma(ledger, "query_only = ON")
    with pytest.raises(LedgerError, match="cannot be written: nothing of this call was saved"):
        await ledger.put(new("a"))
    assert await ledger.get([key("a")]) == [row("a", 0)]


@pytest.mark.parametrize("instead", [False, True])
async def test_a_file_removed_or_replaced_in_mid_run(ledger: SqliteLedger, instead: bool) -> None:
    await ledger.put(new("a"))
    aside = ledger.path.with_name("aside")
    ledger.path.rename(aside)
    if instead:
        ledger.path.touch()
    with pytest.raises(LedgerError, match=r"removed or replaced.*nothing of this call was saved"):
        await ledger.put(new("b"))
    aside.rename(ledger.path)
    assert await ledger.put(new("b")) == {}


@pytest.mark.parametrize("which", ["-wal", "-shm"])
@pytest.mark.parametrize("instead", [False, True])
async def test_a_file_beside_it_removed_or_replaced_in_mid_run(
    ledger: SqliteLedger, which: str, instead: bool
) -> None:
    """SQLite itself goes on with a file that has no name any more: all in it would be lost."""
    await ledger.put(new("a"))
    beside = ledger.path.with_name(ledger.path.name + which)
    aside = ledger.path.with_name("aside")
    beside.rename(aside)
    if instead:
        beside.touch()
    with pytest.raises(LedgerError, match=r"-wal or -shm file.*nothing of this call was saved"):
        await ledger.put(new("b"))
    assert [r.key.user for r in await ledger.page(OWN, None, 9)] == ["a"]
    aside.rename(beside)
    assert await ledger.put(new("b")) == {}


async def test_damage_in_mid_run(ledger: SqliteLedger) -> None:
    await ledger.put(new(*USERS))
    other = sqlite3.connect(ledger.path)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    other.close()
    await pragma(ledger, "shrink_memory")
    size = ledger.path.stat().st_size
    descriptor = os.open(ledger.path, os.O_WRONLY)
    os.pwrite(descriptor, b"\xa5" * (size - 4096), 4096)
    for use in (ledger.get([key(USERS[0])]), ledger.put(new("a")), ledger.page(OWN, None, 9)):
        with pytest.raises(LedgerError, match=r"is damaged.*Put it aside"):
            await use
    os.close(descriptor)


async def test_rows_that_make_no_sense(ledger: SqliteLedger) -> None:
    outcome = Outcome(key=key("a"), kind=Kind.CLEARED, sweep_id="s", at=1.0)
    await ledger.put([Step(0, row("a"), (outcome,))])
    other = sqlite3.connect(ledger.path)
    other.execute("UPDATE sessions SET known = 'perhaps'")
    other.execute("UPDATE outcomes SET kind = 'perhaps'")
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match="is damaged: the row of user a holds 'perhaps'"):
        await ledger.get([key("a")])
    with pytest.raises(LedgerError, match="is damaged: an outcome holds 'perhaps'"):
        await ledger.outcomes(ALL, 0, 9)


async def test_a_row_that_is_not_found_where_it_was_read(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presence_manager.ledger.puts._apply", lambda *_: False)
    with pytest.raises(LedgerError, match="not found again"):
        await ledger.put(new("a"))
