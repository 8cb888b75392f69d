"""Real processes on one ledger file: races, kills, forks."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ledger_samples import OWN, child, key, new

from presence_manager.errors import LedgerError
from presence_manager.ledger import SqliteLedger


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db", busy_timeout=30.0)
    await ledger.open()
    yield ledger
    await ledger.close()


async def test_owners_of_other_processes_are_seen(ledger: SqliteLedger) -> None:
    await ledger.enter("me")
    with child("enter", ledger.path, "one", "two") as other:
        assert other.line() == "in"
        assert await ledger.alive() == {"me", "one", "two"}
        other.go()
        assert other.line() == "out"
        assert await ledger.alive() == {"me"}


async def test_owners_5_an_owner_killed_is_dead_at_once_until_it_leaves(
    ledger: SqliteLedger,
) -> None:
    with child("enter", ledger.path, "one") as other, child("enter", ledger.path, "two") as second:
        assert (other.line(), second.line()) == ("in", "in")
        other.kill()
        assert await ledger.alive() == {"two"}
        assert await ledger.dead() == {"one"}
        await ledger.leave("one")
        assert await ledger.dead() == frozenset()
        folder = Path(f"{ledger.path}.owners")
        assert [file.name for file in folder.iterdir()] == ["two.lock"]
        await ledger.enter("one")
        assert await ledger.alive() == {"one", "two"}


async def test_owners_6_a_mark_outlives_its_process(tmp_path: Path) -> None:
    first = SqliteLedger(tmp_path / "ledger.db")
    await first.open()
    await first.enter("me")
    await first.mark("me", on=True)
    await first.close()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    assert await ledger.marked() == await ledger.dead() == {"me"}
    await ledger.leave("me")
    assert await ledger.marked() == frozenset()
    await ledger.close()


async def test_the_name_of_a_living_process_is_taken(ledger: SqliteLedger) -> None:
    with child("enter", ledger.path, "one") as other:
        other.line()
        with pytest.raises(LedgerError, match=r"named one.*Give each process a name"):
            await ledger.enter("one")
        await ledger.leave("one")
        assert await ledger.alive() == {"one"}, "only its own process can let it leave"


@pytest.mark.parametrize("processes", [2, 4])
async def test_of_those_that_race_only_one_wins(ledger: SqliteLedger, processes: int) -> None:
    users = [str(n) for n in range(20)]
    await ledger.put(new(*users))
    with ExitStack() as stack:
        racers = [
            stack.enter_context(child("race", ledger.path, name, 60)) for name in "abcd"[:processes]
        ]
        assert [racer.line() for racer in racers] == ["ready"] * processes
        for racer in racers:
            racer.go()
        won = [int(racer.line()) for racer in racers]
    rows = await ledger.get([key(user) for user in users])
    assert sum(session.version - 1 for session in rows) == sum(won)
    assert min(won) > 0, "one of them was starved"


async def test_what_was_said_to_be_saved_outlives_a_kill(ledger: SqliteLedger) -> None:
    with child("write", ledger.path) as other:
        for _ in range(20):
            said = other.line()
        other.kill()
        said = [said, *filter(None, other.rest())][-1]
    (session,) = await ledger.get([key("a")])
    assert session.version in (int(said), int(said) + 1)


async def test_many_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.db"
    with ExitStack() as stack:
        others = [stack.enter_context(child("first", path)) for _ in range(4)]
        for other in others:
            assert other.line() == "ready"
        for other in others:
            other.go()
        assert [other.line() for other in others] == ["done"] * 4
    ledger = SqliteLedger(path)
    await ledger.open()
    assert len(await ledger.page(OWN, None, 9)) == 4
    await ledger.close()


@pytest.mark.parametrize("writer", ["thread", "inline"])
async def test_a_forked_child_is_refused_and_keeps_no_lock(
    ledger: SqliteLedger, writer: str
) -> None:
    with child("fork", ledger.path, writer) as parent:
        for _ in range(2):
            assert "carried over a fork" in parent.line()
        assert "when this process was forked" in parent.line()
        forked = int(parent.line())
        try:
            assert await ledger.alive() == {"parent"}
            parent.kill()
            os.kill(forked, 0)  # it lives
            assert await ledger.alive() == frozenset()
            assert await ledger.put(new("a")) == {}
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_child_may_open_what_was_closed_before_the_fork(tmp_path: Path) -> None:
    with child("fork_closed", tmp_path / "ledger.db") as other:
        assert other.line() == "opened"


def test_a_disk_that_hangs_does_not_hold_up_the_end_of_the_process(tmp_path: Path) -> None:
    with child("hang", tmp_path / "ledger.db") as other:
        assert other.line() == "end"
        assert other.process.wait(30) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_another_user_is_told_that_it_has_no_right() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        ledger = SqliteLedger(folder / "ledger.db")
        await ledger.open()
        await ledger.put(new("a"))
        await ledger.close()
        before = ledger.path.read_bytes()
        for name, what in (("ledger.db", "cannot be written by this user"), ("x.db", "accessed")):
            with child("open_as_nobody", folder / name) as other:
                said = other.line()
            assert str(folder / name) in said
            assert what in said
            assert "nothing was changed in it" in said
        assert [file.name for file in folder.iterdir()] == ["ledger.db"]
        assert ledger.path.read_bytes() == before
