"""Fresh seeds, those that once told of something, and proof that the simulator sees faults."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, islice
from secrets import randbelow
from typing import Any

import pytest

from presence_manager.core import change
from presence_manager.engine.sweep import Release

from .crowd import draw
from .plan import Plan, plain
from .run import Result, run
from .shrink import shrink

FRESH = 7
"""Seeds of each kind that the suite draws; `make simulate SECONDS=...` goes on with others."""


def report(result: Result) -> str:
    seed, small = result.plan.seed, shrink(result, seconds=20.0)
    drawn = replace(draw(seed), bundle=result.plan.bundle)
    how = "" if result.plan in (drawn, drawn.agreed()) else " --plain"
    how += " --agreed" if result.plan.clocks_agree else ""
    how += f" --bundle {result.plan.bundle}"
    again = f"make simulate ARGS='--seed {seed}{how}'"
    return f"{again}: {result.broken}, shrunk: {small.broken}\n{small.plan.lines()}"


@pytest.mark.parametrize("agree", [True, False], ids=["clocks agree", "clocks of their own"])
def test_fresh_seeds(agree: bool) -> None:
    """Other ones each time: what they tell of is a fault, and the seed goes below."""
    plans = map(draw, count(randbelow(10**9)))
    for plan in islice((plan for plan in plans if plan.clocks_agree is agree), FRESH):
        result = run(plan)
        assert result.broken is None, report(result)


def alone(seed: int) -> Plan:
    """The plan as it was drawn before there were bundles."""
    return replace(plain(seed), bundle=20)


@pytest.mark.parametrize(
    "seed",
    [
        *(4, 11, 16, 35, 101, 112, 129, 139, 143, 153, 344406734),
        *(761001671, 761002029, 762000152, 762000166, 763000552, 763000854, 999518494),
    ],
)
def test_seeds_that_once_told_of_something(seed: int) -> None:
    result = run(alone(seed))
    assert result.broken is None, report(result)


@pytest.mark.parametrize(
    "seed",
    [
        510000012,
        510000100,
        510000130,
        510000316,
        510000050,
        510000301,
        510000417,
        530000048,
        530000135,
        530000478,
        530000779,
        530001095,
        530001247,
        530001321,
        530001360,
        530001471,
        530001644,
        520000009,
        520000051,
        520000065,
        520000176,
        520000560,
        520000668,
        520000681,
        520000684,
        520000739,
        520000753,
        520001071,
        520001192,
        520001734,
        540000104,
        540000201,
        540000404,
    ],
)
def test_agreed_seeds_that_once_told_of_something(seed: int) -> None:
    result = run(alone(seed).agreed())
    assert result.broken is None, report(result)


@pytest.mark.parametrize("seed", [629297317, 800000007])
def test_seeds_that_told_of_something_since_there_are_bundles(seed: int) -> None:
    result = run(plain(seed))
    assert result.broken is None, report(result)


@pytest.mark.parametrize("seed", [80, 324334850])
def test_a_clock_that_is_ahead_may_end_a_hold_and_nothing_else(seed: int) -> None:
    result = run(plain(seed))
    assert result.broken is None, report(result)


def test_a_seed_replays_exactly() -> None:
    assert run(draw(7)).digest == run(draw(7)).digest


def find(rules: set[int], seeds: int = 60, first: int = 0) -> Result:
    """The first seed that breaks one of these rules; `first` spares those known not to."""
    for seed in range(first, first + seeds):
        result = run(plain(seed).agreed())
        if result.broken is not None:
            assert result.broken.rule in rules, report(result)
            return result
    raise AssertionError(f"none of {seeds} seeds has seen it")


def test_it_sees_a_gone_that_was_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    real = change._after_clear

    def certain(row: Any, *how: Any) -> Any:
        return real(row._replace(doubt=False), *how)

    monkeypatch.setattr(change, "_after_clear", certain)
    find({2}, first=3)


def test_it_sees_a_row_that_ends_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    real = change._after_clear

    def rash(row: Any, *how: Any) -> Any:
        return real(row._replace(sets_settle=0.0), *how)

    monkeypatch.setattr(change, "_after_clear", rash)
    find({1, 2}, first=2)


def test_it_sees_a_release_that_ends_the_holds_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def release_one(wish: Any) -> Release:
        @Release
        def release(row: Any, now: Any, sweep_id: str) -> Any:
            return change.release(row, now.at, now.owner, sweep_id=sweep_id)

        return release

    monkeypatch.setattr("presence_manager.manager.works.release_one", release_one)
    find({4, 5}, first=19)


def test_it_sees_a_gate_that_lets_too_much_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from presence_manager.gate.gate import Gate

    def free(gate: Any, now: float) -> int:
        return 20 if now >= gate.closed_until else 0

    monkeypatch.setattr(Gate, "free", free)
    find({6}, first=4)


def test_it_sees_what_is_sent_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from presence_manager.engine.lanes import Lanes

    async def stop(lanes: Any) -> None:
        """Forget to."""

    monkeypatch.setattr(Lanes, "stop", stop)
    find({7}, first=35)
