"""Whether the daemon can do its work: the ledger takes writes, and the sign-in works.

Probes come every few seconds, from several sides: neither the ledger nor the identity platform is
asked by each of them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

import structlog

from presence_manager.errors import LedgerError, PresenceError, SignInError
from presence_manager.hosts.api.meters import MeteredLedger, MeteredTokens

log = structlog.get_logger()

LEDGER_EVERY = 1.0
"""Seconds for which the answer of the ledger is good."""
SIGN_IN_EVERY = 10.0
"""Seconds between two sign-ins that are tried only to know."""


class Readiness:
    """Knows how ledger and sign-in are; `tenant` is the one of the settings, if there is one."""

    def __init__(self, ledger: MeteredLedger, tokens: MeteredTokens, tenant: str) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._tenant = tenant
        self._written: asyncio.Task[LedgerError | None] | None = None
        self._written_at = 0.0
        self._signing: asyncio.Task[None] | None = None
        self._signed_at = 0.0
        self._told: dict[str, PresenceError | None] = {}

    async def faults(self) -> list[str]:
        """What is wrong; empty when all is well.

        Whoever asks is told in a few words: the log has the rest, whenever it changes.
        """
        faults: dict[str, PresenceError | None] = {}
        error = await self._ledger_error()
        if error is not None:
            faults["the ledger cannot be written"] = error
        faults |= self._sign_in_faults()
        if faults.keys() != self._told.keys():
            whole = [f"{fault}: {why}" if why else fault for fault, why in faults.items()]
            if whole:
                log.warning("daemon.not_ready", faults=whole)
            else:
                log.info("daemon.well_again")
            self._told = faults
        return list(faults)

    def sign_in(self) -> None:
        """Try to sign in, in the background, unless that was tried just now."""
        if not self._tenant or (self._signing is not None and not self._signing.done()):
            return
        if self._signing is None or monotonic() - self._signed_at >= SIGN_IN_EVERY:
            self._signed_at = monotonic()
            self._signing = asyncio.create_task(self._try())

    def close(self) -> None:
        """Try no more."""
        if self._signing is not None:
            self._signing.cancel()

    async def _ledger_error(self) -> LedgerError | None:
        if self._written is None or (
            self._written.done() and monotonic() - self._written_at >= LEDGER_EVERY
        ):
            self._written_at = monotonic()
            self._written = asyncio.create_task(self._ledger.try_to_write())
        return await asyncio.shield(self._written)

    def _sign_in_faults(self) -> dict[str, PresenceError | None]:
        last = self._tokens.last
        if self._tenant:
            _, error = last.get(self._tenant, (0.0, None))
            if error is not None or self._tenant not in last:
                self.sign_in()
            if self._tenant not in last:
                return {"the sign-in has not been answered yet": None}
            return {} if error is None else {"the sign-in failed": error}
        errors = [error for _, error in last.values()]
        return {"no tenant could sign in": errors[-1]} if errors and all(errors) else {}

    async def _try(self) -> None:
        with suppress(SignInError):  # remembered by the tokens
            await self._tokens.token(self._tenant)
