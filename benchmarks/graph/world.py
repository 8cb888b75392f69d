"""What Graph knows in one run: sessions, the limit, the faults, and a journal of the truth.

Every session lives until it is cleared: no benchmark lasts as long as the shortest lease.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.graph.faults import Deck, Resets
from benchmarks.graph.ids import APP, tenant_of, user_id
from benchmarks.graph.limit import Limit

PAIRS = {
    ("Available", "Available"),
    ("Busy", "InACall"),
    ("Busy", "InAConferenceCall"),
    ("Away", "Away"),
    ("DoNotDisturb", "Presenting"),
}
VERBS = {"setPresence": "set", "clearPresence": "clear"}

Entry = list[Any]
"""[monotonic time, user, verb, status, applied, delivered]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How Graph behaves in one run; the fields are those of POST /control/configure.

    `latency` is in seconds. `p_503` is drawn for each request and each item of a batch;
    `p_reset_after` and `p_reset_before` for each HTTP request, and say whether it was applied.
    """

    latency: float = 0.0
    p_503: float = 0.0
    retry_after: float = 2.0
    p_reset_after: float = 0.0
    p_reset_before: float = 0.0
    seed: int = 1
    limit: int = 0
    window: float = 30.0
    schedule: tuple[tuple[float, int], ...] = ()
    stolen: int = 0
    shuffle: bool = False
    journal: bool = True


class World:
    """One run's Graph. It makes no I/O."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        chance = random.Random(plan.seed)
        self.sessions: set[str] = set()
        self.limit = Limit(plan.limit, plan.window, plan.schedule, plan.stolen)
        self.limited = self.limit.enforced
        self.unavailable = Deck(plan.p_503, chance)
        self.resets = Resets(plan.p_reset_after, plan.p_reset_before, chance)
        self.order = chance
        self.journal: list[Entry] = []
        self.counts = dict.fromkeys(
            ("requests", "http_requests", "refused", "unavailable", "resets", "connections"), 0
        )
        self.first: float | None = None
        self.last: float | None = None
        self.in_flight = self.highest = 0

    def seed_sessions(self, users: int, tenants: int = 1, app: str = APP) -> None:
        """Give `users` users of each of `tenants` tenants a session."""
        self.sessions.update(
            app + user_id(user, tenant) for tenant in range(tenants) for user in range(users)
        )

    def act(self, user: str, action: str, body: Any, now: float) -> tuple[int, int, Entry]:
        """Carry out one request; return status, Retry-After and its entry in the journal."""
        status, wait, applied, verb = 400, 0, False, VERBS.get(action, "?")
        app = body.get("sessionId") if isinstance(body, dict) else None
        self.counts["requests"] += 1
        if self.limited and (wait := self.limit.take(f"{app}{tenant_of(user)}", now)):
            status = 429
            self.counts["refused"] += 1
        elif self.unavailable and self.unavailable.draw():
            status, wait = 503, int(self.plan.retry_after)
            self.counts["unavailable"] += 1
        elif not app:
            pass
        elif verb == "clear":
            session = app + user
            if session in self.sessions:
                self.sessions.remove(session)
                status, applied = 200, True
            else:
                status = 404
        elif (body.get("availability"), body.get("activity")) in PAIRS:
            self.sessions.add(app + user)
            status, applied = 200, True
        entry: Entry = [now, user, verb, status, applied, False]
        if self.plan.journal:
            self.journal.append(entry)
        return status, wait, entry

    def began(self, now: float) -> None:
        """Count an HTTP request that arrived."""
        if self.first is None:
            self.first = now
        self.counts["http_requests"] += 1
        self.in_flight += 1
        self.highest = max(self.highest, self.in_flight)

    def ended(self) -> None:
        """Count an HTTP request that was answered, or cut off."""
        self.in_flight -= 1
        self.last = time.monotonic()

    def counters(self) -> dict[str, Any]:
        """Return the counters; times are on the machine's monotonic clock."""
        return {
            **self.counts,
            "first": self.first,
            "last": self.last,
            "seconds": (self.last or 0.0) - (self.first or 0.0),
            "highest_in_flight": self.highest,
            "live": len(self.sessions),
        }

    def truth(self) -> dict[str, Any]:
        """Return the counters, and for each user what happened and whether it is still shown."""
        users: dict[str, dict[str, Any]] = {}
        for when, user, *rest in self.journal:
            users.setdefault(user, {"live": False, "journal": []})["journal"].append([when, *rest])
        for session in self.sessions:
            users.setdefault(session[-36:], {"live": False, "journal": []})["live"] = True
        return {**self.counters(), "users": users}
