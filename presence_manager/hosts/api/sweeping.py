"""Sweeps over HTTP: begin one, look at it, watch it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, Field, model_validator
from typing_extensions import TypedDict

from presence_manager.core.key import guid
from presence_manager.errors import PresenceError
from presence_manager.hosts.api import problems
from presence_manager.hosts.api.call import Body, Call, answer
from presence_manager.hosts.api.problems import Problem, problem_of
from presence_manager.hosts.api.stream import Stream
from presence_manager.hosts.api.sweeps import RunningSweep
from presence_manager.hosts.shapes import ReportShape, of_outcome, of_report

MOST_USERS = 100_000
LARGEST_SWEEP = 8 * 1024 * 1024
"""Bytes of the body that names so many users."""
BREATH = 0.1
"""Seconds between two events, at least."""
SIGN_OF_LIFE = 15.0
"""Seconds without an event after which a comment is sent: is anybody there?"""

UserId = Annotated[str, AfterValidator(lambda text: guid(text, "user"))]
TenantId = Annotated[str, AfterValidator(lambda text: guid(text, "tenant"))]


class UserOf(Body):
    """A user of a tenant."""

    tenant: TenantId
    user: UserId


class SweepBody(Body):
    """Whom to clear: these users, everyone that the ledger knows, or what this daemon holds."""

    users: list[UserId | UserOf] | None = Field(default=None, min_length=1, max_length=MOST_USERS)
    tenant: TenantId | None = Field(
        default=None, description="only this tenant; also that of users that come without"
    )
    everyone: bool = Field(default=False, description="the sessions of every process of the ledger")
    deadline: float | None = Field(
        default=None, gt=0, le=86_400, description="seconds after which the sweep ends"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> SweepBody:
        if self.everyone and self.users is not None:
            raise ValueError("users and everyone: give one of them")
        return self


class ProgressShape(TypedDict):
    """A sweep as it runs."""

    taken: int
    done: int
    counts: dict[str, int]
    seconds: float
    all_taken: bool


class SweepShape(TypedDict):
    """A sweep.

    `state` is running, ended (with its report), failed (with the problem), or recorded: this daemon
    did not run it, or has forgotten it, and the report is read from the ledger.
    """

    id: str
    state: Literal["running", "ended", "failed", "recorded"]
    deadline: float | None
    progress: ProgressShape | None
    report: ReportShape | None
    problem: dict[str, Any] | None


class SweepList(TypedDict):
    """The sweeps that this daemon was asked for and remembers, the newest first."""

    sweeps: list[SweepShape]


async def begin_sweep(call: Call[SweepBody, None]) -> web.StreamResponse:
    """Begin a sweep, and say where to look at it."""
    body = call.body
    if call.service.closing:
        raise Problem(problems.CLOSING, "it clears what it holds already, and ends")
    users: list[str | tuple[str, str]] | None = None
    if body.users is not None:
        users = [each if isinstance(each, str) else (each.tenant, each.user) for each in body.users]
        some = next((each for each in users if isinstance(each, str)), None)
        if some is not None and not (body.tenant or call.service.presence.settings.tenant_id):
            raise Problem(problems.INVALID_HOLD, "tenant: give it, for there is no default")
    sweep = call.service.sweeps.begin(
        users, tenant=body.tenant, everyone=body.everyone, deadline=body.deadline
    )
    return answer(_shape(sweep), 202, {"Location": f"/v1/sweeps/{sweep.id}"})


async def list_sweeps(call: Call[None, None]) -> web.StreamResponse:
    """Say which sweeps run, or have run of late."""
    found: SweepList = {"sweeps": [_shape(sweep) for sweep in call.service.sweeps.all()]}
    return answer(found)


async def get_sweep(call: Call[None, None]) -> web.StreamResponse:
    """Say how far a sweep is, or how it went."""
    sweep = call.service.sweeps.get(call.name("sweep"))
    return answer(_shape(sweep) if sweep is not None else await _recorded(call))


async def sweep_events(call: Call[None, None]) -> web.StreamResponse:
    """Tell of a sweep as it goes; a client that goes away costs nothing."""
    sweep = call.service.sweeps.get(call.name("sweep"))
    past = await _recorded(call) if sweep is None else None
    async with Stream(call.request, "text/event-stream") as stream:
        while sweep is not None and sweep.running:
            if sweep.progress is not None:
                await stream.write(_event("progress", _shape(sweep)["progress"]))
                await asyncio.sleep(BREATH)
            try:
                async with asyncio.timeout(SIGN_OF_LIFE):
                    await sweep.moved()
            except TimeoutError:
                await stream.write(b":\n\n")
        last = past if sweep is None else _shape(sweep)
        assert last is not None
        if last["progress"] is not None:
            await stream.write(_event("progress", last["progress"]))
        kind = "report" if last["report"] is not None else "problem"
        await stream.write(_event(kind, last["report"] or last["problem"]))
    return stream.response


def _event(kind: str, data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _shape(sweep: RunningSweep) -> SweepShape:
    progress = sweep.progress
    problem = None
    if not sweep.running and sweep.report is None:
        problem = _problem(sweep.error).body()
    return {
        "id": sweep.id,
        "state": "running" if sweep.running else "ended" if sweep.report is not None else "failed",
        "deadline": sweep.deadline,
        "progress": None
        if progress is None
        else {
            "taken": progress.taken,
            "done": progress.done,
            "counts": progress.counts,
            "seconds": round(progress.seconds, 3),
            "all_taken": progress.all_taken,
        },
        "report": None if sweep.report is None else of_report(sweep.report),
        "problem": problem,
    }


def _problem(error: PresenceError | None) -> Problem:
    if error is None:
        return Problem(problems.INTERNAL, "the daemon's log says more")
    return problem_of(error)


async def _recorded(call: Call[None, None]) -> SweepShape:
    sweep_id = call.name("sweep")
    found = await call.service.sweeps.recorded(sweep_id)
    if found is None:
        raise Problem(problems.NOT_FOUND, "neither this daemon nor the ledger knows this sweep")
    counts, unfinal = found
    return {
        "id": sweep_id,
        "state": "recorded",
        "deadline": None,
        "progress": None,
        "report": {
            "sweep_id": sweep_id,
            "ok": not unfinal,
            "complete": True,
            "seconds": 0.0,
            "requests": 0,
            "refused": 0,
            "counts": dict(counts),
            "problems": [of_outcome(outcome) for outcome in unfinal],
            "unrecorded": 0,
            "note": "read from the ledger, which has the outcomes alone",
        },
        "problem": None,
    }
