"""Two thousand users, two in a hundred without a session, in every weather: no outcome lies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from presence_manager import PresenceManager
from presence_manager.emulator import Emulator, Fault

from .truth import APP, TENANT, contradictions, settings, user

USERS = [user(n) for n in range(2000)]


def in_two_seconds() -> str:
    """An HTTP date a little ahead."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


WEATHER = {
    "fair": [],
    "reset before": [Fault(verb="clear", effect="reset", probability=0.01)],
    "reset after": [Fault(verb="clear", effect="reset", probability=0.01, applied=True)],
    "reset of batches": [
        Fault(verb="batch", effect="reset", every=10),
        Fault(verb="batch", effect="reset", every=7, applied=True),
    ],
    "503": [Fault(verb="clear", status=503, retry_after=0.2, probability=0.03)],
    "503 applied": [
        Fault(verb="clear", status=503, retry_after=0.2, probability=0.03, applied=True)
    ],
    "504 without Retry-After": [Fault(verb="clear", status=504, probability=0.05, applied=True)],
    "items missing": [
        Fault(verb="clear", effect="missing", probability=0.01),
        Fault(verb="clear", effect="missing", probability=0.01, applied=True),
    ],
    "items twice": [Fault(verb="clear", effect="duplicate", probability=0.05)],
    "cut off": [Fault(verb="batch", effect="cut", every=8, applied=True)],
    "cut off, chunked": [Fault(verb="batch", effect="cut", every=8, applied=True, chunked=True)],
    "garbage": [Fault(verb="batch", effect="garbage", every=8, applied=True)],
    "stale connections": [Fault(verb="batch", effect="stale", every=2)],
    "429 fractional": [
        Fault(verb="clear", effect="throttle", retry_after="0.124", probability=0.005)
    ],
    "429 by date": [
        Fault(verb="clear", effect="throttle", retry_after=in_two_seconds(), times=2, after=300)
    ],
    "429 nonsense": [Fault(verb="clear", effect="throttle", retry_after="soon", times=2)],
    "502 in HTML": [Fault(verb="batch", status=502, html=True, every=9)],
    "502 in HTML, applied": [Fault(verb="batch", status=502, html=True, every=9, applied=True)],
    "hanging batches": [Fault(verb="batch", effect="hang", times=2, applied=True)],
    "outer 429": [Fault(verb="batch", effect="throttle", retry_after="0.2", times=2)],
    "outer 400": [Fault(verb="batch", status=400, times=2)],
    "no batches here": [Fault(verb="batch", status=405, code="methodNotAllowed")],
}


@pytest.mark.parametrize("batch", ["auto", "off"])
@pytest.mark.parametrize("weather", WEATHER)
async def test_every_outcome_is_true(weather: str, batch: str) -> None:
    users = USERS if batch == "auto" else USERS[:400]
    async with Emulator(limit=1_000_000, seed=3) as emulator:
        for number, name in enumerate(users):
            if number % 50:
                emulator.put_session(TENANT, APP, name)
        for fault in WEATHER[weather]:
            emulator.add_fault(fault)
        async with PresenceManager(settings(emulator, graph={"batch": batch})) as presence:
            report = await presence.sweep(users=users)
            outcomes = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
        assert report.ok, report
        assert contradictions(emulator, outcomes, users) == []
        assert report.total == len(users)
        assert report.counts == {
            kind: sum(o.kind == kind for o in outcomes) for kind in report.counts
        }
        assert emulator.sessions() == []
