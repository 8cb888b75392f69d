"""Access tokens: real-looking JWTs, made and believed here and nowhere else.

Claims as in *Access token claims reference*; the challenge as in *Claims challenges, claims
requests and client capabilities*.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Collection
from typing import Any

from .identity import Identity
from .values import guid

GRAPH = "https://graph.microsoft.com"
GRAPH_ID = "00000003-0000-0000-c000-000000000000"
_KEY = b"presence-manager emulator: signs tokens for loopback only"
"""Fixed, so that a ready token outlives a restart of the emulator. It protects nothing."""
MOST_REMEMBERED = 100_000


def b64(data: bytes) -> str:
    """Encode as JWTs do: URL-safe, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Decode what `b64` made; ValueError if it is anything else."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def json_of(segment: str) -> dict[str, Any]:
    """Decode one JWT segment into a JSON object; ValueError if it is none."""
    document = json.loads(unb64(segment))
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


class Tokens:
    """Issues tokens, verifies each text once, and revokes."""

    def __init__(self, *, clock: Callable[[], float], issuer: Callable[[str], str]) -> None:
        self._clock = clock
        self._issuer = issuer
        self.audience = GRAPH
        """Whom tokens are for: this Graph's own address, once it has one."""
        self._known: dict[str, Identity | None] = {}
        self._serial = 0
        self._revoked_up_to = 0
        self._revoked: set[str] = set()
        self.revoked_at = 0.0

    def accepts_audience(self, resource: str) -> bool:
        """Whether a token for this resource would be one for this Graph."""
        return resource.rstrip("/") in {self.audience, GRAPH, GRAPH_ID}

    def issue(
        self, tenant: str, app: str, *, lifetime: float, roles: Collection[str], cp1: bool
    ) -> str:
        """Return a token that is valid from now for ``lifetime`` seconds."""
        self._serial += 1
        now = int(self._clock())
        payload: dict[str, Any] = {
            "aud": self.audience,
            "iss": self._issuer(tenant),
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime),
            "appid": app,
            "app_displayname": "presence-manager emulator",
            "idtyp": "app",
            "roles": sorted(roles),
            "tid": tenant,
            "uti": f"emulated{self._serial}",
            "ver": "1.0",
        }
        if cp1:
            payload["xms_cc"] = ["CP1"]
        header = {"typ": "JWT", "alg": "HS256", "kid": "emulator"}
        signed = f"{b64(_compact(header))}.{b64(_compact(payload))}"
        return f"{signed}.{b64(_mac(signed))}"

    def verify(self, token: str) -> Identity | None:
        """Return who a token speaks for, or None; only its signature and form are judged here."""
        try:
            return self._known[token]
        except KeyError:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            identity = self._known[token] = self._read(token)
            return identity

    def is_live(self, identity: Identity) -> bool:
        """Whether the token may be used at this instant; it is over at its expiry exactly."""
        return identity.not_before <= self._clock() < identity.expires_at

    def is_revoked(self, token: str, identity: Identity) -> bool:
        """Whether the token was revoked, singly or with all that had been issued by then."""
        return identity.serial <= self._revoked_up_to or token in self._revoked

    def revoke(self, token: str | None) -> None:
        """Revoke one token, or all that were issued up to now."""
        self.revoked_at = self._clock()
        if token is None:
            self._revoked_up_to = self._serial
        else:
            self._revoked.add(token)

    def challenge(self) -> str:
        """Return the claims of a challenge in base64: a token that is newer than the revocation."""
        newer = {"essential": True, "value": str(int(self.revoked_at))}
        claims = _compact({"access_token": {"nbf": newer}})
        return base64.b64encode(claims).decode()

    def _read(self, token: str) -> Identity | None:
        signed, _, signature = token.rpartition(".")
        expected = b64(_mac(signed)).encode()
        if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
            return None
        payload = json_of(signed.partition(".")[2])
        tenant, app = guid(payload["tid"]), guid(payload["appid"])
        if tenant is None or app is None:
            return None
        return Identity(
            tenant=tenant,
            app=app,
            roles=frozenset(payload["roles"]),
            not_before=payload["nbf"],
            expires_at=payload["exp"],
            cp1="xms_cc" in payload,
            serial=int(payload["uti"].removeprefix("emulated")),
        )


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _mac(signed: str) -> bytes:
    return hmac.digest(_KEY, signed.encode("ascii", "replace"), hashlib.sha256)
