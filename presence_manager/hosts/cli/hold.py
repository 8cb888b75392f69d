"""`presence-manager hold`: show one user so, until Ctrl-C, or for a while on its own."""

from __future__ import annotations

import asyncio
import json as codec
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from presence_manager.core.outcome import Outcome, Report
from presence_manager.core.pair import FADES_AFTER, LONGEST_LEASE, SHORTEST_LEASE
from presence_manager.errors import HoldRefused, HoldTimeout
from presence_manager.hosts.cli.opening import (
    ledger_of,
    settings,
    tenant_of,
    user_of,
    warn_of,
)
from presence_manager.hosts.cli.running import Status, Stop, Wrong, fail, say, serve, while_read
from presence_manager.hosts.cli.times import clock_time, iso, seconds
from presence_manager.manager import PresenceManager
from presence_manager.manager.hold import Hold

if TYPE_CHECKING:
    from presence_manager.settings import Settings

_LOOK = 0.5
"""Seconds between two looks at whether somebody else has ended the hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stands on the command line."""

    user: str
    availability: str
    activity: str | None
    tenant: str | None
    lease: str | None
    key: str | None
    for_: str | None
    json: bool


def hold(asked: Asked) -> int:
    """Do what is asked; return the exit status."""
    lease = None if asked.lease is None else seconds(asked.lease, "--lease")
    ttl = None if asked.for_ is None else _life(asked.for_)
    if lease is not None and ttl is not None:
        raise Wrong("--lease and --for: only one of them; --for is its own lease")
    user_of(asked.user)
    found = settings(quiet_below="warning")
    tenant_of(found, asked.tenant)
    how: dict[str, Any] = {"tenant": asked.tenant, "lease": lease, "key": asked.key, "ttl": ttl}
    if ttl is not None:
        how["detached"] = True
    return serve(lambda stop: _hold(stop, asked, found, how))


def _life(text: str) -> float:
    """How long Graph is to keep a hold that nobody renews."""
    length = seconds(text, "--for")
    if not 0 < length <= LONGEST_LEASE:
        raise Wrong(
            f"--for {text}: Graph keeps a session for up to {LONGEST_LEASE / 3600:g} h; leave "
            "--for out to hold it for as long as this command runs"
        )
    if length < SHORTEST_LEASE:
        say(f"--for {text}: Graph keeps a session for {SHORTEST_LEASE / 60:g} minutes at least")
    return float(max(SHORTEST_LEASE, ceil(length)))


async def _hold(stop: Stop, asked: Asked, found: Settings, how: dict[str, Any]) -> int:
    ledger = ledger_of(found)
    presence = PresenceManager(found, ledger=ledger)
    await presence.open(recover=False)
    status = Status.DONE
    kept = False
    try:
        await warn_of(ledger, found)
        status, kept = await _from_begin_to_end(stop, asked, presence, how)
    finally:
        left = await _close(stop, presence, sweep=not kept)
    if left is not None and not left.ok:
        fail("it is not known whether the session is gone: `presence-manager recover` sees to it")
        status = status or Status.PROBLEMS
    return status


async def _from_begin_to_end(
    stop: Stop, asked: Asked, presence: PresenceManager, how: dict[str, Any]
) -> tuple[Status, bool]:
    """Hold, wait, release; return the status, and whether the hold is meant to stay."""
    placing = asyncio.create_task(
        presence.hold(asked.user, asked.availability, asked.activity, **how)
    )
    if await stop.comes_before(placing):
        placing.cancel()
        await asyncio.wait({placing})
        if placing.cancelled():
            say("interrupted before the user was shown: the hold is withdrawn")
            return Status.INTERRUPTED, False
    try:
        held = placing.result()
    except HoldRefused as error:
        fail(str(error))
        return (Status.NO_SIGN_IN if error.status is None else Status.PROBLEMS), False
    except HoldTimeout as error:
        fail(str(error))
        return Status.PROBLEMS, False
    _print_shown(asked, held)
    if asked.for_ is not None:
        return Status.DONE, True
    await _until_ended(stop, held)
    if held.state == "ended":
        say(f"the hold has ended ({held.ended})")
        return Status.DONE, False
    releasing = asyncio.create_task(held.release())
    if await stop.hurries(releasing):
        return Status.INTERRUPTED, False
    return _told(asked, releasing.result()), False


async def _until_ended(stop: Stop, held: Hold) -> None:
    while held.state != "ended" and not stop.asked.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await stop.asked.wait()


async def _close(stop: Stop, presence: PresenceManager, *, sweep: bool) -> Report | None:
    closing = asyncio.create_task(
        presence.close(sweep=sweep and not stop.hurried.is_set(), deadline=None)
    )
    if await stop.hurries(closing):
        say("in a hurry: what is not known to be gone stays in the ledger")
    return await closing


def _print_shown(asked: Asked, held: Hold) -> None:
    with while_read():
        if asked.json:
            print(
                codec.dumps(
                    {
                        "tenant": held.tenant,
                        "user": held.user,
                        "availability": held.pair.availability,
                        "activity": held.pair.activity,
                        "key": held.key,
                        "state": held.state,
                        "until": iso(held.until),
                    }
                )
            )
        elif asked.for_ is not None:
            print(f"{held.user} is shown as {held.pair} until {clock_time(held.until)}")
        else:
            print(f"{held.user} is shown as {held.pair}, and renewed; Ctrl-C releases")
    if asked.for_ is not None and held.pair.availability == "Available":
        say(
            f"Available fades to AvailableInactive after {FADES_AFTER / 60:g} minutes unless it "
            "is renewed: leave --for out to have that done"
        )


def _told(asked: Asked, outcome: Outcome) -> Status:
    """Say what became of the session; return the status."""
    with while_read():
        if asked.json:
            print(codec.dumps({"user": outcome.user, "state": "ended", "outcome": outcome.kind}))
        else:
            print(f"released: {outcome.kind}")
    if outcome.kind.final:
        return Status.DONE
    if outcome.message:
        fail(outcome.message)
    return Status.PROBLEMS
