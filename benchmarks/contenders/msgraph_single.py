"""Microsoft's own SDK, one request for each user, fifty in flight.

The SDK itself repeats 429, 503 and 504, three times; a loop round it repeats lost connections.
"""

from __future__ import annotations

import asyncio

import httpx
from kiota_abstractions.api_error import APIError
from msgraph_beta import GraphServiceClient
from msgraph_beta.generated.users.item.presence.clear_presence.clear_presence_post_request_body import (  # noqa: E501
    ClearPresencePostRequestBody,
)
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from benchmarks.contenders.job import OUTCOMES, Job, main
from benchmarks.contenders.msgraph_client import client_of
from benchmarks.graph.ids import APP


async def clear(job: Job) -> dict[str, str]:
    """Clear all users."""
    client: GraphServiceClient = client_of(job.url)
    body = ClearPresencePostRequestBody(session_id=APP)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(8),
        wait=wait_exponential_jitter(0.5, 30),
        retry=retry_if_exception_type(httpx.TransportError),
        reraise=True,
    )
    places = asyncio.Semaphore(50)

    async def one(user: str) -> tuple[str, str]:
        request = client.users.by_user_id(user).presence.clear_presence
        async with places:
            try:
                await retrying.copy()(request.post, body)
            except APIError as error:
                return user, OUTCOMES.get(error.response_status_code or 0, "failed")
            except httpx.TransportError:
                return user, "failed"
            return user, "cleared"

    job.start()
    found = await asyncio.gather(*map(one, job.users))
    job.stop()
    return dict(found)


if __name__ == "__main__":
    main(clear)
