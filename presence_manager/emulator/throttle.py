"""Graph's request budget: a window that slides, one for each (application, tenant).

Sources: *Microsoft Graph service-specific throttling limits* (presence: 10,000 requests in 30 s
per application per tenant, 1,500 in older texts) and *Microsoft Graph throttling guidance* (refused
requests accrue against the limit too). That the window slides is an assumption; no page says.
"""

from __future__ import annotations

import math
from collections import deque
from email.utils import formatdate
from typing import Literal

RetryAfterStyle = Literal["whole", "fractional", "http-date", "absent", "nonsense", "one"]
"""How Retry-After is spelled; all were seen in the field, or are allowed by RFC 9110.

"one" is the header that stays at 1 whatever the wait (msgraph-sdk-javascript issue 297).
"""


def spell(wait: float, now: float, style: RetryAfterStyle) -> str | None:
    """Return the Retry-After value for a wait of so many seconds, or None for no header."""
    match style:
        case "whole":
            return str(max(1, math.ceil(wait)))
        case "fractional":
            return f"{wait:.3f}"
        case "http-date":
            return formatdate(math.ceil(now + wait), usegmt=True)
        case "absent":
            return None
        case "nonsense":
            return "soon"
        case "one":
            return "1"


class Throttle:
    """Counts requests; ``limit`` of them in any ``window`` seconds are let through."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self._sent: dict[tuple[str, str], deque[float]] = {}

    def take(self, app: str, tenant: str, now: float) -> float:
        """Count one request at ``now``; return 0.0 if it may pass, else seconds till one may.

        A request exactly ``window`` old no longer counts.
        """
        sent = self._sent.get((app, tenant))
        if sent is None:
            sent = self._sent[app, tenant] = deque()
        edge = now - self.window
        while sent and sent[0] <= edge:
            sent.popleft()
        sent.append(now)
        over = len(sent) - self.limit
        if over <= 0:
            return 0.0
        # A next request passes when at most limit - 1 others, this refused one included, are left.
        return max(sent[over] + self.window - now, 0.001) if self.limit > 0 else self.window
