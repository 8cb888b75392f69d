"""The commands, their options and their help; the work is in a file for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from presence_manager.hosts.cli import watching
from presence_manager.hosts.cli.running import debug, finish
from presence_manager.hosts.cli.trials import trials

_HELP = """Tracks, renews and clears the Teams presence sessions that an application holds.

Settings come from PRESENCE_* variables, or from the TOML file that PRESENCE_CONFIG names;
`presence-manager config show` lists them. Try everything without a tenant: `presence-manager demo`.

Exit status: 0 all gone (or superseded), 1 some failed or unfinished, 2 wrong usage, settings or
ledger, 3 no tenant could sign in, 4 interrupted.
"""

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config = typer.Typer(help="Show or check the settings.", no_args_is_help=True)
app.add_typer(config, name="config")
app.add_typer(trials)

Tenant = Annotated[
    str | None,
    typer.Option(help="Only this tenant; also the one meant where a user comes without one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print one row for each outcome on stdout.")]
Deadline = Annotated[
    str | None, typer.Option(help="End after this long, for example 30s or 5m.", metavar="TIME")
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"presence-manager {version('presence-manager')}")
        raise typer.Exit


@app.callback()
def _everywhere(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the log, on stderr.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks (also: PRESENCE_DEBUG=1).")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    debug.wanted = debug.wanted or traceback
    debug.verbose = verbose


@app.command()
def clear(
    users: Annotated[
        list[str] | None,
        typer.Argument(metavar="[USERS]...", help="Users' ids, or tenant,user."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--users",
            metavar="FILE",
            help="A file with one user id (or tenant,user) in a line; - is standard input.",
        ),
    ] = None,
    held: Annotated[
        bool, typer.Option("--held", help="All sessions of the ledger, of every process.")
    ] = False,
    tenant: Tenant = None,
    deadline: Deadline = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would be cleared; send and write nothing.")
    ] = False,
    json: Json = False,
    csv: Csv = False,
    from_line: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Go on with line N of --users after an interruption."
        ),
    ] = None,
) -> None:
    """Clear users now, whoever holds them, and say what became of each.

    All holds of these users end, in every process, and their sessions are cleared, whether the
    ledger knows them or not. A users file is checked whole before anything is sent. Ctrl-C stops:
    what was taken in stays in the ledger, and --from-line goes on with the rest.
    """
    from presence_manager.hosts.cli import clear as command  # noqa: PLC0415

    finish(
        lambda: command.clear(
            command.Asked(
                users=users or [],
                file=file,
                held=held,
                tenant=tenant,
                deadline=deadline,
                dry_run=dry_run,
                form=command.form_of(json, csv),
                from_line=from_line,
            )
        )
    )


@app.command()
def hold(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    availability: Annotated[str, typer.Argument(help="Available, Busy, Away or DoNotDisturb.")],
    activity: Annotated[
        str | None,
        typer.Argument(help="InACall, InAConferenceCall, Presenting ...; by default the first."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="The user's tenant.")] = None,
    lease: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long Graph keeps it should this process die."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="A name for the hold.")] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="Leave a hold that ends by itself, for example 30m."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show a user as busy or away until Ctrl-C: renewed meanwhile, released then."""
    from presence_manager.hosts.cli import hold as command  # noqa: PLC0415

    finish(
        lambda: command.hold(
            command.Asked(
                user=user,
                availability=availability,
                activity=activity,
                tenant=tenant,
                lease=lease,
                key=key,
                for_=for_,
                json=json,
            )
        )
    )


@app.command()
def run(
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="127.0.0.1:8787 (port 0: a free one) or unix:/path."),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the daemon's address there once it answers."),
    ] = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; then clear all that is held.

    The API is described at /v1/openapi.json. A second signal hurries. Exit status: 0 all gone, 1
    some may not be, 2 the settings, the ledger or the address cannot be used.
    """
    from presence_manager.hosts.cli import run as command  # noqa: PLC0415

    finish(lambda: command.run(listen, ready_file))


@app.command()
def sessions(tenant: Tenant = None, json: Json = False) -> None:
    """Show which sessions are held, by every process of this ledger. Sends nothing."""
    from presence_manager.hosts.cli import show  # noqa: PLC0415

    finish(lambda: show.sessions(tenant, json=json))


@app.command()
def outcomes(
    sweep: Annotated[str | None, typer.Option(metavar="ID", help="Of this sweep.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind, for example unfinished.")] = None,
    user: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Since 2h ago, or 2026-11-24T09:30Z.")
    ] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Show what became of sessions, oldest first. Sends nothing."""
    from presence_manager.hosts.cli import clear as forms  # noqa: PLC0415
    from presence_manager.hosts.cli import show  # noqa: PLC0415

    finish(
        lambda: show.outcomes(
            sweep=sweep,
            kind=kind,
            user=user,
            tenant=tenant,
            since=since,
            form=forms.form_of(json, csv),
        )
    )


@app.command()
def recover(deadline: Deadline = None, json: Json = False) -> None:
    """Clear what dead processes left behind, and what was left failed or unfinished."""
    from presence_manager.hosts.cli import show  # noqa: PLC0415

    finish(lambda: show.recover(deadline, json=json))


app.command()(watching.doctor)
app.command()(watching.top)
app.command()(watching.health)
app.command()(watching.drain)


@app.command()
def login() -> None:
    """Sign in as a user, by a code on any device, to show that user's own presence."""
    from presence_manager.hosts.cli import login as command  # noqa: PLC0415

    finish(command.login)


@app.command()
def logout() -> None:
    """Forget the user who signed in on this machine."""
    from presence_manager.hosts.cli import login as command  # noqa: PLC0415

    finish(command.logout)


@config.command("show")
def config_show(json: Json = False) -> None:
    """Show the settings in force, secrets masked, and where each came from."""
    from presence_manager.hosts.cli import config as command  # noqa: PLC0415

    finish(lambda: command.show(json=json))


@config.command("check")
def config_check() -> None:
    """Check settings, certificate files and ledger; a line for each fault. Sends nothing."""
    from presence_manager.hosts.cli import config as command  # noqa: PLC0415

    finish(command.check)
