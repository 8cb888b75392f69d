"""Two sessions of a sweep make a bundle here, so that its awaits are met as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from presence_manager.engine import desk


@pytest.fixture(autouse=True, scope="package")
def bundles() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "FULL_BATCH", 2)
        yield
