"""What a careful person writes in an afternoon: aiohttp, a semaphore, tenacity.

One request for each user, fifty in flight, eight attempts, Retry-After obeyed.
"""

from __future__ import annotations

import asyncio

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from benchmarks.contenders.job import OUTCOMES, Job, main
from benchmarks.graph.ids import APP, TOKEN


class Again(Exception):
    """Graph asks to come again, after so many seconds if it says so."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def wait(state: RetryCallState, backoff: wait_exponential_jitter) -> float:
    """Wait as long as Graph asks, or longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, Again) else None
    return backoff(state) if asked is None else asked


async def clear(job: Job) -> dict[str, str]:
    """Clear all users."""
    backoff = wait_exponential_jitter(0.5, 30)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(8),
        wait=lambda state: wait(state, backoff),
        retry=retry_if_exception_type((Again, aiohttp.ClientError, asyncio.TimeoutError)),
        reraise=True,
    )
    places = asyncio.Semaphore(50)

    async def once(http: aiohttp.ClientSession, user: str) -> str:
        url = f"{job.url}/v1.0/users/{user}/presence/clearPresence"
        async with http.post(url, json={"sessionId": APP}) as answer:
            if answer.status in (429, 502, 503, 504):
                after = answer.headers.get("Retry-After")
                raise Again(float(after) if after else None)
            return OUTCOMES.get(answer.status, "failed")

    async def one(http: aiohttp.ClientSession, user: str) -> tuple[str, str]:
        async with places:
            try:
                return user, await retrying.copy()(once, http, user)
            except (TimeoutError, Again, aiohttp.ClientError):
                return user, "failed"

    headers = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        job.start()
        found = await asyncio.gather(*(one(http, user) for user in job.users))
        job.stop()
    return dict(found)


if __name__ == "__main__":
    main(clear)
