"""Records to columns and back. Decoding is quick: what is shared is looked up, not made anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import PAIRS, Pair
from presence_manager.core.session import Attempt, Known, Session, Step, Tally, Wish
from presence_manager.core.verdict import Verb
from presence_manager.ports import Uses

T = TypeVar("T")
Columns = tuple[Any, ...]

_KNOWN = {known.value: known for known in Known}
_VERB = {verb.value: verb for verb in Verb}
_KIND = {kind.value: kind for kind in Kind}
_PAIR: dict[str | None, Pair | None] = {None: None, **{str(pair): pair for pair in PAIRS}}
_PAIR_TEXT: dict[Pair | None, str | None] = {pair: text for text, pair in _PAIR.items()}
_NO_ATTEMPT = (None,) * 7
_NUMBER = 10
"""The place of the attempt's number among a session's columns."""


class Insert(NamedTuple, Generic[T]):
    """How records are inserted, many that are alike at a time.

    `shared` is the lane and all else that they have in common; `own` is a user, and the one value
    more that may differ; `columns` is what the query takes, `own` last.
    """

    shared: Callable[[T], tuple[Any, ...]]
    own: Callable[[T], tuple[str, object]]
    columns: Callable[[T, int], Columns]


def _row_but_for_user(row: Session) -> tuple[Any, ...]:
    """The lane, and all else but the user and the attempt's number."""
    attempt = row.attempt
    opened = None if attempt is None else (attempt[:2], attempt[3:])
    return row.key.lane, row[1:10], opened, row[11:]


def _insert_columns(row: Session, lane: int) -> Columns:
    columns = _session_columns(row, lane)
    return (*columns[:_NUMBER], *columns[_NUMBER + 1 :], columns[_NUMBER])


def _outcome_but_for_user(outcome: Outcome) -> tuple[Any, ...]:
    """The lane, and all else but the user and Graph's name of the request."""
    return outcome.key.lane, outcome[1:8], outcome[9:]


def users_text(own: Iterable[tuple[str, object]]) -> str:
    """Return a JSON object by users; empty where SQLite would cut a text off, at its NUL."""
    text = json.dumps(dict(own), ensure_ascii=False)
    return "" if "\\u0000" in text else text


def update_columns(step: Step, lane: int) -> list[Columns]:
    """Return the next version as the query `update` takes it."""
    return [(*_session_columns(step.row, lane), step.expected)]


def delete_columns(step: Step, lane: int) -> list[Columns]:
    """Return the row that ends as the query `delete` takes it."""
    return [(lane, step.row.key.user, step.expected)]


def end_holds_columns(step: Step, lane: int) -> list[Columns]:
    """Return the session as the query `end_holds` takes it."""
    return [(lane, step.row.key.user)]


def _session_columns(row: Session, lane: int) -> Columns:
    key, version, owner, clock, skew, wishes, known, pair, due, live_until, attempt = row[:11]
    sets_settle, clears_settle, doubt, answer, attempts, sweeps = row[11:]
    opened: Columns = _NO_ATTEMPT
    if attempt is not None:
        verb, by, number, send_by, wish, attempt_pair, lease = attempt
        opened = (verb._value_, by, number, send_by, wish, _pair_text(attempt_pair), lease)
    return (
        version,
        owner,
        clock,
        skew,
        known._value_,
        _pair_text(pair),
        due,
        live_until,
        *opened,
        sets_settle,
        clears_settle,
        doubt,
        None if answer is None else answer._value_,
        attempts,
        "\n".join(sweeps),
        len(wishes),
        lane,
        key.user,
    )


