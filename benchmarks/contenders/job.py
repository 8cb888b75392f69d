"""What every contender is given, and what it reports.

    python -m benchmarks.contenders.NAME '{"url": ..., "users": 10000, "tenants": 1, ...}'

prints one line of JSON: seconds from the first to the last, CPU seconds, peak memory, and what the
contender itself would tell of each user.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from benchmarks.graph.ids import user_id

OUTCOMES: Final = {200: "cleared", 404: "already_gone"}
"""What a status means to a contender that takes it at its word; all else is "failed"."""


class Job:
    """The work: `users` of each of `tenants` tenants are to be cleared at `url`.

    `how` is passed on to the contender: `mode`, `folder` for files, `settings`.
    """

    def __init__(self, url: str, users: int, tenants: int = 1, **how: Any) -> None:
        self.url = url
        self.pairs = [(tenant, user) for tenant in range(tenants) for user in range(users)]
        self.users = [user_id(user, tenant) for tenant, user in self.pairs]
        self.tenants = tenants
        self.how = how
        self.facts: dict[str, Any] = {}
        self._begun = self._ended = (0.0, 0.0)

    def start(self) -> None:
        """The first request may leave now: all is ready."""
        self._begun = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """The last outcome is known."""
        self._ended = (time.monotonic(), time.process_time())

    def report(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "seconds": self._ended[0] - self._begun[0],
            "cpu": self._ended[1] - self._begun[1],
            "begun": self._begun[0],
            "peak_mib": peak_mib(),
            "facts": self.facts,
        }


def peak_mib() -> float:
    """Return this process's peak memory, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main(clear: Callable[[Job], Awaitable[dict[str, str]]]) -> None:
    """Run a contender from the command line."""
    given = json.loads(sys.argv[1])
    core = given.pop("core", None)
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    job = Job(**given)

    async def run() -> dict[str, str]:
        return await clear(job)

    outcomes = asyncio.run(run())
    print(json.dumps({**job.report(), "outcomes": outcomes}))


if __name__ == "__main__":
    sys.exit("run one of the contenders")
