"""python -m tests.simulate: run seeds, print what breaks, shrink it."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import replace

from .crowd import draw
from .plan import DAY, Plan, plain
from .run import run
from .shrink import shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--seeds", type=int, default=20, help="how many, without --seconds")
    parser.add_argument("--first", type=int, help="the first seed; fresh by default")
    parser.add_argument("--agreed", action="store_true", help="with clocks that agree in any case")
    parser.add_argument("--plain", action="store_true", help="without crowds")
    parser.add_argument("--bundle", type=int, help="with bundles of so many")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of --seed")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first")
    asked = parser.parse_args()
    small = not asked.no_shrink

    def drawn(seed: int) -> Plan:
        plan = plain(seed) if asked.plain else draw(seed)
        plan = plan.agreed() if asked.agreed else plan
        return plan if asked.bundle is None else replace(plan, bundle=asked.bundle)

    if asked.seed is not None:
        return one(drawn(asked.seed), trace=asked.trace, small=small)
    first = asked.first if asked.first is not None else secrets.randbelow(10**9)
    started = time.monotonic()
    simulated, count, failures = 0.0, 0, 0
    while True:
        elapsed = time.monotonic() - started
        if elapsed >= asked.seconds if asked.seconds else count >= asked.seeds:
            break
        seed = first + count
        result = run(drawn(seed))
        simulated += result.seconds
        count += 1
        if result.broken is not None:
            failures += 1
            print(f"seed {seed}: {result.broken}", flush=True)
            if not asked.go_on:
                return one(drawn(seed), trace=False, small=small)
    elapsed = time.monotonic() - started
    print(
        f"{count} seeds from {first}, {failures} broken, {simulated / DAY:.2f} simulated days "
        f"in {elapsed:.1f} s ({simulated / DAY / elapsed * 60:.2f} days a minute)"
    )
    return 1 if failures else 0


def one(plan: Plan, *, trace: bool, small: bool) -> int:
    """Run one seed; print its plan, shrunk if it breaks a rule."""
    seed = plan.seed
    result = run(plan, keep=None if trace else 60)
    print(f"seed {seed}, digest {result.digest[:16]}, {result.seconds:.0f} s, {result.broken}")
    if result.broken is not None and small:
        result = shrink(result, keep=None if trace else 60)
        print(f"shrunk: {result.broken}")
        print(result.plan.lines())
    if trace or result.broken is not None:
        print("\n".join(result.tail))
    return 0 if result.broken is None else 1


if __name__ == "__main__":
    sys.exit(main())
