"""Holds `sessions` sessions, and tells what each takes; with `die` it is then killed."""

from __future__ import annotations

import gc
import json
import os
import signal

from benchmarks.contenders.job import Job, main
from benchmarks.own.held import hold_all, manager_of, resident


async def clear(job: Job) -> dict[str, str]:
    """Hold all."""
    count = job.how["sessions"]
    presence = manager_of(job)
    await presence.open()
    await hold_all(presence, 1)  # what is loaded once is no part of a session
    gc.collect()
    before = resident()
    await hold_all(presence, count)
    gc.collect()
    job.facts["bytes"] = (resident() - before) / count
    if job.how.get("die"):
        print(json.dumps(job.report()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    await presence.close(sweep=False)
    return {}


if __name__ == "__main__":
    main(clear)
