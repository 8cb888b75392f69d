"""`presence-manager clear`: clear users now, whoever holds them."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from presence_manager.errors import PresenceError
from presence_manager.hosts.cli import users as reading
from presence_manager.hosts.cli.opening import (
    file_of,
    ledger_of,
    reader,
    settings,
    tenant_of,
)
from presence_manager.hosts.cli.output import of_outcome, stream_csv, stream_json
from presence_manager.hosts.cli.running import Status, Stop, Wrong, fail, say, serve, while_read
from presence_manager.hosts.cli.sweeping import Result, bar, outcomes_of, run
from presence_manager.hosts.cli.telling import explain, tell
from presence_manager.hosts.cli.times import seconds, spoken

if TYPE_CHECKING:
    from presence_manager.core.outcome import Report
    from presence_manager.hosts.cli.users import Person, Users
    from presence_manager.manager import PresenceManager
    from presence_manager.ports import Ledger
    from presence_manager.settings import Settings

Form = Literal["people", "json", "csv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stands on the command line."""

    users: list[str]
    file: str | None
    held: bool
    tenant: str | None
    deadline: str | None
    dry_run: bool
    form: Form
    from_line: int | None


def clear(asked: Asked) -> int:
    """Do what is asked; return the exit status."""
    _check(asked)
    deadline = None if asked.deadline is None else seconds(asked.deadline, "--deadline")
    found = settings()
    tenant = tenant_of(found, asked.tenant)
    with _users(asked, tenant) as who:
        ledger = ledger_of(found)
        if asked.dry_run:
            return _dry_run(asked, found, ledger, who)
        return serve(lambda stop: _clear(stop, asked, found, ledger, who, deadline))


def form_of(json: bool, csv: bool) -> Form:
    """Which form is wanted. Raises Wrong for two."""
    if json and csv:
        raise Wrong("--json and --csv: only one of them")
    return "json" if json else "csv" if csv else "people"


def _check(asked: Asked) -> None:
    ways = (bool(asked.users), asked.file is not None, asked.held)
    if sum(ways) == 0:
        raise Wrong(
            "who is to be cleared? Name users, or --users FILE, or --held for all in the ledger"
        )
    if sum(ways) > 1:
        raise Wrong("name users, or --users FILE, or --held: only one of them")
    if asked.from_line is not None and asked.file is None:
        raise Wrong("--from-line goes with --users FILE")


@contextmanager
def _users(asked: Asked, tenant: str) -> Iterator[Users | None]:
    """Who is named, checked whole; None for all that is held."""
    only = asked.tenant is not None
    if asked.held:
        yield None
        return
    if asked.file is None:
        who = reading.named(asked.users, tenant=tenant, only=only)
    else:
        who = reading.listed(asked.file, tenant=tenant, only=only, from_line=asked.from_line or 1)
    with closing(who):
        _say_what_is_odd(who, tenant)
        yield who


def _say_what_is_odd(who: Users, tenant: str) -> None:
    if who.duplicates:
        say(f"{who.name}: {who.duplicates:,} named more than once: each is cleared once")
    if who.others:
        say(f"{who.name}: {who.others:,} of other tenants than {tenant} are left out")


async def _clear(
    stop: Stop,
    asked: Asked,
    found: Settings,
    ledger: Ledger,
    who: Users | None,
    deadline: float | None,
) -> int:
    with bar(who.total if who is not None else None) as progress:

        async def begin(presence: PresenceManager) -> Report:
            return await presence.sweep(
                who,
                tenant=asked.tenant,
                everyone=who is None,
                deadline=deadline,
                progress=progress,
            )

        result = await run(stop, found, ledger, begin)
    if result.failure is not None and not result.taken:
        raise result.failure
    if not stop.hurried.is_set():
        await show(asked.form, result, found, ledger, _extra(result, who))
    explain(result)
    if result.failure is not None:
        if not isinstance(result.failure, PresenceError | Wrong):
            raise result.failure
        fail(str(result.failure))
    if result.interrupted or result.failure is not None:
        _say_where_to_go_on(asked, result, who)
    return result.status


async def show(
    form: Form, result: Result, found: Settings, ledger: Ledger, extra: dict[str, Any]
) -> None:
    """Print a sweep's result in the form that is wanted, on stdout."""
    with while_read():
        if form == "people":
            tell(result)
            return
        async with aclosing(outcomes_of(found, ledger, result)) as rows:
            if form == "json":
                await stream_json(result.head() | extra, "outcomes", rows, of_outcome)
            else:
                await stream_csv(rows)


def _extra(result: Result, who: Users | None) -> dict[str, Any]:
    if result.ok or not (result.interrupted or result.failure):
        return {}
    line = who.line_after(result.taken) if who is not None else None
    return {"interrupted": result.interrupted, "left": result.left, "from_line": line}


def _say_where_to_go_on(asked: Asked, result: Result, who: Users | None) -> None:
    done = result.taken - result.left
    total = f" of {who.total:,}" if who is not None else ""
    first = "interrupted" if result.interrupted else "stopped"
    text = f"{first} after {spoken(result.seconds)}: {done:,}{total} are done"
    if result.left:
        text += f", {result.left:,} more were taken in and are left: they are "
        if not result.kept:
            text += "lost with this process, for the ledger is in memory"
        else:
            text += "in the ledger, and `presence-manager recover` goes on with them"
    say(text + ".")
    line = who.line_after(result.taken) if who is not None else None
    if who is None or line is None:
        return
    if asked.file is None:
        say(f"The last {who.total - result.taken:,} users were not taken in.")
    else:
        again = shlex.join(["--users", asked.file, "--from-line", str(line)])
        say(
            f"All lines before line {line} were taken in; go on with the others: "
            f"presence-manager clear {again}"
        )


def _dry_run(asked: Asked, found: Settings, ledger: Ledger, who: Users | None) -> int:
    """Say who would be cleared. Nothing is sent, and nothing is written."""
    total = 0

    async def people() -> AsyncGenerator[Person, None]:
        nonlocal total
        file = file_of(ledger)
        if who is not None:
            for person in who:
                total += 1
                yield person
        elif file is not None and file.exists():  # to open it would make it
            async with reader(found, ledger) as books:
                async for row in books.sessions(tenant=asked.tenant):
                    total += 1
                    yield row.tenant, row.user

    async def work(_: Stop) -> int:
        with while_read():
            async with aclosing(people()) as each:
                if asked.form == "json":
                    await stream_json({"dry_run": True}, "users", each, _of_person)
                else:
                    async for tenant, user in each:
                        print(f"{tenant},{user}")
        return Status.DONE

    status = serve(work)
    say(f"dry run: {total:,} sessions would be cleared; nothing was sent")
    return status


def _of_person(person: Person) -> dict[str, str]:
    return {"tenant": person[0], "user": person[1]}
