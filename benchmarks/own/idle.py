"""Holds `sessions` sessions, and tells the CPU seconds of `quiet` seconds without work."""

from __future__ import annotations

import asyncio
import gc
import time

from benchmarks.contenders.job import Job, main
from benchmarks.own.held import hold_all, manager_of


async def clear(job: Job) -> dict[str, str]:
    """Hold all, and wait."""
    presence = manager_of(job)
    await presence.open()
    await hold_all(presence, job.how["sessions"])
    gc.collect()
    await asyncio.sleep(1.0)
    before = time.process_time()
    await asyncio.sleep(job.how["quiet"])
    job.facts["cpu"] = time.process_time() - before
    await presence.close(sweep=False)
    return {}


if __name__ == "__main__":
    main(clear)
