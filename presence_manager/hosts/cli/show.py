"""`presence-manager sessions`, `outcomes` and `recover`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from presence_manager.core.outcome import Kind
from presence_manager.core.session import Known
from presence_manager.hosts.cli.clear import Form, show
from presence_manager.hosts.cli.opening import ledger_of, reader, settings, tenant_of, user_of
from presence_manager.hosts.cli.output import (
    console,
    of_outcome,
    of_session,
    stream_csv,
    stream_json,
    table,
)
from presence_manager.hosts.cli.running import Status, Stop, Wrong, say, serve, while_read
from presence_manager.hosts.cli.sweeping import run
from presence_manager.hosts.cli.telling import explain
from presence_manager.hosts.cli.times import clock_time, instant, seconds, spoken

if TYPE_CHECKING:
    from presence_manager.core.outcome import Outcome, Report
    from presence_manager.core.session import Session
    from presence_manager.manager import PresenceManager

_PAGE = 500
"""Rows in one table: a terminal wants to see the first ones soon."""
_KNOWN = {Known.ABSENT: "not yet", Known.SHOWN: "", Known.UNSURE: "not certain"}


def sessions(tenant: str | None, *, json: bool) -> int:
    """Print what the ledger knows to be held; nothing is cleared, renewed or sent."""
    found = settings()
    where = tenant_of(found, tenant) if tenant else None

    async def work(_: Stop) -> int:
        async with reader(found, ledger_of(found)) as books:
            rows = books.sessions(tenant=where)
            with while_read():
                if json:
                    await stream_json({}, "sessions", rows, of_session)
                else:
                    await _print_sessions(rows)
        return Status.DONE

    return serve(work)


def outcomes(
    *,
    sweep: str | None,
    kind: str | None,
    user: str | None,
    tenant: str | None,
    since: str | None,
    form: Form,
) -> int:
    """Print what became of sessions, oldest first."""
    if kind is not None and kind not in list(Kind):
        raise Wrong(f"--kind: there is no {ascii(kind)[:40]}; the kinds are " + ", ".join(Kind))
    start = instant(since, "--since") if since else None
    found = settings()
    where = tenant_of(found, tenant) if tenant else None
    who = user_of(user) if user else None

    async def work(_: Stop) -> int:
        async with reader(found, ledger_of(found)) as books:
            rows = books.outcomes(sweep_id=sweep, kind=kind, tenant=where, user=who, since=start)
            with while_read():
                if form == "json":
                    await stream_json({}, "outcomes", rows, of_outcome)
                elif form == "csv":
                    await stream_csv(rows)
                else:
                    await _print_outcomes(rows)
        return Status.DONE

    return serve(work)


def recover(deadline: str | None, *, json: bool) -> int:
    """Clear what dead processes left behind, and what was left failed or unfinished."""
    length = None if deadline is None else seconds(deadline, "--deadline")
    found = settings()
    ledger = ledger_of(found)

    async def begin(presence: PresenceManager) -> Report:
        return await presence.recovered(deadline=length)

    async def work(stop: Stop) -> int:
        result = await run(stop, found, ledger, begin)
        if result.failure is not None:
            raise result.failure
        if not stop.hurried.is_set():
            extra = {"interrupted": True, "left": result.left} if result.interrupted else {}
            if json or result.taken or result.interrupted:
                await show("json" if json else "people", result, found, ledger, extra)
            else:
                print("nothing to recover: no dead process left a session, and none is unfinished")
        explain(result)
        if result.interrupted:
            say(
                f"interrupted after {spoken(result.seconds)}: what is left stays in the ledger; "
                "`presence-manager recover` goes on"
            )
        return result.status

    return serve(work)


async def _print_sessions(rows: AsyncIterator[Session]) -> None:
    screen = console()
    total = 0
    lines = _session_table()
    async for row in rows:
        total += 1
        lines.add_row(*_session_line(row))
        if lines.row_count == _PAGE:
            screen.print(lines)
            lines = _session_table()
    if lines.row_count:
        screen.print(lines)
    say(f"{total:,} sessions in the ledger" if total != 1 else "1 session in the ledger")


def _session_table() -> Any:
    return table("tenant", "user", "shown as", "holds", "may last until", "")


def _session_line(row: Session) -> tuple[str, ...]:
    newest = next((w.pair for w in reversed(row.wishes) if w.pair is not None), None)
    pair = row.pair or newest
    return (
        row.tenant,
        row.user,
        str(pair) if pair else "(set by other code)" if row.wishes else "?",
        str(len(row.wishes)) if row.wishes else "0: to be cleared",
        clock_time(row.may_live_until) if row.may_live_until else "",
        _KNOWN[row.known],
    )


async def _print_outcomes(rows: AsyncIterator[Outcome]) -> None:
    screen = console()
    total = 0
    lines = _outcome_table()
    async for row in rows:
        total += 1
        answer = " ".join(filter(None, (str(row.status or ""), row.code, row.reason)))
        when = clock_time(row.at)
        lines.add_row(when, row.tenant, row.user, row.kind, str(row.attempts), answer)
        if lines.row_count == _PAGE:
            screen.print(lines)
            lines = _outcome_table()
    if lines.row_count:
        screen.print(lines)
    say(f"{total:,} outcomes" if total != 1 else "1 outcome")


def _outcome_table() -> Any:
    return table("at", "tenant", "user", "outcome", "attempts", "last answer")
