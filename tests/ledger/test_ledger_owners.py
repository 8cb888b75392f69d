"""Lock files: what may happen between opening a file, locking it and removing it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from presence_manager.errors import LedgerError
from presence_manager.ledger import SqliteLedger, owners
from presence_manager.ledger.owners import OwnerLocks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db.owners"


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_file_removed_before_it_was_locked_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = owners.lock_descriptor
    calls = []

    def slow(descriptor: int, *, blocking: bool) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            (folder / "one.lock").unlink()
        if len(calls) == 2:
            (folder / "one.lock").unlink()
            (folder / "one.lock").touch()
        return real(descriptor, blocking=blocking)

    monkeypatch.setattr(owners, "lock_descriptor", slow)
    locks, other = OwnerLocks(folder), OwnerLocks(folder)
    locks.enter("one")
    assert len(calls) == 3
    monkeypatch.undo()
    assert other.alive() == {"one"}
    with pytest.raises(LedgerError):
        other.enter("one")
    locks.let_go()
    assert other.alive() == frozenset()
    assert other.dead() == {"one"}
    other.leave("one")
    assert list(folder.iterdir()) == []


def test_a_file_gone_while_looking_is_no_owner(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    monkeypatch.setattr(owners.os, "listdir", lambda _: ["gone.lock"])
    assert OwnerLocks(folder).alive() == frozenset()


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").touch()
    (folder / "dead.lock").touch()
    assert OwnerLocks(folder).alive() == frozenset()
    assert OwnerLocks(folder).dead() == {"dead"}
    OwnerLocks(folder).leave("dead")
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    target = tmp_path / "target"
    (folder / "one.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        OwnerLocks(folder).enter("one")
    assert not target.exists()


@pytest.mark.parametrize("use", ["enter", "alive"])
def test_a_file_system_without_locks_leaks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    def unable(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    folder.mkdir()
    (folder / "one.lock").touch()
    monkeypatch.setattr(owners, "lock_descriptor", unable)
    locks = OwnerLocks(folder)
    before = open_descriptors()
    with pytest.raises(OSError, match="No locks"):
        _ = locks.enter("one") if use == "enter" else locks.alive()
    assert open_descriptors() == before


def test_nothing_stays_open(folder: Path) -> None:
    before = open_descriptors()
    locks, other = OwnerLocks(folder), OwnerLocks(folder)
    locks.enter("one")
    locks.enter("two")
    other.alive()
    locks.leave("one")
    other.alive()
    locks.drop_inherited()
    assert other.alive() == frozenset()
    assert open_descriptors() == before


@pytest.mark.parametrize("marked", [False, True])
def test_a_file_that_somebody_removed_is_put_back(folder: Path, marked: bool) -> None:
    before = open_descriptors()
    locks, other = OwnerLocks(folder), OwnerLocks(folder)
    locks.enter("one")
    locks.enter("two")
    locks.mark("one", on=marked)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert other.alive() == frozenset()
    other.enter("two")  # another process has this name by now
    assert locks.dead() == frozenset()
    assert other.alive() == {"one", "two"}
    assert other.marked() == ({"one"} if marked else frozenset())
    with pytest.raises(LedgerError):
        other.enter("one")
    other.leave("two")
    locks.let_go()
    assert other.dead() == {"one"}
    assert open_descriptors() == before


def test_a_fork_waits_only_so_long_for_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_FORK_PATIENCE", 0.0)
    with owners._looking:
        owners._before_fork()
        owners._after_fork()
        assert owners._looking.locked()
    owners._before_fork()
    owners._after_fork()
    assert not owners._looking.locked()


async def test_what_the_system_refuses_is_a_ledger_error(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    with pytest.raises(LedgerError, match="too long a name: nothing of this call was saved"):
        await ledger.enter("x" * 300)
    await ledger.close()
