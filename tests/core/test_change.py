"""Each change that a row can undergo, on both sides of every instant."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core import change, ending
from presence_manager.core.decide import Finish, Rest, Send, Wait, decide, may_be_live
from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import LONGEST_LEASE, PAIRS
from presence_manager.core.session import Known, Session, Terms
from presence_manager.core.verdict import Judgement, Verb

from .rows import AVAILABLE, AWAY, BLANK, IN_A_CALL, NOW, TERMS, attempt, row, tried, verdict, wish
from .world import KEY

A, S, U = Known.ABSENT, Known.SHOWN, Known.UNSURE
DONE, GONE, LOST = Judgement.DONE, Judgement.GONE, Judgement.LOST
REFUSED = [Judgement.THROTTLED, Judgement.LATER, Judgement.UNAUTHORIZED, Judgement.DENIED]


def clear(state: Session, judgement: Judgement, sent_at: float = NOW) -> Session:
    return tried(state, Verb.CLEAR, judgement, sent_at)


def put(state: Session, judgement: Judgement, sent_at: float = NOW, **changes: object) -> Session:
    return tried(state, Verb.SET, judgement, sent_at, **changes)  # type: ignore[arg-type]


class TestHolds:
    def test_the_newest_is_last(self) -> None:
        held = change.hold(row(wishes=(wish("a"),)), wish("b"), NOW, "me")
        assert [each.name for each in held.wishes] == ["a", "b"]
        assert (held.version, held.owner) == (8, "me")

    def test_put_again_under_its_name_it_becomes_the_newest(self) -> None:
        held = change.hold(row(wishes=(wish("a"), wish("b"))), wish("a", pair=AWAY), NOW, "me")
        assert [(each.name, each.pair) for each in held.wishes] == [("b", IN_A_CALL), ("a", AWAY)]

    def test_those_that_are_over_are_dropped(self) -> None:
        over, at = wish("over", until=NOW), wish("at", until=NOW + 0.001)
        assert change.hold(row(wishes=(over, at)), wish(), NOW, "me").wishes == (at, wish())
        assert change.release(row(wishes=(over, at)), NOW, "me", names=frozenset()).wishes == (at,)
        assert change.expire(row(wishes=(over, at)), NOW, "me").wishes == (at,)

    def test_expire_leaves_a_row_alone_that_has_nothing_to_drop(self) -> None:
        held = row(wishes=(wish(until=NOW + 0.001),))
        assert change.expire(held, NOW, "me") is held
        assert change.expire(row(), NOW, "me").version == 7

    def test_release_by_name_and_of_all(self) -> None:
        held = row(wishes=(wish("a"), wish("b")))
        one = change.release(held, NOW, "me", names=frozenset({"a", "x"}), sweep_id="s")
        assert (one.wishes, one.sweeps) == ((wish("b"),), ("s",))
        all_of_them = change.release(one, NOW, "me", sweep_id="t")
        assert (all_of_them.wishes, all_of_them.sweeps) == ((), ("s", "t"))
        assert change.release(all_of_them, NOW, "me", sweep_id="s").sweeps == ("s", "t")
        assert change.release(all_of_them, NOW, "me").sweeps == ("s", "t")

    def test_found(self) -> None:
        unknown = change.found(BLANK, NOW + 5, "me", TERMS)
        assert (unknown.known, unknown.may_live_until, unknown.clock) == (U, NOW + 5, "me")
        for known in (S, U):
            assert change.found(row(known), NOW + 5, "me", TERMS) == row(known)
        held = row(wishes=(wish("a"),), known=Known.ABSENT)
        assert change.found(held, NOW + 5, "me", TERMS) == held

    def test_found_where_only_the_memory_of_a_lost_clear_is_left(self) -> None:
        over = row(Known.ABSENT)
        assert over.over
        assert change.found(over, NOW + 5, "me", TERMS).known is U


class TestTracked:
    def test_it_may_be_live_until_graph_ends_it(self) -> None:
        tracked = change.track(BLANK, wish(pair=None), NOW, "me", NOW + 60, TERMS)
        assert (tracked.known, tracked.may_live_until, tracked.clock) == (U, NOW + 60, "me")
        assert change.track(row(), wish(pair=None), NOW, "me", NOW + 60, TERMS).known is U

    def test_it_never_shortens_what_is_known(self) -> None:
        tracked = change.track(row(), wish(pair=None), NOW, "me", NOW + 60, TERMS)
        assert tracked.may_live_until == NOW + 630

    def test_an_answer_under_way_does_not_speak_of_it(self) -> None:
        """Found by the machine: clear out, set by others, 200: the row said absent."""
        out = change.begin(row(U, sweeps=("s",)), attempt(Verb.CLEAR), NOW, TERMS)
        tracked = change.track(out, wish("t", pair=None), NOW, "me", NOW + 300, TERMS)
        answered = change.advance(tracked, attempt(Verb.CLEAR), verdict(DONE), "me", TERMS)
        assert may_be_live(answered, TERMS, NOW + 1)
        later = clear(change.release(answered, NOW + 2, "me"), DONE, NOW + 2)
        assert later.known is A


class TestClocks:
    """Another process's clock may be slow: what it wrote is not taken at its word."""

    FAR = NOW + LONGEST_LEASE + TERMS.margin

    def test_a_set(self) -> None:
        assert change.begin(row(clock="you"), attempt(), NOW, TERMS).may_live_until == self.FAR
        begun = change.begin(row(A, clock="you"), attempt(), NOW, TERMS)
        assert begun.may_live_until == NOW + 30 + 10 + 10 + 600 + 30
        assert begun.clock == "me"

    def test_a_tracked_session(self) -> None:
        tracked = change.track(row(clock="you"), wish(pair=None), NOW, "me", NOW + 60, TERMS)
        assert (tracked.may_live_until, tracked.clock) == (self.FAR, "me")
        own = change.track(row(clock="me"), wish(pair=None), NOW, "me", NOW + 60, TERMS)
        assert own.may_live_until == NOW + 630

    def test_late_news(self) -> None:
        closed = row(U, clock="you")
        late = change.advance(closed, attempt(), verdict(DONE), "me", TERMS)
        assert (late.may_live_until, late.clock) == (self.FAR + 1, "me")

    def test_an_answer_after_somebody_else_wrote(self) -> None:
        opened = change.begin(row(A), attempt(), NOW, TERMS)
        tracked = change.track(opened, wish(pair=None), NOW + 0.5, "you", NOW + 60, TERMS)
        answered = change.advance(tracked, attempt(), verdict(DONE), "me", TERMS)
        assert answered.clock == "me"
        assert answered.may_live_until >= self.FAR

    def test_a_clear_writes_none(self) -> None:
        cleared = change.begin(row(clock="you"), attempt(Verb.CLEAR), NOW, TERMS)
        assert (cleared.clock, cleared.may_live_until) == ("you", NOW + 630)


