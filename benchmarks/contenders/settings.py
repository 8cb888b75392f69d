"""All settings of presence-manager that the benchmark uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders.job import Job
from benchmarks.graph.ids import APP, TOKEN, tenant_id
from presence_manager import Settings

AMPLE = 1_000_000
"""A budget far above the work: what is measured is the machine, not the waiting."""


def settings_of(job: Job, **more: Any) -> Settings:
    """Return the settings of a run: an ample budget, or with `budget="default"` all defaults."""
    graph: dict[str, Any] = {"base_url": job.url}
    if job.how.get("budget") != "default":
        graph["budget"] = AMPLE
    return Settings(
        tenant_id=tenant_id(0),
        client_id=APP,
        access_token=TOKEN,
        graph=graph,
        ledger={"url": f"sqlite:///{Path(job.how['folder']) / 'ledger.db'}"},
        **more,
    )
