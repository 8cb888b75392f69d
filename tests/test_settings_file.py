"""config/presence.toml shows every setting with its unit and default, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from presence_manager import settings

FILE = Path(__file__).parents[1] / "config" / "presence.toml"
# A setting that has no default, or is a secret, is shown as a comment.
COMMENTED = re.compile(r"^# ([a-z_]+ = .*)$", re.MULTILINE)


def flat(document: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def test_it_names_every_setting_with_its_default() -> None:
    shown = flat(tomllib.loads(COMMENTED.sub(r"\1", FILE.read_text())))
    assert shown == {each.name: each.default for each in settings.Settings().describe()}


def test_its_active_lines_are_those_that_have_a_default_and_no_secret() -> None:
    active = flat(tomllib.loads(FILE.read_text()))
    described = {each.name: each for each in settings.Settings().describe()}
    assert not [name for name in active if described[name].secret]
    without = {"tenant_id", "client_id", "client_certificate", "graph.ca_file", "graph.cloud"}
    without |= {"client_secret_file", "federated_token_file", "managed_identity", "delegated"}
    without |= {"http.tokens_file", "http.tls_cert", "http.tls_key"}
    secrets = {each.name for each in described.values() if each.secret}
    assert set(described) - set(active) == without | secrets


def test_the_line_above_each_setting_says_what_it_is() -> None:
    lines = COMMENTED.sub(r"\1", FILE.read_text()).splitlines()
    section = ""
    for number, line in enumerate(lines):
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif " = " in line and not line.startswith("#"):
            name = section + line.partition(" = ")[0]
            above = lines[number - 1]
            if above.startswith("# ("):  # a remark stands between
                above = lines[number - 2]
            described = {each.name: each.description for each in settings.Settings().describe()}
            assert above == f"# {described[name]}", name


def test_it_is_accepted_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENCE_CONFIG", str(FILE))
    assert settings.Settings() == settings.Settings.model_construct()
