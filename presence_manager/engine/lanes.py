"""All lanes of one manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from presence_manager.core.key import LaneId
from presence_manager.engine.lane import Lane


class Lanes:
    """Makes a lane when it is first needed, and speaks to all of them."""

    def __init__(self, make: Callable[[LaneId], Lane]) -> None:
        self._make = make
        self._lanes: dict[LaneId, Lane] = {}

    def __getitem__(self, lane_id: LaneId) -> Lane:
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = self._make(lane_id)
        return lane

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def counts(self) -> tuple[int, int]:
        """Requests sent and requests refused, since the start."""
        gates = [lane.gate for lane in self]
        return sum(gate.sent for gate in gates), sum(gate.refused for gate in gates)

    async def cut(self, sweep_id: str) -> None:
        """The deadline of a sweep is over, in every lane."""
        await asyncio.gather(*(lane.cut(sweep_id) for lane in self))

    async def stop(self) -> None:
        """Stop every lane."""
        await asyncio.gather(*(lane.stop() for lane in self))
