"""Which deaths are died: every point of every story, and instants at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from uuid import UUID

RANDOM = "random"
MIGRATION = ("ALTER", "CREATE", "PRAGMA", "COMMIT")
"""What the points of a migration begin with; its commit is the first one of a process."""


@dataclass(frozen=True)
class Death:
    """Who dies where: at the `at`-th passage of a point, or so many seconds after its birth."""

    role: str
    point: str
    at: float


@dataclass(frozen=True)
class Case:
    """A story, and the deaths in it one after the other; after the last one all must be well.

    In between the ledger may be made one of an `older` version. With a `sibling` another process is
    alive on the same ledger, and sees to what the dead one left. `turn` tells cases apart that are
    otherwise the same.
    """

    story: int
    deaths: tuple[Death, ...]
    older: bool = False
    sibling: bool = False
    broken: str = ""
    turn: int = 0

    @property
    def foul(self) -> bool:
        """Whether Graph has faults."""
        return self.story % 2 == 1

    @property
    def rescuers(self) -> int:
        """How many processes recover at the same time, in the end."""
        return 1 + self.story // 2 % 2

    @property
    def tenant(self) -> str:
        """A tenant of its own, so that cases share an emulator and chance repeats."""
        digest = blake2b(repr(self).encode(), digest_size=16).digest()
        return str(UUID(bytes=digest, version=4))

    def command(self) -> str:
        """How to run exactly this one."""
        words = [f'--point "{death.role}:{death.point}" --at {death.at:g}' for death in self.deaths]
        words += [f"--{word}" for word in ("older", "sibling") if getattr(self, word)]
        return f"make crash ARGS='--story {self.story} --turn {self.turn} {' '.join(words)}'"


@dataclass(frozen=True)
class Survey:
    """What a story passes when nobody is killed; `seconds` that each role takes."""

    story: int
    live: Counter[str]
    recover: Counter[str]
    migrate: Counter[str]
    live_seconds: float
    recover_seconds: float


HALF_WAY = Death("live", "face", 5)
"""A death that leaves a recovery all kinds of work."""


def draw(surveys: list[Survey], random: Random) -> Iterator[Case]:
    """Cases without end: points of a life, every third time of another kind, evenly."""
    return (replace(case, turn=turn) for turn, case in enumerate(_draw(surveys, random)))


def _draw(surveys: list[Survey], random: Random) -> Iterator[Case]:
    lives = _endless([_points(s, "live", s.live, random) for s in surveys], random)
    twice = _endless([_points(s, "recover", s.recover, random) for s in surveys], random)
    older = _endless([_points(s, "recover", s.migrate, random) for s in surveys], random)
    while True:
        for story, death in (next(lives), next(lives), next(lives), next(lives)):
            yield Case(story, (death,))
        survey = random.choice(surveys)
        instant = Death("live", RANDOM, round(random.uniform(0, survey.live_seconds), 6))
        yield Case(survey.story, (instant,))
        story, death = next(lives)
        yield Case(story, (death,), sibling=True)
        survey = random.choice(surveys)
        again = Death("recover", RANDOM, round(random.uniform(0, survey.recover_seconds), 6))
        yield Case(survey.story, (HALF_WAY, again))
        for _ in range(2):
            story, death = next(twice)
            first = Death("live", RANDOM, round(random.uniform(0, survey.live_seconds), 6))
            yield Case(story, (random.choice((HALF_WAY, first)), death))
        story, death = next(older)
        yield Case(story, (HALF_WAY, death), older=True)


def _points(
    survey: Survey, role: str, passages: Counter[str], random: Random
) -> Iterator[tuple[int, Death]]:
    """Each point in turn, at passages in an order of their own."""
    left: dict[str, list[int]] = {}
    while True:
        points = sorted(passages)
        random.shuffle(points)
        for point in points:
            if not left.get(point):
                left[point] = random.sample(range(1, passages[point] + 1), passages[point])
            yield survey.story, Death(role, point, left[point].pop())


def _endless(
    parts: list[Iterator[tuple[int, Death]]], random: Random
) -> Iterator[tuple[int, Death]]:
    while True:
        yield next(random.choice(parts))
