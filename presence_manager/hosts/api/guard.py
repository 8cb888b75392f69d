"""Who may ask: the name by which the daemon is called, the site that asks, and the token.

A page of any site can have its visitor's browser send requests to this machine. What it cannot
do: choose the Host header, leave out Origin on requests that change something, or read answers.
So names that are not ours are refused (DNS rebinding), and so is whatever changes something and
comes from another site.
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from presence_manager.hosts.api import problems
from presence_manager.hosts.api.problems import Problem
from presence_manager.hosts.api.tokens import Bearer, Tokens

SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Lets a request pass, or raises Problem.

    `names` are those by which the daemon may be called; None on a Unix socket, which no browser
    reaches. Addresses in digits always pass: a name is what rebinding needs.
    """

    def __init__(self, tokens: Tokens, names: frozenset[str] | None) -> None:
        self.tokens = tokens
        self._names = names

    def check(self, request: web.BaseRequest, *, public: bool) -> Bearer | None:
        """Who is asking, where a token is needed; `public` needs none."""
        self._check_host(request)
        if request.method not in SAFE:
            _check_site(request)
        if not self.tokens or public:
            return None
        given = request.headers.getall("Authorization", [])
        bearer = self.tokens.bearer(given[0]) if len(given) == 1 else None
        if bearer is None:
            raise Problem(
                problems.UNAUTHORIZED,
                "send a token of this daemon: Authorization: Bearer ...",
                headers={"WWW-Authenticate": 'Bearer realm="presence-manager"'},
            )
        if bearer.scope == "read" and request.method not in SAFE:
            raise Problem(
                problems.FORBIDDEN,
                f"the token {bearer.name} is for reading only",
                headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
            )
        return bearer

    def _check_host(self, request: web.BaseRequest) -> None:
        if self._names is None:
            return
        given = request.headers.getall("Host", [])
        if len(given) != 1 or not self._is_ours(host_of(given[0])):
            raise Problem(
                problems.WRONG_HOST,
                "call it by localhost, by its address, or add the name to http.hosts",
            )

    def _is_ours(self, host: str) -> bool:
        assert self._names is not None
        if host in self._names:
            return True
        try:
            ip_address(host)
        except ValueError:
            return False
        return True


def host_of(authority: str) -> str:
    """The host of host:port."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def _check_site(request: web.BaseRequest) -> None:
    origin = request.headers.get("Origin")
    # Without the scheme: what a proxy takes by https may come here by http.
    _, _, authority = (origin or "").partition("://")
    foreign = origin is not None and authority.lower() != request.headers.get("Host", "").lower()
    site = request.headers.get("Sec-Fetch-Site", "none")
    if foreign or site not in ("none", "same-origin"):
        raise Problem(problems.CROSS_SITE, "a page of another site has sent this")