class TestSets:
    def test_how_long_it_may_live_is_committed_before_it_leaves(self) -> None:
        begun = change.begin(row(A), attempt(), NOW, TERMS)
        assert begun.may_live_until == attempt().send_by + 10 + 10 + 600 + 30
        assert may_be_live(begun, TERMS, NOW)
        longer = change.begin(row(may_live_until=NOW + 9000), attempt(), NOW, TERMS)
        assert longer.may_live_until == NOW + 9000

    def test_a_lost_one_that_is_applied_at_the_last_moment_is_still_known(self) -> None:
        """Found by thinking: with `settle` beyond two margins it was written off while shown."""
        terms = Terms(timeout=10.0, margin=1.0, settle=60.0)
        lost = tried(row(A, sweeps=("s",)), Verb.SET, LOST, NOW + 30, terms, send_by=NOW + 30)
        ends = NOW + 30 + 1 + 60 + 600
        assert may_be_live(lost, terms, ends - 0.001)

    def test_done(self) -> None:
        held = row(A, wishes=(wish(),), doubt=True, answer=Kind.CLEARED, attempts=3)
        shown = put(held, DONE)
        assert (shown.known, shown.pair, shown.attempt) == (S, IN_A_CALL, None)
        assert shown.may_live_until == NOW + 1 + 600 + 30
        assert NOW + 240 <= shown.due <= NOW + 300
        assert (shown.doubt, shown.answer, shown.attempts) == (False, None, 0)

    @pytest.mark.parametrize(("settles", "again"), [(NOW, False), (NOW + 0.001, True)])
    @pytest.mark.parametrize("what", ["sets_settle", "clears_settle"])
    def test_after_a_lost_request_it_is_set_once_more(
        self, what: str, settles: float, again: bool
    ) -> None:
        lost = row(U, wishes=(wish(),), may_live_until=NOW + 900, doubt=True, **{what: settles})
        shown = put(lost, DONE)
        assert (shown.due == settles) is again
        assert (shown.may_live_until >= NOW + 900) is again
        assert shown.doubt is (again and what == "clears_settle")

    def test_a_hold_without_owner_is_set_once_if_that_lasts(self) -> None:
        for until, due in [(NOW + 600, inf), (NOW + 600.001, None)]:
            held = row(A, wishes=(wish(owner="", until=until),))
            shown = put(held, DONE)
            assert due is None or shown.due == due
            assert due is not None or shown.due < NOW + 301
            assert decide(shown, NOW + 1, TERMS) == Rest(min(until, shown.due))

    def test_a_hold_without_owner_is_set_once_more_after_a_lost_clear(self) -> None:
        """Found by the machine: the hold set once was not repeated after `settle` (rule 4)."""
        held = row(U, wishes=(wish(owner="", until=NOW + 300),), clears_settle=NOW + 9)
        shown = put(held, DONE)
        assert decide(shown, NOW + 8.999, TERMS) == Rest(NOW + 9)
        assert isinstance(decide(shown, NOW + 9, TERMS), Send)
        assert put(shown, DONE, NOW + 9).due == inf

    def test_lost(self) -> None:
        lost = put(row(wishes=(wish(),), answer=Kind.CLEARED), LOST)
        assert (lost.known, lost.sets_settle, lost.answer) == (U, NOW + 11, None)
        assert lost.may_live_until == NOW + 30 + 10 + 10 + 600 + 30
        assert put(row(sets_settle=NOW + 99), LOST).sets_settle == NOW + 99

    @pytest.mark.parametrize("judgement", [*REFUSED, GONE])
    @pytest.mark.parametrize("known", list(Known))
    def test_refused(self, judgement: Judgement, known: Known) -> None:
        held = row(known, wishes=(wish(), wish("b")))
        after = put(held, judgement)
        final = judgement in (Judgement.DENIED, GONE)
        assert after.known is known
        assert [each.name for each in after.wishes] == (["b"] if final else ["k", "b"])
        assert may_be_live(after, TERMS, NOW + 1) is (known is not A)

    def test_a_refusal_is_of_the_pair_that_was_asked_for(self) -> None:
        """Found by thinking: a hold put again under its name fell with its forerunner."""
        out = change.begin(row(A, wishes=(wish(),)), attempt(), NOW, TERMS)
        again = change.hold(out, wish(pair=AWAY), NOW, "me")
        refused = change.advance(again, attempt(), verdict(Judgement.DENIED), "me", TERMS)
        assert refused.wishes == (wish(pair=AWAY),)

    def test_withdrawn(self) -> None:
        opened = change.begin(row(A), attempt(), NOW, TERMS)
        closed = change.withdraw(opened, NOW, "me")
        assert (closed.attempt, closed.known) == (None, A)
        assert not may_be_live(closed, TERMS, NOW)


