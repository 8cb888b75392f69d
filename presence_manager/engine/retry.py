"""How hard to try: tenacity's objects decide, the lane does the waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenacity import RetryCallState, stop_after_attempt, wait_exponential, wait_random

from presence_manager.core.session import Terms

if TYPE_CHECKING:
    from tenacity.stop import stop_base
    from tenacity.wait import wait_base

GROWTH = 3
"""By how much each wait is longer than the one before."""


class RetryPolicy:
    """Evaluates tenacity's `wait` and `stop` on the tries that one session has had.

    The default grows from `first_wait` to `longest_wait` seconds, with jitter, and stops after
    `attempts`: a lost answer costs a caller hardly anything, an outage is sat out. Any other of
    tenacity's objects may be given in their place.
    """

    def __init__(
        self,
        *,
        attempts: int = 8,
        first_wait: float = 0.03,
        longest_wait: float = 30.0,
        wait: wait_base | None = None,
        stop: stop_base | None = None,
    ) -> None:
        self._wait = wait or (
            wait_exponential(multiplier=first_wait, max=longest_wait, exp_base=GROWTH)
            + wait_random(0, first_wait)
        )
        self._stop = stop or stop_after_attempt(attempts)

    def spent(self, tries: int, seconds: float) -> bool:
        """Whether to give up after `tries` requests in `seconds`."""
        return bool(self._stop(_state(tries, seconds)))

    def delay(self, tries: int, seconds: float, retry_after: float | None) -> float:
        """Seconds until the next try.

        What Graph asked for is obeyed; from the third time on it is a floor, since a Retry-After
        has been seen stuck at 1.
        """
        if retry_after is not None and tries < 3:
            return retry_after
        return max(retry_after or 0.0, float(self._wait(_state(tries, seconds))))


def _state(tries: int, seconds: float) -> RetryCallState:
    nothing: Any = None
    state = RetryCallState(nothing, nothing, (), {})
    state.attempt_number = tries
    state.outcome_timestamp = state.start_time + seconds
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneTerms:
    """How lanes behave. `width` is how many HTTP requests may be in flight at most."""

    terms: Terms
    policy: RetryPolicy
    batching: bool = True
    width: int = 128
