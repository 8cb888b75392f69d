"""``$batch``: reading one, running its items, and answering in no order.

Source: *Combine multiple HTTP requests using JSON batching*. A batch saves round trips and no
quota: each item is judged and counted singly, and the outer request costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from .answers import Answer, body_of, refusal
from .faults import IN_A_BATCH, ON_THE_WIRE, Fault
from .identity import Identity
from .journal import Entry
from .judge import Asked, Judge, Judged, spoiled

MOST_ITEMS = 20
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
_HEADERS = {"Cache-Control": "no-store, no-cache"}


class Item(NamedTuple):
    """One request of a batch."""

    id: str
    method: str
    url: str
    body: object
    depends_on: Sequence[str]


class BatchAnswer(NamedTuple):
    """What a batch came to; ``fault`` spoils the whole answer on its way."""

    answer: Answer
    entries: Sequence[Entry]
    fault: Fault | None = None


def read(document: object) -> list[Item] | Answer:
    """Read a batch; whatever is malformed in one item refuses the whole with 400."""
    requests = document.get("requests") if isinstance(document, dict) else None
    if not isinstance(requests, list) or not requests:
        return refusal(400, "Invalid batch payload format.")
    if len(requests) > MOST_ITEMS:
        return refusal(400, f"Number of batch request steps exceeds the maximum of {MOST_ITEMS}.")
    items: dict[str, Item] = {}
    for request in requests:
        item = _read_item(request)
        if isinstance(item, Answer):
            return item
        key = item.id.lower()
        if key in items:
            return refusal(400, f"The id '{item.id}' is used by more than one request.")
        items[key] = item
    if any(item.depends_on for item in items.values()):
        return _in_order(items)
    return list(items.values())


def _read_item(request: object) -> Item | Answer:
    if not isinstance(request, dict):
        return refusal(400, "Invalid batch payload format.")
    name, method, url = request.get("id"), request.get("method"), request.get("url")
    if not isinstance(name, str) or not name:
        return refusal(400, "Every batch request needs an id, a non-empty string.")
    if method not in _METHODS:
        return refusal(400, f"The method of request id '{name}' is missing or not supported.")
    if not isinstance(url, str) or not url or "://" in url or url.startswith("//"):
        return refusal(400, f"The url of request id '{name}' must be relative to the version.")
    body, headers = request.get("body"), request.get("headers") or {}
    depends_on = request.get("dependsOn") or ()
    if not isinstance(headers, dict) or not isinstance(depends_on, (list, tuple)):
        return refusal(400, "Invalid batch payload format.")
    if (body is not None or method != "GET") and not (body is not None and _is_json(headers)):
        return refusal(
            400, f"Write request id : {name} does not contain Content-Type header or body."
        )
    return Item(name, method, url, body, [str(each).lower() for each in depends_on])


def _is_json(headers: Mapping[str, object]) -> bool:
    kind = headers.get("Content-Type")
    if kind is None:
        kind = next((v for k, v in headers.items() if k.lower() == "content-type"), None)
    return isinstance(kind, str) and kind.lower().startswith("application/json")


def _in_order(items: Mapping[str, Item]) -> list[Item] | Answer:
    """Put parents before children; an id that is not there, or a circle, refuses the whole."""
    placed: dict[str, Item] = {}
    while len(placed) < len(items):
        ready = {
            key: item
            for key, item in items.items()
            if key not in placed and all(parent in placed for parent in item.depends_on)
        }
        if not ready:
            return refusal(400, "A dependsOn names a request that is not there, or itself.")
        placed |= ready
    return list(placed.values())


class Batches:
    """Runs batches against a judge. Items run, and are answered, in a shuffled order."""

    def __init__(self, judge: Judge, random: Random, *, outer_424: bool) -> None:
        self._judge = judge
        self._random = random
        self._outer_424 = outer_424

    def run(
        self, who: Identity, document: object, now: float, request_id: str, client_id: str
    ) -> BatchAnswer:
        """Judge a batch and return its one answer."""
        items = read(document)
        if isinstance(items, Answer):
            return BatchAnswer(items, ())
        in_order = any(item.depends_on for item in items)
        if not in_order:
            self._random.shuffle(items)
        asked = [Asked(who, i.method, i.url, i.body, request_id, True) for i in items]
        faults = self._judge.faults
        fault = None
        if faults:
            users = frozenset(part for i in items for part in i.url.lower().split("/"))
            fault = faults.pick("batch", who.tenant, users)
        if fault is not None and fault.effect not in IN_A_BATCH:
            return self._fail(fault, items, asked, now, (request_id, client_id))
        judged = self._judge_each(items, asked, now, fault)
        answers = self._compose(items, judged, now, (request_id, client_id))
        if in_order:
            self._random.shuffle(answers)
        status = 424 if self._outer_424 and any(j.answer.status == 429 for j in judged) else 200
        entries = [j.entry for j in judged if j.fault is None or j.fault.effect != "missing"]
        wire = next((j.fault for j in judged if j.fault and j.fault.effect in ON_THE_WIRE), None)
        if wire is not None:
            _spread(wire, entries, None if wire.is_silent else 0)
        return BatchAnswer(Answer(status, body={"responses": answers}), entries, wire)

    def _judge_each(
        self, items: Sequence[Item], asked: Sequence[Asked], now: float, fault: Fault | None
    ) -> list[Judged]:
        """Judge every item; a fault of the batch that only an item can have strikes one of them."""
        struck = self._random.randrange(len(items)) if fault is not None else -1
        failed: set[str] = set()
        judged: list[Judged] = []
        for number, (item, one) in enumerate(zip(items, asked, strict=True)):
            if item.depends_on and not failed.isdisjoint(item.depends_on):
                outcome = self._judge.note_failed_dependency(one, now)
            else:
                outcome = self._judge.judge(one, now, fault if number == struck else None)
            if not outcome.answer.ok:
                failed.add(item.id.lower())
            judged.append(outcome)
        return judged

    def _fail(
        self,
        fault: Fault,
        items: Sequence[Item],
        asked: Sequence[Asked],
        now: float,
        ids: tuple[str, str],
    ) -> BatchAnswer:
        """Answer a batch that fails, or suffers, as a whole."""
        if not fault.applies_at_once:
            answer = spoiled(fault, None)
            status = None if fault.is_silent else answer.status
            judged = [self._judge.pass_over(one, fault, status, now) for one in asked]
            return BatchAnswer(answer, [j.entry for j in judged], fault)
        judged = self._judge_each(items, asked, now, None)
        true = Answer(200, body={"responses": self._compose(items, judged, now, ids)})
        answer = spoiled(fault, true)
        entries = [j.entry for j in judged]
        status = None if fault.is_silent else 0 if answer is true else answer.status
        _spread(fault, entries, status)
        return BatchAnswer(answer, entries, fault)

    @staticmethod
    def _compose(
        items: Sequence[Item], judged: Sequence[Judged], now: float, ids: tuple[str, str]
    ) -> list[dict[str, object]]:
        responses: list[dict[str, object]] = []
        for item, (answer, _, fault) in zip(items, judged, strict=True):
            response: dict[str, object] = {"id": item.id, "status": answer.status}
            response["headers"] = {**_HEADERS, **answer.headers} if answer.headers else _HEADERS
            body = body_of(answer, now, *ids)
            # Presence actions have nothing to say, and then the item has no body at all.
            if body is not None:
                response["body"] = body
            if fault is None or fault.effect != "missing":
                responses.append(response)
            if fault is not None and fault.effect == "duplicate":
                responses.append(response)
        return responses


def _spread(fault: Fault, entries: Iterable[Entry], status: int | None) -> None:
    """Write the fate of a whole answer into its items' lines; status 0 leaves their own."""
    for entry in entries:
        entry.fault = fault.effect
        if status != 0:
            entry.status = status
