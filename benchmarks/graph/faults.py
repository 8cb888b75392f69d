"""Faults at an exact rate: dealt from shuffled decks, so that every contender gets its share."""

from __future__ import annotations

import random

CARDS = 100


class Deck:
    """A hundred cards, of which `rate` are bad; shuffled anew each time it is used up."""

    def __init__(self, rate: float, chance: random.Random) -> None:
        self._bad = round(rate * CARDS)
        self._chance = chance
        self._cards: list[bool] = []

    def __bool__(self) -> bool:
        """Whether it has any bad card."""
        return self._bad > 0

    def draw(self) -> bool:
        """Draw a card; True is bad."""
        if not self._cards:
            self._cards = [True] * self._bad + [False] * (CARDS - self._bad)
            self._chance.shuffle(self._cards)
        return self._cards.pop()


class Resets:
    """Connections that are reset: by turns after and before the request is applied."""

    def __init__(self, after: float, before: float, chance: random.Random) -> None:
        self._deck = Deck(after + before, chance)
        self._after, self._before = after, before
        self._afters = self._befores = 0

    def __bool__(self) -> bool:
        return bool(self._deck)

    def draw(self) -> str:
        """Draw for one HTTP request: "", "after" or "before"."""
        if not self._deck.draw():
            return ""
        if self._afters * self._before <= self._befores * self._after and self._after:
            self._afters += 1
            return "after"
        self._befores += 1
        return "before"
