"""Who is calling: the facts of a checked token, and whether Graph still believes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Identity:
    """What a token says once its signature is verified. Times are POSIX seconds."""

    tenant: str
    app: str
    roles: frozenset[str]
    not_before: float
    expires_at: float
    cp1: bool
    """The application declared that it handles claims challenges (``xms_cc``)."""
    serial: int
    """Grows with each token that was issued: a revocation hits all up to a number."""
