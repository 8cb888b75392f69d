"""A door that one process found shut, and others with other clocks: as long for each of them."""

from __future__ import annotations

import asyncio

import pytest

from presence_manager.gate.budget import GateTerms
from presence_manager.gate.door import shut_for
from presence_manager.gate.gate import Gate
from presence_manager.ports import Budget

from .virtual import FakeGraph, LoopClock, SharedLedger, elapsed, kill, manager, user, virtual

AT = 1_000_000.0
DAY = 86_400.0
U, V = user(1), user(2)


def shut(seconds: float, ahead: float = 0.0, proven: int = 0) -> Budget:
    """What a process wrote at AT whose clock is ahead, of a door that is shut for so long."""
    now = AT + ahead
    return Budget(proven, now + seconds, closed_at=now)


class Process:
    """A gate with a clock of its own, and its way to the ledger that is `told`."""

    told = Budget()

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead
        self.gate = Gate(GateTerms())

    def look(self, now: float) -> None:
        self.gate.learn(Process.told, now + self.ahead, now + self.ahead)

    def refuse(self, now: float, seconds: float) -> None:
        self.gate.refuse(now + self.ahead, now + self.ahead, seconds, 1)

    def teach(self, now: float) -> bool:
        lesson = self.gate.lesson(now + self.ahead)
        if lesson is not None:
            Process.told = self.gate.budget.known = lesson
        return lesson is not None

    @property
    def until(self) -> float:
        return self.gate.closed_until - self.ahead


class TestLook:
    @pytest.mark.parametrize("ahead", [0.0, 3.0, DAY])
    def test_it_is_shut_for_as_long_as_it_was_for_who_wrote_it(self, ahead: float) -> None:
        gate = Gate(GateTerms())
        gate.learn(shut(20.0, ahead), AT, AT)
        assert gate.closed_until == AT + 20.0

    @pytest.mark.parametrize("ahead", [-3.0, -DAY])
    def test_a_clock_that_is_behind_shuts_it_for_who_has_looked_before(self, ahead: float) -> None:
        gate = Gate(GateTerms())
        gate.learn(Budget(), AT - 1.0, AT)
        gate.learn(shut(20.0, ahead), AT + 5.0, AT + 6.0)
        assert gate.closed_until == AT + 19.0

    def test_of_what_was_written_before_the_first_look_its_own_words_say_the_end(self) -> None:
        gate = Gate(GateTerms())
        gate.learn(shut(20.0), AT + 30.0, AT + 31.0)
        assert gate.closed_until == AT + 20.0

    def test_the_answer_of_a_ledger_that_was_slow_opens_nothing_early(self) -> None:
        gate = Gate(GateTerms())
        gate.learn(shut(20.0), AT - 2.0, AT)
        assert gate.closed_until == AT + 20.0

    @pytest.mark.parametrize("budget", [Budget(0, AT + DAY), shut(DAY)])
    def test_an_hour_at_most(self, budget: Budget) -> None:
        gate = Gate(GateTerms())
        gate.learn(budget, AT, AT)
        assert gate.closed_until == AT + 3600.0

    def test_what_is_no_news_shuts_it_no_longer(self) -> None:
        gate = Gate(GateTerms())
        for passed, proven in ((0.0, 0), (10.0, 0), (15.0, 2000)):
            gate.learn(shut(20.0, DAY, proven), AT + passed, AT + passed)
        assert gate.closed_until == AT + 20.0
        assert gate.budget.size == 2000

    def test_a_shorter_one_opens_nothing(self) -> None:
        gate = Gate(GateTerms())
        gate.refuse(AT, AT, 20.0, 1)
        gate.learn(shut(5.0), AT, AT)
        assert gate.closed_until == AT + 20.0

    def test_who_only_reads_it_is_told_of_no_more_than_that(self) -> None:
        left = [shut_for(shut(20.0), AT + passed) for passed in (0.0, 19.5, 21.0)]
        assert left == [20.0, 0.5, 0.0]
        assert shut_for(shut(20.0, DAY), AT) == 20.0


