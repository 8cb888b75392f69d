"""`presence-manager login` and `logout`: the sign-in of a user, for that user's own presence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from presence_manager.errors import SignInError
from presence_manager.hosts.cli.opening import settings
from presence_manager.hosts.cli.running import Status, Stop, Wrong, fail, say, serve, while_read

if TYPE_CHECKING:
    from presence_manager.graph.tokens_delegated import Code, DelegatedTokens


def login() -> int:
    """Show a code, wait until somebody has signed in with it, and keep that sign-in."""

    async def work(stop: Stop) -> int:
        tokens = _tokens()
        task = asyncio.create_task(tokens.login(_show))
        try:
            if await stop.comes_before(task):
                say("interrupted: nobody is signed in by this")
                return Status.INTERRUPTED
            account = task.result()
        except SignInError as error:
            fail(str(error))
            return Status.NO_SIGN_IN
        finally:
            task.cancel()
            await tokens.close()
        with while_read():
            print(f"signed in as {account.name or 'a user'}, user id {account.user or 'unknown'}")
        return Status.DONE

    return serve(work)


def logout() -> int:
    """Forget the sign-in of this machine."""

    async def work(_: Stop) -> int:
        tokens = _tokens()
        try:
            many = await tokens.logout()
        except SignInError as error:
            fail(str(error))
            return Status.NO_SIGN_IN
        finally:
            await tokens.close()
        with while_read():
            print("signed out on this machine" if many else "nobody was signed in")
        return Status.DONE

    return serve(work)


def _tokens() -> DelegatedTokens:
    from presence_manager.graph.tokens_delegated import DelegatedTokens  # noqa: PLC0415 - slow

    found = settings()
    if found.delegated is None:
        raise Wrong(
            "delegated is not set: set PRESENCE_DELEGATED to keyring, or to file where the system "
            "has no keyring; a user's sign-in reaches that user's own presence only"
        )
    return DelegatedTokens(found)


def _show(code: Code) -> None:
    minutes = max(round(code.seconds / 60), 1)
    say(f"Open {code.page} in a browser and enter the code {code.code} within {minutes} minutes.")
