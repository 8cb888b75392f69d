"""The commands that look, or ask the daemon, their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from presence_manager.hosts.cli.running import finish


def doctor(
    tenant: Annotated[str | None, typer.Option(help="Sign in to this tenant only.")] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Set, read back and clear this user, to try it all."),
    ] = None,
    pair: Annotated[
        str, typer.Option("--as", metavar="PAIR", help="How --user is shown meanwhile.")
    ] = "Busy/InACall",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look at all that setting and clearing depend on; a line for each check, with what to do.

    Settings, network, clock, sign-in, permission, ledger, what is held, and the time to clear it.
    Changes nothing, but for --user, who is shown for some seconds. Exit status: 0 all is well or
    only warned of, 1 a check failed, 2 settings are wrong, 3 no tenant could sign in.
    """
    from presence_manager.hosts.cli import doctor as command  # noqa: PLC0415

    finish(lambda: command.doctor(command.Asked(tenant=tenant, user=user, pair=pair, json=json)))


def top(
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Of a running daemon; else the ledger is looked at."),
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file with the daemon's bearer token.")
    ] = None,
    interval: Annotated[
        str, typer.Option(metavar="TIME", help="Between two looks, 0.5s at least.")
    ] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Print what is there now, and end.")] = False,
) -> None:
    """Watch what is held, cleared and refused, until q or Ctrl-C. Sends nothing to Graph."""
    from presence_manager.hosts.cli import top as command  # noqa: PLC0415

    finish(
        lambda: command.top(
            command.Asked(url=url, token_file=token_file, interval=interval, once=once)
        )
    )


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it takes holds, not only if it is alive.")
    ] = False,
) -> None:
    """Ask the daemon of these settings whether it is alive: a probe for containers.

    Exit status: 0 it is, 1 it is not or does not answer, 2 the settings are wrong.
    """
    from presence_manager.hosts.cli import asking  # noqa: PLC0415

    finish(lambda: asking.health(ready=ready))


def drain(
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it may take; by default shutdown.deadline."),
    ] = None,
) -> None:
    """Have the daemon of these settings refuse new holds and clear all of its own: a preStop hook.

    Waits until that is done. Exit status: 0 all gone, 1 some may not be, or no daemon answers.
    """
    from presence_manager.hosts.cli import asking  # noqa: PLC0415

    finish(lambda: asking.drain(deadline))
