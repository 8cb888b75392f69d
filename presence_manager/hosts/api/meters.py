"""What is counted and timed, at the manager's own ports: ledger, Graph and sign-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from presence_manager.clock import SystemClock
from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Attempt, Session, Step
from presence_manager.core.verdict import Verdict
from presence_manager.errors import LedgerError, SignInError
from presence_manager.graph.client import GraphClient
from presence_manager.graph.tokens import adapt
from presence_manager.ledger import open_ledger
from presence_manager.manager import PresenceManager
from presence_manager.ports import Graph, Ledger, Token, Tokens
from presence_manager.settings import Settings

PREFIX = "presence_manager_"
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Meters:
    """The metrics that are counted as things happen; `registry` has them all."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.outcomes = Counter(
            PREFIX + "outcomes", "Outcomes of sessions, by kind.", ["kind"], registry=registry
        )
        self.attempts = Counter(
            PREFIX + "attempts",
            "Sessions that were asked of Graph, by the status of the answer (none: no answer).",
            ["verb", "status"],
            registry=registry,
        )
        self.graph_seconds = Histogram(
            PREFIX + "graph_request_seconds",
            "Time until Graph answered a request of 1 to 20 sessions.",
            buckets=_QUICK,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            PREFIX + "ledger_commit_seconds",
            "Time until the ledger had made sessions durable.",
            buckets=_QUICK,
            registry=registry,
        )
        self.ledger_errors = Counter(
            PREFIX + "ledger_errors", "Commits that failed.", registry=registry
        )
        self.sign_ins = Counter(
            PREFIX + "sign_in_failures", "Tokens that could not be had.", registry=registry
        )
        self.sweep_seconds = Histogram(
            PREFIX + "sweep_seconds",
            "Length of the sweeps that the HTTP API began.",
            buckets=_LONG,
            registry=registry,
        )
        self.http_seconds = Histogram(
            PREFIX + "http_request_seconds",
            "Time until the HTTP API answered.",
            ["method", "route", "status"],
            buckets=_QUICK,
            registry=registry,
        )


class MeteredLedger:
    """A ledger whose commits are timed, and their outcomes counted. `failed` is the last fault."""

    def __init__(self, ledger: Ledger, meters: Meters) -> None:
        self._ledger = ledger
        self._meters = meters
        self.failed: LedgerError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
        """Apply the steps; return the rows that stood in the way."""
        started = perf_counter()
        try:
            lost = await self._ledger.put(steps)
        except LedgerError as error:
            self.failed = error
            self._meters.ledger_errors.inc()
            raise
        self._meters.commit_seconds.observe(perf_counter() - started)
        self.failed = None
        for index, step in enumerate(steps):
            if step.outcomes and index not in lost:
                for outcome in step.outcomes:
                    self._meters.outcomes.labels(str(outcome.kind)).inc()
        return lost

    async def try_to_write(self) -> LedgerError | None:
        """Make a write that changes nothing; return why it cannot be made."""
        try:
            await self._ledger.forget(0.0)
        except LedgerError as error:
            self.failed = error
        else:
            self.failed = None
        return self.failed


class MeteredTokens:
    """A sign-in that remembers how it went last, by tenant: None is well, and since when."""

    def __init__(self, tokens: Tokens, meters: Meters) -> None:
        self._tokens = tokens
        self._meters = meters
        self.last: dict[str, tuple[float, SignInError | None]] = {}

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant."""
        try:
            token = await self._tokens.token(tenant, refused=refused, claims=claims)
        except SignInError as error:
            self._meters.sign_ins.inc()
            self.last[tenant] = monotonic(), error
            raise
        self.last[tenant] = monotonic(), None
        return token

    async def close(self) -> None:
        """Let go of what it holds."""
        await self._tokens.close()


class MeteredGraph:
    """A Graph whose requests are timed and counted; closes the sign-in with it."""

    def __init__(self, graph: Graph, tokens: Tokens, meters: Meters) -> None:
        self._graph = graph
        self._tokens = tokens
        self._meters = meters
        self.date = graph.date

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        """Make one request; return what became of each session's attempt."""
        started = perf_counter()
        verdicts = await self._graph.send(lane, asks, timeout)
        self._meters.graph_seconds.observe(perf_counter() - started)
        for (_, attempt), verdict in zip(asks, verdicts, strict=True):
            status = "none" if verdict.status is None else str(verdict.status)
            self._meters.attempts.labels(str(attempt.verb), status).inc()
        return verdicts

    async def close(self) -> None:
        """Close all connections."""
        try:
            await self._graph.close()
        finally:
            await self._tokens.close()


class Metered:
    """The parts of a metered manager. Raises SettingsError, LedgerUnusable."""

    def __init__(self, settings: Settings) -> None:
        self.meters = Meters()
        clock = SystemClock()
        self.ledger = MeteredLedger(
            open_ledger(settings.ledger.url, busy_timeout=settings.ledger.busy_timeout),
            self.meters,
        )
        self.tokens = MeteredTokens(adapt(None, settings), self.meters)
        client = GraphClient(settings.graph, self.tokens, clock)
        self.presence = PresenceManager(
            settings,
            ledger=cast("Ledger", self.ledger),
            graph=MeteredGraph(client, self.tokens, self.meters),
            clock=clock,
        )
