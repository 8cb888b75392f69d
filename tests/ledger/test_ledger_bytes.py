"""A ledger file in which anything may stand: sound answers or a LedgerError, and an end of it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_samples import ALL, APP, LANE, ORIGIN, OWN, key, new, row

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Step
from presence_manager.errors import LedgerError, LedgerUnusable
from presence_manager.ledger import SqliteLedger
from presence_manager.ledger.writer import InlineWriter
from presence_manager.ports import Draw

USERS = [f"{n:036}" for n in range(40)]
Use = Callable[[SqliteLedger], Awaitable[Any]]
USES: list[Use] = [
    lambda ledger: ledger.get([key(user) for user in USERS]),
    lambda ledger: ledger.page(OWN, None, 100),
    lambda ledger: ledger.outcomes(ALL, 0, 100),
    lambda ledger: ledger.tally(ORIGIN, APP, 0.0),
    lambda ledger: ledger.lanes(ORIGIN, APP),
    lambda ledger: ledger.budget(LANE),
    lambda ledger: ledger.draw(LANE, "me", Draw(1.0, ((9.0, 2),), 1, 5, 9.0)),
    lambda ledger: ledger.put(new("fresh")),
    lambda ledger: ledger.forget(0.5),
    lambda ledger: ledger.foreign("x", "y"),
]


async def made(path: Path) -> None:
    ledger = SqliteLedger(path, writer=InlineWriter())
    await ledger.open()
    for user in USERS:
        outcome = Outcome(key=key(user), kind=Kind.FAILED, sweep_id="s", at=1.0)
        await ledger.put([Step(0, row(user, owner="me", sweeps=("s",)), (outcome,))])
    await ledger.draw(LANE, "other", Draw(1.0, ((9.0, 2),), 1, 5, 9.0))
    await ledger.close()


async def used(path: Path, meanwhile: Callable[[], None] | None = None) -> int:
    """Open it and use it in every way; how many of these failed as they should."""
    ledger = SqliteLedger(path, writer=InlineWriter())
    failed = 0
    try:
        await ledger.open()
    except LedgerError:
        return len(USES) + 1
    if meanwhile is not None:
        meanwhile()
    for use in USES:
        try:
            await use(ledger)
        except LedgerError as error:
            assert str(path) in str(error)  # noqa: PT017
            failed += 1
    await ledger.close()
    return failed


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "ledger.db"
    asyncio.run(made(path))
    return path


@pytest.mark.parametrize("seed", range(4))
async def test_bits_that_flipped_anywhere(sound: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "ledger.db"
    damaged = 0
    for _ in range(25):
        data = bytearray(sound.read_bytes())
        for _ in range(chance.choice([1, 1, 8, 64])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        damaged += await used(path) > 0
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert damaged


@pytest.mark.parametrize("at_open", [True, False])
async def test_a_torn_end(sound: Path, tmp_path: Path, at_open: bool) -> None:
    path, whole = tmp_path / "ledger.db", sound.read_bytes()
    for length in (0, 1, 99, 100, 512, 4095, 4096, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole)
        if at_open:
            path.write_bytes(whole[:length])
            await used(path)
            continue
        ledger = SqliteLedger(path)
        await ledger.open()
        with path.open("r+b") as file:
            file.truncate(length)
        for use in USES:
            try:
                await use(ledger)
            except LedgerError as error:
                assert str(path) in str(error)  # noqa: PT017
        await ledger.close()


ODD = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["shown", "Busy/InACall", "\x1b[31m", "a\nb", "set", "1e400:3", "9.0:x"])
)
_numbers = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


def columns_of(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as other:
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        return [
            (table, line[1])
            for (table,) in other.execute(names).fetchall()
            for line in other.execute(f"PRAGMA table_info({table})")
        ]


@settings(max_examples=60)
@given(which=st.integers(0, 999), value=ODD)
@pytest.mark.parametrize("mid_run", [False, True])
def test_anything_in_any_column(
    sound: Path, place: Path, mid_run: bool, which: int, value: object
) -> None:
    path = place / f"{next(_numbers)}.db"
    path.write_bytes(sound.read_bytes())
    columns = columns_of(path)
    table, column = columns[which % len(columns)]

    def spoil() -> None:
        with closing(sqlite3.connect(path)) as other, suppress(sqlite3.Error, UnicodeEncodeError):
            other.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
            other.commit()

    if not mid_run:
        spoil()
    asyncio.run(used(path, spoil if mid_run else None))
    path.unlink()


@pytest.mark.parametrize("value", ["soon", b"1", b""])
async def test_a_value_of_another_type_is_damage(tmp_path: Path, value: object) -> None:
    path = tmp_path / "ledger.db"
    await made(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE sessions SET due = ?", (value,))
        other.commit()
    with pytest.raises(LedgerUnusable, match=r"is damaged: nothing was changed.*Put it aside"):
        await SqliteLedger(path).open()
