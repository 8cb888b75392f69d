"""Sign-in of an application through msal: with a secret, a certificate or a federated token.

msal blocks, has no time-out, is not single-flight, remembers errors, and keeps tokens that
Graph has refused. So each sign-in is one short life of an msal application: built, asked once and
thrown away, on a daemon thread of its own. What has to be remembered is remembered in
`tokens_memory`. That costs one more request (the tenant's OpenID configuration) for each token,
one in an hour or a day, and buys that nothing is shared with a thread that hangs, that a refused
token is never found again in a cache, and that a renewed file is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_blocking import Ask, BlockingTokens, token_of
from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_proof import proof_of, way_of
from presence_manager.ports import Token

if TYPE_CHECKING:
    from presence_manager.settings import Credentials


class MsalTokens(BlockingTokens):
    """Implements `Tokens` with msal's confidential client; tenants share nothing.

    A tenant in `settings.tenants` signs in with its own credential, all others with that on top.
    """

    def __repr__(self) -> str:
        own = len(self._settings.tenants)
        ways = ", ".join(
            filter(None, (way_of(self._settings), f"{own} tenants with their own" * (own > 0)))
        )
        return f"MsalTokens({self._settings.graph.authority}, {ways})"

    def _check(self) -> None:
        self._check_authority()
        for given in (self._settings, *self._settings.tenants.values()):
            if way_of(given):
                proof_of(given, self._now(), "")

    def _credential_of(self, tenant: str) -> Credentials:
        return self._settings.tenants.get(tenant.lower(), self._settings)

    def _work(self, ask: Ask) -> Token:
        """Sign in once; that a token was refused makes no difference: none is kept here."""
        import msal  # noqa: PLC0415 - slow, and not needed before

        settings = self._settings
        given = self._credential_of(ask.tenant)
        try:
            proof = proof_of(given, self._now(), str(msal.__version__))
        except SettingsError as error:  # the file has changed since the start, perhaps just now
            raise Failure(
                str(error), refused=True, code="invalid_client", again=bool(way_of(given))
            ) from None
        client = self._client(ask.deadline, proof.secrets)
        began = self._now()
        try:
            application = msal.ConfidentialClientApplication(
                settings.client_id,
                client_credential=proof.credential,
                authority=f"{settings.graph.authority}/{ask.tenant}",
                client_capabilities=["CP1"],
                http_client=client,
                # The authority is a setting: trusted, and never looked up at Microsoft's.
                instance_discovery=False,
                # None would read MSAL_FORCE_REGION, and True may hang.
                azure_region=False,
            )
            result = application.acquire_token_for_client(
                [f"{settings.graph.base_url}/.default"], claims_challenge=ask.claims
            )
        finally:
            client.close()
        return token_of(result, began)
