"""Whether Graph and the sign-in can be reached and trusted, and whether the clocks agree."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from presence_manager.errors import SettingsError
from presence_manager.hosts.doctor.door import Answer, Unreached, look
from presence_manager.hosts.doctor.finding import Finding, fail, ok, skipped, warn
from presence_manager.settings import GraphSettings

_SOON = 14.0
"""Days before the end of a certificate from which on it is warned of."""
_DAY = 86_400.0
_DO = {
    "nameNotFound": "check the name in {setting}, and this machine's name resolution (DNS)",
    "tlsFailed": "check PRESENCE_GRAPH__CA_FILE, which names the PEM file of the authority to "
    "trust, and whether a proxy opens TLS on the way",
    "proxyFailed": "check HTTPS_PROXY and NO_PROXY",
}
_OTHERWISE = "check {setting}, firewalls, and HTTPS_PROXY if there has to be a proxy"


async def reach(
    name: str, origin: str, path: str, how: GraphSettings
) -> tuple[Finding, Answer | None]:
    """Ask for a page that needs no sign-in; any answer of its own will do."""
    setting = f"PRESENCE_GRAPH__{'BASE_URL' if name == 'graph' else 'AUTHORITY'}"
    try:
        answer = await look(origin + path, how)
    except Unreached as error:
        return fail(name, str(error), _DO.get(error.code, _OTHERWISE).format(setting=setting)), None
    except SettingsError as error:
        return fail(name, str(error), "put that setting right"), None
    return _judged(name, origin, setting, answer), answer


def _judged(name: str, origin: str, setting: str, answer: Answer) -> Finding:
    host = urlsplit(origin).netloc
    way = f" through the proxy {answer.proxy}" if answer.proxy else ""
    if 300 <= answer.status < 400:
        return warn(
            name,
            f"{host} answers{way} with a redirect (HTTP {answer.status}), which is never followed",
            f"check {setting}, and whether a proxy or a portal stands in between",
        )
    if answer.status >= 500:
        return warn(
            name,
            f"{host} answers{way} with HTTP {answer.status}: it is in trouble, or a proxy is",
            "look again in a minute; Microsoft tells of outages at status.cloud.microsoft",
        )
    if answer.expires is None:
        return ok(name, f"{host} answers{way}, without TLS")
    days = (answer.expires - time.time()) / _DAY
    if days < _SOON:
        return warn(
            name,
            f"{host} answers{way} over TLS, and its certificate ends in {days:.0f} days",
            "have it renewed before",
        )
    return ok(name, f"{host} answers{way} over TLS; its certificate is good for {days:.0f} days")


async def clock(answer: Answer | None, margin: float) -> Finding:
    """Compare this machine's clock with Graph's; `margin` is how many seconds they may differ."""
    if answer is None or answer.date is None:
        return skipped("clock", "Graph has not told its time")
    ahead = answer.at - (answer.date + 0.5)  # Date is in whole seconds, cut off
    side = "ahead of" if ahead > 0 else "behind"
    if abs(ahead) > margin:
        return warn(
            "clock",
            f"this machine's clock is {abs(ahead):.0f} s {side} Graph's, more than the "
            f"{margin:g} s that are reckoned with: sign-ins may be refused, leases misjudged",
            "set it right, and keep it so with NTP (timedatectl, chrony, w32tm)",
        )
    if abs(ahead) < 1.0:
        return ok("clock", "this machine's clock and Graph's agree to the second")
    return ok("clock", f"this machine's clock is {abs(ahead):.0f} s {side} Graph's")
