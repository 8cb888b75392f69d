"""Opens a ledger whose owner was killed, and waits until its sessions have been seen to."""

from __future__ import annotations

import time

from benchmarks.contenders.job import Job, main
from benchmarks.own.held import manager_of


async def clear(job: Job) -> dict[str, str]:
    """Recover."""
    presence = manager_of(job)
    job.facts["opened"] = opened = time.monotonic()
    await presence.open()
    await presence.recovered()
    job.facts["seconds"] = time.monotonic() - opened
    await presence.close()
    return {}


if __name__ == "__main__":
    main(clear)
