"""All checks, in the order in which one rests on another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from presence_manager.core.key import LaneId
from presence_manager.core.pair import Pair
from presence_manager.core.session import Tally
from presence_manager.errors import LedgerError, SettingsError, SignInError
from presence_manager.graph.tokens import tokens_for
from presence_manager.hosts.cli.opening import file_of
from presence_manager.hosts.doctor import claims, held, ledger, network, trial
from presence_manager.hosts.doctor.finding import Finding, State, fail, ok, skipped
from presence_manager.hosts.doctor.signin import sign_in
from presence_manager.manager import PresenceManager
from presence_manager.ports import Draw, Ledger, Tokens, slots
from presence_manager.settings import Settings

MOST_TENANTS = 20
"""Tenants that are signed in to, one after the other."""
_LOOKS, _PAUSE = 3, 1.0
"""How often a presence is read back until it shows, and the seconds in between."""


class Ask(NamedTuple):
    """What the examination is about: one tenant or all, and perhaps a user to try."""

    tenant: str = ""
    user: str = ""
    pair: Pair = Pair("Busy", "InACall")


async def examine(
    found: Settings, ask: Ask, open_ledger: Callable[[], Ledger]
) -> AsyncGenerator[Finding, None]:
    """Go through all checks; what cannot be looked at for an earlier fault is skipped."""
    given = sum(1 for setting in found.describe() if setting.source)
    yield ok("settings", f"{given} settings are given, and can work")
    graph, authority = await asyncio.gather(
        network.reach("graph", found.graph.base_url, f"/{found.graph.version}/", found.graph),
        _authority(found),
    )
    yield graph[0]
    yield authority
    yield await network.clock(graph[1], found.retry.margin)
    book = await _books(open_ledger, found)
    tokens = tokens_for(found)
    signed_in = False
    try:
        tenants = _tenants(found, ask, book)
        async with aclosing(_sign_ins(tokens, found, ask, tenants)) as findings:
            async for finding in findings:
                signed_in |= finding.name == "sign-in" and finding.state is not State.FAIL
                yield finding
        for finding in book.findings:
            yield finding
        if ask.user and signed_in:
            async with aclosing(_try(found, ask, open_ledger(), tokens)) as findings:
                async for finding in findings:
                    yield finding
        elif ask.user:
            yield skipped("set", "without a sign-in no user can be set")
    finally:
        await tokens.close()


class _Books(NamedTuple):
    findings: list[Finding]
    lanes: list[held.Lane]


async def _authority(found: Settings) -> Finding:
    if found.access_token.get_secret_value():
        return skipped("authority", "there is a ready token, so nobody signs in there")
    if found.managed_identity:
        return skipped("authority", "a managed identity signs in with the machine it is on")
    return (await network.reach("authority", found.graph.authority, "/", found.graph))[0]


def _tenants(found: Settings, ask: Ask, book: _Books) -> list[str]:
    if ask.tenant:
        return [ask.tenant]
    named = [found.tenant_id.lower()] if found.tenant_id else []
    named += found.tenants
    return list(dict.fromkeys([*named, *(lane.tenant for lane in book.lanes if lane.sessions)]))


async def _sign_ins(
    tokens: Tokens, found: Settings, ask: Ask, tenants: list[str]
) -> AsyncGenerator[Finding, None]:
    if not tenants:
        do = "name one with --tenant, or set PRESENCE_TENANT_ID"
        yield skipped("sign-in", "no tenant is named, and the ledger has none", do)
    app, origin = found.client_id.lower(), found.graph.base_url
    for tenant in tenants[:MOST_TENANTS]:
        signed_in = await sign_in(tokens, tenant, found)
        yield signed_in
        if signed_in.state is State.FAIL:
            continue
        try:
            said = claims.claims_of((await tokens.token(tenant)).secret)
        except SignInError as error:  # it ended in this very moment
            yield skipped("token", f"tenant {tenant}: {error}")
            continue
        yield await claims.token(said, tenant, app, origin)
        yield await claims.permission(said, tenant)
    if len(tenants) > MOST_TENANTS:
        says = f"{len(tenants) - MOST_TENANTS} more tenants of the ledger were not tried"
        yield skipped("sign-in", says, "name one with --tenant")


async def _books(open_ledger: Callable[[], Ledger], found: Settings) -> _Books:
    """Look at the ledger, and close it again."""
    book = open_ledger()
    path: Path | None = file_of(book)
    origin, app = found.graph.base_url, found.client_id.lower()
    findings = [await ledger.opens(book, path)]
    lanes: list[held.Lane] = []
    is_open = ledger.is_there(path) and findings[0].state is State.OK
    findings.append(await ledger.place(book, path, is_open=is_open))
    findings.append(await ledger.space(path))
    if not is_open:
        return _Books(findings, lanes)
    try:
        now = time.time()
        tallies = await book.tally(origin, app, now)
        lanes = [await _lane(book, lane, tallies, now) for lane in await book.lanes(origin, app)]
        findings.append(await ledger.owners(book))
        findings.append(await ledger.strangers(book, origin, app))
        findings.append(await held.held(tallies, now))
        findings.append(await held.deadline(lanes, found))
        findings.append(await held.budgets(lanes, found))
    except LedgerError as error:
        findings.append(fail("ledger", str(error), "look again; PRESENCE_LEDGER__BUSY_TIMEOUT"))
    finally:
        await book.close()
    return _Books(findings, lanes)


async def _lane(book: Ledger, lane: LaneId, tallies: list[Tally], now: float) -> held.Lane:
    share = await book.draw(lane, "doctor", Draw(now=now))  # wants nothing, so it takes nothing
    count = sum(each.sessions for each in tallies if each.tenant == lane.tenant)
    return held.Lane(lane.tenant, count, share.budget, slots(share.others, now))


async def _try(
    found: Settings, ask: Ask, book: Ledger, tokens: Tokens
) -> AsyncGenerator[Finding, None]:
    tenant = ask.tenant or found.tenant_id.lower()
    key = trial.key_of(ask.user, tenant, found.graph.base_url, found.client_id.lower())
    presence = PresenceManager(found, tokens=tokens, ledger=book)
    try:
        await presence.open(recover=False)
    except (LedgerError, SettingsError) as error:
        yield fail("set", str(error), "put that right first")
        return
    try:
        held_already = await trial.untouched(book, key)
        if held_already is not None:
            yield held_already
            return
        finding, hold = await trial.show(presence, key, ask.pair)
        yield finding
        if hold is None:
            return
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_PAUSE)  # what others see may follow a moment later
            seen = await trial.read_back(tokens, key, ask.pair, found.graph)
            if seen.state is not State.WARN:
                break
        yield seen
        yield await trial.cleared(hold)
    finally:
        await presence.close()
