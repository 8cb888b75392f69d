"""Microsoft's SDK, pointed at this machine.

Its adapter's `base_url` is set after it is made, and an authentication provider of three lines adds
the token: the SDK's own refuses to send one over plain http. All else is as the SDK makes it.
"""

from __future__ import annotations

from typing import Any

from kiota_abstractions.authentication import AuthenticationProvider
from kiota_abstractions.request_information import RequestInformation
from msgraph_beta import GraphRequestAdapter, GraphServiceClient

from benchmarks.graph.ids import TOKEN


class Ready(AuthenticationProvider):  # type: ignore[misc,unused-ignore]
    """Adds a ready token."""

    async def authenticate_request(
        self,
        request: RequestInformation,
        additional_authentication_context: dict[str, Any] | None = None,
    ) -> None:
        """Add the token."""
        request.headers.try_add("Authorization", f"Bearer {TOKEN}")


def client_of(url: str) -> GraphServiceClient:
    """Return the SDK's client for the server at `url`."""
    adapter = GraphRequestAdapter(Ready())
    client = GraphServiceClient(request_adapter=adapter)
    adapter.base_url = f"{url}/beta"
    client.path_parameters["baseurl"] = adapter.base_url
    return client
