"""A hold that is put again while an earlier call of that name is being undone."""

from __future__ import annotations

import asyncio

import pytest

from presence_manager import HoldFailed, HoldRequest, HoldTimeout, LedgerError
from tests.engine.virtual import elapsed, user, virtual

from .calls import CALLS
from .ports import Steps
from .stage import CALM, Stage


@pytest.mark.parametrize("step", range(1, 11))
def test_a_hold_put_again_after_a_cancellation_stays(step: int) -> None:
    @virtual
    async def story() -> None:
        steps = Steps(step)
        async with Stage(steps) as stage:
            presence = stage.presence
            await presence.open(recover=False)
            steps.armed = True
            first = asyncio.create_task(presence.hold(user(1), "Busy", key="one"))
            await asyncio.wait(
                {first, reached := asyncio.create_task(steps.hangs.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            reached.cancel()
            first.cancel()
            await asyncio.wait({first})
            again = asyncio.create_task(presence.hold(user(1), "Away", key="one"))
            for _ in range(5):
                await asyncio.sleep(0)
            steps.go_on()
            hold = await again
            await asyncio.sleep(CALM)
            assert hold.state == "shown"
            assert stage.wishes(1) == {"one"}
            assert stage.graph.shown(user(1)) == "Away/Away"
            assert stage.at_rest() == []
            await presence.close()
            assert stage.after_close() == []

    story()


@virtual
async def test_a_hold_that_is_cancelled_while_the_ledger_fails_leaves_no_handle() -> None:
    steps = Steps(1)
    async with Stage(steps) as stage:
        presence = stage.presence
        await presence.open(recover=False)
        steps.armed = True
        task = asyncio.create_task(presence.hold(user(1), "Busy"))
        await steps.hangs.wait()

        async def fails(_: object) -> None:
            raise LedgerError("disk full")

        stage.ledger.put = fails  # type: ignore[method-assign,assignment]
        task.cancel()
        await asyncio.wait({task})
        steps.go_on()
        await asyncio.sleep(CALM)
        assert stage.at_rest() == []
        assert stage.graph.requests == []
        del stage.ledger.put
        await presence.close()
        assert stage.after_close() == []
        assert stage.complaints == []


@virtual
async def test_a_ledger_that_hangs_is_a_hold_timeout_too() -> None:
    steps = Steps(1)
    async with Stage(steps) as stage:
        presence = stage.presence
        await presence.open(recover=False)
        steps.armed = True
        began = elapsed()
        requests = [HoldRequest(user(n), "Busy", timeout=3.0, wait=n > 1) for n in range(1, 4)]
        results = await presence.hold_many(requests)
        assert elapsed() - began == pytest.approx(3.0)
        assert all(
            isinstance(each, HoldFailed) and isinstance(each.error, HoldTimeout) for each in results
        )
        assert stage.graph.requests == []
        steps.go_on()
        await asyncio.sleep(CALM)
        assert stage.at_rest() == []
        assert stage.graph.sessions == {}
        await presence.close()
        assert stage.after_close() == []


@pytest.mark.parametrize("step", range(1, 22))
def test_an_end_that_is_hurried_does_not_wait_for_a_ledger_that_hangs(step: int) -> None:
    @virtual
    async def story() -> None:
        steps = Steps(step)
        async with Stage(steps) as stage:
            presence = stage.presence
            await presence.open(recover=False)
            await CALLS["close"].prepare(stage)
            steps.armed = True
            closing = asyncio.create_task(presence.close(deadline=60.0))
            await steps.hangs.wait()
            began = elapsed()
            closing.cancel()
            await asyncio.wait({closing})
            assert closing.cancelled()
            assert elapsed() - began < 3.2  # instead of the deadline's sixty
            steps.go_on()
            await asyncio.sleep(CALM)
            assert stage.after_close(open_attempts=True) == []
            assert await stage.successor() == []

    story()
