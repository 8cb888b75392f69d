"""Faults on request: what to spoil, how often, and how; repeatable from run to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Literal, get_args

Effect = Literal[
    "status",
    "throttle",
    "unauthorized",
    "garbage",
    "missing",
    "duplicate",
    "reset",
    "late",
    "hang",
    "slow",
    "cut",
    "stale",
]
FaultVerb = Literal[
    "any", "set", "clear", "prefer", "unprefer", "read", "read_many", "batch", "token"
]

ON_THE_WIRE = frozenset({"reset", "late", "hang", "slow", "cut", "garbage", "stale"})
"""Effects on a whole HTTP answer; on a batch item they spoil the answer of its batch."""
IN_A_BATCH = frozenset({"missing", "duplicate"})
"""Effects that only an item of a batch can have."""
_DELIVERED = frozenset({"slow", "stale", "duplicate"})
"""Effects that carry the true answer, so the operation is always applied."""
_UNANSWERED = frozenset({"reset", "late", "cut", "missing"})
"""Effects after which the client was told nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, for whatever it matches.

    Matching: ``verb`` ("any" is any operation, alone or in a batch; "batch" a whole batch; "token"
    a sign-in), ``tenant`` and ``user`` (None for all; with "batch", a batch that names the user).
    How often, among what matches: the first ``after`` are spared, then every ``every``-th, with
    ``probability``, at most ``times``.

    ============  ==================================================================================
    effect        what happens
    ============  ==================================================================================
    status        answers ``status`` with ``code``, ``retry_after``; ``html`` sends a proxy's page
    throttle      429 with ``retry_after``
    unauthorized  401, the token is called invalid
    garbage       200 with a body that is not JSON
    missing       the item is left out of the batch answer (verb "batch": one of them)
    duplicate     the item is answered twice (verb "batch": one of them)
    reset         the connection is aborted (TCP RST), nothing is answered
    late          as reset, and the operation is applied ``seconds`` later on the emulator's clock
    hang          waits ``seconds`` of real time (None: for ever), then tells the truth if
                  ``applied``, else 504
    slow          the answer drips over ``seconds`` of real time
    cut           the body ends early: a false Content-Length, or ``chunked`` and dropped
    stale         answers, then closes the kept-alive connection without having said so
    ============  ==================================================================================

    ``applied``: the operation really happens before the answer is spoiled. ``delay``: it happens so
    many seconds later instead (any effect that does not apply it at once). ``retry_after`` is sent
    as it stands: "2", 0.5, an HTTP date, nonsense; None sends none.
    """

    verb: FaultVerb = "any"
    effect: Effect = "status"
    tenant: str | None = None
    user: str | None = None
    probability: float = 1.0
    times: int | None = None
    every: int = 1
    after: int = 0
    applied: bool = False
    delay: float | None = None
    status: int = 503
    code: str | None = None
    retry_after: str | float | None = None
    html: bool = False
    seconds: float | None = None
    chunked: bool = False

    def __post_init__(self) -> None:
        """Refuse what would silently never happen."""
        if self.verb not in get_args(FaultVerb) or self.effect not in get_args(Effect):
            raise ValueError(f"unknown verb or effect: {self.verb!r}, {self.effect!r}")
        if self.effect in {"late", "slow"} and self.seconds is None:
            raise ValueError(f"{self.effect!r} needs seconds")
        if not 0 <= self.probability <= 1 or self.every < 1:
            raise ValueError("probability is 0 to 1, every is 1 or more")
        if self.verb == "token" and (self.effect in IN_A_BATCH or self.effect == "late"):
            raise ValueError(f"a sign-in cannot be {self.effect!r}")

    @property
    def is_silent(self) -> bool:
        """Whether the client is told nothing."""
        return self.effect in _UNANSWERED or (self.effect == "hang" and self.seconds is None)

    @property
    def applies_at_once(self) -> bool:
        """Whether the operation happens before the answer."""
        return self.effect in _DELIVERED or (self.applied and self.effect != "late")

    @property
    def applies_after(self) -> float | None:
        """Seconds after which an operation happens that did not happen at once, or None."""
        if self.applies_at_once:
            return None
        return self.seconds if self.effect == "late" else self.delay

    @property
    def retry_after_header(self) -> str | None:
        """The Retry-After value as text."""
        return None if self.retry_after is None else str(self.retry_after)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Fault:
        """Make a fault of a JSON object with the same names; unknown names are an error."""
        unknown = document.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown in a fault: {', '.join(sorted(unknown))}")
        return cls(**document)


class _Rule:
    """A fault and how often it has matched and struck."""

    __slots__ = ("fault", "seen", "struck", "tenant", "user")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.tenant = fault.tenant and fault.tenant.lower()
        self.user = fault.user and fault.user.lower()
        self.seen = 0
        self.struck = 0


class Faults:
    """The faults in force. Of several that strike at once, the first that was added wins.

    Chance is a hash of the seed, the fault, and *how often this user was asked about*, not of the
    order in which requests happen to arrive: concurrency does not change who is struck.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[_Rule] = []
        self._asked: Counter[tuple[int, str, str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._rules.append(_Rule(fault))

    def clear(self) -> None:
        """End all faults."""
        self._rules.clear()
        self._asked.clear()

    def pick(
        self, verb: str, tenant: str, users: Iterable[str] = (), *, in_batch: bool = False
    ) -> Fault | None:
        """Return the fault that strikes one operation, batch or sign-in, or None."""
        for number, rule in enumerate(self._rules):
            fault = rule.fault
            if fault.verb != verb and not (fault.verb == "any" and verb not in {"batch", "token"}):
                continue
            if fault.effect in IN_A_BATCH and not (in_batch or verb == "batch"):
                continue
            if rule.tenant is not None and rule.tenant != tenant:
                continue
            if rule.user is not None and rule.user not in users:
                continue
            if self._strikes(number, rule, verb, tenant, next(iter(users), "")):
                return fault
        return None

    def _strikes(self, number: int, rule: _Rule, verb: str, tenant: str, user: str) -> bool:
        fault = rule.fault
        if fault.times is not None and rule.struck >= fault.times:
            return False
        rule.seen += 1
        turn = rule.seen - fault.after
        if turn <= 0 or turn % fault.every:
            return False
        if fault.probability < 1.0:
            self._asked[number, verb, tenant, user] += 1
            nth = self._asked[number, verb, tenant, user]
            text = f"{self._seed}/{number}/{verb}/{tenant}/{user}/{nth}".encode()
            chance = int.from_bytes(blake2b(text, digest_size=8).digest()) / 2**64
            if chance >= fault.probability:
                return False
        rule.struck += 1
        return True
