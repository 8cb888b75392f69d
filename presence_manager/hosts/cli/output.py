"""What a command prints: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from presence_manager.core.outcome import Outcome
from presence_manager.core.session import Session
from presence_manager.hosts.cli.times import iso

T = TypeVar("T")

FIELDS = (
    *("tenant", "user", "app", "kind", "at", "attempts", "status", "code", "message"),
    *("request_id", "sweep_id", "owner", "reason", "recorded"),
)
"""The fields of an outcome, in JSON and in CSV."""

_WIDE = 200
"""Columns where there is no terminal: ids must not be broken."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console for people, wide where there is no terminal to fit into."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return _Console(file=stream, width=width, highlight=False, markup=False)


def table(*columns: str, header: bool = True) -> Table:
    """An empty table."""
    made = Table(box=None, pad_edge=False, show_edge=False, show_header=header)
    for column in columns:
        made.add_column(column, no_wrap=column in ("user", "tenant"), overflow="fold")
    return made


def of_outcome(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it; `at` is in ISO 8601, UTC."""
    return {
        name: iso(outcome.at) if name == "at" else _plain(getattr(outcome, name)) for name in FIELDS
    }


def of_session(session: Session) -> dict[str, Any]:
    """A session as JSON has it."""
    pair = session.pair
    return {
        "tenant": session.tenant,
        "user": session.user,
        "app": session.key.lane.app,
        "known": str(session.known),
        "availability": pair.availability if pair else None,
        "activity": pair.activity if pair else None,
        "renew_at": iso(session.due),
        "may_live_until": iso(session.may_live_until) if session.may_live_until else None,
        "holds": [
            {
                "key": wish.name,
                "availability": wish.pair.availability if wish.pair else None,
                "activity": wish.pair.activity if wish.pair else None,
                "until": iso(wish.until),
                "owner": wish.owner,
            }
            for wish in session.wishes
        ],
    }


async def stream_json(
    head: Mapping[str, Any], name: str, items: AsyncIterator[T], form: Callable[[T], dict[str, Any]]
) -> None:
    """Print one JSON object: the head's members, then the list of that name, item by item."""
    write = sys.stdout.write
    write("{")
    for key, value in head.items():
        write(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=True)}, ")
    write(f"{json.dumps(name)}: [")
    between = "\n"
    async for item in items:
        write(between + json.dumps(form(item), ensure_ascii=True))
        between = ",\n"
    write("]}\n" if between == "\n" else "\n]}\n")


async def stream_csv(outcomes: AsyncIterator[Outcome]) -> None:
    """Print one row for each outcome, below a row of names."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(FIELDS)
    async for outcome in outcomes:
        item = of_outcome(outcome)
        rows.writerow([_cell(item[name]) for name in FIELDS])


def _cell(value: object) -> str:
    """A cell that a spreadsheet takes for text, not for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
