"""The file: its mode, its settings, its version, and the way from one version to the next."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import OWN, key, new, row

from presence_manager.core.key import LaneId
from presence_manager.errors import LedgerUnusable
from presence_manager.gate.door import CLOSED_AT_MOST, closed_for
from presence_manager.ledger import SqliteLedger, schema
from presence_manager.ledger.database import SQL, Database
from presence_manager.ledger.queries import statements
from presence_manager.ports import Budget


@pytest.fixture(autouse=True)
def _open_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nobody_else_may_read_what_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.put(new("a"))
    await ledger.enter("me")
    modes = {str(file.relative_to(tmp_path)): mode(file) for file in tmp_path.rglob("*")}
    assert modes == {
        "new": 0o700,
        "new/folder": 0o700,
        "new/folder/ledger.db": 0o600,
        "new/folder/ledger.db-wal": 0o600,
        "new/folder/ledger.db-shm": 0o600,
        "new/folder/ledger.db.owners": 0o700,
        "new/folder/ledger.db.owners/me.lock": 0o600,
    }
    assert not any("chmod" in warning for warning in ledger.warnings())
    await ledger.close()


async def test_it_is_durable_and_marked(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()

    def settings(db: Database) -> list[object]:
        names = ("journal_mode", "synchronous", "application_id", "user_version")
        return [db.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    found = await ledger._run(settings, writes=False)
    assert found == ["wal", 2, schema.APPLICATION_ID, len(schema.MIGRATIONS)]
    await ledger.close()


async def test_a_ledger_behind_a_link_is_one_ledger(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    linked, real = SqliteLedger(tmp_path / "link.db"), SqliteLedger(tmp_path / "real.db")
    await linked.open()
    await real.open()
    await linked.enter("one")
    assert await real.alive() == {"one"}
    await linked.put(new("a"))
    assert await real.get([key("a")]) == [row("a")]
    await linked.close()
    await real.close()


async def test_a_name_that_a_uri_would_read_otherwise(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "a%20b?mode=memory#ü \udcff.db")
    await ledger.open()
    await ledger.close()
    assert len(list(tmp_path.glob("a%20b[?]mode=memory#ü *.db"))) == 1


NOW = len(schema.MIGRATIONS)
SECOND = ["ALTER TABLE sessions ADD COLUMN note TEXT", "CREATE TABLE notes (text TEXT)"]


async def test_an_older_ledger_is_brought_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.put(new("a"))
    await ledger.close()
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, SECOND])
    await ledger.open()
    assert await ledger.get([key("a")]) == [row("a")]
    assert await ledger.put(new("b")) == {}
    await ledger.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (NOW + 1,)
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    connection.close()
    monkeypatch.undo()
    with pytest.raises(LedgerUnusable, match=rf"schema version {NOW + 1}.*knows none beyond {NOW}"):
        await ledger.open()


async def test_the_door_of_an_older_ledger_is_shut_for_an_hour_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
    connection = schema.open_file(path, 1.0)
    connection.execute("INSERT INTO lanes VALUES (1, 'o', 'a', 't', 700, 1e9, 2.5, 600.0)")
    connection.close()
    monkeypatch.undo()
    ledger = SqliteLedger(path)
    await ledger.open()
    budget = await ledger.budget(LaneId("o", "a", "t"))
    assert budget == Budget(700, 1e9, 2.5, 600.0)
    assert closed_for(budget) == CLOSED_AT_MOST
    await ledger.save_budget(LaneId("o", "a", "t"), whole := budget._replace(closed_at=1e9 - 5.0))
    assert await ledger.budget(LaneId("o", "a", "t")) == whole
    await ledger.close()


async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.put(new("a"))
    await ledger.close()
    broken = [*SECOND, "CREATE TABLE notes (again TEXT)"]
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, SECOND[:1], broken[1:]])
    with pytest.raises(LedgerUnusable, match="already exists"):
        await ledger.open()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (NOW + 1,), "each on its own"
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone()
    connection.close()
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS[: NOW + 1], broken[1:2]])
    await ledger.open()
    assert len(await ledger.page(OWN, None, 9)) == 1
    await ledger.close()


async def test_a_migration_that_another_process_did_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    quicker = SqliteLedger(path)
    real = schema._version

    def late(connection: sqlite3.Connection, name: Path) -> int:
        version = real(connection, name)
        monkeypatch.setattr(schema, "_version", real)
        schema.open_file(path, 1.0).close()  # another opens it first
        return version

    monkeypatch.setattr(schema, "_version", late)
    await quicker.open()
    assert await quicker.put(new("a")) == {}
    await quicker.close()


def test_a_script_is_split_into_statements() -> None:
    script = (
        "-- a; b\nCREATE TABLE x (\n a TEXT DEFAULT ';'\n);\n\n"
        "CREATE TRIGGER t AFTER DELETE ON x\nBEGIN\n DELETE FROM y;\nEND;\n"
    )
    first, second = statements(script)
    assert first.startswith("-- a; b\nCREATE TABLE x")
    assert second.endswith("END;")
    with pytest.raises(ValueError, match="within a statement"):
        statements("CREATE TABLE x (")


def test_every_query_has_a_name_of_its_own() -> None:
    assert len(SQL) == 29
    assert all(sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE") for sql in SQL.values())


def test_a_file_that_another_process_makes_meanwhile_is_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    real = schema._value

    def value(*asked: Any) -> Any:
        found = real(*asked)
        monkeypatch.setattr(schema, "_value", real)
        schema.open_file(path, 5.0).close()
        return found

    monkeypatch.setattr(schema, "_value", value)
    schema.open_file(path, 5.0).close()
