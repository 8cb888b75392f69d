"""The rules against a Graph that loses answers, applies requests late, and forgets sessions."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Terms, Wish
from presence_manager.core.verdict import Judgement, Verb

from .world import World

SLOTS = st.sampled_from([0, 1])
NAMES = st.sampled_from(["k1", "k2", "k3"])
REFUSALS = [Judgement.THROTTLED, Judgement.LATER, Judgement.UNAUTHORIZED, Judgement.DENIED]
TERMS = st.sampled_from(
    [Terms(), Terms(settle=0.0), Terms(timeout=2.0, margin=1.0, settle=60.0), Terms(margin=600.0)]
)


class Rules(RuleBasedStateMachine):
    """Any order of anything."""

    @initialize(terms=TERMS)
    def start(self, terms: Terms) -> None:
        self.world = World(terms=terms)
        self.owners = ["p0", "p1"]
        self.sweeps = 0
        self.vanished = False

    def sweep_id(self) -> str:
        self.sweeps += 1
        return f"s{self.sweeps}"

    @rule(
        slot=SLOTS,
        name=NAMES,
        pair=st.sampled_from(PAIRS[:3]),
        lease=st.sampled_from([300.0, 600.0]),
        lasts=st.sampled_from([None, None, 5.0, 300.0, 310.0, 900.0]),
        ownerless=st.booleans(),
    )
    def hold(self, slot, name, pair, lease, lasts, ownerless) -> None:  # type: ignore[no-untyped-def]
        owner, now = self.owners[slot], self.world.now
        wish = Wish(
            name=name,
            owner="" if ownerless and lasts else owner,
            pair=pair,
            lease=lease,
            made_at=now,
            until=now + lasts if lasts else float("inf"),
        )
        self.world.hold(wish, owner)

    @rule(slot=SLOTS, lease=st.sampled_from([300.0, 3600.0]))
    def track(self, slot: int, lease: float) -> None:
        now, owner = self.world.now, self.owners[slot]
        wish = Wish(name="t", owner=owner, pair=None, lease=lease, made_at=now, until=now + 9000)
        self.world.track(wish, owner)

    @rule(slot=SLOTS, name=NAMES, with_sweep=st.booleans())
    def release(self, slot: int, name: str, with_sweep: bool) -> None:
        sweep = self.sweep_id() if with_sweep else ""
        if self.world.row.version:
            self.world.release(frozenset({name}), sweep, self.owners[slot])

    @rule(slot=SLOTS)
    def sweep(self, slot: int) -> None:
        self.world.sweep_unknown(self.sweep_id(), self.owners[slot])

    @rule(slot=SLOTS, leave=st.booleans())
    def work(self, slot: int, leave: bool) -> None:
        if self.world.flight is None and self.world.begin(self.owners[slot]) and leave:
            self.world.send()

    @rule()
    def send(self) -> None:
        if self.world.flight is None and not self.world.stalled:
            self.world.send()

    @precondition(lambda self: self.world.may_arrive())
    @rule()
    def arrive(self) -> None:
        self.world.arrive()

    @precondition(lambda self: self.world.flight and self.world.flight.answer)
    @rule()
    def answer(self) -> None:
        self.world.answer(None)

    @precondition(lambda self: self.world.flight)
    @rule()
    def lose(self) -> None:
        self.world.answer(Judgement.LOST)

    @precondition(lambda self: self.world.flight and not self.world.flight.answer)
    @rule(judgement=st.sampled_from(REFUSALS))
    def refuse(self, judgement: Judgement) -> None:
        verb = self.world.flight.attempt.verb  # type: ignore[union-attr]
        if judgement is Judgement.UNAUTHORIZED and verb is Verb.SET:
            judgement = Judgement.GONE
        self.world.answer(judgement)

    @precondition(lambda self: self.world.pending)
    @rule(which=st.integers(0, 9))
    def apply_late(self, which: int) -> None:
        self.world.apply_late(which % len(self.world.pending))

    @precondition(lambda self: self.world.flight)
    @rule()
    def stall(self) -> None:
        self.world.stall()

    @precondition(lambda self: self.world.stalled)
    @rule()
    def wake(self) -> None:
        self.world.wake()

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        self.world.crash(self.owners[slot])
        self.owners[slot] += "'"

    @rule(slot=SLOTS)
    def take_over(self, slot: int) -> None:
        self.world.take_over(self.owners[slot])

    @rule(slot=SLOTS)
    def recover(self, slot: int) -> None:
        self.world.recover(self.owners[slot], self.sweep_id())

    @rule()
    def cut(self) -> None:
        self.world.cut()

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.5, 10.0, 30.0, 60.0, 250.0, 700.0, 15_000.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def vanish(self) -> None:
        """Graph forgets the session by itself."""
        self.world.graph.expires = min(self.world.graph.expires, self.world.now)

    @rule(slot=SLOTS, late_first=st.booleans())
    def left_in_peace(self, slot: int, late_first: bool) -> None:
        """The last word wins: what is wanted now is what Graph shows when all is settled."""
        world = self.world
        world.settle_down(self.owners[slot], late_first)
        wish = world.row.newest(world.now)
        if wish is None:
            assert not world.row.version
            assert not world.graph.live(world.now)

    @invariant()
    def never_forgotten(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


class LastWord(Rules):
    """The same where Graph forgets nothing by itself: then what is wanted is also shown."""

    vanish = None  # type: ignore[assignment]
    track = None  # type: ignore[assignment]

    @rule(slot=SLOTS, late_first=st.booleans())
    def shown(self, slot: int, late_first: bool) -> None:
        world = self.world
        world.settle_down(self.owners[slot], late_first)
        wish = world.row.newest(world.now)
        if wish is not None and world.row.known == "shown":
            assert world.graph.live(world.now)
            assert world.graph.pair == wish.pair


TestRules = Rules.TestCase
TestRules.settings = settings(stateful_step_count=40, max_examples=2 * settings().max_examples)
TestLastWord = LastWord.TestCase
TestLastWord.settings = settings(stateful_step_count=40, max_examples=2 * settings().max_examples)
