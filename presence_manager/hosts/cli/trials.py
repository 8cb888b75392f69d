"""The commands that need no tenant: to try it, and to develop on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from presence_manager.hosts.cli.running import finish

trials = typer.Typer()


class Spelling(StrEnum):
    """How the emulator spells Retry-After."""

    WHOLE = "whole"
    FRACTIONAL = "fractional"
    HTTP_DATE = "http-date"
    ABSENT = "absent"
    NONSENSE = "nonsense"
    ONE = "one"


@trials.command()
def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="An address of this machine.")] = "127.0.0.1",
    tls: Annotated[bool, typer.Option("--tls", help="Serve Graph over https too.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Requests in a window.")] = 10_000,
    window: Annotated[float, typer.Option(min=0.001, help="Seconds of the window.")] = 30.0,
    latency: Annotated[float, typer.Option(min=0.0, help="Seconds before an answer.")] = 0.0,
    retry_after: Annotated[
        Spelling, typer.Option(help="How a 429 spells Retry-After.")
    ] = Spelling.WHOLE,
    seed: Annotated[int, typer.Option(help="What chance is drawn from.")] = 0,
) -> None:
    """Emulate Graph's presence API on this machine, to develop and test without a tenant.

    Prints how to reach it, as a shell can read: eval "$(...)" with its output sets the variables.
    """
    from presence_manager.hosts.cli import emulator as command  # noqa: PLC0415

    finish(
        lambda: command.emulator(
            port=port,
            host=host,
            tls=tls,
            limit=limit,
            window=window,
            latency=latency,
            retry_after=str(retry_after),
            seed=seed,
        )
    )


@trials.command()
def demo() -> None:
    """See it work, with no tenant: 300 users, two tenants, a crash, a clean end."""
    from presence_manager.hosts import demo as command  # noqa: PLC0415

    finish(command.demo)
