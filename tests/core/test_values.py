"""Keys, pairs, leases, holds and the small print of a row."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core.key import LaneId, guid, is_folded
from presence_manager.core.outcome import Kind, Outcome, Report
from presence_manager.core.pair import PAIRS, Pair, checked_lease, pair_of, shortest_lease
from presence_manager.core.session import Attempt, Session, alike, step

from .rows import BLANK, NOW, attempt, row, wish
from .world import KEY

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class TestIds:
    def test_a_guid_has_one_spelling(self) -> None:
        assert guid(GUID.upper(), "user") == guid(GUID, "user") == GUID

    @given(st.uuids())
    def test_every_guid_is_one(self, value: object) -> None:
        spelled = str(value).upper()
        assert guid(spelled, "tenant") == str(value)
        assert is_folded(str(value))
        assert is_folded(spelled) is (spelled == str(value))

    @pytest.mark.parametrize(
        ("text", "way"),
        [
            ("", "an id looks like"),
            ("me", "an id looks like"),
            (GUID[:-1], "an id looks like"),
            (GUID + "\n", "an id looks like"),
            (f"{{{GUID}}}", "an id looks like"),
            (GUID.replace("-", ""), "an id looks like"),
            ("urn:" + GUID.replace("-", ""), "an id looks like"),
            (GUID[:8] + GUID[9:] + "0", "an id looks like"),
            (GUID[:-2] + "_e", "an id looks like"),
            (GUID[:-2] + "\u0661\u0661", "an id looks like"),
            (GUID[:-3] + "/..", "an id looks like"),
            ("ann@contoso.com", "look it up with GET /users/{name}?$select=id"),
        ],
    )
    def test_anything_else_is_refused_with_the_way_to_find_it(self, text: str, way: str) -> None:
        with pytest.raises(ValueError, match="is not a user id") as caught:
            guid(text, "user")
        assert not is_folded(text)
        assert way in str(caught.value)
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()

    def test_a_domain_is_not_a_tenant(self) -> None:
        with pytest.raises(ValueError, match="the Entra admin centre shows the tenant id"):
            guid("contoso.onmicrosoft.com", "tenant")

    def test_what_is_long_is_cut(self) -> None:
        with pytest.raises(ValueError, match=r"^'x{60}'\.\.\. is not"):
            guid("x" * 10_000_000, "user")


class TestPairs:
    def test_there_are_five(self) -> None:
        assert len(PAIRS) == 5
        for pair in PAIRS:
            assert pair_of(*pair) is pair

    def test_without_activity_the_first_of_that_availability(self) -> None:
        assert pair_of("Busy") == Pair("Busy", "InACall")
        assert pair_of("DoNotDisturb") == Pair("DoNotDisturb", "Presenting")

    @pytest.mark.parametrize(
        ("availability", "activity"),
        [("Busy", "Busy"), ("busy", None), ("Offline", None), ("Busy", ""), ("", None)],
    )
    def test_any_other_is_refused_by_name(self, availability: str, activity: str | None) -> None:
        with pytest.raises(ValueError, match="Graph takes Available/Available, Busy/InACall"):
            pair_of(availability, activity)

    @pytest.mark.parametrize(("seconds", "kept"), [(300, 300), (300.9, 300), (14400, 14400)])
    def test_a_lease_is_in_whole_seconds(self, seconds: float, kept: float) -> None:
        assert checked_lease(seconds) == kept

    @pytest.mark.parametrize("seconds", [299.9, 14400.1, 0, -1, inf, nan])
    def test_a_lease_out_of_bounds(self, seconds: float) -> None:
        with pytest.raises(ValueError, match=r"300 s .* to 14400 s"):
            checked_lease(seconds)


class TestHolds:
    def test_a_hold_ends_at_the_instant(self) -> None:
        assert wish(until=NOW + 0.001).live(NOW)
        assert not wish(until=NOW).live(NOW)

    def test_the_newest_live_one_is_wanted(self) -> None:
        old, new = wish("old"), wish("new", until=NOW + 10)
        held = row(wishes=(old, new))
        assert held.newest(NOW) is new
        assert held.newest(NOW + 10) is old
        assert row().newest(NOW) is None

    def test_a_tracked_one_only_where_there_is_no_other(self) -> None:
        own, tracked, older = wish("own"), wish("t2", pair=None), wish("t1", pair=None)
        assert row(wishes=(own, older, tracked)).newest(NOW) is own
        assert row(wishes=(older, tracked)).newest(NOW) is tracked

    def test_by_name(self) -> None:
        gone = wish("gone", until=NOW)
        assert row(wishes=(gone,)).wish("gone") is gone
        assert row(wishes=(gone,)).wish("other") is None


class TestRows:
    def test_they_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            row().version = 1  # type: ignore[misc]

    def test_versions_count_from_the_microsecond_of_birth(self) -> None:
        born = BLANK.evolve(NOW, "me")
        assert (born.version, born.owner) == (int(NOW * 1e6), "me")
        assert born.evolve(NOW + 100, "you").version == born.version + 1

    def test_its_names(self) -> None:
        assert (row().tenant, row().user) == (KEY.lane.tenant, KEY.user)
        assert KEY.lane == LaneId("https://graph", "app", "tenant")

    def test_a_step_says_whether_the_holds_differ(self) -> None:
        before = row()
        held = before.evolve(NOW, "me", wishes=(wish(),))
        outcome = Outcome(key=KEY, kind=Kind.CLEARED, sweep_id="s", at=NOW)
        assert step(before, held) == (7, held, (), False, True)
        assert step(held, held, (outcome,), delete=True) == (8, held, (outcome,), True, False)


class TestOutcomes:
    def test_two_are_not_final(self) -> None:
        assert {kind for kind in Kind if not kind.final} == {Kind.FAILED, Kind.UNFINISHED}

    def test_its_names(self) -> None:
        outcome = Outcome(key=KEY, kind=Kind.CLEARED, sweep_id="s", at=NOW)
        assert (outcome.tenant, outcome.app, outcome.user) == ("tenant", "app", "user")

    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_report_is_ok_when_nobody_may_still_be_shown(self, kind: Kind) -> None:
        counts = {kind: 1, Kind.CLEARED: 2} if kind is not Kind.CLEARED else {kind: 3}
        report = Report(sweep_id="s", seconds=1, requests=1, refused=0, counts=counts)
        assert report.ok is kind.final
        assert report.total == 3
        assert Report(sweep_id="s", seconds=1, requests=0, refused=0).ok


@pytest.mark.parametrize("opened", [None, attempt(number=4)])
def test_a_row_made_alike_has_a_key_and_an_attempt_of_its_own(opened: Attempt | None) -> None:
    key = KEY._replace(user="another")
    before = row(wishes=(wish(),), attempt=opened, doubt=True, attempts=3, sweeps=("one", "two"))
    made, same = alike(before, [key, KEY], [9, 4])
    assert made == before._replace(key=key, attempt=opened and opened._replace(number=9))
    assert isinstance(made, Session)
    assert isinstance(made.attempt, Attempt | None)
    assert same == before


def test_a_blank_row_is_absent() -> None:
    assert Session(key=KEY) == BLANK
    assert BLANK.version == 0


@pytest.mark.parametrize(
    ("held", "renewals", "lease"),
    [
        (0, 25.0, 300.0),
        (3_375, 25.0, 300.0),  # 0.45 of 300 s, at 25 a second
        (3_376, 25.0, 360.0),
        (4_050, 25.0, 360.0),
        (4_051, 25.0, 420.0),
        (12_400, 25.0, 1_140.0),
        (162_000, 25.0, 14_400.0),
        (500_000, 25.0, 14_400.0),
        (3_376, 50.0, 300.0),
    ],
)
def test_the_lease_is_the_shortest_whose_renewals_fit(
    held: int, renewals: float, lease: float
) -> None:
    assert shortest_lease(held, renewals) == lease
