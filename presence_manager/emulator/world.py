"""Everything the emulator knows and does, short of a socket: what tests ask and order."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from .faults import Fault, Faults
from .journal import Entry, Journal
from .judge import WRITER, Judge
from .rules import HOUR, Session
from .throttle import RetryAfterStyle, Throttle
from .tokens import Tokens
from .values import guid


class World:
    """The state, the clock, the tokens and the faults of one emulated Graph."""

    def __init__(
        self,
        *,
        limit: int,
        window: float,
        retry_after: RetryAfterStyle,
        seed: int,
        users: Collection[str] | None,
        clock: Callable[[], float] | None,
        keep: int | None,
        issuer: Callable[[str], str],
    ) -> None:
        self._base = clock or _real_clock()
        self._moved = 0.0
        self._journal = Journal(keep)
        self._faults = Faults(seed)
        self._tokens = Tokens(clock=self.now, issuer=issuer)
        self._judge = Judge(
            clock=self.now,
            throttle=Throttle(limit, window),
            faults=self._faults,
            journal=self._journal,
            users=users,
            retry_after=retry_after,
        )

    def now(self) -> float:
        """Return the emulator's time, POSIX seconds; the Date header tells it too."""
        return self._base() + self._moved

    def move_clock(self, seconds: float) -> None:
        """Move time forward: sessions fade and expire, tokens too, late operations happen."""
        if seconds < 0:
            raise ValueError("time moves forward only")
        self._moved += seconds
        self._judge.now()

    def token(
        self,
        tenant: str,
        app: str,
        *,
        lifetime: float = HOUR,
        roles: Iterable[str] = (WRITER,),
        cp1: bool = False,
    ) -> str:
        """Return a ready token for any application, signed in or not; ``lifetime`` in seconds."""
        return self._tokens.issue(
            _known(tenant), _known(app), lifetime=lifetime, roles=tuple(roles), cp1=cp1
        )

    def revoke(self, token: str | None = None) -> None:
        """Revoke one token, or with None all that were issued up to now."""
        self._tokens.revoke(token)

    def put_session(
        self,
        tenant: str,
        app: str,
        user: str,
        availability: str = "Busy",
        activity: str = "InACall",
        lease: float = HOUR,
    ) -> None:
        """Create a session behind everyone's back; no rule is applied, no line is written."""
        now = self._judge.now()
        key = (_known(tenant), _known(app), _known(user))
        self._judge.presences.set(Session(*key, availability, activity, now + lease, now))

    def drop_session(self, tenant: str, app: str, user: str) -> bool:
        """Let a session vanish on the server; False if there was none."""
        now = self._judge.now()
        return self._judge.presences.clear(_known(tenant), _known(app), _known(user), now)

    def sessions(self) -> list[Session]:
        """Return the live sessions as they show now (an old Available has faded)."""
        return self._judge.presences.live(self._judge.now())

    def presence(self, tenant: str, user: str) -> tuple[str, str]:
        """Return the (availability, activity) that others see of a user."""
        now = self._judge.now()
        return self._judge.presences.shown(_known(tenant), _known(user), now)

    @property
    def journal(self) -> list[Entry]:
        """Every operation in true order, what fell due by now included."""
        self._judge.now()
        return self._journal.entries

    def journal_for(self, user: str) -> list[Entry]:
        """Return the journal's entries about one user."""
        wanted = user.lower()
        return [entry for entry in self.journal if entry.user == wanted]

    @property
    def operations(self) -> int:
        """Operations judged, alone or in a batch."""
        return self._journal.operations

    @property
    def refused(self) -> int:
        """Operations answered 429."""
        return self._journal.refused

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force, after those that are."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """End all faults; what they put off until later still happens."""
        self._faults.clear()


def _known(text: str) -> str:
    name = guid(text)
    if name is None:
        raise ValueError(f"not a GUID: {text!r}")
    return name


def _real_clock() -> Callable[[], float]:
    """Return POSIX time that never steps back, however the machine's clock is set meanwhile."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()
