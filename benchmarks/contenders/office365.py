"""Office365-REST-Python-Client with its batches: twenty users in each, four in flight.

It repeats what failed within a batch by itself. It knows no other Graph than Microsoft's clouds, so
its table of addresses is given this machine's.
"""

from __future__ import annotations

import logging

from office365 import azure_env
from office365.graph_client import GraphClient

from benchmarks.contenders.job import OUTCOMES, Job, main
from benchmarks.graph.ids import APP, TOKEN


async def clear(job: Job) -> dict[str, str]:
    """Clear all users; the library is not asynchronous, and uses four threads."""
    logging.disable(logging.CRITICAL)
    azure_env._ENDPOINTS[azure_env.AzureEnvironment.Global]["graph"] = job.url
    client = GraphClient(lambda: {"token_type": "Bearer", "access_token": TOKEN})
    found: dict[str, str] = {}
    job.start()
    users = {}
    for user in job.users:
        client.users[user].presence.clear_presence(APP)
        users[id(client._queries[-1])] = user
    with client.collect_batch_failures() as failures:
        try:
            client.execute_batch(concurrency=4)
        except Exception as error:
            job.facts["raised"] = f"{type(error).__name__}: {error}"[:200]
    found = dict.fromkeys(job.users, "cleared")
    for query, error in failures:
        status = error.response.status_code if error.response is not None else 0
        found[users[id(query)]] = OUTCOMES.get(status, "failed")
    job.stop()
    return found


if __name__ == "__main__":
    main(clear)