def session(key: Key, columns: Sequence[Any], wishes: tuple[Wish, ...]) -> Session:
    """Return the row from the columns of the query `get`."""
    verb, owner, number, send_by, wish, pair, lease = columns[8:15]
    attempt = None
    if verb is not None:
        attempt = Attempt(
            verb=_VERB[verb],
            owner=owner,
            number=number,
            send_by=send_by,
            wish=wish,
            pair=_pair(pair),
            lease=lease,
        )
    answer, sweeps = columns[18], columns[20]
    return Session(
        key=key,
        version=columns[0],
        owner=columns[1],
        clock=columns[2],
        wishes=wishes,
        skew=columns[3],
        known=_KNOWN[columns[4]],
        pair=_pair(columns[5]),
        due=columns[6],
        may_live_until=columns[7],
        attempt=attempt,
        sets_settle=columns[15],
        clears_settle=columns[16],
        doubt=columns[17] != 0,
        answer=None if answer is None else _KIND[answer],
        attempts=columns[19],
        sweeps=tuple(sweeps.split("\n")) if sweeps else (),
    )


def kind(text: str) -> Kind:
    """Return the kind of an outcome. Raises KeyError."""
    return _KIND[text]


def tally(columns: Sequence[Any]) -> Tally:
    """Return the count from the columns of the query `tally`."""
    tenant, known, pair, held, sessions, due, version = columns
    return Tally(tenant, _KNOWN[known], _pair(pair), held != 0, sessions, due, version / 1e6)


def hold_columns(step: Step, lane: int) -> list[Columns]:
    """Return the holds of the row as the query `add_hold` takes them."""
    row = step.row
    user = row.key.user
    return [
        (lane, user, n, w.name, w.owner, _pair_text(w.pair), w.lease, w.made_at, w.until)
        for n, w in enumerate(row.wishes)
    ]


def wishes_of(rows: Sequence[Columns]) -> tuple[Wish, ...]:
    """Return the holds from the rows of the query `holds`."""
    return tuple(
        Wish(name=name, owner=owner, pair=_pair(pair), lease=lease, made_at=made_at, until=until)
        for name, owner, pair, lease, made_at, until in rows
    )


def uses_text(uses: Uses) -> str:
    """Return slots in use as they are kept."""
    return " ".join(f"{until!r}:{number}" for until, number in uses)


def uses(text: str) -> Uses:
    """Return them again."""
    pairs = (use.partition(":") for use in text.split())
    return tuple((float(until), int(number)) for until, _, number in pairs)


def _outcome_columns(outcome: Outcome, lane: int) -> Columns:
    """Its texts come from outside: what is not Unicode in them is replaced, never refused."""
    key, kind, sweep_id, at, attempts, status, code, message, request_id, owner = outcome[:10]
    reason, _, lapses_at = outcome[10:]
    return (
        sweep_id,
        lane,
        kind._value_,
        kind.final,
        at,
        attempts,
        status,
        _unicode(code),
        _unicode(message),
        owner,
        _unicode(reason),
        lapses_at,
        key.user,
        _unicode(request_id),
    )


def outcome(columns: Columns) -> tuple[int, Outcome]:
    """Return the position and the outcome from a row of the query `outcomes`."""
    position, sweep, origin, app, tenant, user, kind, *rest = columns
    at, attempts, status, code, message, request_id, owner, reason, lapses_at = rest
    return position, Outcome(
        key=Key(LaneId(origin, app, tenant), user),
        kind=_KIND[kind],
        sweep_id=sweep,
        at=at,
        attempts=attempts,
        status=status,
        code=code,
        message=message,
        request_id=request_id,
        owner=owner,
        reason=reason,
        lapses_at=lapses_at,
    )


def _pair_text(pair: Pair | None) -> str | None:
    try:
        return _PAIR_TEXT[pair]
    except KeyError:
        return str(pair)


def _pair(text: str | None) -> Pair | None:
    try:
        return _PAIR[text]
    except KeyError:
        availability, _, activity = str(text).partition("/")
        return Pair(availability, activity)


def _unicode(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


SESSIONS: Insert[Session] = Insert(
    _row_but_for_user,
    lambda row: (row.key.user, row.attempt and row.attempt.number),
    _insert_columns,
)
OUTCOMES: Insert[Outcome] = Insert(
    _outcome_but_for_user,
    lambda outcome: (outcome.key.user, _unicode(outcome.request_id)),
    _outcome_columns,
)
