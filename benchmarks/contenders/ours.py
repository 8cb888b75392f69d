"""presence-manager with its SQLite ledger, every commit on the disk (the default)."""

from __future__ import annotations

import logging

import structlog

from benchmarks.contenders.job import Job, main
from benchmarks.contenders.settings import settings_of
from benchmarks.graph.ids import tenant_id, user_id
from presence_manager import PresenceManager


async def clear(job: Job) -> dict[str, str]:
    """Clear all users, which the ledger does not know yet."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    pairs = [(tenant_id(tenant), user_id(user, tenant)) for tenant, user in job.pairs]
    async with PresenceManager(settings_of(job)) as presence:
        job.start()
        report = await presence.sweep(users=pairs)
        job.stop()
        job.facts |= {"counts": report.counts, "requests": report.requests}
        return {
            outcome.user: str(outcome.kind)
            async for outcome in presence.outcomes(sweep_id=report.sweep_id)
        }


if __name__ == "__main__":
    main(clear)