class TestClears:
    def test_what_each_answer_proves(self) -> None:
        assert clear(row(), DONE).answer is Kind.CLEARED
        assert clear(row(), GONE).answer is Kind.ALREADY_GONE
        assert clear(row(doubt=True), GONE).answer is Kind.GONE_AFTER_RETRY
        assert clear(row(doubt=True), DONE).answer is Kind.CLEARED

    def test_done(self) -> None:
        after = clear(row(sweeps=("s",)), DONE)
        assert (after.known, after.pair, after.due, after.attempts) == (A, None, inf, 1)

    def test_lost(self) -> None:
        after = clear(row(), LOST)
        assert (after.known, after.doubt, after.clears_settle) == (U, True, NOW + 11)
        assert clear(row(clears_settle=NOW + 99), LOST).clears_settle == NOW + 99
        assert clear(after, GONE, NOW + 2).answer is Kind.GONE_AFTER_RETRY

    @pytest.mark.parametrize("judgement", REFUSED)
    @pytest.mark.parametrize("known", [S, U])
    def test_refused(self, judgement: Judgement, known: Known) -> None:
        after = clear(row(known), judgement)
        assert (after.known, after.answer, after.doubt) == (known, None, False)

    @pytest.mark.parametrize(
        ("settles", "known"), [(NOW, A), (NOW + 0.001, U)], ids=["settled", "not settled"]
    )
    @pytest.mark.parametrize("judgement", [DONE, GONE])
    def test_a_lost_set_that_may_still_come_keeps_the_row(
        self, settles: float, known: Known, judgement: Judgement
    ) -> None:
        after = clear(row(U, sets_settle=settles), judgement)
        assert after.known is known
        if known is U:
            later = NOW + 1  # the answer came after a second, by which time it has settled
            assert decide(after, later, TERMS) == Send(Verb.CLEAR)

    def test_it_waits_for_the_set_to_settle(self) -> None:
        after = clear(row(U, sets_settle=NOW + 10), DONE)
        assert decide(after, NOW + 1, TERMS) == Wait(NOW + 10)

    @pytest.mark.parametrize(("settles", "doubt"), [(NOW + 1, False), (NOW + 1.001, True)])
    def test_a_lost_clear_stays_in_doubt_until_it_has_settled(
        self, settles: float, doubt: bool
    ) -> None:
        assert clear(row(doubt=True, clears_settle=settles), GONE).doubt is doubt
        assert clear(row(doubt=False, clears_settle=settles), GONE).doubt is False

    def test_the_200_of_an_unsettled_clear_explains_a_later_404(self) -> None:
        """Found by thinking: set lost, cleared (200), held, set lost, 404: was `already_gone`."""
        state = put(row(A, wishes=(wish(),)), LOST)
        state = clear(change.release(state, NOW + 2, "me", sweep_id="s"), DONE, NOW + 2)
        state = ending.finish(change.hold(state, wish(), NOW + 3, "me"), NOW + 3, "me")
        state = put(state, LOST, NOW + 4)
        state = clear(change.release(state, NOW + 6, "me", sweep_id="t"), GONE, NOW + 20)
        assert state.answer is Kind.GONE_AFTER_RETRY

    def test_a_lost_clear_explains_the_404_although_there_was_one_before(self) -> None:
        """Found by thinking: set lost, 404, applied late, clear lost, 404: was `already_gone`."""
        state = put(row(A), LOST)
        state = clear(state, GONE, NOW + 2)
        assert (state.known, state.answer) == (U, Kind.ALREADY_GONE)
        state = clear(state, LOST, NOW + 12)
        assert clear(state, GONE, NOW + 14).answer is Kind.GONE_AFTER_RETRY
        held = change.hold(state, wish(), NOW + 14, "me")._replace(sweeps=("s",))
        assert decide(held, NOW + 14, TERMS) == Finish(Kind.SUPERSEDED, gone=False)

    def test_what_was_proven_by_a_200_stays_proven(self) -> None:
        state = clear(put(row(A), LOST), DONE, NOW + 2)
        state = clear(clear(state, LOST, NOW + 12), GONE, NOW + 14)
        assert (state.answer, state.known) == (Kind.CLEARED, A)

    def test_attempts_are_the_clears_that_left(self) -> None:
        """Found by thinking: refused sets were counted as requests of the clearing."""
        state = put(put(row(wishes=(wish(),)), Judgement.THROTTLED), LOST)
        state = clear(clear(state, Judgement.LATER), Judgement.THROTTLED)
        assert state.attempts == 1
        assert clear(state, DONE).attempts == 2


