"""What several tests of the engine need."""

from __future__ import annotations

import pytest


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hundred sessions be all that a sweep sees to at a time."""
    monkeypatch.setattr("presence_manager.engine.sources.WINDOW", 100)
    monkeypatch.setattr("presence_manager.engine.sources.CHUNK", 25)
    monkeypatch.setattr("presence_manager.manager.ids.CHUNK", 25)
