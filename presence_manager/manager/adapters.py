"""The adapters that a manager takes where it is given none."""

from __future__ import annotations

from typing import Any

from presence_manager.ports import Clock, Graph, Tokens
from presence_manager.settings import Settings


def microsoft_graph(
    settings: Settings, tokens: Tokens | Any | None, clock: Clock
) -> tuple[Tokens, Graph]:
    """The real Graph and the sign-in to it; their libraries load only where they are wanted."""
    from presence_manager.graph.client import GraphClient  # noqa: PLC0415
    from presence_manager.graph.tokens import adapt  # noqa: PLC0415

    sign_in = adapt(tokens, settings)
    return sign_in, GraphClient(settings.graph, sign_in, clock)
