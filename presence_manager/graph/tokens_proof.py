"""What an application proves itself with: a secret, a certificate, or a workload's own token.

Everything that lies in a file is read anew for each sign-in, so that a file may change while the
process runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_certificate import read_certificate
from presence_manager.graph.tokens_file import read_secret

if TYPE_CHECKING:
    from presence_manager.settings import Credentials

_SECRET_FILE = "client_secret_file (PRESENCE_CLIENT_SECRET_FILE)"  # noqa: S105 - a name
_TOKEN_FILE = "federated_token_file (PRESENCE_FEDERATED_TOKEN_FILE)"  # noqa: S105 - a name
MISSING = (
    "there is nothing to sign in with: set PRESENCE_CLIENT_SECRET or PRESENCE_CLIENT_SECRET_FILE, "
    "PRESENCE_CLIENT_CERTIFICATE (a PEM or PFX file), PRESENCE_FEDERATED_TOKEN_FILE, "
    "PRESENCE_MANAGED_IDENTITY, PRESENCE_DELEGATED or PRESENCE_ACCESS_TOKEN"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """msal's `client_credential`, and what of it must appear nowhere; its repr shows neither."""

    credential: str | dict[str, object]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "Proof()"


def way_of(given: Credentials) -> str:
    """Return the name of the credential, with its file; empty if there is none."""
    for name in ("client_certificate", "client_secret_file", "federated_token_file"):
        path = getattr(given, name)
        if path is not None:
            return f"{name}={path}"
    return "client_secret" if given.client_secret.get_secret_value() else ""


def proof_of(given: Credentials, now: float, msal_version: str) -> Proof:
    """Read the credential; `now` is in seconds since the epoch.

    Raises SettingsError, naming the setting and the file, for one that is missing or unusable.
    """
    if given.client_certificate is not None:
        password = given.client_certificate_password.get_secret_value()
        certificate = read_certificate(given.client_certificate, password, now)
        return Proof(certificate.credential(password, msal_version), (password,))
    if given.federated_token_file is not None:
        assertion = read_secret(given.federated_token_file, _TOKEN_FILE)
        return Proof({"client_assertion": lambda: assertion}, (assertion,))
    if given.client_secret_file is not None:
        secret = read_secret(given.client_secret_file, _SECRET_FILE)
    else:
        secret = given.client_secret.get_secret_value()
    if not secret:
        raise SettingsError(MISSING)
    return Proof(secret, (secret,))
