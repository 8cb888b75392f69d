"""One process's door to the world: each request meets the faults that the plan has for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.errors import SignInRefused

from .loop import LIFE, START, SimClock
from .plan import WHOLE, Fault
from .world import Flight, World

LOST = {"409": (409, False), "500": (500, False), "503 applied": (503, True)}
REFUSED = {"401": Judgement.UNAUTHORIZED, "403": Judgement.DENIED, "404": Judgement.GONE}


class Weather:
    """The faults of a plan, used up one by one."""

    def __init__(self, faults: Sequence[Fault], users: Sequence[str], rng: Random) -> None:
        self._faults = [[fault, fault.most] for fault in faults]
        self._users = users
        self.rng = rng

    def meet(self, now: float, key: Key, verb: Verb) -> Fault | None:
        for entry in self._faults:
            fault: Any = entry[0]
            fits = fault.at <= now < fault.at + fault.span and entry[1] > 0
            if not fits or fault.verb not in ("", verb.value):
                continue
            if fault.user is not None and self._users[fault.user % len(self._users)] != key.user:
                continue
            if fault.kind == "404" and verb is Verb.CLEAR:
                continue  # Graph does not lie
            entry[1] -= 1
            return fault
        return None


class Door:
    """The port `Graph` of one process."""

    def __init__(
        self, world: World, weather: Weather, clock: SimClock, life: Any, latency: float
    ) -> None:
        self._world = world
        self._weather = weather
        self._clock = clock
        self._life = life
        self._latency = latency

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        life, world = self._life, self._world
        if life.dead:
            raise asyncio.CancelledError
        life.judge.leaving(life, lane, asks)
        faults = [self._weather.meet(world.now, key, a.verb) for key, a in asks]
        whole = next((f for f in faults if f is not None and f.kind in WHOLE), None)
        if whole is not None and whole.kind == "sign_in":
            raise SignInRefused("the secret has expired", code="invalid_client")
        if whole is not None and whole.kind == "singly" and len(asks) == 1:
            whole = None
        sent_at = self._clock.now()
        if whole is not None and whole.kind == "before":
            await asyncio.sleep(self._wait(timeout))
            return self._all(asks, sent_at, Judgement.LATER)
        life.judge.left(life, lane, len(asks))
        flights = [world.leave(key, attempt, life.owner) for key, attempt in asks]
        try:
            if whole is not None:
                verdicts = await self._spoiled(whole, flights, sent_at, timeout)
            else:
                verdicts = await self._answered(faults, flights, sent_at, timeout)
        except BaseException:
            if not life.dead:
                for flight in flights:
                    world.told(flight, Judgement.LOST)
            raise
        finally:
            life.judge.answered(life, lane, len(asks))
        for flight, verdict in zip(flights, verdicts, strict=True):
            world.told(flight, verdict.judgement)
        return verdicts

    def _wait(self, timeout: float) -> float:
        return min(self._latency * self._weather.rng.uniform(0.5, 1.5), timeout)

    def _all(self, asks: Sequence[Any], sent_at: float, judgement: Judgement, **how: Any) -> Any:
        verdict = Verdict(judgement=judgement, sent_at=sent_at, at=self._clock.now(), **how)
        return [verdict] * len(asks)

    async def _spoiled(
        self, fault: Fault, flights: list[Flight], sent_at: float, timeout: float
    ) -> list[Verdict]:
        """Nobody hears of this request again; it may be applied all the same."""
        world = self._world
        wait = timeout if fault.kind in ("hang", "late") else self._wait(timeout)
        if fault.kind == "singly":
            await asyncio.sleep(wait)
            return self._all(flights, sent_at, Judgement.LATER, singly=True, status=400)
        for flight in flights:
            if fault.kind == "applied_lost":
                self._free(world.come, flight, wait / 2)
            elif fault.kind in ("late", "late_reset"):
                self._free(world.come, flight, wait + fault.late * world.settle)
        await asyncio.sleep(wait)
        return self._all(flights, sent_at, Judgement.LOST)

    async def _answered(
        self, faults: list[Fault | None], flights: list[Flight], sent_at: float, timeout: float
    ) -> list[Verdict]:
        wait = self._wait(timeout)
        for flight, fault in zip(flights, faults, strict=True):
            kind = fault.kind if fault is not None else ""
            if kind in ("", "duplicate", "503 applied", "singly") or (
                kind == "missing" and fault is not None and fault.late > 0.5
            ):
                self._free(self._world.come, flight, wait / 2)
        await asyncio.sleep(wait)
        return [
            self._verdict(flight, fault, sent_at)
            for flight, fault in zip(flights, faults, strict=True)
        ]

    def _verdict(self, flight: Flight, fault: Fault | None, sent_at: float) -> Verdict:
        common: dict[str, Any] = {"sent_at": sent_at, "at": self._clock.now()}
        kind = fault.kind if fault is not None else ""
        if kind == "429":
            assert fault is not None
            self._life.judge.refused(self._life, flight.key.lane, fault.retry_after)
            return Verdict(
                judgement=Judgement.THROTTLED,
                status=429,
                retry_after=fault.retry_after,
                **common,
            )
        if kind in REFUSED:
            return Verdict(judgement=REFUSED[kind], status=int(kind), code=kind, **common)
        if kind in LOST:
            return Verdict(judgement=Judgement.LOST, status=LOST[kind][0], **common)
        if kind == "missing":
            return Verdict(judgement=Judgement.LOST, **common)
        if flight.coming:
            self._world.apply(flight)
        had = flight.had
        if kind == "duplicate":
            self._world.apply(flight)
        if flight.attempt.verb is Verb.SET:
            wrong = flight.key in self._world.wrong
            judgement = Judgement.GONE if wrong else Judgement.DONE
        else:
            judgement = Judgement.DONE if had else Judgement.GONE
        status = 200 if judgement is Judgement.DONE else 404
        return Verdict(judgement=judgement, status=status, **common)

    @staticmethod
    def _free(call: Any, *what: Any) -> None:
        """What Graph does belongs to no process."""
        token = LIFE.set(None)
        try:
            call(*what)
        finally:
            LIFE.reset(token)

    def date(self) -> float | None:
        return START + self._world.now if self._world.said_anything else None

    async def close(self) -> None:
        self._life.closing = True
