"""The short cut of a plan says what the long way says; whose attempt is taken over, and when."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core import change, ending
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.plan import SEND_WITHIN, Now, conclude, judged, take_over

AT = 1_800_000_000.0
KEY = Key(LaneId("https://graph.example", "app", "tenant"), "user")
CLEAR = Attempt(Verb.CLEAR, "me", 7, inf)
PAIR = PAIRS[0]

instants = st.sampled_from([0.0, AT - 5.0, AT, AT + 5.0])
rows = st.builds(
    Session,
    key=st.just(KEY),
    version=st.integers(1, 9),
    owner=st.sampled_from(["me", "you"]),
    clock=st.sampled_from(["me", "you"]),
    wishes=st.sampled_from(
        [(), (Wish("w", "me", PAIR, 600.0, AT, AT + 1.0),), (Wish("w", "me", PAIR, 600.0, AT, AT),)]
    ),
    known=st.sampled_from([Known.SHOWN, Known.UNSURE, Known.ABSENT]),
    pair=st.sampled_from([None, PAIR]),
    due=st.sampled_from([inf, AT + 3.0]),
    may_live_until=st.sampled_from([AT - 900.0, AT + 900.0]),
    attempt=st.sampled_from([CLEAR, CLEAR._replace(number=8), None]),
    sets_settle=instants,
    clears_settle=instants,
    doubt=st.booleans(),
    answer=st.sampled_from([None, Kind.CLEARED, Kind.ALREADY_GONE]),
    attempts=st.integers(0, 3),
    sweeps=st.sampled_from([("one",), ("one", "two")]),
)
verdicts = st.builds(
    Verdict,
    judgement=st.sampled_from([Judgement.DONE, Judgement.GONE]),
    sent_at=st.sampled_from([AT - 7.0, AT - 1.0]),
    at=st.just(AT),
    status=st.just(200),
    request_id=st.sampled_from(["", "a-name"]),
)


@given(rows, verdicts)
def test_a_session_that_is_simply_gone(row: Session, verdict: Verdict) -> None:
    if row.known is Known.ABSENT and row.attempt is not None:
        row = row._replace(known=Known.SHOWN)  # no row is cleared that is known to be absent
    now = Now(at=AT, owner="me", terms=Terms(), lease=lambda _: 600.0, graph=AT)
    try:
        long = conclude(change.advance(row, CLEAR, verdict, "me", now.terms), now, verdict)
    except RuntimeError:
        return
    short = judged(row, CLEAR, verdict, now)
    assert (short.action, short.outcomes, short.delete) == (long.action, long.outcomes, long.delete)
    if not short.delete:
        assert short == long


def test_the_short_cut_is_taken() -> None:
    row = Session(key=KEY, version=3, known=Known.SHOWN, attempt=CLEAR, sweeps=("one",))
    assert ending.simply_gone([row], [CLEAR], [Verdict(Judgement.DONE, AT, AT, 200)], AT, "me")[0]


class TestTakeOver:
    """A living process's attempt is closed by nobody whose clock happens to be ahead."""

    TAKES = SEND_WITHIN + Terms().timeout + Terms().margin
    DAY = 86_400.0

    def closed(self, row: Session, graph: float | None, waited: float = 0.0) -> bool:
        now = Now(at=AT, owner="me", terms=Terms(), lease=lambda _: 600.0, graph=graph)
        return take_over(row, now, waited).row.attempt is None

    def row(self, age: float, skew: float | None, clock: str = "you") -> Session:
        """A set that was begun `age` seconds ago, by a clock that Graph is ahead of by `skew`."""
        send_by = AT - (skew or 0.0) - age + SEND_WITHIN
        attempt = Attempt(Verb.SET, "you", 7, send_by, "w", PAIR, 600.0)
        return Session(
            key=KEY, version=3, known=Known.UNSURE, attempt=attempt, clock=clock, skew=skew
        )

    @pytest.mark.parametrize("skew", [0.0, DAY, -DAY])
    def test_by_the_clock_that_wrote_it_if_graphs_tells_what_that_says(self, skew: float) -> None:
        assert self.closed(self.row(self.TAKES, skew), AT)
        assert not self.closed(self.row(self.TAKES - 0.01, skew), AT)

    @pytest.mark.parametrize(
        ("graph", "row"),
        [(None, (DAY, DAY)), (AT, (DAY, None)), (AT, (DAY, DAY, "me")), (AT, (DAY, DAY, "who"))],
    )
    def test_else_by_our_own_when_we_have_waited_for_longer_than_any_takes(
        self, graph: float | None, row: tuple[Any, ...]
    ) -> None:
        assert not self.closed(self.row(*row), graph, self.TAKES - 0.01)
        assert self.closed(self.row(*row), graph, self.TAKES)

    def test_but_not_one_that_may_leave_at_any_time(self) -> None:
        row = self.row(self.DAY, 0.0)
        assert row.attempt is not None
        row = row._replace(attempt=row.attempt._replace(send_by=inf))
        assert not self.closed(row, AT, self.DAY)

    def test_we_wait_for_each_attempt_anew(self) -> None:
        entry = Entry(self.row(0.0, None), Rank.SET)
        assert [entry.waited(AT), entry.waited(AT + 5.0)] == [0.0, 5.0]
        attempt = entry.row.attempt
        assert attempt is not None
        entry.see(entry.row._replace(version=4, attempt=attempt._replace(number=8)))
        assert [entry.waited(AT + 6.0), entry.waited(AT + 8.0)] == [0.0, 2.0]
