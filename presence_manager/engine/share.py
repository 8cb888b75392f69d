"""What one lane of this process draws of the budget that all processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from presence_manager.core.key import LaneId
from presence_manager.engine.unrecorded import Unrecorded
from presence_manager.errors import LedgerError
from presence_manager.gate.gate import Gate
from presence_manager.ports import Clock, Draw, Ledger, Share

log = structlog.get_logger()

WITHIN = 2.0
"""Seconds within which a ledger that works grants slots."""


class LaneShare:
    """Draws slots for the gate when there are too few, one draw at a time."""

    def __init__(
        self,
        lane: LaneId,
        owner: str,
        *,
        ledger: Ledger,
        clock: Clock,
        gate: Gate,
        unrecorded: Unrecorded,
    ) -> None:
        self._lane = lane
        self._unrecorded = unrecorded
        self._owner = owner
        self._ledger = ledger
        self._clock = clock
        self._gate = gate
        self._known = False
        self._drawn = False
        self.drawing = False

    def due(
        self, waiting: int, wake: Callable[[], None], *, idle: bool
    ) -> Coroutine[Any, Any, None] | None:
        """What to ask of the ledger for those that wait, or to tell it when the lane is idle."""
        if not self.drawing:
            draw = self._gate.draw(self._clock.now(), waiting)
            if draw is not None:
                self.drawing = True
                return self._take(draw, wake)
        return self.settle() if idle and self._unsettled else None

    async def _take(self, draw: Draw, wake: Callable[[], None]) -> None:
        """Draw; a ledger that fails is taken for one that grants what this process reckons with."""
        gate = self._gate
        share: Share | None = None
        try:
            if not self._unrecorded.is_silent:  # else a sweep has no time to wait for it once more
                async with asyncio.timeout(WITHIN):
                    if not self._known:
                        budget = await self._ledger.budget(self._lane)
                        gate.learn(budget, draw.now, self._clock.now())
                        self._known = True
                        draw = gate.draw(self._clock.now(), draw.want) or draw._replace(want=0)
                    share = await self._ledger.draw(self._lane, self._owner, draw)
                    gate.learn(share.budget, draw.now, self._clock.now())
                    self._drawn = True
        except (LedgerError, TimeoutError) as error:
            log.error("ledger.failed", error=str(error) or "it does not answer")
        finally:
            self.drawing = False
        gate.granted(draw, share or gate.reckoned(draw))
        wake()

    async def teach(self) -> None:
        """Write down what the gate has learned; a ledger that fails is told the next time."""
        lesson = self._gate.lesson(self._clock.now())
        if lesson is None:
            return
        try:
            await self._ledger.save_budget(self._lane, lesson)
        except LedgerError as error:
            log.error("ledger.failed", error=str(error))
            return
        self._gate.budget.known = lesson
        log.info(
            "lane.budget",
            tenant=self._lane.tenant,
            budget=lesson.proven,
            closed_until=lesson.closed_until,
        )

    @property
    def _unsettled(self) -> bool:
        """Whether somebody else should know what was learned, or given back."""
        lesson = self._gate.lesson(self._clock.now())
        return lesson is not None or (self._drawn and bool(self._gate.others))

    async def settle(self) -> None:
        """Tell the other processes, and the next start, what was learned and what is in use."""
        if not self._drawn:
            return
        self._drawn = False
        await self.teach()
        try:
            now = self._clock.now()
            draw = Draw(now, self._gate.uses(now))
            share = await self._ledger.draw(self._lane, self._owner, draw)
            self._gate.granted(draw, share)
            self._gate.learn(share.budget, now, self._clock.now())
        except LedgerError as error:
            log.error("ledger.failed", error=str(error))
