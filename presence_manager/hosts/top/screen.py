"""A frame as a terminal shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from presence_manager.core.outcome import Kind
from presence_manager.hosts.cli.running import printable
from presence_manager.hosts.top.frame import Frame, TenantLine

_AROUND = 10
"""Lines of a screen besides the tenants and the outcomes."""
_BAD = frozenset({Kind.FAILED, Kind.UNFINISHED})


def drawn(frame: Frame, now: float, height: int | None, note: str = "") -> RenderableType:
    """Draw it, into `height` lines, or as long as it is; `note` is what is wrong just now."""
    moment = datetime.fromtimestamp(now, UTC).astimezone()
    parts: list[RenderableType] = [
        Text(f"{printable(frame.source)}  {moment:%H:%M:%S}", "bold"),
        Text(printable(frame.about)),
    ]
    if note:
        parts.append(Text(printable(note), "bold red"))
    most = None
    if height is not None:
        most = max(1, height - _AROUND - len(frame.outcomes) - bool(frame.shown) - bool(note))
    parts += [Text(), _tenants(frame, most), Text()]
    if frame.shown:
        pairs = ", ".join(f"{pair} {count:,}" for pair, count in frame.shown.items())
        parts.append(Text(f"shown as: {printable(pairs)}"))
    parts.append(_outcomes(frame))
    if height is not None:
        parts.append(Text("q quits", "dim"))
    return Group(*parts)


def _tenants(frame: Frame, most: int | None) -> Table:
    made = _table("tenant", *frame.columns, "budget used", "gate")
    totals = [sum(column) for column in zip(*(t.counts for t in frame.tenants), strict=True)]
    totals = totals or [0] * len(frame.columns)
    used = sum(tenant.used for tenant in frame.tenants)
    shut = sum(tenant.closed_for > 0 for tenant in frame.tenants)
    made.add_row(
        Text(f"all {len(frame.tenants):,}", "bold"),
        *(Text(f"{total:,}", "bold") for total in totals),
        Text(f"{used:,}", "bold"),
        Text(f"{shut:,} closed" if shut else "open", "bold yellow" if shut else "bold"),
    )
    for tenant in frame.tenants[:most]:
        made.add_row(*_line(tenant))
    left = len(frame.tenants) - len(frame.tenants[:most])
    if left:
        made.add_row(f"... and {left:,} more")
    return made


def _line(tenant: TenantLine) -> list[str | Text]:
    gate = Text("open")
    if tenant.closed_for > 0:
        gate = Text(f"closed {tenant.closed_for:.0f} s", "yellow")
    budget = (
        f"{tenant.used:,}" if tenant.budget is None else f"{tenant.used:,} of {tenant.budget:,}"
    )
    return [printable(tenant.tenant), *(f"{count:,}" for count in tenant.counts), budget, gate]


def _outcomes(frame: Frame) -> Table:
    made = _table("outcome", frame.counted, "per second")
    for kind, number, rate in frame.outcomes:
        style = "red" if kind in _BAD else ""
        made.add_row(
            Text(printable(kind), style), Text(f"{number:,}", style), f"{rate:,.1f}" if rate else ""
        )
    if not frame.outcomes:
        made.add_row("none", "", "")
    return made


def _table(first: str, *others: str) -> Table:
    made = Table(box=None, pad_edge=False, show_edge=False)
    made.add_column(first, no_wrap=True)
    for name in others:
        made.add_column(name, justify="right")
    return made
