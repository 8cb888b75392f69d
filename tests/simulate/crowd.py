"""What a plan has besides: sweeps of some users in whom others have a hand before they are over.

They are drawn from a Random of their own, so that what `plain` draws stays as it was.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .plan import NAMES, Act, Disk, Plan, plain

MEDDLING = ("hold", "release", "clear", "users", "many", "close", "kill")


def draw(seed: int) -> Plan:
    """Draw a plan; the same one from the same seed, on every Python."""
    return crowded(plain(seed))


def crowded(plan: Plan) -> Plan:
    """The same, in two of three with crowds at the beginning of its storms."""
    rng = Random(f"crowd {plan.seed}")
    if rng.random() < 1 / 3:
        return plan
    plan = replace(
        plan,
        users=max(plan.users, rng.choice([3, 4, 6])),
        latency=plan.latency or 0.3,
        batch="auto",
        bundle=min(plan.bundle, 3),
    )
    acts, disks = list(plan.acts), list(plan.disks)
    for start in (0.0, *(at + 1.0 for at in plan.probes[:-1])):
        slot = rng.randrange(len(plan.slots))
        at = start + 0.5
        if rng.random() < 0.75:
            acts.append(Act(at=at, slot=slot, what="many", name=rng.choice(NAMES)))
            at += 1.0 + 2 * plan.latency
        seconds = rng.choice([None, 1.0, 3.0, 20.0])
        acts.append(Act(at=at, slot=slot, what="users", seconds=seconds))
        slow = rng.choice([0.0, 0.0, 0.3, 1.0])
        if slow:
            disks.append(Disk(at=at - 0.1, span=4.0, slot=slot, kind="slow", seconds=slow))
        sent = at + 2 * slow  # who is known is read, and committed then
        answered = sent + plan.latency
        if rng.random() < 0.35:
            when = answered - rng.random() * plan.latency
            disks.append(Disk(at=when, span=plan.latency, slot=slot, kind="fail"))
        for _ in range(2 if slow else 0):  # written down while the answer waits for its turn
            acts += _meddling(rng, plan, slot, answered - rng.random() * slow, "hold")
        others = [n for n, one in enumerate(plan.slots) if one.app == plan.slots[slot].app]
        other = rng.choice(others)
        acts += _meddling(rng, plan, other, sent + rng.random() * plan.latency, "hold")
        for _ in range(rng.choice([0, 1, 3])):
            one = slot if rng.random() < 0.4 else rng.randrange(len(plan.slots))
            acts += _meddling(rng, plan, one, at + rng.random() * (answered + slow - at))
    return replace(plan, acts=tuple(sorted(acts, key=lambda act: act.at)), disks=tuple(disks))


def _meddling(rng: Random, plan: Plan, slot: int, at: float, what: str = "") -> list[Act]:
    act = Act(
        at=at,
        slot=slot,
        what=what or rng.choices(MEDDLING, [10, 3, 3, 2, 2, 1, 1])[0],
        user=rng.randrange(plan.users),
        name=rng.choice(NAMES),
        pair=rng.randrange(5),
        seconds=rng.choice([None, 1.0, 3.0]),
        wait=rng.random() < 0.7,
    )
    again = [Act(at=at + 1.0, slot=slot, what="open")] if act.what in ("close", "kill") else []
    return [act, *again]
