"""The request budget, at its edges."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.emulator import Emulator
from presence_manager.emulator.throttle import RetryAfterStyle, Throttle, spell

from .client import (
    APP,
    OTHER_APP,
    OTHER_TENANT,
    START,
    TENANT,
    Client,
    Clock,
    set_body,
    set_url,
    user,
)


def test_a_slot_is_free_when_the_request_is_a_window_old_exactly() -> None:
    throttle = Throttle(2, 30.0)
    assert throttle.take("a", "t", 0.0) == 0.0
    assert throttle.take("a", "t", 10.0) == 0.0
    assert throttle.take("a", "t", 29.0) == 11.0
    assert Throttle(1, 30.0).take("a", "t", 0.0) == 0.0


@pytest.mark.parametrize(("at", "passes"), [(29.999, False), (30.0, True)])
def test_both_sides_of_the_edge(at: float, passes: bool) -> None:
    throttle = Throttle(1, 30.0)
    throttle.take("a", "t", 0.0)
    assert (throttle.take("a", "t", at) == 0.0) is passes


def test_refused_requests_count_too() -> None:
    throttle = Throttle(1, 30.0)
    waits = [throttle.take("a", "t", now) for now in (0.0, 10.0, 20.0, 31.0, 61.0)]
    # Each refusal puts the way out off: only waiting in silence helps.
    assert waits == [0.0, 30.0, 30.0, 30.0, 0.0]


def test_waiting_as_told_is_always_enough() -> None:
    throttle = Throttle(3, 30.0)
    now = 0.0
    for step in (0.0, 1.0, 5.0, 0.5, 0.25, 0.0, 3.0):
        now += step
        wait = throttle.take("a", "t", now)
    assert wait > 0
    assert throttle.take("a", "t", now + wait) == 0.0


@given(
    steps=st.lists(st.sampled_from([0.0, 0.1, 1.0, 4.9, 5.0, 5.1]), max_size=60),
    limit=st.integers(1, 4),
)
def test_no_window_ever_lets_more_through_than_the_limit(steps: list[float], limit: int) -> None:
    throttle = Throttle(limit, 5.0)
    now, passed = 0.0, []
    for step in steps:
        now += step
        if not throttle.take("a", "t", now):
            passed.append(now)
    for end in passed:
        assert sum(end - 5.0 < each <= end for each in passed) <= limit


def test_one_budget_for_each_application_and_tenant() -> None:
    throttle = Throttle(1, 30.0)
    for key in (("a", "t"), ("a", "u"), ("b", "t")):
        assert throttle.take(*key, 0.0) == 0.0
        assert throttle.take(*key, 0.0) > 0.0


def test_a_limit_of_nothing() -> None:
    assert Throttle(0, 30.0).take("a", "t", 0.0) == 30.0


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("whole", "3"),
        ("fractional", "2.128"),
        ("http-date", "Fri, 15 Jan 2027 08:00:03 GMT"),
        ("absent", None),
        ("nonsense", "soon"),
        ("one", "1"),
    ],
)
async def test_spellings_of_retry_after(
    session: aiohttp.ClientSession, clock: Clock, style: RetryAfterStyle, text: str | None
) -> None:
    assert spell(2.128, START, style) == text
    async with Emulator(limit=1, window=2.128, clock=clock, retry_after=style) as emulator:
        graph = Client(emulator, session)
        await graph.set()
        answer = await graph.set()
        assert answer.status == 429
        assert answer.code == "TooManyRequests"
        assert answer.headers.get("Retry-After") == text
        if style == "http-date":
            assert parsedate_to_datetime(text or "").timestamp() == START + 3


def test_a_wait_is_never_told_as_nothing() -> None:
    assert spell(0.001, START, "whole") == "1"


async def test_over_http(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Emulator(limit=3, window=30.0, clock=clock) as emulator:
        graph = Client(emulator, session)
        assert [(await graph.set(user(n))).status for n in range(3)] == [200, 200, 200]
        # Reads and nonsense share the budget with everything else.
        answer = await graph.ask("GET", f"/v1.0/users/{user(1)}/presence")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "30")
        assert (await graph.ask("GET", "/v1.0/nowhere")).status == 429
        assert (emulator.operations, emulator.refused) == (5, 2)
        assert [entry.applied for entry in emulator.journal] == [True] * 3 + [False] * 2
        for tenant, app in ((OTHER_TENANT, APP), (TENANT, OTHER_APP)):
            other = Client(emulator, session, emulator.token(tenant, app))
            body = set_body(sessionId=app)
            assert (await other.ask("POST", f"/v1.0{set_url(user(1))}", body)).status == 200
        emulator.move_clock(29.0)
        assert (await graph.set()).status == 429
        emulator.move_clock(30.0)
        assert (await graph.set()).status == 200


async def test_who_is_turned_away_at_the_door_costs_nothing(
    session: aiohttp.ClientSession, clock: Clock
) -> None:
    async with Emulator(limit=1, clock=clock) as emulator:
        stranger = Client(emulator, session, "nonsense")
        for _ in range(3):
            assert (await stranger.set()).status == 401
        assert (emulator.turned_away, emulator.operations) == (3, 0)
        assert (await Client(emulator, session).set()).status == 200
