"""Three hundred kills, and proof that what is checked can fail."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from .__main__ import kill
from .plan import HALF_WAY, Case, Death
from .points import JUDGED, LEFT, PLACES
from .run import Stage

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no system to fork and kill on")
KILLS = 300
SEED = 20261124
"""Of the plan; `make crash` goes on with fresh ones."""


async def test_three_hundred_kills_leave_nothing_behind(tmp_path: Path) -> None:
    tally: Counter[str] = Counter()
    async with Stage(tmp_path) as stage:
        failures = await kill(stage, KILLS, SEED, tally)
    assert not failures, "\n".join(map(str, failures))
    assert tally["kills"] >= KILLS


async def test_every_step_is_a_point_of_the_plan(tmp_path: Path) -> None:
    """What no story passes would never be died at, and nobody would miss it."""
    async with Stage(tmp_path) as stage:
        fair, foul = await asyncio.gather(stage.survey(2 * SEED), stage.survey(2 * SEED + 1))
    passed = fair.live + fair.recover + fair.migrate + foul.live + foul.recover + foul.migrate
    places = {f"{owner.__name__.rpartition('.')[2]}.{name}" for owner, name in PLACES}
    places |= {"COMMIT", *(f"{verb} sessions" for verb in ("INSERT", "UPDATE", "DELETE"))}
    sides = {f"{place}/{side}" for place in places for side in ("before", "after")}
    assert (sides | {LEFT, JUDGED}) - passed.keys() == set()
    assert {"COMMIT/before", "COMMIT/after", "ALTER/before", "ALTER/after"} <= fair.migrate.keys()
    chunks = min(fair.live["Intake._take/after"], foul.live["Intake._take/after"])
    assert chunks > 1, "no death between two chunks"


def dying_at(point: str, *passages: int, role: str = "live") -> list[Death]:
    return [Death(role, point, at) for at in passages]


PLANTED = {
    "no intent": dying_at("GraphClient.send/after", 1),
    "no doubt": dying_at("request/judged", *range(5, 20)),
    "no transaction": dying_at("ALTER/after", 1, role="recover"),
}


@pytest.mark.parametrize("broken", PLANTED)
async def test_it_sees_what_is_broken(broken: str, tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        for death in PLANTED[broken]:
            first = (HALF_WAY,) if death.role == "recover" else ()
            case = Case(0, (*first, death), older=bool(first), broken=broken)
            if (await stage.run(case)).breaches:
                return
    raise AssertionError("nothing was seen of it")
