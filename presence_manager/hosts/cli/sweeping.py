"""A sweep from the command line: run it, stop it when asked, and find out how it went.

How it went is read from the ledger after the manager has closed, when nothing changes any more:
after a deadline or a signal that is more than the sweep itself could tell.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome, Progress, Report
from presence_manager.hosts.cli.opening import file_of, reader, warn_of
from presence_manager.hosts.cli.output import console
from presence_manager.hosts.cli.running import Status, Stop
from presence_manager.manager import PresenceManager

if TYPE_CHECKING:
    from presence_manager.ports import Ledger
    from presence_manager.settings import Settings

GONE = (Kind.CLEARED, Kind.ALREADY_GONE, Kind.GONE_AFTER_RETRY)
"""Kinds that only an answer of Graph can have brought."""
_MOST_CAUSES = 200
_NAMED = 3


@dataclass(slots=True)
class Cause:
    """Why some sessions have no good end: one of them, how many there are, and the first few."""

    like: Outcome
    count: int = 0
    users: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Result:
    """How a sweep went.

    `waiting` are the sessions taken in that have no outcome yet. `kept` says that the ledger
    outlives this process. `unrecorded` are the outcomes that the ledger does not have, but for
    `more` of them, which are counted alone.
    """

    sweep_id: str = ""
    seconds: float = 0.0
    requests: int | None = None
    refused: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    causes: list[Cause] = field(default_factory=list)
    unrecorded: dict[Key, Outcome] = field(default_factory=dict)
    more: int = 0
    waiting: int = 0
    note: str = ""
    kept: bool = True
    interrupted: bool = False
    failure: BaseException | None = None

    @property
    def left(self) -> int:
        """Sessions taken in that may still be there."""
        return self.waiting + self.counts[Kind.FAILED] + self.counts[Kind.UNFINISHED]

    @property
    def taken(self) -> int:
        """Sessions taken in."""
        return self.waiting + self.counts.total()

    @property
    def ok(self) -> bool:
        """Whether all are gone, or wanted again."""
        return not self.left and not self.interrupted and self.failure is None

    @property
    def status(self) -> Status:
        """The exit status."""
        if self.failure is not None:
            return Status.WRONG
        if self.interrupted:
            return Status.INTERRUPTED
        if self.ok:
            return Status.DONE
        refused = sum(c.count for c in self.causes if c.like.reason == "sign_in")
        if refused == self.left and not any(self.counts[kind] for kind in GONE):
            return Status.NO_SIGN_IN
        return Status.PROBLEMS

    def head(self) -> dict[str, Any]:
        """What JSON says before the outcomes."""
        counts = {str(kind): self.counts[kind] for kind in Kind if self.counts[kind]}
        return {
            "ok": self.ok,
            "sweep_id": self.sweep_id,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "refused": self.refused,
            "counts": counts,
        }


async def run(
    stop: Stop,
    settings: Settings,
    ledger: Ledger,
    begin: Callable[[PresenceManager], Coroutine[Any, Any, Report]],
) -> Result:
    """Run the sweep that `begin` begins, and nothing else; a signal ends it.

    Raises SettingsError and LedgerUnusable before anything.
    """
    presence = PresenceManager(settings, ledger=ledger)
    started = monotonic()
    await presence.open(recover=False)
    result = Result(kept=file_of(ledger) is not None)
    report: Report | None = None
    try:
        await warn_of(ledger, settings)
        sweep = asyncio.create_task(begin(presence))
        if await stop.comes_before(sweep):
            result.interrupted = True
            sweep.cancel()
            await asyncio.wait({sweep})
        if not sweep.cancelled():
            result.failure = sweep.exception()
            report = None if result.failure else sweep.result()
    finally:
        await presence.close(sweep=False)
    if report is not None:
        result.interrupted = False
        result.sweep_id, result.note = report.sweep_id, report.note
        result.requests, result.refused = report.requests, report.refused
        result.counts.update(report.counts)
        result.unrecorded = {outcome.key: outcome for outcome in report.unrecorded}
        result.more = report.unrecorded_total - len(result.unrecorded)
    result.seconds = monotonic() - started if report is None else report.seconds
    if report is None or not (report.ok or result.more):  # else nothing knows better than it
        async with reader(settings, ledger) as books:
            await _look_up(result, books, presence.owner)
    return result


async def outcomes_of(
    settings: Settings, ledger: Ledger, result: Result
) -> AsyncGenerator[Outcome, None]:
    """All outcomes of a sweep: from a ledger that is closed again afterwards, then the others."""
    if result.sweep_id:
        async with reader(settings, ledger) as books:
            async for outcome in books.outcomes(sweep_id=result.sweep_id):
                result.unrecorded.pop(outcome.key, None)  # it was written after all
                yield outcome
    for outcome in result.unrecorded.values():
        yield outcome


@contextmanager
def bar(total: int | None) -> Iterator[Callable[[Progress], None] | None]:
    """Show a progress bar on a terminal; yields what is to be told of the progress."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich import progress as shown  # noqa: PLC0415 - not needed without a terminal

    with shown.Progress(
        shown.TextColumn("clearing"),
        shown.BarColumn(bar_width=None),
        shown.MofNCompleteColumn(),
        shown.TimeRemainingColumn(),
        shown.TextColumn("{task.fields[said]}"),
        console=screen,
        transient=True,
    ) as live:
        task = live.add_task("", total=total, said="")

        def show(now: Progress) -> None:
            known = total if total is not None else (now.taken if now.all_taken else None)
            bad = now.counts.get(Kind.FAILED, 0) + now.counts.get(Kind.UNFINISHED, 0)
            said = f"{bad} not cleared" if bad else ""
            live.update(task, completed=now.done, total=known, said=said)

        yield show


async def _look_up(result: Result, books: PresenceManager, owner: str) -> None:
    """Count what the ledger says of the sweep."""
    with_row = 0
    async for row in books.sessions():
        if row.sweeps and not result.sweep_id and row.owner == owner:
            result.sweep_id = row.sweeps[-1]  # no other sweep ran in that process
        if result.sweep_id in row.sweeps:
            with_row += 1
    result.counts.clear()
    if not result.sweep_id:
        return
    causes: dict[tuple[object, ...], Cause] = {}
    async for outcome in books.outcomes(sweep_id=result.sweep_id):
        result.unrecorded.pop(outcome.key, None)
        _count(outcome, result.counts, causes)
    for outcome in result.unrecorded.values():
        _count(outcome, result.counts, causes)
    result.causes = sorted(causes.values(), key=lambda cause: -cause.count)
    unfinal = result.counts[Kind.FAILED] + result.counts[Kind.UNFINISHED]
    result.waiting = max(0, with_row - unfinal)


def _count(outcome: Outcome, counts: Counter[str], causes: dict[tuple[object, ...], Cause]) -> None:
    counts[outcome.kind] += 1
    if outcome.kind in (Kind.FAILED, Kind.UNFINISHED):
        _sort_in(outcome, causes)


def _sort_in(outcome: Outcome, causes: dict[tuple[object, ...], Cause]) -> None:
    refused = outcome.reason == "sign_in"
    name: tuple[object, ...] = (
        *(outcome.kind, outcome.reason, outcome.status, outcome.code),
        outcome.tenant if refused else "",
    )
    if name not in causes and len(causes) >= _MOST_CAUSES:
        name = (outcome.kind, "more")
    cause = causes.setdefault(name, Cause(outcome))
    cause.count += 1
    if len(cause.users) < _NAMED:
        cause.users.append(outcome.user)
