"""What an application signs in with: one credential for all tenants, or one of their own for some.

A tenant's section has no `client_id`: one manager is one application, whose id is the `sessionId`
of every session and part of every key in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from presence_manager.settings.sections import OptionalFile, Section
from presence_manager.settings.sources import kinds

TENANTS = "tenants"
ALONE = ("managed_identity", "delegated", "access_token")
"""The kinds of credential that are good for one tenant, and have none of others beside them."""

_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _in_one_piece(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has a space, a line break or another odd sign in it (not shown)")
    return SecretStr(text)


Secret = Annotated[SecretStr, AfterValidator(_in_one_piece)]


class Credentials(BaseModel):
    """The credentials that an application may have in any tenant; one is used."""

    client_secret: Secret = Field(default=SecretStr(""), description="the client secret")
    client_secret_file: OptionalFile = Field(
        default=None,
        description="file with nothing but the client secret, read anew for each sign-in",
    )
    client_certificate: OptionalFile = Field(
        default=None, description="certificate with private key to sign in with: PEM or PFX file"
    )
    client_certificate_password: SecretStr = Field(
        default=SecretStr(""), description="password of the certificate's private key"
    )
    federated_token_file: OptionalFile = Field(
        default=None,
        description="file with a workload's own token, exchanged for Graph's (federated identity)",
    )


class TenantSettings(Section, Credentials):
    """The credential for one tenant, in the place of the one for all."""


def settle(plain: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Bring the tenants' sections to one spelling; return a line for each fault of credentials.

    What is at fault is taken out of `plain`, so that it is told once.
    """
    faults: list[str] = []
    if plain.get("managed_identity") and not str(plain.get("client_id") or "").strip():
        faults.append(
            "client_id is not set: with managed_identity it is the identity's application id (not "
            "its object id), for it is the sessionId of its sessions; Entra shows it under "
            "Enterprise applications"
        )
    given = plain.get(TENANTS, {})
    if not isinstance(given, Mapping) or "" in given:
        name = names.get(TENANTS) or names.get(f"{TENANTS}.") or TENANTS
        del plain[TENANTS]
        told = f'{name}: is no value; write a section for each tenant: [tenants."<tenant id>"]'
        return [*faults, told]
    kept: dict[str, Any] = {}
    for spelled, section in given.items():
        tenant = str(spelled).strip().lower().replace("_", "-")  # a variable has no hyphens
        was, now = f"{TENANTS}.{spelled}", f"{TENANTS}.{tenant}"
        for name in [each for each in names if each == was or each.startswith(was + ".")]:
            names[now + name.removeprefix(was)] = names[name]
        fault = _fault(tenant, section, kept, now, names)
        if fault:
            faults.append(fault)
        else:
            kept[tenant] = section
    plain[TENANTS] = kept
    alone = [kind for kind in kinds(plain) if kind in ALONE]
    if kept and alone:
        faults.append(
            f"{names.get(alone[0], alone[0])}: it is of one tenant, and does not go with "
            f"[tenants]; in its place give {' or '.join(_KINDS)}"
        )
    return faults


def _fault(
    tenant: str, section: Any, kept: Mapping[str, Any], name: str, names: Mapping[str, str]
) -> str:
    inside = [text for each, text in names.items() if each.startswith(name + ".")]
    told = names.get(name) or next((t.rpartition(".")[0] or t for t in inside), name)
    if not _TENANT.fullmatch(tenant):
        return f"{told}: {ascii(tenant)[:60]} is no tenant id; it is a GUID"
    if not isinstance(section, Mapping):
        return f"{told}: is a section, not a value; it has the tenant's credential"
    if tenant in kept:
        return f"{told}: this tenant is given twice, in two spellings"
    if "client_id" in section:
        return (
            f"{names.get(f'{name}.client_id', told)}: one manager is one application, whose id is "
            "the sessionId of every session and part of its key in the ledger; run another "
            "process for another application (it may share the ledger)"
        )
    found = kinds(dict(section))
    if len(found) > 1:
        both = " and ".join(names.get(f"{name}.{kind}", kind) for kind in found)
        return f"{both}: more than one credential is given; keep one"
    if not found and not set(section) - set(TenantSettings.model_fields):
        return f"{told}: has no credential; give {' or '.join(_KINDS)}"
    return ""


_KINDS = ("client_secret_file", "client_secret", "client_certificate", "federated_token_file")
