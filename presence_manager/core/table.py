"""The table: how what is known of a session changes with each event.

The state diagram in the documentation is drawn from it.
"""

from __future__ import annotations

from enum import StrEnum

from presence_manager.core.session import Known
from presence_manager.core.verdict import Judgement, Verb


class Event(StrEnum):
    """What can happen to a session, as far as Graph's side goes."""

    SET_DONE = "set done"
    SET_LOST = "set lost"
    SET_REFUSED = "set refused"
    CLEAR_DONE = "clear done"
    CLEAR_UNSETTLED = "clear done, a lost set may still come"
    CLEAR_LOST = "clear lost"
    CLEAR_REFUSED = "clear refused"
    FOUND = "set by others"
    LAPSED = "lapsed"


class IllegalTransition(RuntimeError):
    """An event that cannot happen in that state: a fault of ours; nothing was changed."""


_A, _S, _U = Known.ABSENT, Known.SHOWN, Known.UNSURE

TRANSITIONS: dict[tuple[Known, Event], Known] = {
    (_A, Event.SET_DONE): _S,
    (_A, Event.SET_LOST): _U,
    (_A, Event.SET_REFUSED): _A,
    (_A, Event.CLEAR_LOST): _A,
    (_A, Event.FOUND): _U,
    (_S, Event.SET_DONE): _S,
    (_S, Event.SET_LOST): _U,
    (_S, Event.SET_REFUSED): _S,
    (_S, Event.CLEAR_DONE): _A,
    (_S, Event.CLEAR_UNSETTLED): _U,
    (_S, Event.CLEAR_LOST): _U,
    (_S, Event.CLEAR_REFUSED): _S,
    (_S, Event.FOUND): _U,
    (_S, Event.LAPSED): _A,
    (_U, Event.SET_DONE): _S,
    (_U, Event.SET_LOST): _U,
    (_U, Event.SET_REFUSED): _U,
    (_U, Event.CLEAR_DONE): _A,
    (_U, Event.CLEAR_UNSETTLED): _U,
    (_U, Event.CLEAR_LOST): _U,
    (_U, Event.CLEAR_REFUSED): _U,
    (_U, Event.FOUND): _U,
    (_U, Event.LAPSED): _A,
}

_OF_SET = {Judgement.DONE: Event.SET_DONE, Judgement.LOST: Event.SET_LOST}
_OF_CLEAR = {
    Judgement.DONE: Event.CLEAR_DONE,
    Judgement.GONE: Event.CLEAR_DONE,
    Judgement.LOST: Event.CLEAR_LOST,
}


def event_of(verb: Verb, judgement: Judgement) -> Event:
    """Return what a verdict means to the table; what was not applied changes nothing."""
    if verb is Verb.SET:
        return _OF_SET.get(judgement, Event.SET_REFUSED)
    return _OF_CLEAR.get(judgement, Event.CLEAR_REFUSED)


def after(known: Known, event: Event) -> Known:
    """Return what is known after the event; raise IllegalTransition for an illegal pair."""
    try:
        return TRANSITIONS[known, event]
    except KeyError:
        raise IllegalTransition(f"{event} cannot happen to a session that is {known}") from None


def diagram() -> str:
    """Draw the table as a Mermaid state diagram: one arrow for each change of state.

    Events that leave a state as it is are listed in it.
    """
    arrows: dict[tuple[Known, Known], list[Event]] = {}
    for (known, event), then in TRANSITIONS.items():
        arrows.setdefault((known, then), []).append(event)
    lines = ["stateDiagram-v2", f"    [*] --> {Known.ABSENT}"]
    for (known, then), events in arrows.items():
        names = ", ".join(event.replace(",", ":") for event in events)
        if known is then:
            lines.append(f"    note right of {known}: stays on {names}")
        else:
            lines.append(f"    {known} --> {then}: {names}")
    return "\n".join(lines)
