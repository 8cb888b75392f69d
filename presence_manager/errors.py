"""Every exception of the library, and who is to blame for it.

PresenceError
├── InvalidHold          the caller asked for what Graph would refuse: nothing was written or sent
├── HoldRefused          Graph, or the sign-in, refused the hold for good
├── HoldTimeout          the hold was not shown in time: it is withdrawn
├── Closed               the manager is closed, or was carried over a fork
├── SettingsError        a setting is missing or wrong
├── LedgerError          the ledger could not make it durable: Graph was not asked
│   └── LedgerUnusable   the ledger cannot be opened at all
└── SignInError          no token
    ├── SignInRefused    the identity platform said no: asking again will not help
    └── SignInUnavailable  the identity platform did not answer

What Graph answers is never an exception below the manager: it is a `Verdict`, a value.
The text of each error says what happened, to whom, what was saved and what to do next.
"""

from __future__ import annotations


class PresenceError(Exception):
    """Base of all errors of this library; catch it to catch them all."""


class InvalidHold(PresenceError, ValueError):
    """The request cannot be granted by Graph as it stands; nothing was written or sent."""


class HoldRefused(PresenceError):
    """Graph, or the sign-in, refused the hold for good; it is withdrawn.

    `status` is the HTTP status (None when no request was made), `code` and `message` are
    Graph's own, `request_id` is what Microsoft's support asks for.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        code: str = "",
        message: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id


class HoldTimeout(PresenceError, TimeoutError):
    """The session was not shown in time; the hold is withdrawn and cleared in the background."""


class Closed(PresenceError):
    """The manager is not open: never opened, closed already, or carried over a fork."""


class SettingsError(PresenceError):
    """A setting is missing, unknown or wrong; the text names it and says what it may be."""


class LedgerError(PresenceError):
    """The ledger could not make the intent durable, so Graph was not asked."""


class LedgerUnusable(LedgerError):
    """The ledger cannot be opened: locked, read-only, corrupt, too new, or no ledger at all."""


class SignInError(PresenceError):
    """No token could be had."""


class SignInRefused(SignInError):
    """The identity platform refused; `code` is its own, for example invalid_client."""

    def __init__(self, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class SignInUnavailable(SignInError):
    """The identity platform could not be reached, or did not answer in time."""
