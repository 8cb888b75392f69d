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
from presence_manager.hosts.cli.running import printable
from presence_manager.hosts.shapes import OutcomeShape, of_outcome, of_session

__all__ = ["FIELDS", "console", "of_outcome", "of_session", "stream_csv", "stream_json", "table"]

T = TypeVar("T")

FIELDS = tuple(OutcomeShape.__annotations__)
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


class _Table(Table):
    def add_row(self, *cells: Any, **how: Any) -> None:
        shown = [printable(cell) if isinstance(cell, str) else cell for cell in cells]
        super().add_row(*shown, **how)


def table(*columns: str, header: bool = True) -> Table:
    """An empty table; whatever text is in a cell cannot move the cursor."""
    made = _Table(box=None, pad_edge=False, show_edge=False, show_header=header)
    for column in columns:
        made.add_column(column, no_wrap=column in ("user", "tenant"), overflow="fold")
    return made


async def stream_json(
    head: Mapping[str, Any],
    name: str,
    items: AsyncIterator[T],
    form: Callable[[T], Mapping[str, Any]],
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
        rows.writerow([_cell(value) for value in of_outcome(outcome).values()])


def _cell(value: object) -> str:
    """A cell that a spreadsheet takes for text, not for a formula."""
    text = "" if value is None else printable(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text
