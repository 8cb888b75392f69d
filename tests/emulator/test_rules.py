"""Sessions, fading and preference: no socket, no clock, both sides of each instant."""

from __future__ import annotations

import pytest

from presence_manager.emulator.rules import OFFLINE, Preferred, Presences, Session
from presence_manager.emulator.values import guid, seconds_of

from .client import ALICE, APP, BOB, OTHER_APP, OTHER_TENANT, TENANT


def session(
    availability: str = "Busy",
    activity: str = "InACall",
    *,
    app: str = APP,
    tenant: str = TENANT,
    until: float = 1000.0,
    set_at: float = 0.0,
) -> Session:
    return Session(tenant, app, ALICE, availability, activity, until, set_at)


def test_a_session_is_gone_at_its_expiry_exactly() -> None:
    world = Presences()
    world.set(session(until=300.0))
    assert world.shown(TENANT, ALICE, 299.999) == ("Busy", "InACall")
    assert world.shown(TENANT, ALICE, 300.0) == OFFLINE


def test_clearing_tells_a_live_session_from_none() -> None:
    world = Presences()
    assert not world.clear(TENANT, APP, ALICE, 0.0)
    world.set(session(until=300.0))
    assert world.clear(TENANT, APP, ALICE, 299.999)
    assert not world.clear(TENANT, APP, ALICE, 299.999)
    world.set(session(until=300.0))
    assert not world.clear(TENANT, APP, ALICE, 300.0)


def test_a_session_belongs_to_tenant_application_and_user() -> None:
    world = Presences()
    world.set(session())
    assert not world.clear(OTHER_TENANT, APP, ALICE, 1.0)
    assert not world.clear(TENANT, OTHER_APP, ALICE, 1.0)
    assert not world.clear(TENANT, APP, BOB, 1.0)
    assert len(world.live(1.0)) == 1


def test_a_second_set_overwrites_the_one_session() -> None:
    world = Presences()
    world.set(session())
    world.set(session("Away", "Away", set_at=1.0))
    assert [(s.availability, s.activity) for s in world.live(2.0)] == [("Away", "Away")]


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (299.999, ("Available", "Available")),
        (300.0, ("Available", "AvailableInactive")),
        (599.999, ("Available", "AvailableInactive")),
        (600.0, ("Away", "Away")),
        (9_999.0, ("Away", "Away")),
        (10_000.0, OFFLINE),
    ],
)
def test_available_fades_in_two_stages_whatever_its_expiry(
    at: float, shown: tuple[str, str]
) -> None:
    world = Presences()
    world.set(session("Available", "Available", until=10_000.0))
    assert world.shown(TENANT, ALICE, at) == shown


@pytest.mark.parametrize(
    "pair", [("Busy", "InACall"), ("Away", "Away"), ("DoNotDisturb", "Presenting")]
)
def test_nothing_else_fades(pair: tuple[str, str]) -> None:
    world = Presences()
    world.set(session(*pair, until=10_000.0))
    assert world.shown(TENANT, ALICE, 9_999.0) == pair


def test_setting_available_again_starts_its_time_out_anew() -> None:
    world = Presences()
    world.set(session("Available", "Available", until=10_000.0))
    world.set(session("Available", "Available", until=10_000.0, set_at=299.0))
    assert world.shown(TENANT, ALICE, 598.0) == ("Available", "Available")


def test_among_sessions_do_not_disturb_beats_busy_beats_available_beats_away() -> None:
    world = Presences()
    ranked = [
        ("Away", "Away"),
        ("Available", "Available"),
        ("Busy", "InACall"),
        ("DoNotDisturb", "Presenting"),
    ]
    for number, pair in enumerate(ranked):
        world.set(session(*pair, app=f"app-{number}"))
        assert world.shown(TENANT, ALICE, 1.0) == pair
    for number in (3, 2, 1):
        world.clear(TENANT, f"app-{number}", ALICE, 1.0)
        assert world.shown(TENANT, ALICE, 1.0) == ranked[number - 1]


def test_an_active_available_hides_an_inactive_one() -> None:
    world = Presences()
    world.set(session("Available", "Available", app="old"))
    world.set(session("Available", "Available", app="new", set_at=200.0))
    assert world.shown(TENANT, ALICE, 400.0) == ("Available", "Available")


def test_preferred_hides_every_session_but_needs_one_to_show() -> None:
    world = Presences()
    world.prefer(TENANT, ALICE, Preferred("BeRightBack", "BeRightBack", 500.0))
    assert world.shown(TENANT, ALICE, 1.0) == OFFLINE
    world.set(session("DoNotDisturb", "Presenting"))
    assert world.shown(TENANT, ALICE, 499.999) == ("BeRightBack", "BeRightBack")
    assert world.shown(TENANT, ALICE, 500.0) == ("DoNotDisturb", "Presenting")
    world.clear(TENANT, APP, ALICE, 1.0)
    assert world.shown(TENANT, ALICE, 1.0) == OFFLINE


def test_unprefer_uncovers_the_session() -> None:
    world = Presences()
    world.set(session())
    world.prefer(TENANT, ALICE, Preferred("Offline", "OffWork", 500.0))
    assert world.shown(TENANT, ALICE, 1.0) == ("Offline", "OffWork")
    world.unprefer(TENANT, ALICE)
    world.unprefer(TENANT, ALICE)
    assert world.shown(TENANT, ALICE, 1.0) == ("Busy", "InACall")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT5M", 300.0),
        ("PT4H", 14_400.0),
        ("PT300S", 300.0),
        ("PT1H30M", 5_400.0),
        ("P0DT0H5M0S", 300.0),
        ("P1D", 86_400.0),
        ("PT300.5S", 300.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "5M",
        "PT5",
        "pt5m",
        "PT5M ",
        "-PT5M",
        "P1W",
        "P1M",
        "P1Y",
        "PT\u0665M",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    assert seconds_of(text) is None


def test_guids_are_folded_and_nothing_else_is_one() -> None:
    assert guid(ALICE.upper()) == ALICE
    for text in ("", "alice@contoso.com", f"{{{ALICE}}}", ALICE.replace("-", ""), f"{ALICE}\n"):
        assert guid(text) is None
    assert guid(7) is None
    assert guid("\u0661" * 8 + ALICE[8:]) is None
