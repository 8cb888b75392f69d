"""All that can be asked of the daemon: one table, for the router and for the OpenAPI document."""

from __future__ import annotations

from presence_manager.hosts.api import health, holds, lists, metrics, problems, sweeping
from presence_manager.hosts.api.call import Route
from presence_manager.hosts.api.lists import NDJSON
from presence_manager.hosts.shapes import OutcomeShape, ReportShape, SessionShape

_USER = "/v1/tenants/{tenant}/users/{user}"
_ID = (problems.INVALID_HOLD, problems.LEDGER, problems.CLOSING)

ROUTES = (
    Route(
        method="PUT",
        path=_USER + "/holds/{hold}",
        handler=holds.put_hold,
        summary="Show a user so, until the hold is released; put again, it is changed or prolonged",
        body=holds.HoldBody,
        query=holds.HoldQuery,
        answers={200: holds.HoldShape, 202: holds.HoldShape},
        problems=(*_ID, problems.HOLD_REFUSED, problems.HOLD_ENDED, problems.DRAINING),
    ),
    Route(
        method="DELETE",
        path=_USER + "/holds/{hold}",
        handler=holds.delete_hold,
        summary="Release a hold, of whichever process; harmless when there is none",
        answers={200: OutcomeShape},
        problems=_ID,
    ),
    Route(
        method="POST",
        path=_USER + "/clear",
        handler=holds.clear,
        summary="Clear a user now, whoever holds it",
        body=holds.ClearBody,
        needs_body=False,
        answers={200: OutcomeShape},
        problems=_ID,
    ),
    Route(
        method="POST",
        path="/v1/sweeps",
        handler=sweeping.begin_sweep,
        summary="Begin to clear many users; Location says where to look",
        body=sweeping.SweepBody,
        needs_body=False,
        largest=sweeping.LARGEST_SWEEP,
        answers={202: sweeping.SweepShape},
        problems=(problems.INVALID_HOLD, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/v1/sweeps",
        handler=sweeping.list_sweeps,
        summary="The sweeps that this daemon was asked for and remembers, the newest first",
        answers={200: sweeping.SweepList},
    ),
    Route(
        method="GET",
        path="/v1/sweeps/{sweep}",
        handler=sweeping.get_sweep,
        summary="How far a sweep is, or how it went",
        answers={200: sweeping.SweepShape},
        problems=(problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/v1/sweeps/{sweep}/events",
        handler=sweeping.sweep_events,
        summary="A sweep as it goes: events named progress, then one named report or problem",
        answers={200: "text/event-stream"},
        problems=(problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/v1/sessions",
        handler=lists.sessions,
        summary="What is held, by every process of the ledger, in the order of tenant and user",
        query=lists.SessionQuery,
        answers={200: lists.SessionPage},
        also={NDJSON: SessionShape},
        problems=(problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/v1/outcomes",
        handler=lists.outcomes,
        summary="What became of sessions, oldest first",
        query=lists.OutcomeQuery,
        answers={200: lists.OutcomePage},
        also={NDJSON: OutcomeShape},
        problems=(problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/v1/tenants",
        handler=lists.tenants,
        summary="Each tenant's budget and gate, and what is under way",
        answers={200: lists.TenantList},
        problems=(problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="POST",
        path="/v1/drain",
        handler=health.drain,
        summary="Refuse new holds from now on, clear all of this daemon's; answers when it is done",
        body=health.DrainBody,
        needs_body=False,
        answers={200: ReportShape},
        problems=(problems.INVALID_HOLD, problems.LEDGER, problems.CLOSING),
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics.metrics,
        summary="What an operator watches, for Prometheus",
        answers={200: "text/plain"},
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=health.alive,
        summary="Whether the process answers",
        answers={200: health.AliveShape},
        public=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=health.ready,
        summary="Whether it takes holds",
        answers={200: health.ReadyShape, 503: health.ReadyShape},
        public=True,
    ),
)
