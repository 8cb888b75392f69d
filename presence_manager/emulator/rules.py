"""What Graph does with presence: sessions, fading, preferred presence, and what others see.

No I/O and no clock: ``now`` is POSIX seconds and always an argument. Sources, by the names of the
Microsoft pages: *presence: setPresence*, *presence: clearPresence*, *presence:
setUserPreferredPresence*, *presence: clearUserPreferredPresence*, *Manage presence state using the
Microsoft Graph API*.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LEASE_DEFAULT = 5 * MINUTE
LEASE_SHORTEST = 5 * MINUTE
LEASE_LONGEST = 4 * HOUR
FADE = 5 * MINUTE
"""Time-out of one stage: Available, then AvailableInactive, then Away; whatever the expiry."""

SESSION_PAIRS = frozenset(
    {
        ("Available", "Available"),
        ("Busy", "InACall"),
        ("Busy", "InAConferenceCall"),
        ("Away", "Away"),
        ("DoNotDisturb", "Presenting"),
    }
)
PREFERRED_PAIRS = {
    ("Available", "Available"): 7 * DAY,
    ("Busy", "Busy"): 1 * DAY,
    ("DoNotDisturb", "DoNotDisturb"): 1 * DAY,
    ("BeRightBack", "BeRightBack"): 7 * DAY,
    ("Away", "Away"): 7 * DAY,
    ("Offline", "OffWork"): 7 * DAY,
}
"""Each pair that a person may prefer, and how long it stays when no expiry is given, in seconds."""

OFFLINE = ("Offline", "Offline")
UNKNOWN = ("PresenceUnknown", "PresenceUnknown")
_RANK = {"DoNotDisturb": 4, "Busy": 3, "Available": 2, "Away": 1}


class Session(NamedTuple):
    """One application's presence session for one user of one tenant. Times are POSIX seconds.

    A named tuple because one is made for each set: as immutable as a frozen dataclass, and a
    quarter of the cost.
    """

    tenant: str
    app: str
    user: str
    availability: str
    activity: str
    expires_at: float
    set_at: float = 0.0

    def faded(self, now: float) -> Session:
        """Return the session as it shows at ``now``: only Available fades, in two stages."""
        if self.availability != "Available":
            return self
        age = now - self.set_at
        if age < FADE:
            return self
        if age < 2 * FADE:
            return self._replace(activity="AvailableInactive")
        return self._replace(availability="Away", activity="Away")


class Preferred(NamedTuple):
    """What a user prefers to show; hides every session until it expires."""

    availability: str
    activity: str
    expires_at: float


class Presences:
    """All sessions and preferences of all tenants. At ``expires_at`` exactly, a thing is gone."""

    def __init__(self) -> None:
        self._people: dict[tuple[str, str], dict[str, Session]] = {}
        self._preferred: dict[tuple[str, str], Preferred] = {}

    def set(self, session: Session) -> None:
        """Create or overwrite the application's one session for that user."""
        person = self._people.get((session.tenant, session.user))
        if person is None:
            person = self._people[session.tenant, session.user] = {}
        person[session.app] = session

    def clear(self, tenant: str, app: str, user: str, now: float) -> bool:
        """End a session; False if there was none: never set, expired, or cleared before."""
        person = self._people.get((tenant, user))
        session = person.pop(app, None) if person is not None else None
        if person is not None and not person:
            del self._people[tenant, user]
        return session is not None and session.expires_at > now

    def prefer(self, tenant: str, user: str, preferred: Preferred) -> None:
        """Set the one preferred presence of a user, shared by all applications and the user."""
        self._preferred[tenant, user] = preferred

    def unprefer(self, tenant: str, user: str) -> None:
        """Forget the preferred presence, if there is one: the page knows no other answer."""
        self._preferred.pop((tenant, user), None)

    def shown(self, tenant: str, user: str, now: float) -> tuple[str, str]:
        """Return the (availability, activity) that others see.

        Preferred beats every session, but shows only while there is at least one; among sessions
        DoNotDisturb > Busy > Available > Away; with none, Offline.
        """
        person = self._people.get((tenant, user), {})
        live = [session.faded(now) for session in person.values() if session.expires_at > now]
        if not live:
            return OFFLINE
        preferred = self._preferred.get((tenant, user))
        if preferred is not None and preferred.expires_at > now:
            return preferred.availability, preferred.activity
        # An active Available outranks one that has fallen inactive; the newest wins a tie.
        best = max(
            live, key=lambda s: (_RANK.get(s.availability, 0), s.activity == "Available", s.set_at)
        )
        return best.availability, best.activity

    def live(self, now: float) -> list[Session]:
        """Return every live session as it shows at ``now``, and drop the expired ones."""
        found: list[Session] = []
        for key, person in list(self._people.items()):
            for app, session in list(person.items()):
                if session.expires_at > now:
                    found.append(session.faded(now))
                else:
                    del person[app]
            if not person:
                del self._people[key]
        return found
