"""What became of one session in one sweep, and of a sweep as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from presence_manager.core.key import Key


class Kind(StrEnum):
    """The eight ends of a session in a sweep (design, section 6).

    `final`: no later result may replace it.
    """

    final: bool

    CLEARED = "cleared"
    ALREADY_GONE = "already_gone"
    GONE_AFTER_RETRY = "gone_after_retry"
    NEVER_SET = "never_set"
    LAPSED = "lapsed"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNFINISHED = "unfinished"

    def __init__(self, name: str) -> None:
        self.final = name not in ("failed", "unfinished")


class Outcome(NamedTuple):
    """One session's end in one sweep.

    `at` is in seconds since the epoch. `attempts` counts the requests of this clearing that
    left for this session. `status`, `code`, `message` and `request_id` are of the last answer.
    `recorded` is False only when the ledger could not be told of it.
    `lapses_at` tells of a session that may be left when Graph itself ends it, at the latest, in
    seconds since the epoch.
    """

    key: Key
    kind: Kind
    sweep_id: str
    at: float
    attempts: int = 0
    status: int | None = None
    code: str = ""
    message: str = ""
    request_id: str = ""
    owner: str = ""
    reason: str = ""
    recorded: bool = True
    lapses_at: float | None = None

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self.key.lane.tenant

    @property
    def app(self) -> str:
        """The application's (client's) id."""
        return self.key.lane.app

    @property
    def user(self) -> str:
        """The user's object id."""
        return self.key.user


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a sweep went; all outcomes are in the ledger under `sweep_id`.

    `ok` when nothing failed, nothing is unfinished, and all sessions were taken in before the
    deadline (`complete`). `problems` holds the first outcomes that
    are not success. `requests` and `refused` count what this sweep's lanes sent meanwhile.
    `unrecorded` are the first outcomes that the ledger could not be told of, and does not have, and
    `unrecorded_total` is the number of all.
    `note` is a question for the operator, when the figures look like a mistake.
    """

    sweep_id: str
    seconds: float
    requests: int
    refused: int
    counts: dict[str, int] = field(default_factory=dict)
    problems: tuple[Outcome, ...] = ()
    unrecorded: tuple[Outcome, ...] = ()
    unrecorded_total: int = 0
    note: str = ""
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Whether nobody may still be shown because of us."""
        return self.complete and not (
            self.counts.get(Kind.FAILED) or self.counts.get(Kind.UNFINISHED)
        )

    @property
    def total(self) -> int:
        """How many sessions had an outcome."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A sweep as it runs: sessions taken in, sessions done, and seconds since its start."""

    sweep_id: str
    taken: int
    done: int
    counts: dict[str, int]
    seconds: float
    all_taken: bool
