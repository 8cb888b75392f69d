"""`presence-manager doctor`: a line for each check, with what to do."""

from __future__ import annotations

import asyncio
import json as codec
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from rich.text import Text

from presence_manager.core.pair import Pair, pair_of
from presence_manager.errors import SettingsError
from presence_manager.hosts.cli.config import faults
from presence_manager.hosts.cli.opening import ledger_of, settings, tenant_of, user_of
from presence_manager.hosts.cli.output import console
from presence_manager.hosts.cli.running import (
    Status,
    Stop,
    Wrong,
    printable,
    say,
    serve,
    while_read,
)
from presence_manager.hosts.doctor.finding import Finding, State, fail

_COLOUR = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red", State.SKIPPED: "dim"}
_SETTINGS = "put it right; config/presence.toml has every setting, with its unit and its default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stands on the command line."""

    tenant: str | None
    user: str | None
    pair: str
    json: bool


def doctor(asked: Asked) -> int:
    """Look at everything; return the exit status."""
    pair = _pair(asked.pair)
    user = user_of(asked.user) if asked.user else ""
    findings: list[Finding] = []

    def keep(finding: Finding) -> None:
        findings.append(finding)
        if not asked.json:
            _tell(finding)

    status = Status.DONE
    with while_read():
        status = _examined(asked, user, pair, keep) or status_of(findings)
        if asked.json:
            listed = [finding._asdict() for finding in findings]
            head = {"ok": status is Status.DONE, "status": int(status)}
            print(codec.dumps({**head, "findings": listed}, indent=1))
    return status


def _examined(asked: Asked, user: str, pair: Pair, keep: Callable[[Finding], None]) -> Status:
    """Go through the checks; the status if it is not for the findings to say."""
    try:
        found = settings()
        wrong = faults(found)
    except SettingsError as error:
        wrong = str(error).splitlines()
    for line in wrong:
        keep(fail("settings", line, _SETTINGS))
    if wrong:
        return Status.WRONG
    tenant = tenant_of(found, asked.tenant)
    if user and not tenant:
        raise Wrong("--user: name the user's tenant with --tenant, or set PRESENCE_TENANT_ID")
    from presence_manager.hosts.doctor.examine import Ask, examine  # noqa: PLC0415 - slow

    ask = Ask(tenant=tenant if asked.tenant or user else "", user=user, pair=pair)

    async def work(stop: Stop) -> int:
        going = asyncio.create_task(_through(examine(found, ask, lambda: ledger_of(found)), keep))
        if await stop.comes_before(going):
            say("interrupted: a user that is being tried is released first")
            going.cancel()
            if await stop.hurries(going):
                going.cancel()
            await asyncio.wait({going})
            return Status.INTERRUPTED
        going.result()
        return Status.DONE

    return Status(serve(work))


def status_of(findings: list[Finding]) -> Status:
    """The exit status that the findings come to."""
    tenants = [f for f in findings if f.name == "sign-in" and f.state is not State.SKIPPED]
    if tenants and all(finding.state is State.FAIL for finding in tenants):
        return Status.NO_SIGN_IN
    if any(finding.state is State.FAIL for finding in findings):
        return Status.PROBLEMS
    return Status.DONE


async def _through(
    findings: AsyncGenerator[Finding, None], keep: Callable[[Finding], None]
) -> None:
    async with aclosing(findings):
        async for finding in findings:
            keep(finding)


def _pair(text: str) -> Pair:
    availability, slash, activity = text.partition("/")
    try:
        return pair_of(availability, activity if slash else None)
    except ValueError as error:
        raise Wrong(f"--as: {error}") from None


def _tell(finding: Finding) -> None:
    line = Text()
    line.append(f"{finding.state:<8}", _COLOUR[finding.state])
    line.append(f"{finding.name:<11}{printable(finding.says)}")
    if finding.do:
        line.append(f" -> {printable(finding.do)}", "bold" if finding.state is State.FAIL else "")
    console().print(line, soft_wrap=True)