class TestAfterDeath:
    def test_an_abandoned_set_may_have_been_applied(self) -> None:
        opened = change.begin(row(A), attempt(), NOW, TERMS)
        state = change.abandon(opened, NOW + 5, "you", TERMS)
        assert (state.known, state.attempt, state.sets_settle) == (U, None, NOW + 15)
        assert state.may_live_until == opened.may_live_until
        assert (state.owner, state.clock) == ("you", "me")

    def test_an_abandoned_clear_may_have_been_applied(self) -> None:
        opened = change.begin(row(), attempt(Verb.CLEAR), NOW, TERMS)
        state = change.abandon(opened, NOW + 5, "you", TERMS)
        assert (state.known, state.doubt, state.clears_settle) == (U, True, NOW + 15)

    def test_the_numbers_of_two_processes_are_not_confused(self) -> None:
        theirs = attempt(owner="you")
        opened = change.begin(row(A), theirs, NOW, TERMS)
        state = change.advance(opened, attempt(), verdict(DONE), "me", TERMS)
        assert state.attempt == theirs
        again = change.begin(row(A), attempt(number=2), NOW, TERMS)
        state = change.advance(again, attempt(number=1), verdict(DONE), "me", TERMS)
        assert state.attempt == attempt(number=2)

    @pytest.mark.parametrize("verb", list(Verb))
    @pytest.mark.parametrize("judgement", [*REFUSED, GONE])
    def test_late_news_of_what_was_not_applied_changes_nothing(
        self, verb: Verb, judgement: Judgement
    ) -> None:
        closed = row(U)
        news = verdict(judgement)
        assert change.advance(closed, attempt(verb), news, "me", TERMS) is closed

    @pytest.mark.parametrize("judgement", [DONE, LOST])
    @pytest.mark.parametrize("known", list(Known))
    def test_late_news_of_a_set_leaves_doubt(self, judgement: Judgement, known: Known) -> None:
        closed = row(known, answer=Kind.CLEARED, may_live_until=NOW)
        late = change.advance(closed, attempt(), verdict(judgement), "me", TERMS)
        assert (late.known, late.sets_settle, late.answer) == (U, NOW + 11, None)
        assert late.may_live_until == NOW + 11 + 600 + 30

    def test_late_news_of_a_set_brings_back_a_row_that_is_gone(self) -> None:
        late = change.advance(BLANK, attempt(), verdict(DONE), "me", TERMS)
        assert late.version
        assert may_be_live(late, TERMS, NOW)

    @pytest.mark.parametrize("judgement", [DONE, LOST])
    @pytest.mark.parametrize("known", list(Known))
    def test_late_news_of_a_clear_leaves_doubt(self, judgement: Judgement, known: Known) -> None:
        """Found by thinking: a row that was absent, with a set about to leave, forgot it."""
        late = change.advance(row(known), attempt(Verb.CLEAR), verdict(judgement), "me", TERMS)
        assert (late.doubt, late.clears_settle) == (True, NOW + 11)
        assert late.known is (A if known is A else U)

    def test_late_news_of_a_clear_of_what_is_gone_is_no_news(self) -> None:
        news = verdict(LOST)
        assert change.advance(BLANK, attempt(Verb.CLEAR), news, "me", TERMS) is BLANK


