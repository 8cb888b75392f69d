"""What every ledger refuses as a mistake of its caller, in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from presence_manager.core.session import Step
from presence_manager.errors import LedgerError
from presence_manager.ports import Scope


def check_steps(steps: Sequence[Step]) -> None:
    """Raise ValueError, before anything is written, for a `put` that breaks its contract.

    One key may stand only once in a call, and a row that is kept has a version: version 0
    means that there is no row.
    """
    if len({step.row.key for step in steps}) != len(steps):
        raise ValueError("a session stands twice in one put: its second step cannot be judged")
    for _, row, _, delete, _ in steps:
        if not delete and row.version <= 0:
            raise ValueError("a row without a version cannot be kept; evolve() gives it one")


def check_scope(scope: Scope) -> None:
    """Raise ValueError for a scope that asks for one owner's rows and for orphans at once."""
    if scope.owner is not None and scope.orphans_of is not None:
        raise ValueError("a scope is of one owner, or of orphans, not of both")


def check_owner(owner: str) -> None:
    """Raise ValueError for the empty name, which stands for no owner at all."""
    if not owner:
        raise ValueError("an owner needs a name")


def not_open(where: str) -> LedgerError:
    """Return the error of a ledger that is used before `open` or after `close`."""
    return LedgerError(f"the ledger {where} is not open: nothing was read or saved; open it first")
