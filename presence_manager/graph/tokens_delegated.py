"""Sign-in of a user, by device code, for that user's own presence.

A public client: the application has no secret, and "Allow public client flows" is on in its
registration. Graph lets such a token set and clear the presence of its own user only (delegated
permission Presence.ReadWrite).
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, TypeVar

from presence_manager.errors import SettingsError, SignInUnavailable
from presence_manager.graph.tokens_blocking import Ask, BlockingTokens, token_of
from presence_manager.graph.tokens_failure import Failure
from presence_manager.ports import Token

T = TypeVar("T")

_AGAIN = "sign in with `presence-manager login`"
_PENDING = frozenset({"authorization_pending", "slow_down"})
_LEAST_PAUSE = 1.0  # seconds between two questions whether the code has been used
_LONGEST_PAUSE = 60.0
_LONGEST_FLOW = 3600.0  # seconds for which it is asked
_LONGEST = 200  # characters of the platform's own words that are shown


@dataclass(frozen=True, slots=True)
class Code:
    """What the user needs to sign in: open `page`, enter `code`, within `seconds`."""

    page: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in: `name` as people know it, `user` the object id, both perhaps empty."""

    name: str
    user: str


@dataclass(frozen=True, slots=True)
class _Flow:
    """A login under way: msal's facts, which change as it goes; the repr does not show them."""

    facts: dict[str, Any]
    code: Code

    def __repr__(self) -> str:
        return f"_Flow({self.code})"

    def interval(self) -> float:
        """Return the seconds to wait before the next question."""
        return float(self.facts["interval"])


class DelegatedTokens(BlockingTokens):
    """Implements `Tokens` for the user who signed in with `login`, until `logout`."""

    def __repr__(self) -> str:
        return f"DelegatedTokens({self._settings.graph.authority}, {self._settings.delegated})"

    def _check(self) -> None:
        self._check_authority()
        if importlib.util.find_spec("msal_extensions") is None:
            raise SettingsError(
                "delegated (PRESENCE_DELEGATED) needs msal-extensions: "
                "pip install 'presence-manager[delegated]'"
            )

    def _work(self, ask: Ask) -> Token:
        began = self._now()
        try:
            with self._application(ask.tenant, ask.deadline) as application:
                accounts = application.get_accounts()
                if not accounts:
                    raise Failure("nobody is signed in", refused=True, code="no_account")
                result = application.acquire_token_silent_with_error(
                    self._scopes(),
                    accounts[0],
                    force_refresh=ask.again,
                    claims_challenge=ask.claims,
                )
            if result is None:
                raise Failure("nobody is signed in there", refused=True, code="no_account")
            return token_of(result, began)
        except Failure as failed:
            failure = failed
        if failure.refused and failure.code != "no_keep":
            failure = Failure(f"{failure.text}; {_AGAIN}", refused=True, code=failure.code)
        raise failure

    async def login(self, show: Callable[[Code], None]) -> Account:
        """Let a user sign in on any device with the code that is shown; wait until that is done.

        Whoever was signed in before is forgotten. Raises SignInRefused, also when the code was
        not used in time or the user declined, and SignInUnavailable; SettingsError if no tenant
        is named.
        """
        tenant = self._tenant()
        flow = await self._run(tenant, self._begin)
        show(flow.code)
        ends = time.monotonic() + flow.code.seconds
        while time.monotonic() < ends:
            await asyncio.sleep(min(max(flow.interval(), _LEAST_PAUSE), _LONGEST_PAUSE))
            with suppress(SignInUnavailable):  # it is asked again
                account = await self._run(tenant, functools.partial(self._poll, flow))
                if account is not None:
                    return account
        raise Failure("the code was not used in time", refused=True, code="expired").error(tenant)

    async def logout(self) -> int:
        """Forget who is signed in on this machine; return how many that were."""
        return await self._run(self._tenant(), self._forget)

    async def _run(self, tenant: str, work: Callable[[Any], T]) -> T:
        try:
            async with asyncio.timeout(self._settings.sign_in_timeout):
                return await self._threads.run(tenant, functools.partial(self._step, tenant, work))
        except TimeoutError:
            failure = Failure("there was no answer in time (sign_in_timeout)")
        except Failure as failed:
            failure = failed.bare()
        except Exception as error:  # whatever else: its text, and its frames, may have secrets
            failure = Failure(
                f"the sign-in ended in an unexpected {type(error).__name__}", refused=True
            )
        raise failure.error(tenant)

    def _step(self, tenant: str, work: Callable[[Any], T]) -> T:
        with self._application(tenant, self._deadline()) as application:
            return work(application)

    def _begin(self, application: Any) -> _Flow:
        facts: dict[str, Any] = application.initiate_device_flow(self._scopes())
        if not all(isinstance(facts.get(name), str) for name in ("user_code", "device_code")):
            raise Failure("the identity platform gave no device code", refused=True)
        page = facts.get("verification_uri", "https://microsoft.com/devicelogin")
        facts["interval"] = max(facts["interval"], 1)  # msal asks without a pause if it is 0
        seconds = min(float(facts["expires_in"]), _LONGEST_FLOW)
        return _Flow(facts, Code(_plain(page), _plain(facts["user_code"]), seconds))

    def _poll(self, flow: _Flow, application: Any) -> Account | None:
        """Ask once whether the user has signed in; None while not."""
        result = application.acquire_token_by_device_flow(flow.facts, exit_condition=lambda _: True)
        if result.get("error") in _PENDING:
            return None
        token_of(result, 0.0)
        claims = result.get("id_token_claims") or {}
        user = str(claims.get("oid", ""))
        for account in application.get_accounts():
            if user and account["local_account_id"] != user:
                application.remove_account(account)
        return Account(_plain(claims.get("preferred_username", "")), _plain(user))

    @staticmethod
    def _forget(application: Any) -> int:
        accounts = application.get_accounts()
        for account in accounts:
            application.remove_account(account)
        return len(accounts)

    @contextmanager
    def _application(self, tenant: str, deadline: float) -> Iterator[Any]:
        import msal  # noqa: PLC0415 - slow, and not needed before

        from presence_manager.graph.tokens_keep import keep_of, keep_path  # noqa: PLC0415 - slow

        how = self._settings.delegated or "keyring"
        keep = keep_of(how)
        client = self._client(deadline, ())
        try:
            yield msal.PublicClientApplication(
                self._settings.client_id,
                authority=f"{self._settings.graph.authority}/{tenant}",
                client_capabilities=["CP1"],
                http_client=client,
                instance_discovery=False,
                token_cache=keep,
            )
        except JSONDecodeError:
            raise Failure(
                f"what is kept of the sign-in cannot be read: remove {keep_path(how)}, and sign in "
                "again",
                refused=True,
                code="no_keep",
            ) from None
        finally:
            client.close()

    def _scopes(self) -> list[str]:
        return [f"{self._settings.graph.base_url}/Presence.ReadWrite"]

    def _tenant(self) -> str:
        if not self._settings.tenant_id:
            raise SettingsError("tenant_id (PRESENCE_TENANT_ID) is not set: the login needs it")
        return self._settings.tenant_id


def _plain(text: object) -> str:
    """Return the platform's words fit for a terminal."""
    return "".join(char for char in str(text)[:_LONGEST] if char.isprintable())
