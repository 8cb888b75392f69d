"""Holds all users at once, then leaves: the closing sweep clears them."""

from __future__ import annotations

import time

from benchmarks.contenders.job import Job, main
from benchmarks.own.held import hold_all, manager_of


async def clear(job: Job) -> dict[str, str]:
    """Hold all, then close."""
    presence = manager_of(job)
    await presence.open()
    began = time.monotonic()
    await hold_all(presence, len(job.users))
    held = time.monotonic()
    job.start()
    report = await presence.close(deadline=600.0)
    job.stop()
    job.facts |= {"hold": held - began, "sweep": time.monotonic() - held}
    assert report is not None
    after = manager_of(job)
    await after.open(recover=False)
    found = {
        outcome.user: str(outcome.kind)
        async for outcome in after.outcomes(sweep_id=report.sweep_id)
    }
    await after.close(sweep=False)
    return found


if __name__ == "__main__":
    main(clear)