class TestEnds:
    def test_finish(self) -> None:
        done = row(A, sweeps=("s",), answer=Kind.CLEARED, attempts=2)
        after = ending.finish(done, NOW, "me")
        assert (after.sweeps, after.answer, after.attempts) == ((), None, 0)

    def test_one_outcome_for_each_sweep(self) -> None:
        done = row(A, sweeps=("s", "t"), attempts=2)
        told = ending.outcomes(done, Kind.CLEARED, NOW, "me", verdict(DONE), "why")
        assert [outcome.sweep_id for outcome in told] == ["s", "t"]
        assert {(o.kind, o.attempts, o.owner, o.reason, o.at) for o in told} == {
            (Kind.CLEARED, 2, "me", "why", NOW)
        }
        assert ending.outcomes(row(), Kind.CLEARED, NOW, "me", None) == ()
        assert ending.outcomes(done, Kind.LAPSED, NOW, "me", None)[0].status is None


class TestRenewal:
    @given(st.uuids(), st.sampled_from(PAIRS), st.integers(300, 14_400))
    def test_it_comes_before_half_of_the_lease_and_before_available_fades(
        self, user: object, pair: object, lease: int
    ) -> None:
        key = Key(KEY.lane, str(user))
        due = change.renewal_due(key, pair, lease, NOW)  # type: ignore[arg-type]
        assert lease * 0.4 <= due - NOW <= lease * 0.5 or pair is AVAILABLE
        if pair is AVAILABLE:
            assert min(lease / 2, 240) * 0.8 <= due - NOW <= min(lease / 2, 240)

    def test_what_was_set_in_one_burst_is_not_renewed_in_one(self) -> None:
        users = [Key(KEY.lane, f"{n:08x}-0000-4000-8000-000000000000") for n in range(1000)]
        due = sorted(change.renewal_due(key, IN_A_CALL, 600, NOW) for key in users)
        assert due[-1] - due[0] > 55
        assert max(b - a for a, b in pairwise(due)) < 1


