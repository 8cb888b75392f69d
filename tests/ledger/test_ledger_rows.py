"""Any row that can be, goes in and comes out the same; any sequence of steps, on both ledgers."""

from __future__ import annotations

import asyncio
import tempfile
from math import inf
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import ALL, LANE, OWN, key, new

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import PAIRS, Pair
from presence_manager.core.session import Attempt, Known, Session, Step, Wish
from presence_manager.core.verdict import Verb
from presence_manager.ledger import MemoryLedger, SqliteLedger
from presence_manager.ledger.writer import InlineWriter
from presence_manager.ports import Ledger

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
IDS = st.text("abcdef0123456789-", min_size=1, max_size=8)
TIMES = st.just(inf) | st.floats(0, 4e9, allow_nan=False)
SETTABLE = st.sampled_from([*PAIRS, Pair("Later", "Perhaps/More")])
WISHES = st.builds(
    Wish,
    name=TEXT,
    owner=TEXT,
    pair=st.none() | SETTABLE,
    lease=TIMES,
    made_at=TIMES,
    until=TIMES,
)
ATTEMPTS = st.builds(
    Attempt,
    verb=st.sampled_from(Verb),
    owner=TEXT,
    number=st.integers(0, 2**62),
    send_by=TIMES,
    wish=TEXT,
    pair=st.none() | SETTABLE,
    lease=TIMES,
)
ROWS = st.builds(
    Session,
    key=st.builds(Key, st.just(LANE), IDS),
    version=st.integers(1, 2**62),
    owner=TEXT,
    clock=TEXT,
    wishes=st.lists(WISHES, max_size=3).map(tuple),
    known=st.sampled_from(Known),
    pair=st.none() | SETTABLE,
    due=TIMES,
    may_live_until=TIMES,
    attempt=st.none() | ATTEMPTS,
    sets_settle=TIMES,
    clears_settle=TIMES,
    doubt=st.booleans(),
    answer=st.none() | st.sampled_from(Kind),
    attempts=st.integers(0, 10**6),
    sweeps=st.lists(IDS, max_size=3).map(tuple),
)


async def round_trip(row: Session) -> None:
    with tempfile.TemporaryDirectory() as place:
        ledger = SqliteLedger(Path(place) / "l.db", writer=InlineWriter())
        await ledger.open()
        for step in (
            Step(0, row, wishes=True),
            Step(row.version, row, wishes=True),
        ):
            assert await ledger.put([step]) == {}
            (got,) = await ledger.get([row.key])
            assert got == row
            assert type(got.doubt) is bool
        assert await ledger.page(OWN, None, 9) == [row]
        await ledger.close()


@given(row=ROWS)
def test_any_row_comes_back_as_it_was(row: Session) -> None:
    asyncio.run(round_trip(row))


STEP = st.tuples(
    st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 3), st.booleans(), st.booleans()
)
OUTCOME = st.none() | st.tuples(st.sampled_from(Kind), st.sampled_from(["s", "t"]))
PUT = st.lists(st.tuples(STEP, OUTCOME), max_size=3, unique_by=lambda item: item[0][0])


def steps_of(
    put: list[tuple[tuple[str, int, int, bool, bool], tuple[Kind, str] | None]],
) -> list[Step]:
    steps = []
    for (user, expected, version, delete, held), end in put:
        wish = Wish(name="w", owner=str(version), pair=PAIRS[0], lease=1.0, made_at=2.0)
        row = Session(key=key(user), version=version, wishes=(wish,) if held else ())
        outcomes = ()
        if end:
            outcomes = (Outcome(key=row.key, kind=end[0], sweep_id=end[1], at=float(version)),)
        steps.append(Step(expected, row, outcomes, delete, wishes=True))
    return steps


async def same_on_both(puts: list[list[Step]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        sqlite = SqliteLedger(Path(place) / "l.db", writer=InlineWriter())
        ledgers: list[Ledger] = [MemoryLedger(), sqlite]
        for ledger in ledgers:
            await ledger.open()
        for steps in puts:
            one, other = [await ledger.put(steps) for ledger in ledgers]
            assert one == other
        rows = [await ledger.page(OWN, None, 99) for ledger in ledgers]
        assert rows[0] == rows[1]
        outcomes = [[o for _, o in await ledger.outcomes(ALL, 0, 99)] for ledger in ledgers]
        assert outcomes[0] == outcomes[1]
        for ledger in ledgers:
            await ledger.close()


@given(puts=st.lists(PUT.map(steps_of), max_size=8))
def test_any_steps_do_the_same_on_both_ledgers(puts: list[list[Step]]) -> None:
    asyncio.run(same_on_both(puts))


async def test_text_from_outside_that_is_not_unicode_is_no_reason_to_lose_an_outcome(
    tmp_path: Path,
) -> None:
    ledger = SqliteLedger(tmp_path / "l.db")
    await ledger.open()
    await ledger.put(new("a"))
    outcome = Outcome(
        key=key("a"), kind=Kind.FAILED, sweep_id="s", at=1.0, code="ü\ud800", message="\udfff!"
    )
    assert await ledger.put([Step(1, Session(key=key("a"), version=2), (outcome,))]) == {}
    ((_, kept),) = await ledger.outcomes(ALL, 0, 9)
    assert (kept.code, kept.message) == ("ü?", "?!")
    await ledger.close()


async def test_forget_goes_on_until_nothing_is_left(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l.db", writer=InlineWriter())
    await ledger.open()
    outcomes = tuple(
        Outcome(key=key("a"), kind=Kind.CLEARED, sweep_id=str(n), at=1.0) for n in range(10_001)
    )
    await ledger.put([Step(0, Session(key=key("a"), version=1), outcomes, delete=True)])
    assert await ledger.forget(2.0) == 10_001
    assert await ledger.outcomes(ALL, 0, 9) == []
    await ledger.close()
