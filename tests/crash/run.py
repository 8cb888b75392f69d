"""Runs cases: emulators here, children from the nursery, and the truth afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from presence_manager.emulator import Emulator, Fault
from presence_manager.emulator.journal import Entry

from . import truth, witness
from .plan import HALF_WAY, MIGRATION, RANDOM, Case, Death, Survey
from .story import APP, END, FOUND, Clock

ROOT = Path(__file__).parents[2]
LATENCY = 0.004
"""Seconds between Graph's deed and its answer: long enough to die in between."""
FOUL = (
    Fault(verb="clear", effect="missing", probability=0.08, applied=True),
    Fault(verb="clear", effect="missing", probability=0.05),
    Fault(verb="clear", status=503, probability=0.08, applied=True),
    Fault(verb="set", status=503, probability=0.08, applied=True),
    Fault(verb="set", effect="late", seconds=0.03, probability=0.08),
    Fault(verb="clear", effect="late", seconds=0.03, probability=0.05),
    Fault(verb="batch", effect="reset", probability=0.04, applied=True),
)


@dataclass
class Result:
    """What came of a case; `breaches` are empty if all is well."""

    case: Case
    kills: int = 0
    breaches: list[str] = field(default_factory=list)
    log: str = ""

    def count(self, role: str, answer: dict[str, Any]) -> None:
        """Count a child's end; it is a bad one unless the child was to be killed."""
        if answer["hung"]:
            self.breaches.append(f"{role}: hung")
        elif answer["killed"] and answer["mortal"]:
            self.kills += 1
        elif answer["status"]:
            self.breaches.append(f"{role}: ended with status {answer['status']}")

    def __str__(self) -> str:
        return "\n".join([self.case.command(), *self.breaches, self.log])


