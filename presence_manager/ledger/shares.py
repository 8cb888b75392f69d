"""How the processes of one ledger share a lane's budget. Plain functions, for every ledger."""

from __future__ import annotations

from collections.abc import Mapping

from presence_manager.ports import Budget, Draw, Share, Uses, slots


def shared(others: Mapping[str, Uses], draw: Draw, budget: Budget) -> tuple[Share, dict[str, Uses]]:
    """Grant what the others leave over; return that, and what of theirs is still in use.

    No slot is in use for longer than one that is drawn now: beyond it another's clock is ahead.
    """
    kept = {owner: live for owner, uses in others.items() if (live := in_use(uses, draw.now))}
    if draw.want:
        for owner, uses in kept.items():
            kept[owner] = tuple((min(until, draw.until), number) for until, number in uses)
    theirs = tuple(sorted(use for uses in kept.values() for use in uses))
    taken = slots(draw.uses, draw.now) + slots(theirs, draw.now)
    granted = max(0, min(draw.want, draw.limit - taken))
    return Share(granted, theirs, budget), kept


def used(draw: Draw, granted: int) -> Uses:
    """What the drawing process has in use from now on."""
    own = in_use(draw.uses, draw.now)
    return (*own, (draw.until, granted)) if granted else own


def in_use(uses: Uses, now: float) -> Uses:
    """Those of the slots that are in use beyond `now`."""
    return tuple(use for use in uses if use[0] > now)
