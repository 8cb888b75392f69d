"""`presence-manager config`: the settings as they are in force, and whether they can work."""

from __future__ import annotations

import asyncio
import json as codec
from collections.abc import Callable, Iterator
from dataclasses import asdict

from presence_manager.core.key import guid
from presence_manager.errors import PresenceError
from presence_manager.hosts.cli.opening import file_of, ledger_of
from presence_manager.hosts.cli.output import console, table
from presence_manager.hosts.cli.running import Status, fail, while_read
from presence_manager.settings import Settings


def show(*, json: bool) -> int:
    """Print every setting with its value and where that came from; secrets are masked."""
    described = Settings().describe()

    with while_read():
        if json:
            print(codec.dumps({"settings": [asdict(setting) for setting in described]}, indent=1))
            return Status.DONE
        lines = table("setting", "value", "from")
        for setting in described:
            value = str(setting.value).lower() if isinstance(setting.value, bool) else setting.value
            lines.add_row(setting.name, str(value), setting.source or "default")
        console().print(lines)
    return Status.DONE


def check() -> int:
    """Say what is wrong with the settings, a line for each fault; nothing is sent."""
    found = Settings()  # raises SettingsError with a line for each fault
    wrong = [*faults(found), *_ledger(found)]
    for text in wrong:
        fail(text)
    if wrong:
        return Status.WRONG
    ledger = file_of(ledger_of(found))
    with while_read():
        print(f"the settings can work; nothing was sent. The ledger is {ledger or 'in memory'}.")
    return Status.DONE


def faults(found: Settings) -> list[str]:
    """What cannot work, a line for each fault; nothing is sent, and the ledger is not opened."""
    return [text for look in (_ids, _network, _sign_in) for text in look(found)]


def _ids(found: Settings) -> Iterator[str]:
    if not found.client_id:
        yield "client_id is not set: give PRESENCE_CLIENT_ID, the application's id"
    for name, what in (("client_id", "client"), ("tenant_id", "tenant")):
        text = getattr(found, name)
        try:
            if text:
                guid(text, what)
        except ValueError as error:
            yield f"{name}: {error}"


def _network(found: Settings) -> Iterator[str]:
    from presence_manager.graph.connections import proxy_for, tls_context  # noqa: PLC0415 - slow

    yield from _complaint(lambda: tls_context(found.graph.ca_file))
    yield from _complaint(lambda: proxy_for(found.graph.base_url))


def _sign_in(found: Settings) -> Iterator[str]:
    from presence_manager.graph.tokens import tokens_for  # noqa: PLC0415 - slow

    if found.client_id:  # else that has been said
        yield from _complaint(lambda: tokens_for(found))


def _ledger(found: Settings) -> Iterator[str]:
    async def opens() -> None:
        ledger = ledger_of(found)
        await ledger.open()
        await ledger.close()

    yield from _complaint(lambda: asyncio.run(opens()))


def _complaint(look: Callable[[], object]) -> Iterator[str]:
    try:
        look()
    except PresenceError as error:
        yield str(error)
