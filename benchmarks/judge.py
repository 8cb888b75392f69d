"""Holds what a contender tells of its users against what the server knows to be true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

GONE = frozenset({"cleared", "already_gone", "gone_after_retry", "never_set", "lapsed"})
"""What says that nothing is left on Graph's side."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How many users were told of wrongly, and how; each counts once among the first three.

    `alive`: told to be gone, and is still shown. `invented`: told to be cleared, and no clear was
    both applied and answered with a 200 that was delivered. `misnamed`: told to have been gone
    already, and it was the contender's own clear that did it. `left`: still shown at the end,
    whatever was told. `unreported`: nothing was told.
    """

    alive: int = 0
    invented: int = 0
    misnamed: int = 0
    left: int = 0
    unreported: int = 0

    @property
    def wrong(self) -> int:
        """Of how many users something untrue was told."""
        return self.alive + self.invented + self.misnamed

    def __add__(self, other: Judgement) -> Judgement:
        return Judgement(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(self))
        )


def judge(asked: Iterable[str], told: Mapping[str, str], truth: Mapping[str, Any]) -> Judgement:
    """Judge what was `told` of the users `asked` for, by the server's `truth["users"]`."""
    counts = dict.fromkeys((each.name for each in fields(Judgement)), 0)
    users = truth["users"]
    for user in asked:
        known = users.get(user, {"live": False, "journal": []})
        counts["left"] += known["live"]
        kind = told.get(user)
        if kind is None:
            counts["unreported"] += 1
        elif fault := _fault(kind, known):
            counts[fault] += 1
    return Judgement(**counts)


def _fault(kind: str, known: Mapping[str, Any]) -> str:
    """Return what is untrue of it, or nothing."""
    if known["live"]:
        return "alive" if kind in GONE else ""
    clears = [
        (status, delivered)
        for _, verb, status, applied, delivered in known["journal"]
        if verb == "clear" and applied
    ]
    if kind == "cleared" and (200, True) not in clears:
        return "invented"
    return "misnamed" if kind == "already_gone" and clears else ""


WORDS = {
    "alive": "told to be gone though still shown",
    "invented": "told as cleared though no clear was answered with a 200 that arrived",
    "misnamed": "told as already gone though its own clear had been applied",
    "left": "left shown",
    "unreported": "not told of",
}


def in_words(judgement: Judgement) -> str:
    """Say it for people; empty when all is well."""
    return "; ".join(
        f"{number:,} {text}" for name, text in WORDS.items() if (number := getattr(judgement, name))
    )
