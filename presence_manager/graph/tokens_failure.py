"""What a sign-in that failed came to, before it is told to whoever waits for it."""

from __future__ import annotations

import re

from presence_manager.errors import SignInError, SignInRefused, SignInUnavailable

# A bearer token goes into a header: visible ASCII, so that it can end neither line nor value.
_SENDABLE = re.compile(r"[\x21-\x7e]+")


def sendable(secret: object) -> bool:
    """Whether this can be sent as a bearer token, and cannot change the rest of a request."""
    return isinstance(secret, str) and _SENDABLE.fullmatch(secret) is not None


class Failure(Exception):
    """One sign-in that gave no token.

    `refused` is a definite no, else nobody answered. `code` is the platform's own. `again` says
    that another try at once may well succeed. `wait` is the Retry-After, in seconds, None if
    none was given. The text has no secret, and neither tenant nor application: `error` adds them.
    """

    def __init__(
        self,
        text: str,
        *,
        refused: bool = False,
        code: str = "",
        again: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.refused = refused
        self.code = code
        self.again = again
        self.wait = wait

    def bare(self) -> Failure:
        """Return the same without the frames it went through: they have secrets in their locals."""
        return Failure(
            self.text, refused=self.refused, code=self.code, again=self.again, wait=self.wait
        )

    def error(self, tenant: str) -> SignInError:
        """Return a new exception for one caller who waited for a token of this tenant."""
        if self.refused:
            text = f"the sign-in to tenant {tenant} was refused: {self.text}"
            return SignInRefused(text, code=self.code)
        return SignInUnavailable(f"no sign-in to tenant {tenant} is possible now: {self.text}")
