"""From a plan that breaks a rule to a small one that breaks the same."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from .plan import Plan
from .run import Result, run

PARTS = ("acts", "faults", "disks")
SIMPLER: dict[str, Any] = {"foreign": False, "wrong": frozenset(), "budget": 1500, "latency": 0.0}


def shrink(result: Result, keep: int | None = 200, seconds: float = 60.0) -> Result:
    """Leave out all that is not needed; takes about `seconds` at most."""
    assert result.broken is not None
    rule, best = result.broken.rule, result
    until = time.monotonic() + seconds

    def breaks(plan: Plan) -> bool:
        nonlocal best
        again = run(plan, keep)
        if again.broken is None or again.broken.rule != rule:
            return False
        best = again
        return True

    for part in PARTS * 2:
        size = max(1, len(getattr(best.plan, part)) // 2)
        while size and time.monotonic() < until:
            at = 0
            while at < len(things := getattr(best.plan, part)) and time.monotonic() < until:
                if not breaks(replace(best.plan, **{part: things[:at] + things[at + size :]})):
                    at += size
            size //= 2
    for name, value in SIMPLER.items():
        if getattr(best.plan, name) != value and time.monotonic() < until:
            breaks(replace(best.plan, **{name: value}))
    return best
