"""What is measured: each scenario's users, Graph's behaviour, and who takes part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PEERS = ("naive", "office365", "msgraph_batch", "msgraph_single")
"""What people use today."""
BOUNDS = ("floor", "raw")
"""No peers: they retry nothing and keep no record; the least that such work can cost."""
CONTENDERS = ("ours", *PEERS, *BOUNDS)

MODULES = {
    "office365": ("office365",),
    "msgraph_batch": ("msgraph_beta", "msgraph_core", "deprecated"),
    "msgraph_single": ("msgraph_beta",),
}
"""What must be installed for a contender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario of clearing.

    `plan` is the server's Plan. `waits` marks those that wait far more than they work: they run
    once, without a warm-up, beside each other. With `again` each run is followed, a window later,
    by a second one on the same ledger, told as a scenario of its own.
    """

    name: str
    about: str
    users: int
    tenants: int = 1
    plan: Mapping[str, Any] = field(default_factory=dict)
    contenders: tuple[str, ...] = ("ours",)
    how: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = False
    again: bool = False

    @property
    def slow(self) -> bool:
        """Whether it waits for a window to pass."""
        return self.waits or self.again

    def smaller(self) -> Scenario:
        """Return it with a tenth of the users."""
        return replace(self, users=max(20, self.users // 10))


NEAR = {"latency": 0.05}
DEFAULTS = {"budget": "default"}


def _limited(name: str, about: str, users: int, **plan: Any) -> Scenario:
    return Scenario(
        name=name, about=about, users=users, plan={**NEAR, **plan}, how=DEFAULTS, waits=True
    )


SCENARIOS = (
    Scenario(
        name="no-latency",
        about="10,000 users of one tenant; Graph answers at once, and has no limit",
        users=10_000,
        contenders=CONTENDERS,
    ),
    Scenario(
        name="latency-50ms",
        about="the same; each answer takes 50 ms",
        users=10_000,
        plan=NEAR,
        contenders=CONTENDERS,
    ),
    Scenario(
        name="faults",
        about="2,000 users, 50 ms; 3 % are answered 503 with Retry-After: 2, and 1 % of the HTTP "
        "requests end in a reset, half of them after they were applied (the bounds retry nothing "
        "and do not take part)",
        users=2_000,
        plan={
            **NEAR,
            "p_503": 0.03,
            "retry_after": 2.0,
            "p_reset_after": 0.005,
            "p_reset_before": 0.005,
        },
        contenders=("ours", *PEERS),
    ),
    Scenario(
        name="tenants",
        about="50 tenants of 200 users each; Graph answers at once",
        users=200,
        tenants=50,
        contenders=("ours", "floor"),
    ),
    Scenario(
        name="limit-10000",
        about="4,000 users, 50 ms, a limit of 10,000 in 30 s that ours, with default settings, "
        "does not know: first with a new ledger, then, a window later, again with what that "
        "ledger has learned",
        users=4_000,
        plan={**NEAR, "limit": 10_000},
        how=DEFAULTS,
        again=True,
    ),
    replace(
        _limited(
            "throttled-1500",
            "4,000 users, 50 ms, a true limit of 1,500 requests in any 30 s; refused ones count; "
            "nobody can end before 60 s",
            4_000,
            limit=1_500,
        ),
        contenders=("ours", "naive", "floor"),
    ),
    _limited("limit-700", "2,000 users under 700 in 30 s; at least 60 s", 2_000, limit=700),
    _limited("limit-2200", "4,000 users under 2,200 in 30 s; at least 30 s", 4_000, limit=2_200),
    _limited(
        "lowered",
        "4,000 users; the limit falls from 10,000 to 1,500 after half a second",
        4_000,
        limit=10_000,
        schedule=[[0.5, 1_500]],
    ),
    _limited(
        "shared",
        "2,000 users under 1,500 in 30 s, half of which somebody else takes; at least 60 s",
        2_000,
        limit=1_500,
        stolen=750,
    ),
)

ALONE = {
    "hold-many": "10,000 users held at once, durably, then cleared at the close",
    "import": "fresh interpreters, by turns; medians of 15",
    "memory": "100,000 sessions held, on the SQLite ledger",
    "idle": "10,000 sessions held, nothing to do for 20 s",
    "recovery": "a process that holds 100,000 sessions is killed; the next one opens its ledger",
    "scale": "hold, renew and sweep, by the number of sessions",
}
"""What is measured of ours alone."""
