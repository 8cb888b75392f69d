"""What must hold after a death, and in the end; every breach as a sentence.

The numbers are those of the README's promises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from presence_manager.emulator.journal import Entry

from .story import FOUND
from .witness import State, Told

ENDS = {"cleared", "already_gone", "gone_after_retry", "never_set"}
"""Outcomes after which no session is left. None lapses within the seconds of a story."""


def after_death(state: State, live: Iterable[str]) -> Iterator[str]:
    """What is wrong with a ledger whose process was killed; `live` are users Graph shows."""
    if state.integrity != "ok":
        yield f"integrity: {state.integrity}"
    feared = {row.user for row in state.rows if row.known != "absent" or row.verb is not None}
    for user in live:
        if user not in feared and user not in FOUND:
            yield f"rule 1: Graph shows {user}, and the ledger has forgotten it"


class Case:
    """All that was seen of one case: ledgers of the dead, the diary, the journal, the end.

    No ledger of the dead was read where others were writing in it.
    """

    def __init__(
        self, deaths: Sequence[State], diary: Sequence[dict[str, Any]], journal: Sequence[Entry]
    ) -> None:
        self._deaths = deaths
        self._diary = diary
        self._lines: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in journal:
            self._lines[entry.user].append(entry)

    def breaches(self, end: State, live: Iterable[str], owners: Sequence[str]) -> Iterator[str]:
        """What is wrong in the end."""
        if end.integrity != "ok":
            yield f"integrity: {end.integrity}"
        for row in end.rows:
            yield f"rule 3: a row is left: {row}"
        if end.holds:
            yield f"{end.holds} holds without a session"
        for name in owners:
            yield f"the lock of a dead process is left: {name}"
        yield from self._left(end, live)
        yield from self._one_outcome(end)
        yield from self._told(end)
        by_user = defaultdict(list)
        for told in end.outcomes:
            by_user[told.user].append(told)
        for user, outcomes in by_user.items():
            yield from self._true(user, sorted(outcomes, key=lambda told: told.at))
        for user, lines in self._lines.items():
            yield from _remembered(user, lines, by_user[user])

    def _left(self, end: State, live: Iterable[str]) -> Iterator[str]:
        known = {row.user for state in self._deaths for row in state.rows}
        known |= {told.user for told in end.outcomes}
        for user in live:
            if user not in FOUND or user in known:
                told = [one for one in end.outcomes if one.user == user]
                yield f"rule 1: Graph still shows {user}\n{self._history(user, told)}"

    def _one_outcome(self, end: State) -> Iterator[str]:
        outcomes = {(told.sweep, told.user): told for told in end.outcomes}
        if len(outcomes) != len(end.outcomes):
            yield "rule 3: two outcomes of one session in one sweep"
        for told in end.outcomes:
            if not told.final:
                yield f"rule 3: not final in the end: {told}"
        for state in self._deaths:
            for row in state.rows:
                for sweep in filter(None, row.sweeps.split("\n")):
                    if (sweep, row.user) not in outcomes:
                        yield f"rule 3: no outcome of {row.user} in the sweep {sweep}"
            for told in state.outcomes:
                if told.final and outcomes.get((told.sweep, told.user)) != told:
                    now = outcomes.get((told.sweep, told.user))
                    yield f"rule 3: a final outcome was changed: {told}, now {now}"

    def _told(self, end: State) -> Iterator[str]:
        """Callers were told nothing that the ledger does not say."""
        outcomes = {(told.sweep, told.user): told.kind for told in end.outcomes}
        for line in self._diary:
            for user in line.get("users", ()):
                if (line["sweep"], user) not in outcomes:
                    yield f"rule 3: the sweep {line['sweep']} has no outcome of {user}"
            if "kind" in line and line["kind"] not in {"failed", "unfinished"}:
                kind = outcomes.get((line["sweep"], line["user"]))
                if kind != line["kind"]:
                    yield f"a caller was told {line}, the ledger says {kind}"

    def _true(self, user: str, outcomes: list[Told]) -> Iterator[str]:
        since = 0.0
        doubt = (
            not self._deaths
            or any(
                row.user == user and row.verb == "clear"
                for state in self._deaths
                for row in state.rows
            )
            or any(_doubtful(line) for line in self._lines[user])
        )
        for at, together in groupby(outcomes, key=lambda told: told.at):
            lines = [line for line in self._lines[user] if since < line.at <= at]
            for told in together:
                for why in _contradictions(told, lines, doubt):
                    yield f"rule 2: {told} {why}\n{self._history(user, outcomes)}"
                if told.kind in ENDS:
                    since = at

    def _history(self, user: str, outcomes: list[Told]) -> str:
        """All that is known of a user, for whoever has to find out."""
        asked = [
            (e.at, f"  {e.at:.4f} Graph: {e.verb} {e.availability} {e.status} "
             f"applied={e.applied} answered={e.answered} {e.fault or ''}")
            for e in self._lines[user]
        ]  # fmt: skip
        told = [(o.at, f"  {o.at:.4f} outcome: {o.kind} in {o.sweep[:8]}") for o in outcomes]
        rows = [
            f"  found dead: {r} {s.at:.4f}" for s in self._deaths for r in s.rows if r.user == user
        ]
        return "\n".join([*(text for _, text in sorted(asked + told)), *rows])


def _contradictions(told: Told, lines: list[Entry], doubt: bool) -> Iterator[str]:
    clears = [line for line in lines if line.verb == "clear"]
    answers = {line.status for line in clears if line.answered}
    if told.kind == "cleared" and 200 not in answers:
        yield "without a delivered 200"
    if told.kind in {"already_gone", "gone_after_retry"} and 404 not in answers:
        yield "without a delivered 404"
    if told.kind == "already_gone" and any(e.applied and e.status != 404 for e in clears):
        yield "though it may have been a clear of ours"
    if told.kind == "gone_after_retry" and not doubt:
        yield "without any doubt"
    if told.kind == "never_set" and any(e.verb == "set" and e.applied for e in lines):
        yield "though a set was applied"
    if told.kind == "lapsed":
        yield "though its time was not over"


def _doubtful(line: Entry) -> bool:
    """Whether it may explain a later 404: in an earlier window, too, for a set may come late."""
    return line.verb == "clear" and not (line.answered and line.status == 404)


def _remembered(user: str, lines: list[Entry], outcomes: list[Told]) -> Iterator[str]:
    """The last set that Graph took is followed by an outcome that says that it is gone."""
    last_set = max((e.at for e in lines if e.verb == "set" and e.applied), default=None)
    if last_set is None:
        return
    last = max((told for told in outcomes), key=lambda told: told.at, default=None)
    if last is None or last.at < last_set or last.kind not in ENDS:
        yield f"rule 1: {user} was set, and the last outcome is {last}"