class TestLesson:
    @pytest.fixture(autouse=True)
    def _blank(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Process, "told", Budget())

    @pytest.mark.parametrize("ahead", [0.0, 3.0, DAY, -DAY])
    def test_what_one_has_from_another_it_does_not_teach(self, ahead: float) -> None:
        one, two = Process(ahead), Process(0.0)
        two.look(AT)
        one.refuse(AT, 20.0)
        assert one.teach(AT)
        assert not one.teach(AT + 1.0)
        two.look(AT)
        assert two.until == AT + 20.0
        for passed in (1.0, 19.0, 21.0):
            assert not two.teach(AT + passed)
            one.look(AT + passed)
            assert not one.teach(AT + passed)
        assert one.until == two.until == AT + 20.0

    def test_the_rest_of_a_longer_one_is_taught_again(self) -> None:
        one, two, three = Process(DAY), Process(0.0), Process(0.0)
        one.refuse(AT, 20.0)
        one.teach(AT)
        two.refuse(AT, 5.0)
        two.teach(AT)
        one.look(AT + 2.0)
        assert one.teach(AT + 2.0)
        three.look(AT + 2.0)
        assert three.until == AT + 20.0

    def test_so_it_is_by_one_that_had_it_from_another_and_once(self) -> None:
        one, two, three = Process(DAY), Process(0.0), Process(0.0)
        one.refuse(AT, 20.0)
        one.teach(AT)
        two.look(AT)
        three.refuse(AT, 5.0)
        three.teach(AT)
        two.look(AT + 1.0)
        assert two.teach(AT + 1.0)
        assert not two.teach(AT + 2.0)
        three.look(AT + 2.0)
        assert three.until == AT + 20.0

    def test_one_that_it_had_from_another_and_was_then_told_itself_is_taught(self) -> None:
        one, two = Process(0.0), Process(0.0)
        one.refuse(AT, 5.0)
        one.teach(AT)
        two.look(AT)
        two.refuse(AT, 20.0)
        assert two.teach(AT)
        one.look(AT)
        assert one.until == AT + 20.0

    def test_one_that_is_open_again_is_not_taught(self) -> None:
        one = Process(0.0)
        one.refuse(AT, 20.0)
        assert one.gate.lesson(AT + 19.9) == Budget(0, AT + 20.0, closed_at=AT + 19.9)
        assert one.gate.lesson(AT + 20.0) is None

    def test_nor_does_it_replace_what_the_ledger_says(self) -> None:
        one = Process(0.0)
        one.refuse(AT, 20.0)
        one.teach(AT)
        one.gate.accept(AT + 30.0, AT + 30.0, 2000)
        assert one.gate.lesson(AT + 30.0) == Budget(2000, AT + 20.0, closed_at=AT)


def test_the_next_try_for_more_is_put_off_no_longer_by_a_clock_that_is_ahead() -> None:
    gate = Gate(GateTerms())
    gate.learn(Budget(1500, 0.0, AT + DAY + 600.0, 600.0), AT, AT)
    assert not gate.budget.may_probe(AT + 599.0)
    assert gate.budget.may_probe(AT + 600.0)
    earlier = Gate(GateTerms())
    earlier.learn(Budget(1500, 0.0, AT + 100.0, 600.0), AT, AT)
    assert earlier.budget.may_probe(AT + 100.0)


@virtual
async def test_the_next_process_waits_no_longer_than_graph_has_asked_for() -> None:
    """Seed 999518494 of the simulator, in small."""
    ledger = SharedLedger()
    ahead = FakeGraph(clock=LoopClock(DAY))
    ahead.answers[U] = [(429, 5.0)]
    first = manager(ahead, ledger)
    await first.open()
    await first.hold(U, "Busy")
    await kill(first)
    graph = FakeGraph(sessions=ahead.sessions)
    async with manager(graph, ledger) as second:
        started = elapsed()
        await second.recovered()
        assert graph.sent == [("clear", U)]
        assert elapsed() == pytest.approx(started + 5.0, abs=0.1)


@virtual
async def test_a_neighbour_keeps_to_a_retry_after_that_a_clock_behind_has_written() -> None:
    ledger = SharedLedger()
    behind = FakeGraph(clock=LoopClock(-DAY))
    behind.answers[U] = [(429, 20.0)]
    graph = FakeGraph()
    async with manager(behind, ledger) as one, manager(graph, ledger) as two:
        await two.hold(V, "Busy")
        looked = elapsed()
        await one.hold(U, "Busy", wait=False)
        await asyncio.sleep(10.0)
        await two.hold(V, "Away")
        assert elapsed() == pytest.approx(looked + 20.0, abs=0.1)
