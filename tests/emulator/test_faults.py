"""Which fault strikes whom, and that it does so again in the next run."""

from __future__ import annotations

from typing import Any

import pytest

from presence_manager.emulator import Fault
from presence_manager.emulator.faults import Faults

from .client import ALICE, BOB, OTHER_TENANT, TENANT, user


def struck(fault: Fault, *asked: tuple[str, str, str], seed: int = 0) -> list[bool]:
    faults = Faults(seed)
    faults.add(fault)
    return [faults.pick(verb, tenant, (who,)) is not None for verb, tenant, who in asked]


def test_a_fault_matches_verb_tenant_and_user() -> None:
    asked = [
        ("set", TENANT, ALICE),
        ("clear", TENANT, ALICE),
        ("set", OTHER_TENANT, ALICE),
        ("set", TENANT, BOB),
        ("batch", TENANT, ALICE),
        ("token", TENANT, ""),
    ]
    assert struck(Fault(), *asked) == [True, True, True, True, False, False]
    assert struck(Fault(verb="set"), *asked) == [True, False, True, True, False, False]
    assert struck(Fault(tenant=TENANT.upper(), user=ALICE.upper()), *asked) == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert struck(Fault(verb="batch"), *asked) == [False] * 4 + [True, False]
    assert struck(Fault(verb="token"), *asked) == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("how", "strikes"),
    [
        ({}, "xxxxxx"),
        ({"times": 2}, "xx...."),
        ({"every": 3}, "..x..x"),
        ({"after": 2}, "..xxxx"),
        ({"after": 1, "every": 2, "times": 1}, "..x..."),
        ({"probability": 0.0}, "......"),
        ({"probability": 1.0}, "xxxxxx"),
    ],
)
def test_how_often(how: dict[str, Any], strikes: str) -> None:
    found = struck(Fault(**how), *[("set", TENANT, ALICE)] * 6)
    assert "".join("x" if each else "." for each in found) == strikes


def test_chance_is_the_same_for_a_seed_in_whatever_order_requests_arrive() -> None:
    fault = Fault(probability=0.3)
    asked = [("set", TENANT, user(n)) for n in range(2_000)]
    first = dict(zip(asked, struck(fault, *asked), strict=True))
    turned = dict(zip(reversed(asked), struck(fault, *reversed(asked)), strict=True))
    assert first == turned
    assert first != dict(zip(asked, struck(fault, *asked, seed=1), strict=True))
    assert 500 < sum(first.values()) < 700


def test_chance_is_not_the_same_every_time_for_one_user() -> None:
    found = struck(Fault(probability=0.5), *[("set", TENANT, ALICE)] * 200)
    assert 60 < sum(found) < 140


def test_the_first_that_strikes_wins() -> None:
    faults = Faults(0)
    faults.add(Fault(status=500, times=1))
    faults.add(Fault(status=503))
    picked = [faults.pick("set", TENANT, (ALICE,)) for _ in range(2)]
    assert [each and each.status for each in picked] == [500, 503]
    faults.clear()
    assert not faults
    assert faults.pick("set", TENANT, (ALICE,)) is None


def test_what_only_an_item_can_suffer_spares_single_requests() -> None:
    faults = Faults(0)
    faults.add(Fault(effect="missing"))
    assert faults.pick("set", TENANT, (ALICE,)) is None
    assert faults.pick("set", TENANT, (ALICE,), in_batch=True) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"verb": "renew"},
        {"effect": "explode"},
        {"effect": "late"},
        {"effect": "slow"},
        {"probability": 1.1},
        {"every": 0},
        {"verb": "token", "effect": "missing"},
        {"verb": "token", "effect": "late", "seconds": 1},
    ],
)
def test_a_fault_that_could_never_happen_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Fault(**wrong)


def test_from_json() -> None:
    assert Fault.from_json({"verb": "set", "times": 1}) == Fault(verb="set", times=1)
    with pytest.raises(ValueError, match="colour"):
        Fault.from_json({"colour": "red"})
