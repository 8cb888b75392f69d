"""The five ways in which an application may show a user, and how long they last.

Source: Microsoft Graph, presence-setpresence and "manage presence state".
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple


class Pair(NamedTuple):
    """Availability and activity, as setPresence takes them."""

    availability: str
    activity: str

    def __str__(self) -> str:
        return f"{self.availability}/{self.activity}"


PAIRS = (
    Pair("Available", "Available"),
    Pair("Busy", "InACall"),
    Pair("Busy", "InAConferenceCall"),
    Pair("Away", "Away"),
    Pair("DoNotDisturb", "Presenting"),
)

SHORTEST_LEASE = 300.0
"""Seconds; Graph takes an expirationDuration from PT5M ..."""
LONGEST_LEASE = 14_400.0
"""... to PT4H."""
FADES_AFTER = 300.0
"""Seconds after which Available turns AvailableInactive, whatever the lease."""


def pair_of(availability: str, activity: str | None = None) -> Pair:
    """Return the pair; without an activity the first pair of that availability.

    Raises ValueError that names the pairs that Graph takes.
    """
    for pair in PAIRS:
        if pair.availability == availability and activity in (None, pair.activity):
            return pair
    asked = availability if activity is None else f"{availability}/{activity}"
    raise ValueError(
        f"{asked[:60]!a} cannot be set by an application; Graph takes " + ", ".join(map(str, PAIRS))
    )


def shortest_lease(held: int, renewals: float) -> float:
    """Return the shortest lease, in seconds, at which so many sessions can be renewed in time.

    `renewals` is how many there may be each second. Each is renewed after 0.4 to 0.5 of its
    lease (`change.renewal_due`), 0.45 on average.
    """
    minutes = ceil(held / (0.45 * renewals) / 60)
    return min(max(SHORTEST_LEASE, minutes * 60.0), LONGEST_LEASE)


def checked_lease(seconds: float) -> float:
    """Return the lease in whole seconds, or raise ValueError outside of 5 minutes to 4 hours."""
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError(
            f"a lease of {seconds:g} s is refused by Graph: it takes "
            f"{SHORTEST_LEASE:g} s (5 minutes) to {LONGEST_LEASE:g} s (4 hours)"
        )
    return float(int(seconds))
