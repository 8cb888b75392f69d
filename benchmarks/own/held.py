"""A manager that holds many sessions."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import structlog

from benchmarks.contenders.job import Job, peak_mib
from benchmarks.contenders.settings import settings_of
from benchmarks.graph.ids import tenant_id, user_id
from presence_manager import HoldFailed, HoldRequest, PresenceManager

AT_ONCE = 10_000
KEY = "bench"


def manager_of(job: Job) -> PresenceManager:
    """Return a manager with the ledger of the job, not yet open, that logs errors only."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return PresenceManager(settings_of(job))


async def hold_all(presence: PresenceManager, count: int, tenants: int = 1) -> None:
    """Hold so many users, spread over the tenants; the second time renews them."""
    each = count // tenants
    for start in range(0, count, AT_ONCE):
        places = (divmod(at, each) for at in range(start, min(count, start + AT_ONCE)))
        found = await presence.hold_many(
            HoldRequest(user_id(user, tenant), "Busy", "InACall", tenant=tenant_id(tenant), key=KEY)
            for tenant, user in places
        )
        for hold in found:
            if isinstance(hold, HoldFailed):
                raise hold.error


def resident() -> float:
    """Return the bytes of memory that this process has now; its peak where that is unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_mib() * 1024 * 1024
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
