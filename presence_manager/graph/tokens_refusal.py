"""What the identity platform's error answers mean, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from presence_manager.graph.tokens_failure import Failure

_LONGEST = 300  # characters of the platform's own description that are passed on
_JWT = re.compile(r"eyJ[\w-]{8,}(\.[\w-]*){0,2}")
_AADSTS = re.compile(r"AADSTS(\d+)")
_TRACE = re.compile(r"\s*(Trace ID|Correlation ID|Timestamp):.*", re.DOTALL)
_CORRELATION = re.compile(r"Correlation ID:\s*([0-9A-Fa-f-]{36})")
_UUID = re.compile(r"[0-9A-Fa-f-]{36}")
_NAME = re.compile(r"\w{1,64}")

# The platform itself is in trouble, although it answers with a 4xx.
_TRANSIENT = frozenset({"temporarily_unavailable", "server_error"})
_TRANSIENT_AADSTS = frozenset({"50196", "90006", "90024", "90033", "90055"})

_SECRETS = "under Certificates & secrets of the app registration"
_PLACES = "PRESENCE_CLIENT_SECRET, or what PRESENCE_CLIENT_SECRET_FILE holds,"
_FEDERATED = (
    "no federated credential of the application matches federated_token_file: compare issuer, "
    f"subject and audience {_SECRETS}, Federated credentials"
)
_HINTS = {
    "7000215": f"the client secret is wrong: set {_PLACES} to the secret's value, "
    f"not its id; if the value is lost, make a new secret {_SECRETS}",
    "7000222": f"the client secret has expired: make a new one {_SECRETS} and set "
    f"{_PLACES} to its value",
    "700016": "the application is not in this tenant: check PRESENCE_CLIENT_ID and "
    "PRESENCE_TENANT_ID, or have an administrator of the tenant consent to the application",
    "7000229": "the application has no service principal in this tenant: have an administrator "
    "of the tenant consent to it",
    "7000112": "the application is disabled in this tenant: have an administrator enable it",
    "90002": "there is no such tenant: check PRESENCE_TENANT_ID, and graph.authority if the "
    "tenant is in a national cloud",
    "900023": "that is no tenant id: check PRESENCE_TENANT_ID",
    "700027": "the certificate is not registered with the application: upload its public part "
    f"{_SECRETS}, or set PRESENCE_CLIENT_CERTIFICATE to the one that is",
    "70021": _FEDERATED,
    "700211": _FEDERATED,
    "700212": _FEDERATED,
    "700213": _FEDERATED,
    "7000218": 'the application takes no sign-in of users without a secret: switch on "Allow '
    'public client flows" under Authentication of the app registration',
    "65001": "consent is missing: have the user or an administrator consent to Presence.ReadWrite",
    "700024": "the signed request is outside its time: set this machine's clock right",
    "53003": "a conditional access policy blocks this sign-in: have an administrator look at the "
    "sign-in log of the service principal",
    "500011": "this tenant does not know that Graph: check that graph.base_url and "
    "graph.authority are of the same cloud",
    "70011": "the scope is wrong: check graph.base_url",
}


def refusal(answer: Mapping[str, object], secrets: tuple[str, ...] = ()) -> Failure:
    """Return what an OAuth error answer means.

    Of its text the first line is kept, bounded, without `secrets` (should it echo them) and
    without trace ids; the correlation id stays, Microsoft's support asks for it.
    """
    error = answer.get("error")
    name = error if isinstance(error, str) and _NAME.fullmatch(error) else "error"
    description = _description(answer.get("error_description"), secrets)
    number = _number(answer, description)
    text = f"{name}: {description}" if description else name
    if correlation := _correlation(answer):
        text += f" (correlation id {correlation})"
    if name in _TRANSIENT or number in _TRANSIENT_AADSTS:
        return Failure(text)
    if hint := _HINTS.get(number):
        text += f"; {hint}"
    return Failure(text, refused=True, code=name)


def _number(answer: Mapping[str, object], description: str) -> str:
    """Return the digits of the AADSTS code, empty if there is none."""
    if match := _AADSTS.search(description):
        return match.group(1)
    codes = answer.get("error_codes")
    if isinstance(codes, list) and codes and isinstance(codes[0], int):
        return str(codes[0])
    return ""


def _correlation(answer: Mapping[str, object]) -> str:
    correlation = answer.get("correlation_id")
    if isinstance(correlation, str) and _UUID.fullmatch(correlation):
        return correlation
    match = _CORRELATION.search(str(answer.get("error_description"))[: 100 * _LONGEST])
    return match.group(1) if match else ""


def _description(text: object, secrets: tuple[str, ...]) -> str:
    if not isinstance(text, str):
        return ""
    text = scrub(text[: 100 * _LONGEST], secrets)
    line = _TRACE.sub("", text).strip().partition("\n")[0].strip()
    line = "".join(char if char.isprintable() else " " for char in line).rstrip(". ")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def scrub(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return the text with the secrets, their URL-encoded forms and all JWTs blotted out."""
    for secret in filter(None, secrets):
        for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, "***")
    return _JWT.sub("***", text)
