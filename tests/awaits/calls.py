"""Every public coroutine, with what goes before it and what must be true after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from presence_manager import HoldFailed, HoldRequest, Report
from presence_manager.core.key import Key
from tests.engine.virtual import user

from .stage import BUSY, LANE, Stage

Act = Callable[[Stage], Awaitable[Any]]


@dataclass(frozen=True)
class Call:
    """`prepare` goes before; `after` says what is wrong, given the result or None if cancelled."""

    name: str
    make: Act
    prepare: Act
    after: Callable[[Stage, Any], list[str]]
    opened: bool = True

    @property
    def variant(self) -> bool:
        """Whether the same coroutine is among the calls already."""
        return next(name for name in CALLS if _method(name) == _method(self.name)) != self.name


def _method(name: str) -> str:
    return name.replace(",", " ").replace("enter", "open").split()[0]


CALLS: dict[str, Call] = {}


def _call(
    name: str,
    prepare: Act,
    after: Callable[[Stage, Any], list[str]] = lambda stage, result: [],
    *,
    opened: bool = True,
) -> Callable[[Act], Act]:
    def add(make: Act) -> Act:
        CALLS[name] = Call(name, make, prepare, after, opened)
        return make

    return add


# -- before ---------------------------------------------------------------------------------


async def nothing(stage: Stage) -> None:
    pass


async def orphan(stage: Stage) -> None:
    await stage.orphans(1, 2)


async def held(stage: Stage) -> None:
    """Two users are held, one of them twice."""
    for number, key in ((1, "one"), (2, "two"), (2, "more")):
        hold = await stage.presence.hold(user(number), "Busy", key=key)
        stage.kept[key] = hold


async def on_its_way(stage: Stage) -> None:
    stage.kept["one"] = await stage.presence.hold(user(1), "Busy", key="one", wait=False)


async def elsewhere(stage: Stage) -> None:
    """Another process holds a user, too."""
    await held(stage)
    stage.graph.sessions[Key(LANE, user(3))] = BUSY
    await stage.presence.track(user(3), key="tracked")


# -- after ----------------------------------------------------------------------------------


def holds(number: int, *names: str, cancelled: tuple[str, ...] = ()) -> Callable[..., list[str]]:
    """These holds are there when it returned, and those when it was cancelled."""

    def check(stage: Stage, result: Any) -> list[str]:
        failed = isinstance(result, list) and isinstance(result[0], HoldFailed)
        wanted = set(cancelled if result is None or failed else names)
        there = stage.wishes(number)
        return [] if there == wanted else [f"user {number}: {there} held, not {wanted}"]

    return check


def both(*checks: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda stage, result: [each for check in checks for each in check(stage, result)]


def reported(stage: Stage, result: Any) -> list[str]:
    """The report counts what the ledger has, an outcome for each session."""
    if not isinstance(result, Report) or not result.complete:
        return []
    kinds = [str(outcome.kind) for outcome in stage.outcomes(result.sweep_id)]
    if result.unrecorded:  # those the ledger learned of later, as clears whose answer was lost
        return [] if len(kinds) <= result.total else [f"{kinds}, but {result}"]
    late = sum(n for kind, n in result.counts.items() if kind == "unfinished")
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    if late or counts == result.counts:
        return [] if len(kinds) <= result.total else [f"{kinds}, but {result}"]
    return [f"{counts} in the ledger, {result.counts} in the report"]


# -- the calls ------------------------------------------------------------------------------


@_call("open", orphan, opened=False)
async def _open(stage: Stage) -> Any:
    await stage.presence.open()
    return stage.presence


@_call("enter", orphan, opened=False)
async def _enter(stage: Stage) -> Any:
    return await stage.presence.__aenter__()


@_call("recovered", orphan, reported)
async def _recovered(stage: Stage) -> Any:
    return await stage.presence.recovered()


@_call("close", elsewhere)
async def _close(stage: Stage) -> Any:
    return await stage.presence.close(deadline=5.0)


@_call("close, a hold on its way", on_its_way)
async def _close_on_its_way(stage: Stage) -> Any:
    return await stage.presence.close(deadline=5.0)


@_call("close without a sweep", held)
async def _close_without(stage: Stage) -> Any:
    await stage.presence.close(sweep=False)
    return stage.presence


@_call("hold", nothing, holds(1, "one"))
async def _hold(stage: Stage) -> Any:
    return await stage.presence.hold(user(1), "Busy", key="one", timeout=5.0)


@_call(
    "hold again", held, both(holds(1, "one"), holds(2, "two", "more", cancelled=("two", "more")))
)
async def _hold_again(stage: Stage) -> Any:
    return await stage.presence.hold(user(1), "Away", key="one", timeout=5.0)


@_call("hold, one more", held, holds(1, "one", "other", cancelled=("one",)))
async def _hold_more(stage: Stage) -> Any:
    return await stage.presence.hold(user(1), "Away", key="other", timeout=5.0)


@_call("hold, not waiting", nothing, holds(1, "one"))
async def _hold_at_once(stage: Stage) -> Any:
    return await stage.presence.hold(user(1), "Busy", key="one", wait=False)


@_call("hold_many", held, both(holds(3, "three"), holds(4, "four")))
async def _hold_many(stage: Stage) -> Any:
    return await stage.presence.hold_many(
        [
            HoldRequest(user(3), "Busy", key="three", timeout=5.0),
            HoldRequest("nobody", "Busy"),
            HoldRequest(user(4), "Away", key="four", timeout=7.0),
        ]
    )


@_call("holding", nothing, holds(1))
async def _holding(stage: Stage) -> Any:
    async with stage.presence.holding(user(1), "Busy", key="one", timeout=5.0):
        await stage.steps.step("block")
    return stage.presence


@_call(
    "track", nothing, lambda stage, result: [] if result is None else holds(1, "t")(stage, result)
)
async def _track(stage: Stage) -> Any:
    stage.graph.sessions[Key(LANE, user(1))] = BUSY
    await stage.presence.track(user(1), key="t")
    return stage.presence


@_call("release by name", held, holds(1))
async def _release(stage: Stage) -> Any:
    return await stage.presence.release(user(1), key="one")


@_call("release of another", elsewhere, holds(3))
async def _release_tracked(stage: Stage) -> Any:
    return await stage.presence.release(user(3), key="tracked")


@_call("Hold.release", held, holds(1))
async def _hold_release(stage: Stage) -> Any:
    return await stage.kept["one"].release()


@_call("Hold.release of the newer", held, holds(2, "two", cancelled=("two",)))
async def _hold_release_newer(stage: Stage) -> Any:
    return await stage.kept["more"].release()


@_call("Hold.shown", on_its_way, holds(1, "one", cancelled=("one",)))
async def _shown(stage: Stage) -> Any:
    return await stage.kept["one"].shown()


@_call("clear", held, holds(2))
async def _clear(stage: Stage) -> Any:
    return await stage.presence.clear(user(2), deadline=5.0)


@_call("clear, unknown", nothing)
async def _clear_unknown(stage: Stage) -> Any:
    return await stage.presence.clear(user(9), deadline=5.0)


@_call("sweep of users", held, reported)
async def _sweep_users(stage: Stage) -> Any:
    return await stage.presence.sweep([user(1), user(2), user(9)], deadline=5.0)


@_call("sweep of everyone", elsewhere, reported)
async def _sweep_everyone(stage: Stage) -> Any:
    return await stage.presence.sweep(everyone=True, deadline=5.0)


@_call("sweep of our own", held, reported)
async def _sweep_own(stage: Stage) -> Any:
    return await stage.presence.sweep(deadline=5.0)


@_call("sweep, leaving", held, reported)
async def _sweep_leaving(stage: Stage) -> Any:
    return await stage.presence.sweep(leaving=True, deadline=5.0)


@_call("sessions", held)
async def _sessions(stage: Stage) -> Any:
    return [row async for row in stage.presence.sessions()]


@_call("outcomes", held)
async def _outcomes(stage: Stage) -> Any:
    return [outcome async for outcome in stage.presence.outcomes()]


PAGES: dict[str, Act] = {
    "tenants": lambda stage: stage.presence.pages.tenants(),
    "sessions": lambda stage: stage.presence.pages.sessions(),
    "sessions of a user": lambda stage: stage.presence.pages.sessions(user=user(1)),
    "search": lambda stage: stage.presence.pages.search("5e"),
    "tally": lambda stage: stage.presence.pages.tally(0.0),
    "history": lambda stage: stage.presence.pages.history(0.0, 3600.0),
    "outcomes": lambda stage: stage.presence.pages.outcomes(),
}


@_call("pages", held)
async def _pages(stage: Stage) -> Any:
    return await asyncio.gather(*(read(stage) for read in PAGES.values()))
