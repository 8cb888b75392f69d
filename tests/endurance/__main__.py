"""python -m tests.endurance: run for long, print what there is of everything, say what grew."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from .run import Figures, Grown, run

GAUGES = ("rss KiB", "blocks", "objects", "descriptors", "tasks", "threads", "pages", "wal MiB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance")
    parser.add_argument("--operations", type=int, default=200_000, help="holds, renewals, clears")
    parser.add_argument("--users", type=int, default=2_000, help="held at a time")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = time.monotonic()
    print("operations", *GAUGES, sep="\t", flush=True)

    def tell(figures: Figures) -> None:
        print(figures.all, *(figures.end[name] for name in GAUGES), sep="\t", flush=True)

    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        try:
            figures = run(Path(folder), asked.operations, asked.users, tell)
        except Grown as grown:
            print(f"something has grown:\n{grown}")
            return 1
    kinds = ", ".join(f"{n} {kind}" for kind, n in figures.kinds.most_common())
    print(
        f"{figures.holds} holds, {figures.renewals} renewals, {figures.clears} clears ({kinds}) "
        f"in {time.monotonic() - started:.0f} s: nothing has grown"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
