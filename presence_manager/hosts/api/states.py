"""What an operator sees of a session in one word."""

from __future__ import annotations

from typing import Literal

from presence_manager.core.session import Known

State = Literal["shown", "pending", "unsure", "clearing"]

KNOWN_OF: dict[State, tuple[Known | None, bool]] = {
    "shown": (Known.SHOWN, True),
    "pending": (Known.ABSENT, True),
    "unsure": (Known.UNSURE, True),
    "clearing": (None, False),
}
"""What is known in each state (None: whatever), and whether anybody holds the session."""


def state_of(known: Known, *, held: bool) -> State:
    """The state of a session of which something is left."""
    if not held:
        return "clearing"
    return {Known.SHOWN: "shown", Known.ABSENT: "pending", Known.UNSURE: "unsure"}[known]  # type: ignore[return-value]
