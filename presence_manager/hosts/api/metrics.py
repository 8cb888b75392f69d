"""`/metrics`: what the manager is busy with, read at each scrape, and what was counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from presence_manager.hosts.api.call import Call
from presence_manager.hosts.api.meters import PREFIX
from presence_manager.manager.status import LaneStatus, Status

_GAUGES: dict[str, tuple[str, Callable[[LaneStatus], float]]] = {
    "sessions_held": ("Sessions that this process renews.", lambda lane: lane.held),
    "sessions_waiting": ("Sessions that wait for Graph.", lambda lane: lane.waiting),
    "renewals_due": ("Sessions that wait for a renewal.", lambda lane: lane.due),
    "renewal_lag_seconds": (
        "How long the latest of them is overdue.",
        lambda lane: lane.late,
    ),
    "requests_in_flight": ("Requests under way to Graph.", lambda lane: lane.in_flight),
    "budget_requests": ("Requests in a window that may be sent.", lambda lane: lane.budget),
    "budget_used_requests": (
        "Requests of the budget in use, by all processes of the ledger.",
        lambda lane: lane.used,
    ),
    "budget_window_seconds": ("Length of the budget's window.", lambda lane: lane.window),
    "gate_closed_seconds": (
        "For how long nothing leaves, since Graph refused.",
        lambda lane: lane.closed_for,
    ),
}
_COUNTERS: dict[str, tuple[str, Callable[[LaneStatus], float]]] = {
    "requests_sent": ("Requests of the budget that left.", lambda lane: lane.sent),
    "requests_refused": ("Requests that Graph refused with 429.", lambda lane: lane.refused),
}


class StatusCollector(Collector):
    """Reads a manager's status at each scrape."""

    def __init__(self, status: Callable[[], Status], draining: Callable[[], bool]) -> None:
        self._status = status
        self._draining = draining

    def describe(self) -> list[Metric]:
        """Return nothing: the names are known at the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all that can be read of it."""
        status = self._status()
        yield GaugeMetricFamily(PREFIX + "holds", "Holds of this process.", value=status.holds)
        ready = status.state == "open" and not self._draining()
        yield GaugeMetricFamily(
            PREFIX + "taking_holds", "1 unless draining or closing.", value=float(ready)
        )
        for name, (text, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=["tenant"])
            for lane in status.lanes:
                gauge.add_metric([lane.tenant], read(lane))
            yield gauge
        for name, (text, read) in _COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + name, text, labels=["tenant"])
            for lane in status.lanes:
                counter.add_metric([lane.tenant], read(lane))
            yield counter


async def metrics(call: Call[None, None]) -> web.StreamResponse:
    """Say everything in Prometheus' text format."""
    registry: CollectorRegistry = call.service.meters.registry
    return web.Response(
        body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )
