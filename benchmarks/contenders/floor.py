"""A bare aiohttp loop that posts ready-made batches, four in flight, and keeps no record.

It retries nothing: the least that Python and aiohttp can do, no peer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence

import aiohttp

from benchmarks.contenders.job import OUTCOMES, Job, main
from benchmarks.graph.ids import APP, TOKEN


def bodies(users: Sequence[str]) -> Iterator[bytes]:
    """Yield $batch bodies of 20 clears; the id of each is its user."""
    for start in range(0, len(users), 20):
        requests = [
            {
                "id": user,
                "method": "POST",
                "url": f"/users/{user}/presence/clearPresence",
                "headers": {"Content-Type": "application/json"},
                "body": {"sessionId": APP},
            }
            for user in users[start : start + 20]
        ]
        yield json.dumps({"requests": requests}).encode()


def read_batch(answer: bytes, found: dict[str, str]) -> None:
    """Note each item's outcome."""
    for item in json.loads(answer)["responses"]:
        found[item["id"]] = OUTCOMES.get(item["status"], "failed")


async def clear(job: Job) -> dict[str, str]:
    """Clear all users."""
    found: dict[str, str] = {}
    ready = list(bodies(job.users))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

    async def post(http: aiohttp.ClientSession) -> None:
        while ready:
            async with http.post(f"{job.url}/v1.0/$batch", data=ready.pop()) as answer:
                read_batch(await answer.read(), found)

    async with aiohttp.ClientSession(headers=headers) as http:
        job.start()
        await asyncio.gather(*(post(http) for _ in range(4)))
        job.stop()
    return found


if __name__ == "__main__":
    main(clear)
