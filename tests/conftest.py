"""What every test relies on: no setting from outside, Hypothesis within bounds."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Who starts the tests in the background may have these ignored, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100, database=None)
settings.register_profile("long", deadline=None, max_examples=5000, database=None)
settings.register_profile(
    "mutate",
    parent=settings.get_profile("ci"),
    max_examples=25,
    suppress_health_check=[HealthCheck.differing_executors],  # mutmut calls each test twice
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("PRESENCE_", "AZURE_")):
            monkeypatch.delenv(name)
