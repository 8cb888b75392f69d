"""The ledger's contract in any order: what the file answers, the one in memory answers too.

Between two steps the file may be closed and opened again: nothing of it may depend on that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Step, Wish
from presence_manager.core.verdict import Verb
from presence_manager.ledger import MemoryLedger, SqliteLedger
from presence_manager.ledger.writer import InlineWriter
from presence_manager.ports import Budget, Draw, Ledger, Query, Scope, Search

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
LANES = [LaneId(ORIGIN, APP, "t1"), LaneId(ORIGIN, APP, "t2"), LaneId(ORIGIN, "app-2", "t1")]
KEYS = [Key(lane, user) for lane in LANES for user in ("a", "b", "c")]
OWNERS = ["me", "you", "they"]
SWEEPS = ["s1", "s2"]

NAMED = st.tuples(st.sampled_from("xyz"), st.sampled_from(["", *OWNERS]), st.integers(0, 3))


def wish(name: str, owner: str, number: int) -> Wish:
    return Wish(name, owner, PAIRS[number] if number else None, 600.0, float(number))


def session(**fields: Any) -> Session:
    return Session(key=KEYS[0], **fields)


ROWS = st.builds(
    session,
    owner=st.sampled_from(OWNERS),
    clock=st.sampled_from(OWNERS),
    skew=st.sampled_from([None, -1.5]),
    wishes=st.lists(NAMED, max_size=3, unique_by=lambda named: named[0]).map(
        lambda named: tuple(wish(*each) for each in named)
    ),
    known=st.sampled_from(Known),
    pair=st.none() | st.sampled_from(PAIRS),
    due=st.sampled_from([1.0, 5.0, float("inf")]),
    may_live_until=st.floats(0.0, 10.0),
    attempt=st.sampled_from([None, Attempt(Verb.CLEAR, "you", 7, 30.0)]),
    clears_settle=st.sampled_from([0.0, 7.0]),
    doubt=st.booleans(),
    answer=st.none() | st.sampled_from(Kind),
    attempts=st.integers(0, 5),
    sweeps=st.lists(st.sampled_from(SWEEPS), unique=True).map(tuple),
)
ENDS = st.lists(
    st.tuples(st.sampled_from(SWEEPS), st.sampled_from(Kind), st.integers(0, 9)), max_size=2
)
STEPS = st.lists(
    st.tuples(st.sampled_from(KEYS), ROWS, st.booleans(), st.sampled_from([0, 0, 0, 1]), ENDS),
    max_size=4,
    unique_by=lambda step: step[0],
)


class Ledgers(RuleBasedStateMachine):
    """Two ledgers to which the same is done."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.place = tempfile.TemporaryDirectory()
        self.memory = MemoryLedger()
        self.version = 0
        self.entered: set[str] = set()
        self.run(self.memory.open())
        self.file = self.opened()

    def opened(self) -> SqliteLedger:
        ledger = SqliteLedger(Path(self.place.name) / "l.db", writer=InlineWriter())
        self.run(ledger.open())
        return ledger

    @property
    def ledgers(self) -> list[Ledger]:
        return [self.file, self.memory]

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    def both(self, ask: Callable[[Ledger], Awaitable[Any]]) -> Any:
        """Do it to both; what they answer is the same."""
        answer = self.run(ask(self.file))
        assert answer == self.run(ask(self.memory))
        return answer

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.file.close())
            self.place.cleanup()
            self.loop.close()

    @rule(steps=STEPS)
    def put(self, steps: list[Any]) -> None:
        """Steps of which some expect another version than there is."""
        made = []
        for key, like, delete, off, ends in steps:
            (before,) = self.run(self.memory.get([key]))
            self.version += 1
            row = like._replace(key=key, version=self.version)
            told = tuple(Outcome(key, kind, sweep, float(at)) for sweep, kind, at in ends)
            made.append(Step(before.version + off, row, told, delete, before.wishes != row.wishes))
        self.both(lambda ledger: ledger.put(made))

    @rule(
        tenant=st.sampled_from([None, "t1", "t2", "t3"]),
        sweep=st.sampled_from([None, *SWEEPS]),
        whose=st.sampled_from([None, *OWNERS]) | st.frozensets(st.sampled_from(OWNERS)),
        limit=st.integers(1, 4),
    )
    def page(self, tenant: str | None, sweep: str | None, whose: Any, limit: int) -> None:
        scope = Scope(
            origin=ORIGIN,
            app=APP,
            tenant=tenant,
            sweep=sweep,
            owner=whose if isinstance(whose, str) else None,
            orphans_of=whose if isinstance(whose, frozenset) else None,
        )
        after: Key | None = None
        while rows := self.both(lambda ledger: ledger.page(scope, after, limit)):  # noqa: B023
            assert len(rows) <= limit
            assert after is None or (after.lane.tenant, after.user) < (rows[0].tenant, rows[0].user)
            after = rows[-1].key

    @rule(
        tenant=st.sampled_from([None, "t1", "t2"]),
        sweep=st.sampled_from([None, *SWEEPS]),
        kind=st.none() | st.sampled_from(Kind),
        user=st.sampled_from([None, "a", "b"]),
        since=st.sampled_from([None, 4.0]),
        limit=st.integers(1, 4),
    )
    def outcomes(self, limit: int, sweep: str | None, **narrow: Any) -> None:
        query = Query(origin=ORIGIN, app=APP, sweep_id=sweep, **narrow)
        all_of_them = []
        for ledger in self.ledgers:
            found: list[tuple[int, Outcome]] = []
            while more := self.run(ledger.outcomes(query, found[-1][0] if found else 0, limit)):
                found += more
            assert [place for place, _ in found] == sorted({place for place, _ in found})
            all_of_them.append([outcome for _, outcome in found])
        assert all_of_them[0] == all_of_them[1]

    @rule(
        known=st.none() | st.sampled_from(Known),
        held=st.sampled_from([None, True, False]),
        text=st.sampled_from(["", "a", "x"]),
    )
    def look(self, known: Known | None, held: bool | None, text: str) -> None:
        search = Search(origin=ORIGIN, app=APP, known=known, held=held, text=text)
        self.both(lambda ledger: ledger.search(search, None, 99))
        self.both(lambda ledger: ledger.tally(ORIGIN, APP, 2.0))
        self.both(lambda ledger: ledger.foreign(ORIGIN, APP))
        self.both(lambda ledger: ledger.history(ORIGIN, APP, 2.0, 3.0))
        for sweep in SWEEPS:
            self.both(lambda ledger, sweep=sweep: ledger.told(sweep, KEYS))  # type: ignore[misc]
        rows = self.both(lambda ledger: ledger.get(KEYS))
        lanes = self.run(self.file.lanes(ORIGIN, APP))
        assert {row.key.lane for row in rows if row.version and row.key.lane.app == APP} <= {*lanes}

    @rule(before=st.integers(0, 9))
    def forget(self, before: int) -> None:
        self.both(lambda ledger: ledger.forget(float(before)))

    @rule(lane=st.sampled_from(LANES), proven=st.integers(0, 9), until=st.floats(0.0, 9.0))
    def save_budget(self, lane: LaneId, proven: int, until: float) -> None:
        budget = Budget(proven, until, closed_at=until - 9.5)
        self.both(lambda ledger: ledger.save_budget(lane, budget))

    @rule(
        lane=st.sampled_from(LANES),
        owner=st.sampled_from(OWNERS),
        uses=st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 5)), max_size=2).map(tuple),
        want=st.integers(0, 6),
        now=st.floats(0.0, 10.0),
    )
    def draw(self, lane: LaneId, owner: str, uses: Any, want: int, now: float) -> None:
        draw = Draw(now=now, uses=uses, want=want, limit=10, until=now + 5.0)
        here, there = [self.run(ledger.draw(lane, owner, draw)) for ledger in self.ledgers]
        assert (here.granted, here.budget) == (there.granted, there.budget)
        assert here.granted <= want
        assert sorted(here.others) == sorted(there.others)
        self.both(lambda ledger: ledger.budget(lane))

    @rule(owner=st.sampled_from(OWNERS), here=st.booleans(), marked=st.booleans())
    def owner(self, owner: str, here: bool, marked: bool) -> None:
        if here and owner not in self.entered:
            self.entered.add(owner)
            self.both(lambda ledger: ledger.enter(owner))
            self.both(lambda ledger: ledger.mark(owner, on=marked))
        elif not here:
            self.entered.discard(owner)
            self.both(lambda ledger: ledger.leave(owner))
        assert self.both(lambda ledger: ledger.alive()) == self.entered
        self.both(lambda ledger: ledger.marked())

    @rule()
    def close_and_open(self) -> None:
        for owner in self.entered:
            self.both(lambda ledger, owner=owner: ledger.leave(owner))  # type: ignore[misc]
        self.entered.clear()
        self.run(self.file.close())
        self.file = self.opened()


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(stateful_step_count=30, max_examples=settings().max_examples // 2)
