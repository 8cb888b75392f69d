"""The command `presence-manager`. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"typer", "rich", "click"})


def main() -> None:
    """Run the command line; ends the process with the status of the command."""
    try:
        from presence_manager.hosts.cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        text = "the command line needs two more packages: pip install 'presence-manager[cli]'"
        print(f"presence-manager: {text}", file=sys.stderr)
        sys.exit(2)
    app(prog_name="presence-manager")