class TestAdopting:
    SETTLING = row(owner="you", sets_settle=NOW - 500.0, clears_settle=NOW + 86_400.0)

    def test_what_another_process_gave_up_settles_from_now_on(self) -> None:
        adopted = change.adopt(self.SETTLING, NOW, "me", TERMS)
        assert (adopted.sets_settle, adopted.clears_settle) == (NOW + 10.0, NOW + 10.0)
        assert change.adopt(adopted, NOW + 1.0, "me", TERMS) is adopted
        assert adopted.version == self.SETTLING.version

    def test_what_never_was_in_doubt_is_not(self) -> None:
        certain = row(owner="you")
        assert change.adopt(certain, NOW, "me", TERMS) is certain
        one = change.adopt(self.SETTLING._replace(sets_settle=0.0), NOW, "me", TERMS)
        assert (one.sets_settle, one.clears_settle) == (0.0, NOW + 10.0)

    def test_so_does_the_memory_of_a_clear_whatever_that_clock_said(self) -> None:
        for until in (NOW - 86_400.0, NOW + 86_400.0):
            memory = row(Known.ABSENT, owner="you", clears_settle=until)
            assert memory.over
            assert change.adopt(memory, NOW, "me", TERMS).clears_settle == NOW + 10.0


class TestInherit:
    """Holds of the dead are gone on with, where somebody can still end them."""

    GONE = frozenset({"dead", "gone"})

    def test_those_with_a_name_change_hands(self) -> None:
        dead = [wish("k", owner="dead"), wish("x", owner="gone", until=NOW + 1)]
        before = row(wishes=(*dead, wish("m")))
        after = change.inherit(before, self.GONE, NOW, "me")
        assert [(each.name, each.owner) for each in after.wishes] == [
            ("k", "me"), ("x", "me"), ("m", "me"),
        ]  # fmt: skip
        assert (after.version, after.owner) == (8, "me")

    def test_the_others_are_left_as_they_are(self) -> None:
        nameless = wish("~x", owner="dead")
        assert not nameless.resumable
        over = wish("o", owner="dead", until=NOW)
        living = wish("l", owner="you")
        before = row(wishes=(nameless, over, living))
        assert change.inherit(before, self.GONE, NOW, "me") is before
        mixed = before._replace(wishes=(*before.wishes, wish("k", owner="gone")))
        after = change.inherit(mixed, self.GONE, NOW, "me")
        assert after.wishes == (*before.wishes, wish("k", owner="me"))

    def test_a_new_row_begins_at_its_birth(self) -> None:
        before = BLANK._replace(wishes=(wish("k", owner="gone"),))
        assert change.inherit(before, self.GONE, NOW, "me").version == int(NOW * 1e6)
