"""From what callers call a user to the key of a session."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import datetime
from itertools import islice
from math import inf
from typing import Any

from presence_manager.core.key import Key, LaneId, guid, is_folded
from presence_manager.core.session import Session, blank
from presence_manager.engine.sources import CHUNK
from presence_manager.errors import InvalidHold, SettingsError
from presence_manager.ports import Scope
from presence_manager.settings import Settings

_made: Any = tuple.__new__

User = str | tuple[str, str]
"""A user's id, or (tenant's id, user's id)."""
Users = Iterable[User] | AsyncIterable[User]


class Ids:
    """Checks ids once, at the door, and folds them to one spelling.

    Raises SettingsError when the settings name no application, or hold what is not an id.
    """

    def __init__(self, settings: Settings) -> None:
        self.origin = settings.graph.base_url
        self.app = _setting(settings.client_id, "client", "client_id")
        self.default_tenant = (
            _setting(settings.tenant_id, "tenant", "tenant_id") if settings.tenant_id else ""
        )

    def key(self, user: str, tenant: str | None) -> Key:
        """The session of this user; raise InvalidHold, before anything is written or sent."""
        where = self.default_tenant if tenant is None else checked(tenant, "tenant")
        if not where:
            raise InvalidHold(
                "no tenant: give tenant=, or set tenant_id (PRESENCE_TENANT_ID) as the default"
            )
        return Key(LaneId(self.origin, self.app, where), checked(user, "user"))

    def scope(self, *, tenant: str | None = None, owner: str | None = None) -> Scope:
        """Which rows of the ledger; raise InvalidHold for a malformed tenant."""
        narrow = checked(tenant, "tenant") if tenant else None
        return Scope(origin=self.origin, app=self.app, tenant=narrow, owner=owner)

    async def chunks(self, users: Users, tenant: str | None) -> AsyncIterator[list[Session]]:
        """The users as rows that the ledger need not know, a chunk at a time, each once in it.

        They are sorted: what stands side by side in the ledger is written in half the time.
        """
        async for some in _some(users):
            named = self._named(some, tenant)
            yield [
                blank(_made(Key, (lane, name)))
                for lane in sorted(named)
                for name in sorted(named[lane])
            ]

    def _named(self, users: list[User], tenant: str | None) -> dict[LaneId, set[str]]:
        lanes: dict[str | None, set[str]] = {}
        named: dict[LaneId, set[str]] = {}
        for user in users:
            name, where = (user, tenant) if isinstance(user, str) else (user[1], user[0])
            names = lanes.get(where)
            if names is None:
                names = lanes[where] = named.setdefault(self.key(name, where).lane, set())
            names.add(name if is_folded(name) else checked(name, "user"))
        return named


def checked(text: str, what: str) -> str:
    """The id in its one spelling; raise InvalidHold for anything but a GUID."""
    try:
        return guid(text, what)
    except (ValueError, TypeError) as error:
        raise InvalidHold(str(error)) from None


def instant(at: datetime | float) -> float:
    """Seconds since the epoch; raise InvalidHold for a naive datetime, or for nonsense."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise InvalidHold("a datetime needs its time zone, for example datetime.now(UTC)")
        return at.timestamp()
    try:
        seconds = float(at)
    except (TypeError, ValueError):
        seconds = inf
    if not -inf < seconds < inf:
        raise InvalidHold(f"{at!r} is not an instant: give a datetime, or seconds since the epoch")
    return seconds


async def _some(users: Users) -> AsyncIterator[list[User]]:
    if isinstance(users, str):
        raise InvalidHold("users= takes several ids; for one user there is clear()")
    if isinstance(users, AsyncIterable):
        some: list[User] = []
        async for user in users:
            some.append(user)
            if len(some) == CHUNK:
                yield some
                some = []
        if some:
            yield some
    else:
        each = iter(users)
        while some := list(islice(each, CHUNK)):
            yield some


def _setting(text: str, what: str, name: str) -> str:
    if not text:
        raise SettingsError(
            f"{name} is not set: give Settings({name}=...) or set PRESENCE_{name.upper()}"
        )
    try:
        return guid(text, what)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