class Stage:
    """Two emulators, in fair weather and foul, and the nursery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = Clock(time.time() - time.monotonic())
        self._stack = AsyncExitStack()
        self._graphs: dict[bool, Emulator] = {}
        self._number = 0
        self._read: Counter[bool] = Counter()
        self._lines: defaultdict[str, list[Entry]] = defaultdict(list)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        for foul in (False, True):
            self._graphs[foul] = await self._stack.enter_async_context(
                Emulator(limit=10_000_000, latency=LATENCY, seed=7, clock=self._clock.now)
            )
        for fault in FOUL:
            self._graphs[True].add_fault(fault)
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-m", "tests.crash.nursery",
            stdin=PIPE, stdout=PIPE, cwd=ROOT,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._nursery))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        await self._nursery.wait()
        await self._listening
        await self._stack.aclose()

    async def _listen(self, nursery: Process) -> None:
        assert nursery.stdout is not None
        while line := await nursery.stdout.readline():
            answer = json.loads(line)
            self._waiting.pop(answer["number"]).set_result(answer)
        for future in self._waiting.values():
            future.set_exception(RuntimeError("the nursery has ended"))

    # -- one child, one case ----------------------------------------------------------------

    async def _child(self, case: Case, folder: Path, role: str, death: Death | None) -> Any:
        """Have a child live until it ends; return what became of it."""
        graph = self._graphs[case.foul]
        self._number += 1
        number = self._number
        random = death is not None and death.point == RANDOM
        order = {
            "number": number,
            "role": role,
            "folder": str(folder),
            "url": graph.graph_url,
            "token": graph.token(case.tenant, APP),
            "tenant": case.tenant,
            "story": case.story,
            "broken": case.broken,
            "epoch": self._clock.epoch,
            "point": None if death is None or random else death.point,
            "at": 0 if death is None or random else int(death.at),
            "after": death.at if death is not None and random else None,
        }
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(json.dumps(order).encode() + b"\n")
        await self._nursery.stdin.drain()
        return await future | {"mortal": death is not None}

    async def run(self, case: Case) -> Result:
        """Run a case; its folder is kept if it ends badly."""
        result = Result(case)
        folder = self._new_folder()
        graph = self._graphs[case.foul]
        for name in FOUND:
            graph.put_session(case.tenant, APP, name)
        begun = len(self._journal(case))
        if case.sibling:
            deaths = []
            await self._die_beside(case, folder, result)
        else:
            deaths = await self._die(case, folder, result)
        seen = truth.Case(deaths, _diary(folder), self._journal(case)[begun:])
        locks = folder / f"{witness.LEDGER}.owners"
        names = sorted(lock.name for lock in locks.iterdir()) if locks.exists() else []
        result.breaches += seen.breaches(witness.read(folder), self._live(case), names)
        if result.breaches:
            result.log = f"{folder}:\n" + (folder / "log").read_text()[-6000:]
        else:
            shutil.rmtree(folder)
        for name in FOUND:  # a case that is run again starts anew
            graph.drop_session(case.tenant, APP, name)
        return result

    async def _die(self, case: Case, folder: Path, result: Result) -> list[witness.State]:
        """One death after the other, and the rescue; return the ledgers of the dead."""
        deaths: list[witness.State] = []
        for number, death in enumerate(case.deaths):
            if number and case.older:
                witness.make_older(folder)
            answer = await self._child(case, folder, death.role, death)
            result.count(death.role, answer)
            state = witness.read(folder)
            result.breaches += truth.after_death(state, self._live(case))
            deaths.append(state)
        rescues = [self._child(case, folder, "recover", None) for _ in range(case.rescuers)]
        for answer in await asyncio.gather(*rescues):
            result.count("recover", answer)
        return deaths

    async def _die_beside(self, case: Case, folder: Path, result: Result) -> None:
        """A death beside another process, which sees to what is left; a recovery for the rest."""
        watching = asyncio.ensure_future(self._child(case, folder, "watch", None))
        answer = await self._child(case, folder, "live", case.deaths[0])
        result.count("live", answer)
        (folder / "its-end").write_text("killed" if answer["killed"] else "closed")
        (folder / "its-end").rename(folder / END)
        result.count("watch", await watching)
        result.count("recover", await self._child(case, folder, "recover", None))

    async def survey(self, story: int) -> Survey:
        """Count what a story passes: alive to the end, in a recovery, and in one that migrates."""
        case = Case(story, ())
        folder = self._new_folder()
        lived, seconds = await self._passages(case, folder, "live")
        counts = []
        for older in (False, True):
            dead = Case(story, (HALF_WAY,), older=older)
            place = self._new_folder()
            await self._child(dead, place, "live", dead.deaths[0])
            if older:
                witness.make_older(place)
            counts.append(await self._passages(dead, place, "recover"))
        (recovered, recovery_seconds), (migrated, _) = counts
        for point in list(migrated):  # the other points are those of any recovery
            if not point.startswith(MIGRATION):
                del migrated[point]
        return Survey(story, lived, recovered, migrated, seconds, recovery_seconds)

    async def _passages(self, case: Case, folder: Path, role: str) -> tuple[Counter[str], float]:
        for name in FOUND:
            self._graphs[case.foul].put_session(case.tenant, APP, name)
        answer = await self._child(case, folder, role, None)
        if answer["status"]:
            raise RuntimeError(f"nobody was killed: {(folder / 'log').read_text()[-6000:]}")
        return Counter(json.loads((folder / "passages").read_text())), answer["seconds"]

    def _new_folder(self) -> Path:
        self._number += 1
        folder = self._folder / f"case-{self._number}"
        folder.mkdir()
        return folder

    def _live(self, case: Case) -> list[str]:
        return [s.user for s in self._graphs[case.foul].sessions() if s.tenant == case.tenant]

    def _journal(self, case: Case) -> list[Entry]:
        """The journal's lines of this case's tenant; each line is looked at once."""
        lines = self._graphs[case.foul].journal
        for line in lines[self._read[case.foul] :]:
            self._lines[line.tenant].append(line)
        self._read[case.foul] = len(lines)
        return self._lines[case.tenant]


def _diary(folder: Path) -> list[dict[str, Any]]:
    file = folder / "diary"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
