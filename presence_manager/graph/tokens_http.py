"""The HTTP client that is given to msal: bounded, strict, and the place where faults get names.

msal's own client has no timeout, follows redirects with the secret in the body, and remembers
errors: an HTTP 400 for a minute, 429 and 5xx for the Retry-After. Here every answer that is
not the JSON object asked for is raised as a `Failure`, so it never gets into msal's memory (nor
into its log); the memory in `tokens_memory` does that work, in one place.

Imports requests: import this module on the worker thread only.
"""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_refusal import refusal

_LARGEST = 1_048_576  # bytes of an answer that are read
# How the token endpoint says that a device code is not used yet: msal wants to read that.
_PENDING = frozenset({"authorization_pending", "slow_down"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What msal wants to see of an answer; all but a few with status 200 are raised before."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Do nothing: what is no success was raised already."""


class _SystemTrust(HTTPAdapter):
    """Trusts what the system trusts, too: requests alone knows its own list only."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["ssl_context"] = ssl.create_default_context()
        return super().proxy_manager_for(*args, **kwargs)


class IdentityClient:
    """Speaks to one authority until `deadline` (monotonic seconds); for one thread.

    `ca_file` replaces the authorities that are trusted, else those of the system are, as for
    Graph itself, with those that come with requests. `secrets` are blotted out of texts.
    All methods raise Failure.
    """

    def __init__(
        self,
        authority: str,
        *,
        ca_file: Path | None,
        connect_timeout: float,
        deadline: float,
        secrets: tuple[str, ...],
    ) -> None:
        self._authority = authority
        self._verify = None if ca_file is None else str(ca_file)
        self._connect_timeout = connect_timeout
        self._deadline = deadline
        self._secrets = secrets
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else ~/.netrc would sign the request, too
        if ca_file is None:
            self._session.mount("https://", _SystemTrust())
        if urlsplit(authority).hostname in _LOOPBACK:
            self._session.trust_env = False  # no proxy reaches this machine's own loopback

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> Answer:
        """Fetch the tenant's OpenID configuration, and check where it would send the secret."""
        answer, document = self._request("GET", url, params=params, headers=headers)
        for name in ("token_endpoint", "authorization_endpoint"):
            if not isinstance(document.get(name), str):
                raise Failure(f"{self._authority} answered without a {name}: {_SETTING}")
        self._check_place(str(document["token_endpoint"]))
        return answer

    def post(
        self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any
    ) -> Answer:
        """Ask for a token."""
        self._check_place(url)
        return self._request("POST", url, params=params, data=data, headers=headers)[0]

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _check_place(self, url: str) -> None:
        """Let the secret go to the configured authority only, or among Microsoft's own hosts."""
        if _origin(url) == _origin(self._authority):
            return
        hosts = {urlsplit(url).hostname, urlsplit(self._authority).hostname}
        if url.startswith("https://") and hosts <= WELL_KNOWN_AUTHORITY_HOSTS:
            return
        raise Failure(
            f"{self._authority} would have the secret sent to another place "
            f"({urlsplit(url).hostname}), which is not done: {_SETTING}",
            refused=True,
            code="untrusted_endpoint",
        )

    def _request(self, method: str, url: str, **what: Any) -> tuple[Answer, dict[str, Any]]:
        left = self._deadline - time.monotonic()
        failure: Failure | None = None
        try:
            if left <= 0:
                raise requests.Timeout
            with self._session.request(
                method,
                url,
                timeout=(min(self._connect_timeout, left), left),
                verify=self._verify,  # said here, or REQUESTS_CA_BUNDLE would come before ca_file
                allow_redirects=False,
                stream=True,
                **what,
            ) as response:
                body = self._body(response)
        # ValueError is what requests makes of a URL or a file that it cannot use.
        except (OSError, HTTPError, ValueError) as error:
            failure = self._fault(error)
        if failure is not None:
            raise failure
        return self._read(response, body)

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(16_384):
            body += chunk
            if len(body) > _LARGEST:
                raise Failure(f"{self._authority} answered with more than a megabyte: {_SETTING}")
            if time.monotonic() > self._deadline:
                raise requests.Timeout
        return bytes(body)

    def _read(self, response: requests.Response, body: bytes) -> tuple[Answer, dict[str, Any]]:
        status = response.status_code
        try:
            text = body.decode()
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if status == 200 and isinstance(document, dict) and "error" not in document:
            return Answer(status, text, dict(response.headers)), document
        if status == 400 and isinstance(document, dict) and document.get("error") in _PENDING:
            return Answer(status, text, dict(response.headers)), document
        raise self._no_success(status, response.headers, document)

    def _no_success(self, status: int, headers: Mapping[str, str], document: Any) -> Failure:
        oauth = isinstance(document, dict) and isinstance(document.get("error"), str)
        if status in (408, 429) or status >= 500:
            wait = retry_after(headers.get("Retry-After"), time.time())
            return Failure(
                f"{self._authority} answered with HTTP {status}",
                again=status != 429 and wait is None,
                wait=wait,
            )
        if oauth:
            return refusal(document, self._secrets)
        if status == 404:
            return Failure(
                f"{self._authority} has no such page (HTTP 404): {_SETTING}",
                refused=True,
                code="not_found",
            )
        if 300 <= status < 400:
            return Failure(
                f"{self._authority} redirects to another place (HTTP {status}), which is not "
                f"followed: {_SETTING}"
            )
        return Failure(
            f"what {self._authority} answered (HTTP {status}) is not from an identity platform: "
            f"{_SETTING}",
            again=status == 200,
        )

    def _fault(self, error: Exception) -> Failure:
        """Return what a request came to that got no answer."""
        root = _root(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            why = str(getattr(root, "verify_message", "") or "certificate verify failed")[:120]
            return Failure(
                f"the certificate of {self._authority} is not trusted ({why}): set graph.ca_file "
                "(PRESENCE_GRAPH__CA_FILE) to the PEM file of the authority that issued it"
            )
        if isinstance(error, requests.Timeout):
            return Failure(f"{self._authority} did not answer in time")
        if isinstance(error, requests.exceptions.ProxyError):
            return Failure(f"the proxy on the way to {self._authority} does not answer", again=True)
        said = root.strerror if isinstance(root, OSError) and root.strerror else ""
        return Failure(
            f"the connection to {self._authority} failed ({(said or type(root).__name__)[:120]})",
            again=True,
        )


_SETTING = "check graph.authority (PRESENCE_GRAPH__AUTHORITY)"


def retry_after(value: str | None, now: float) -> float | None:
    """Return a Retry-After, a number or a date, in seconds from `now`; None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError, OSError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # a port that is none
        return parts.scheme, parts.hostname, None


def _root(error: BaseException) -> BaseException:
    """Return the exception at the bottom: requests and urllib3 wrap it three times over."""
    for _ in range(10):
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        inner = inner or error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return error
