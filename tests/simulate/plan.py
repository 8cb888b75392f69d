"""What a run does, as data: drawn from a seed, printed, and shrunk by leaving things out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

DAY = 86_400.0
CALM = 1_500.0
"""Seconds of peace between two storms: longer than any wait that a fault may leave behind."""
NAMES = ("k1", "k2", "k3")
WHOLE = ("before", "reset", "applied_lost", "late", "late_reset", "hang", "sign_in", "singly")
"""What befalls a whole request ..."""
ITEM = ("401", "403", "404", "409", "429", "500", "503 applied", "missing", "duplicate")
"""... and what befalls one session of it."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that happens at `at` seconds: a caller's call, or the life of a process.

    `seconds` is a timeout or a deadline. `cancel_turns` and `cancel_after` cut the caller off.
    """

    at: float
    slot: int
    what: str
    user: int = 0
    name: str = ""
    pair: int = 0
    seconds: float | None = None
    ttl: float | None = None
    wait: bool = True
    detached: bool = False
    cancel_turns: int | None = None
    cancel_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Graph's trouble from `at` for `span` seconds, for `most` sessions at most."""

    at: float
    span: float
    kind: str
    most: int
    verb: str = ""
    user: int | None = None
    retry_after: float | None = None
    late: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A process's disk is slow, or fails, from `at` for `span` seconds."""

    at: float
    span: float
    slot: int
    kind: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one process after another, each with its clock's offset in seconds."""

    app: int = 0
    offsets: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run. `probes` are instants of peace at which the world must be in order."""

    seed: int
    slots: tuple[Slot, ...]
    users: int
    acts: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    disks: tuple[Disk, ...] = ()
    probes: tuple[float, ...] = ()
    horizon: float = 600.0
    budget: int = 1500
    latency: float = 0.2
    width: int = 8
    batch: str = "auto"
    bundle: int = (
        20  # sessions of a sweep that leave as they came in: see `engine.bundle` and `engine.desk`
    )
    max_age: float = 43_200.0
    settle: float = 10.0
    attempts: int = 8
    lease: float = 600.0
    watch: float = 2.0
    last_offset: float = 0.0
    foreign: bool = True
    wrong: frozenset[int] = field(default_factory=frozenset)

    @property
    def clocks_agree(self) -> bool:
        """Whether all processes have the same time of day."""
        return not any((self.last_offset, *(any(slot.offsets) for slot in self.slots)))

    def agreed(self) -> Plan:
        """The same with clocks that agree."""
        slots = tuple(replace(slot, offsets=(0.0,)) for slot in self.slots)
        return replace(self, slots=slots, last_offset=0.0)

    def lines(self) -> str:
        """The plan as a person wants to read it."""
        things = [*self.acts, *self.faults, *self.disks]
        things.sort(key=lambda thing: thing.at)
        head = {
            name: value
            for name, value in vars(self).items()
            if name not in ("acts", "faults", "disks")
        }
        return "\n".join([str(head), *(f"  {_short(thing)}" for thing in things)])


def _short(thing: Act | Fault | Disk) -> str:
    plain = type(thing)
    said = []
    for name, default in plain.__dataclass_fields__.items():
        value = getattr(thing, name)
        if value != default.default:
            said.append(f"{name}={value!r}")
    return f"{plain.__name__}({', '.join(said)})"


def plain(seed: int) -> Plan:
    """Draw a plan without crowds (`crowd.draw`); the same one from the same seed."""
    rng = Random(f"plan {seed}")
    managers = rng.choice([1, 1, 2, 2, 3, 4])
    skewed = rng.random() < 0.3
    slots = []
    for number in range(managers):
        offsets = tuple(_offset(rng, skewed) for _ in range(4))
        app = 1 if number == 3 or (number == 2 and rng.random() < 0.3) else 0
        slots.append(Slot(app=app, offsets=offsets))
    users = rng.choice([1, 2, 2, 3, 5])
    storms = rng.choice([1, 1, 2, 3])
    acts: list[Act] = []
    faults: list[Fault] = []
    disks: list[Disk] = []
    probes: list[float] = []
    at = 0.0
    for _ in range(storms):
        span = rng.choice([5.0, 30.0, 120.0, 600.0])
        acts += _acts(rng, at, span, managers, users)
        faults += _faults(rng, at, span, users)
        disks += _disks(rng, at, span, managers)
        at += span + CALM + rng.choice([0.0, 600.0, 7_200.0])
        probes.append(at - 1.0)
    small = rng.random() < 0.25
    return Plan(
        seed=seed,
        slots=tuple(slots),
        users=users,
        acts=tuple(sorted(acts, key=lambda act: act.at)),
        faults=tuple(faults),
        disks=tuple(disks),
        probes=tuple(probes),
        horizon=at,
        budget=rng.choice([2, 5, 20]) if small else 1500,
        latency=rng.choice([0.0, 0.05, 0.3, 2.0]),
        width=rng.choice([1, 2, 8]),
        batch=rng.choice(["auto", "auto", "off"]),
        bundle=Random(f"bundle {seed}").choice([2, 2, 3, 20]),
        max_age=rng.choice([43_200.0, 43_200.0, 900.0]),
        settle=rng.choice([10.0, 10.0, 10.0, 3.0, 60.0]),
        attempts=rng.choice([8, 8, 2, 4]),
        lease=rng.choice([600.0, 300.0, 3_600.0]),
        watch=rng.choice([2.0, 5.0, 30.0]),
        last_offset=_offset(rng, skewed),
        foreign=rng.random() < 0.5,
        wrong=frozenset({users - 1}) if rng.random() < 0.15 else frozenset(),
    )


def _offset(rng: Random, skewed: bool) -> float:
    return rng.choice([0.0, DAY, -DAY, 3.0, -3.0, 3_600.0]) if skewed else 0.0


WHAT = (
    *("hold", "release", "clear", "sweep", "everyone", "users", "track", "many", "other"),
    *("kill", "close"),
)


def _acts(rng: Random, start: float, span: float, managers: int, users: int) -> list[Act]:
    acts = []
    for _ in range(rng.choice([3, 8, 20, 40])):
        slot = rng.randrange(managers)
        at = round(start + rng.random() * span, rng.choice([0, 1, 4]))
        what = rng.choices(
            list(WHAT),
            [40, 22, 8, 3, 2, 3, 3, 4, 2, 4, 3],
        )[0]
        cancel = rng.random()
        acts.append(
            Act(
                at=at,
                slot=slot,
                what=what,
                user=rng.randrange(users),
                name=rng.choice(NAMES),
                pair=rng.randrange(5),
                seconds=rng.choice([None, None, 1.0, 3.0, 20.0]),
                ttl=rng.choice([None, None, None, 5.0, 60.0, 900.0]),
                wait=rng.random() < 0.7,
                detached=what == "hold" and rng.random() < 0.08,
                cancel_turns=rng.randrange(12) if cancel < 0.12 else None,
                cancel_after=rng.random() * 2 if 0.12 < cancel < 0.2 else None,
            )
        )
        if what in ("kill", "close"):
            later = rng.choice([0.0, 0.5, 5.0, 40.0])
            acts.append(Act(at=at + later, slot=slot, what="open"))
    return acts


def _faults(rng: Random, start: float, span: float, users: int) -> list[Fault]:
    faults = []
    for _ in range(rng.choice([0, 1, 3, 8])):
        faults.append(  # noqa: PERF401 - one draw after the other
            Fault(
                at=start + rng.random() * span,
                span=rng.choice([0.5, 5.0, 30.0, 90.0]),
                kind=rng.choice((*WHOLE, *ITEM, "429", "late", "applied_lost")),
                most=rng.choice([1, 1, 2, 5, 30]),
                verb=rng.choice(["", "", "set", "clear"]),
                user=rng.choice([None, None, rng.randrange(users)]),
                retry_after=rng.choice([None, 0.0, 0.3, 1.0, 5.0, 30.0, 120.0]),
                late=rng.choice([0.001, 0.5, 0.999]),
            )
        )
    return faults


def _disks(rng: Random, start: float, span: float, managers: int) -> list[Disk]:
    disks = []
    for _ in range(rng.choice([0, 0, 1, 3])):
        disks.append(  # noqa: PERF401 - one draw after the other
            Disk(
                at=start + rng.random() * span,
                span=rng.choice([0.05, 1.0, 10.0]),
                slot=rng.randrange(managers),
                kind=rng.choice(["slow", "slow", "fail"]),
                seconds=rng.choice([0.01, 0.3, 2.0]),
            )
        )
    return disks
