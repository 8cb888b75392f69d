"""What one attempt came to, as a value."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verb(StrEnum):
    """What is asked of Graph; a renewal is a set."""

    SET = "set"
    CLEAR = "clear"


class Judgement(StrEnum):
    """What an answer, or the lack of one, proves (design, section 5)."""

    DONE = "done"
    GONE = "gone"
    THROTTLED = "throttled"
    LATER = "later"
    LOST = "lost"
    UNAUTHORIZED = "unauthorized"
    DENIED = "denied"


class Verdict(NamedTuple):
    """The judgement on one session's attempt, with what Graph said of it.

    `sent_at` and `at` are seconds since the epoch on this process's clock: before the first
    byte left, and when the answer was complete or given up. `retry_after` is what Graph asked
    for, in seconds (None: nothing, or nonsense). `singly` says that the answer to a batch
    says nothing about this session, which is to be asked again in a request of its own.
    """

    judgement: Judgement
    sent_at: float
    at: float
    status: int | None = None
    code: str = ""
    message: str = ""
    request_id: str = ""
    retry_after: float | None = None
    singly: bool = False
