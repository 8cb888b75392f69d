"""Sets, reads back and clears one user, as any hold is: what is sent is in the ledger first.

A crash in between leaves an owner that died, whose hold the next start clears; and the lease is
the shortest that Graph takes.
"""

from __future__ import annotations

import json
import re
from uuid import uuid4

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import SHORTEST_LEASE, Pair
from presence_manager.errors import HoldRefused, PresenceError, SignInError
from presence_manager.hosts.doctor.door import Unreached, look
from presence_manager.hosts.doctor.finding import Finding, fail, ok, skipped, warn
from presence_manager.manager import PresenceManager
from presence_manager.manager.hold import Hold
from presence_manager.ports import Ledger, Tokens
from presence_manager.settings import GraphSettings

_WORD = re.compile(r"[A-Za-z]{1,40}", re.ASCII)
_LARGEST = 65_536
"""Bytes of an answer that are read."""
_DO = {
    404: "check the id: the user's object id in Entra, of that tenant, with a licence for Teams",
    403: "grant the application permission Presence.ReadWrite.All, with consent in that tenant",
    401: "grant the application permission Presence.ReadWrite.All, with consent in that tenant",
}
_PREFERRED = (
    "if it stays so: a presence that the user has chosen by hand (preferred presence) hides every "
    "session, and so does one that ranks higher; the user resets it in Teams with 'Reset status'"
)


async def untouched(ledger: Ledger, key: Key) -> Finding | None:
    """Leave alone whom somebody holds already; None when nobody does."""
    row = (await ledger.get([key]))[0]
    if row.version == 0:
        return None
    says = f"user {key.user} has a session in the ledger already: not touched"
    return skipped("set", says, "name a user that nobody holds, such as yourself")


async def show(presence: PresenceManager, key: Key, pair: Pair) -> tuple[Finding, Hold | None]:
    """Set the user's presence, for five minutes at most."""
    try:
        hold = await presence.hold(
            key.user,
            *pair,
            tenant=key.lane.tenant,
            lease=SHORTEST_LEASE,
            key=f"doctor-{uuid4().hex}",
        )
    except HoldRefused as error:
        do = _DO.get(error.status or 0, "see the other lines; then try again")
        return fail("set", str(error), do), None
    except PresenceError as error:
        return fail("set", str(error), "see the lines of graph and ledger; then try again"), None
    return ok("set", f"Graph took {pair} for user {key.user}"), hold


async def read_back(tokens: Tokens, key: Key, pair: Pair, how: GraphSettings) -> Finding:
    """Ask what others see; that needs a permission to read, which nothing else needs."""
    url = f"{how.base_url}/{how.version}/users/{key.user}/presence"
    try:
        token = await tokens.token(key.lane.tenant)
        answer = await look(url, how, token=token.secret, most=_LARGEST)
    except (SignInError, Unreached) as error:
        return skipped("read-back", f"not read: {error}")
    if answer.status in (401, 403):
        says = f"Graph lets us not read it (HTTP {answer.status}); setting needs no such right"
        return skipped("read-back", says, "grant Presence.Read.All to have this looked at")
    if answer.status != 200:
        return skipped("read-back", f"not read: Graph answered HTTP {answer.status}")
    seen = _pair(answer.body)
    if seen is None:
        return skipped("read-back", "not read: the answer is not a presence in JSON")
    if seen == pair:
        return ok("read-back", f"Graph shows {seen}")
    return warn("read-back", f"Graph took {pair}, and shows {seen}", _PREFERRED)


async def cleared(hold: Hold) -> Finding:
    """Release the user again."""
    try:
        outcome = await hold.release()
    except PresenceError as error:
        return fail("clear", str(error), "`presence-manager recover` clears it")
    if outcome.kind is Kind.SUPERSEDED:
        return ok("clear", "somebody else holds the user meanwhile: left as it is")
    if outcome.kind.final:
        return ok("clear", f"the user is released ({outcome.kind})")
    return fail(
        "clear",
        f"not known to be gone ({outcome.kind}): {outcome.message or outcome.reason}",
        "Graph ends it within five minutes; `presence-manager recover` tries again",
    )


def key_of(user: str, tenant: str, origin: str, app: str) -> Key:
    """The session that is tried."""
    return Key(LaneId(origin, app, tenant), user)


def _pair(body: bytes) -> Pair | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    words = (document.get("availability"), document.get("activity"))
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
        return None
    return Pair(*map(str, words))
