"""Holds `sessions` sessions, renews each once by the same key, and sweeps them; all timed."""

from __future__ import annotations

import time

from benchmarks.contenders.job import Job, main
from benchmarks.own.held import hold_all, manager_of


async def clear(job: Job) -> dict[str, str]:
    """Hold, renew, sweep."""
    count, tenants = job.how["sessions"], job.tenants
    presence = manager_of(job)
    await presence.open()
    times = [time.monotonic()]
    for _ in range(2):
        await hold_all(presence, count, tenants)
        times.append(time.monotonic())
    report = await presence.sweep()
    times.append(time.monotonic())
    assert report.ok, report.counts
    for what, begun, ended in zip(("hold", "renew", "sweep"), times, times[1:], strict=False):
        job.facts[what] = ended - begun
    await presence.close()
    return {}


if __name__ == "__main__":
    main(clear)
