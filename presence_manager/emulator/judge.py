"""One operation, judged: throttled, spoiled, refused or done, and written into the journal."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from typing import NamedTuple

from .answers import DONE, FORBIDDEN, NO_SESSION, NO_USER, Answer, refusal, throttled
from .faults import Fault, Faults
from .identity import Identity
from .journal import Entry, Journal
from .operations import Operation, parse
from .routes import Target, Verb, route
from .rules import UNKNOWN, Preferred, Presences, Session
from .throttle import RetryAfterStyle, Throttle, spell

WRITER = "Presence.ReadWrite.All"
READER = "Presence.Read.All"
_NOWHERE = Target(Verb.UNKNOWN)


class Judged(NamedTuple):
    """What became of one operation."""

    answer: Answer
    entry: Entry
    fault: Fault | None = None


class Asked(NamedTuple):
    """One operation as it arrived, alone or as an item; ``path`` is relative to the version."""

    who: Identity
    method: str
    path: str
    body: object
    request_id: str
    in_batch: bool = False


class Judge:
    """Holds the state of the world and changes it one operation at a time.

    ``now()`` is read once for each request. Operations that were to be applied late are applied
    then, each at its own instant, so that the journal is always in true order.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        throttle: Throttle,
        faults: Faults,
        journal: Journal,
        users: Collection[str] | None,
        retry_after: RetryAfterStyle,
    ) -> None:
        self.presences = Presences()
        self.journal = journal
        self.faults = faults
        self.throttle = throttle
        self._clock = clock
        self._users = None if users is None else frozenset(user.lower() for user in users)
        self._retry_after = retry_after
        self._late: list[tuple[float, int, Asked, Target, Entry]] = []
        self._order = 0

    def now(self) -> float:
        """Return the time, having applied whatever was due by it."""
        now = self._clock()
        while self._late and self._late[0][0] <= now:
            due, _, asked, target, first = heapq.heappop(self._late)
            applied = self._perform(asked.who, target, asked.body, due).ok
            late = _entry(due, asked, target, None, applied, first.fault)
            late.late = True
            self.journal.add(late)
        return now

    def judge(self, asked: Asked, now: float, fault: Fault | None = None) -> Judged:
        """Judge one operation; ``fault`` strikes it for certain.

        The throttle comes first and counts everything; what it refuses, nothing else looks at.
        """
        who = asked.who
        target = route(asked.method, asked.path)
        known = target if isinstance(target, Target) else _NOWHERE
        wait = self.throttle.take(who.app, who.tenant, now)
        if wait:
            answer = throttled(spell(wait, now, self._retry_after))
            return self._note(answer, _entry(now, asked, known, 429, False, None))
        if fault is None and self.faults:
            users = (known.user,)
            fault = self.faults.pick(known.verb, who.tenant, users, in_batch=asked.in_batch)
        if fault is not None:
            return self._spoil(fault, asked, target, now)
        answer = self._answer(asked, target, now)
        return self._note(answer, _entry(now, asked, known, answer.status, answer.ok, None))

    def pass_over(self, asked: Asked, fault: Fault, status: int | None, now: float) -> Judged:
        """Write down an item that is not applied, for its whole batch fails; it counts.

        ``status`` is that of the batch's answer, None if there is none.
        """
        target = route(asked.method, asked.path)
        known = target if isinstance(target, Target) else _NOWHERE
        self.throttle.take(asked.who.app, asked.who.tenant, now)
        entry = _entry(now, asked, known, status, False, fault.effect)
        self._apply_later(fault, asked, target, entry, now)
        return self._note(DONE, entry, fault)

    def note_failed_dependency(self, asked: Asked, now: float) -> Judged:
        """Write down an item whose parent failed: 424, never executed, and so never counted."""
        target = route(asked.method, asked.path)
        known = target if isinstance(target, Target) else _NOWHERE
        answer = refusal(424, "The request was not executed: a request it depends on failed.")
        return self._note(answer, _entry(now, asked, known, 424, False, None))

    def _spoil(self, fault: Fault, asked: Asked, target: Target | Answer, now: float) -> Judged:
        known = target if isinstance(target, Target) else _NOWHERE
        true = self._answer(asked, target, now) if fault.applies_at_once else None
        answer = spoiled(fault, true)
        status = None if fault.is_silent else answer.status
        applied = true is not None and true.ok
        entry = _entry(now, asked, known, status, applied, fault.effect)
        self._apply_later(fault, asked, target, entry, now)
        return self._note(answer, entry, fault)

    def _apply_later(
        self, fault: Fault, asked: Asked, target: Target | Answer, entry: Entry, now: float
    ) -> None:
        if fault.applies_after is not None and isinstance(target, Target):
            self._order += 1
            due = now + fault.applies_after
            heapq.heappush(self._late, (due, self._order, asked, target, entry))

    def _note(self, answer: Answer, entry: Entry, fault: Fault | None = None) -> Judged:
        self.journal.add(entry)
        return Judged(answer, entry, fault)

    def _answer(self, asked: Asked, target: Target | Answer, now: float) -> Answer:
        if isinstance(target, Answer):
            return target
        return self._perform(asked.who, target, asked.body, now)

    def _perform(self, who: Identity, target: Target, body: object, now: float) -> Answer:
        # A body is judged before the permission is: seen in the field (ms-teams-cli issue 71).
        operation = parse(target, body, who.app)
        if isinstance(operation, Answer):
            return operation
        if WRITER not in who.roles:
            reads = operation.verb is Verb.READ or operation.verb is Verb.READ_MANY
            if not (reads and READER in who.roles):
                return FORBIDDEN
        return self._apply(who, operation, now)

    def _apply(self, who: Identity, asked: Operation, now: float) -> Answer:
        verb, tenant, user = asked.verb, who.tenant, asked.user
        if verb is Verb.READ:
            return Answer(200, body=self._presence(tenant, user, now))
        if verb is Verb.READ_MANY:
            return Answer(200, body={"value": [self._presence(tenant, i, now) for i in asked.ids]})
        if self._users is not None and user not in self._users:
            return NO_USER
        pair = (asked.availability, asked.activity)
        match verb:
            case Verb.SET:
                self.presences.set(Session(tenant, who.app, user, *pair, now + asked.lease, now))
            case Verb.CLEAR:
                if not self.presences.clear(tenant, who.app, user, now):
                    return NO_SESSION
            case Verb.PREFER:
                self.presences.prefer(tenant, user, Preferred(*pair, now + asked.lease))
            case Verb.UNPREFER:
                self.presences.unprefer(tenant, user)
        return DONE

    def _presence(self, tenant: str, user: str, now: float) -> dict[str, object]:
        # An unknown user is no error here: 200 with PresenceUnknown (Tech Community 3986118).
        known = self._users is None or user in self._users
        shown = self.presences.shown(tenant, user, now) if known else UNKNOWN
        return {"id": user, "availability": shown[0], "activity": shown[1], "statusMessage": None}


def spoiled(fault: Fault, true: Answer | None) -> Answer:
    """Return what is told under a fault; ``true`` is the true answer, if it happened."""
    match fault.effect:
        case "status":
            wait = fault.retry_after_header
            headers = {} if wait is None else {"Retry-After": wait}
            message = "A fault was asked for."
            return refusal(fault.status, message, fault.code, headers, html=fault.html)
        case "throttle":
            return throttled(fault.retry_after_header)
        case "unauthorized":
            return refusal(401, "Access token validation failure.")
        case "hang":
            return true or refusal(504, "The upstream service did not answer in time.")
        case _:
            return true or DONE


def _entry(
    now: float,
    asked: Asked,
    target: Target,
    status: int | None,
    applied: bool,
    fault: str | None,
) -> Entry:
    who, _, _, body, request_id, in_batch = asked
    availability = activity = ""
    if isinstance(body, dict) and "availability" in body:
        availability, activity = str(body["availability"]), str(body.get("activity", ""))
    return Entry(
        now, who.tenant, who.app, target.user, target.verb.value, status, applied, False, in_batch,
        fault, request_id, availability, activity,
    )  # fmt: skip
