"""One request of a lane: commit what is to be sent, send it, commit what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from presence_manager.core import change
from presence_manager.core.decide import Send
from presence_manager.core.outcome import Kind
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.engine import whole
from presence_manager.engine.bundle import Asks, Bundle, asks_of
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.plan import (
    SEND_WITHIN,
    Plan,
    begin,
    given_up,
    judged,
    refuse,
    usable,
    wants_set,
)
from presence_manager.errors import SignInRefused

if TYPE_CHECKING:
    from presence_manager.engine.lane import Lane

log = structlog.get_logger()

SIGN_IN_PAUSE = 5.0
"""Seconds for which a refused sign-in is taken as the answer to all that comes."""
GRACE = 0.5
"""Seconds beyond its time limit after which a request is cut off from outside."""


class Request:
    """Up to twenty sessions that leave together. It never repeats itself: the lane does."""

    def __init__(self, lane: Lane, chunk: Bundle | list[Entry]) -> None:
        self._lane = lane
        self._chunk = chunk
        self._asks: Asks = []
        self._verdicts: Sequence[Verdict] = ()
        self._owed = False

    async def run(self) -> None:
        """Make it, whatever happens on the way."""
        lane, chunk = self._lane, self._chunk
        if not isinstance(chunk, Bundle) or not whole.may_leave(lane, chunk):
            chunk = await self._still(await self._begun(lane.desk.entries_of(chunk)))
            lane.gate.stay(len(self._chunk) - len(chunk))
            lane.books.leaves(chunk)
            self._chunk = chunk
        if not chunk:
            return
        items = [chunk] if isinstance(chunk, Bundle) else chunk
        asks = chunk.asks if isinstance(chunk, Bundle) else asks_of(entry.row for entry in chunk)
        lane.unsent.difference_update([attempt.number for _, attempt in asks])
        try:
            verdicts = await self._sent(items, asks)
        except SignInRefused as error:
            lane.gate.stay(len(asks))
            self._chunk = self._sign_in_refused(lane.desk.entries_of(chunk), error)
            return
        judgements = [verdict.judgement for verdict in verdicts]
        self._count(verdicts, judgements, sum(item.rank is Rank.RENEWAL for item in items))
        self._owed = Judgement.GONE in judgements and await lane.books.others_owe()
        self._now = lane.moment()
        self._asks, self._verdicts = asks, verdicts

    async def record(self) -> None:
        """Commit what came of it, and go on."""
        lane, chunk = self._lane, self._chunk
        if isinstance(chunk, Bundle) and not self._owed:
            await whole.record(lane, chunk, self._verdicts, self._now, self._noted)
        else:
            await lane.books.apply(self._noted(lane.desk.entries_of(chunk)))

    def _noted(self, entries: list[Entry]) -> list[Entry]:
        """Let the entries, if they were asked for, learn what came of them."""
        planner, policy = self._judged, self._lane.how.policy
        for entry, (_, attempt), verdict in zip(entries, self._asks, self._verdicts, strict=False):
            entry.asked = attempt
            entry.meant = entry.note(attempt, verdict, self._now.at, policy)
            entry.planner = planner
        return entries

    async def _begun(self, entries: list[Entry]) -> list[Entry]:
        """Return the sessions whose attempt is committed and may leave now."""
        lane = self._lane
        now = lane.moment()
        send_by = now.at + SEND_WITHIN

        def opened(entry: Entry) -> Plan:
            return begin(entry.row, now, lane.numbers(1)[0], send_by)

        ready: list[Entry] = []
        fresh: list[Entry] = []
        for entry in entries:
            action = entry.decide(now)
            attempt = entry.row.attempt
            unsent = attempt is not None and attempt.number in lane.unsent
            if unsent and isinstance(action, Send) and usable(attempt, action, now):
                ready.append(entry)
            else:
                entry.planner = opened
                fresh.append(entry)
        if fresh:
            begun = await lane.books.committed(fresh)
            leaving = [entry for entry in begun if self._may_leave(entry)]
            lane.books.tell(leaving)  # a hold may have come between: that ends a clearing
            lane.books.deliver([entry for entry in begun if entry not in leaving])
            ready += leaving
        return ready

    async def _still(self, begun: list[Entry]) -> list[Entry]:
        """Return those that may leave after the commit, however long it took."""
        lane = self._lane
        now = lane.moment()
        if lane.stopping:
            for entry in begun:
                entry.planner = lane.desk.surrender(entry, now)
            await lane.books.apply(begun)
            return []
        ready: list[Entry] = []
        late: list[Entry] = []
        over: list[Entry] = []
        for entry in begun:
            attempt = entry.row.attempt
            if attempt is None:  # changed, while others of the request were written down
                entry.plan = Plan(entry.row, Send(Verb.CLEAR))
                late.append(entry)
            elif now.at > attempt.send_by or now.at < lane.gate.closed_until:
                entry.plan = Plan(entry.row, Send(attempt.verb))
                late.append(entry)
            elif attempt.verb is Verb.CLEAR and entry.deadline < now.at:
                entry.planner = lane.desk.surrender(entry, now)
                over.append(entry)
            else:
                ready.append(entry)
        lane.books.deliver(late)
        if not over:
            return ready
        await lane.books.apply(over)
        return await self._still(ready)  # time has passed again

    def _may_leave(self, entry: Entry) -> bool:
        """Whether its plan opened an attempt of ours, and nobody has changed the row since."""
        plan = entry.plan
        attempt = entry.row.attempt
        return (
            isinstance(plan.action, Send)
            and not plan.delete
            and attempt is not None
            and attempt.owner == plan.row.owner
        )

    async def _sent(self, items: Sequence[Entry | Bundle], asks: Asks) -> Sequence[Verdict]:
        lane = self._lane
        sent_at = lane.clock.now()
        limit = self._time_limit(items, sent_at)
        try:
            async with asyncio.timeout(limit + GRACE) as scope:
                for item in items:
                    item.scope = scope
                return await lane.graph.send(lane.id, asks, limit)
        except SignInRefused:
            raise
        except TimeoutError:
            why = "no answer within the time there was"
        except asyncio.CancelledError:  # the loop closes; what was sent must not be forgotten
            if lane.stopping:
                raise
            why = "the request was cut off, for the event loop was closed"
        except Exception:
            log.exception("graph.fault", tenant=lane.id.tenant)
            why = "the request ended in a fault of ours; the log has it"
        finally:
            for item in items:
                item.landed()
        cut = Verdict(
            judgement=Judgement.LOST,
            sent_at=sent_at,
            at=lane.clock.now(),
            code="cutOff",
            message=why,
        )
        return [cut] * len(asks)

    def _time_limit(self, items: Sequence[Entry | Bundle], now: float) -> float:
        """Seconds the request may take: half of what is left to the nearest deadline."""
        ahead = [item.deadline - now for item in items if item.deadline > now]
        limit = self._lane.how.terms.timeout
        return min(limit, max(1.0, min(ahead) / 2)) if ahead else limit

    def _count(
        self, verdicts: Sequence[Verdict], judgements: list[Judgement], renewals: int
    ) -> None:
        """Tell the gate, and the width, what became of the request."""
        lane = self._lane
        gate = lane.gate
        now = lane.clock.now()
        sent_at = verdicts[0].sent_at
        accepted = judgements.count(Judgement.DONE) + judgements.count(Judgement.GONE)
        others: list[Verdict] = []
        if accepted < len(verdicts):
            others = [v for v in verdicts if v.judgement not in (Judgement.DONE, Judgement.GONE)]
        refused = [v for v in others if v.judgement is Judgement.THROTTLED]
        answered = [v for v in others if v.status is not None]
        accepted += len(answered) - sum(v.status is not None for v in refused)
        failed = sum(v.judgement is Judgement.LOST for v in answered)
        unsent = sum(v.judgement is Judgement.LATER and v.status is None for v in others)
        if accepted > failed or refused:
            lane.width.kept()
        elif failed:
            lane.width.failed(now)
        else:
            lane.width.lost(now, sent_at)
        gate.stay(unsent)
        gate.answered(now, len(verdicts) - unsent, renewals)
        if accepted:
            gate.accept(now, sent_at, accepted)
        if refused:
            asked = [v.retry_after for v in refused if v.retry_after is not None]
            gate.refuse(now, sent_at, max(asked, default=None), len(refused))
            lane.throttled()
            log.warning(
                "lane.throttled",
                tenant=lane.id.tenant,
                refused=len(refused),
                closed_for=round(gate.closed_until - now, 3),
                budget=gate.budget.size,
            )
        if any(v.code == "batchUnavailable" for v in others):
            lane.batching = False
            log.warning("lane.batching_off", tenant=lane.id.tenant)

    def _judged(self, entry: Entry) -> Plan:
        """Apply the verdict; a clear that should not be tried again now is left for later."""
        now, attempt, verdict = self._now, entry.asked, entry.meant
        row, clearing = entry.row, attempt.verb is Verb.CLEAR
        gone = self._owed and clearing and verdict.judgement is Judgement.GONE
        if gone and row.attempt == attempt:  # by a clear that is not in the ledger
            row = change.doubt(row, now.at, now.owner, now.terms)
        plan = judged(row, attempt, verdict, now)
        if plan.delete or wants_set(plan.action):
            return plan
        if clearing and verdict.judgement is Judgement.DENIED:
            return given_up(plan, now, Kind.FAILED, "denied", verdict)
        if clearing and entry.spent:
            return given_up(plan, now, Kind.UNFINISHED, "attempts", verdict)
        lane = self._lane
        if lane.stopping or lane.desk.too_late(entry, now.at):
            again_at = lane.desk.again_at(entry, now.at)
            return given_up(plan, now, Kind.UNFINISHED, "deadline", verdict, again_at)
        return plan

    def _sign_in_refused(self, ready: list[Entry], error: SignInRefused) -> list[Entry]:
        """No token, for good: what is queued is refused as well, without a request."""
        lane = self._lane
        at = lane.clock.now()
        verdict = Verdict(
            judgement=Judgement.DENIED,
            sent_at=at,
            at=at,
            code=error.code or "signInRefused",
            message=str(error),
        )
        log.error("lane.sign_in_refused", tenant=lane.id.tenant, error=str(error))

        def refusal(entry: Entry) -> Plan:
            plan, dropped = refuse(entry.row, lane.moment(), verdict, "sign_in")
            entry.verdict = verdict
            if dropped:
                entry.drop(dropped, verdict)
            return plan

        lane.desk.shut(refusal, SIGN_IN_PAUSE)
        for entry in ready:
            entry.planner = refusal
        return ready
