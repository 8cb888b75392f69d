"""Microsoft's own SDK with its batch requests: twenty users in each, four in flight.

The SDK does not repeat what failed within a batch; a loop round it does, eight times, and waits as
long as Graph asks.
"""

from __future__ import annotations

import asyncio

import httpx
from kiota_abstractions.api_error import APIError
from msgraph_beta.generated.users.item.presence.clear_presence.clear_presence_post_request_body import (  # noqa: E501
    ClearPresencePostRequestBody,
)
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

from benchmarks.contenders.job import OUTCOMES, Job, main
from benchmarks.contenders.msgraph_client import client_of
from benchmarks.graph.ids import APP

AGAIN = {429, 502, 503, 504}


async def clear(job: Job) -> dict[str, str]:
    """Clear all users."""
    client = client_of(job.url)
    builder = BatchRequestBuilder(client.request_adapter)
    body = ClearPresencePostRequestBody(session_id=APP)
    found: dict[str, str] = {}

    async def once(users: list[str]) -> tuple[list[str], float]:
        """Post one batch; return who has to be asked again, and after how long."""
        requests = {}
        for user in users:
            clear_presence = client.users.by_user_id(user).presence.clear_presence
            request = clear_presence.to_post_request_information(body)
            # The id must be given here: for a bare request the SDK makes one up.
            requests[user] = BatchRequestItem(request, id=user)
        content = await builder.post(BatchRequestContent(requests))
        again, wait = [], 0.0
        responses = content.responses or {}
        for user in users:
            item = responses.get(user)
            if item is None or item.status in AGAIN:
                again.append(user)
                headers = {k.lower(): v for k, v in ((item and item.headers) or {}).items()}
                wait = max(wait, float(headers.get("retry-after", 0.5)))
            else:
                found[user] = OUTCOMES.get(item.status, "failed")
        return again, wait

    async def all_of(users: list[str]) -> None:
        for attempt in range(8):
            try:
                users, wait = await once(users)
            except (httpx.TransportError, APIError):
                wait = 0.5 * 2**attempt
            if not users:
                return
            await asyncio.sleep(wait)
        found.update(dict.fromkeys(users, "failed"))

    chunks = [job.users[start : start + 20] for start in range(0, len(job.users), 20)]

    async def work() -> None:
        while chunks:
            await all_of(chunks.pop())

    job.start()
    await asyncio.gather(*(work() for _ in range(4)))
    job.stop()
    return found


if __name__ == "__main__":
    main(clear)
