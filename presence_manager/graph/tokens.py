"""Which way to sign in: chosen by what the settings, or the caller, give."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_credential import CredentialTokens
from presence_manager.graph.tokens_delegated import DelegatedTokens
from presence_manager.graph.tokens_managed import ManagedTokens
from presence_manager.graph.tokens_msal import MsalTokens
from presence_manager.graph.tokens_proof import MISSING, way_of
from presence_manager.graph.tokens_ready import ReadyToken
from presence_manager.ports import Tokens

if TYPE_CHECKING:
    from presence_manager.settings import Settings

__all__ = [
    "CredentialTokens",
    "DelegatedTokens",
    "ManagedTokens",
    "MsalTokens",
    "ReadyToken",
    "adapt",
    "tokens_for",
]


def tokens_for(settings: Settings) -> Tokens:
    """Return the sign-in that the settings describe; nothing is sent before a token is needed.

    `Settings` has one credential at most: of several in one source it says so itself. Raises
    SettingsError if there is none, or if it cannot be used.
    """
    if token := settings.access_token.get_secret_value():
        return ReadyToken(token)
    if settings.managed_identity is not None:
        return ManagedTokens(settings)
    if settings.delegated is not None:
        return DelegatedTokens(settings)
    if way_of(settings) or settings.tenants:
        return MsalTokens(settings)
    raise SettingsError(MISSING)


def adapt(given: object, settings: Settings) -> Tokens:
    """Return `given` as `Tokens`: it may be that already, a credential of the Azure SDK, or None.

    None means what the settings describe. Raises SettingsError for anything else.
    """
    if given is None:
        return tokens_for(settings)
    if callable(getattr(given, "token", None)):
        return cast("Tokens", given)
    if any(callable(getattr(given, name, None)) for name in ("get_token_info", "get_token")):
        scope = f"{settings.graph.base_url}/.default"
        return CredentialTokens(given, scope, timeout=settings.sign_in_timeout)
    raise SettingsError(
        f"tokens= cannot be a {type(given).__name__}: give an object with the methods of "
        "presence_manager.ports.Tokens, or a credential from azure.identity.aio; a ready token "
        "goes into Settings(access_token=...)"
    )
