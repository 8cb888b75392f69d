"""The short cut of a plan says what the long way says."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core import change, ending
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.engine.plan import Now, conclude, judged

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
    assert ending.simply_gone(row, CLEAR, Verdict(Judgement.DONE, AT, AT, 200), AT, "me")
