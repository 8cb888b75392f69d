"""The page of promises is true: its files, headings, settings and make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from presence_manager import Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "PROMISES.md"
TEXT = PAGE.read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`([^`]*\bmake [^`]+)`", TEXT)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)", TEXT))))
def test_every_file_that_is_linked_exists(target: str) -> None:
    assert (PAGE.parent / target).is_file()


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_can_be_given(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    (target,) = re.findall(r"\bmake (\w+)", command)
    assert target in targets
    recipe = re.split(rf"^{target}:", makefile, flags=re.MULTILINE)[1].split("\n\n")[0]
    for variable in re.findall(r"\bmake.* (\w+)=", command):
        assert f"$({variable})" in recipe, f"make {target} takes no {variable}"
    for path in re.findall(r"\btests/[\w/]+", command):
        assert (ROOT / path).exists()


def test_each_promise_of_the_readme_has_its_proof_here() -> None:
    said = re.search(r"^## What is promised$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert said is not None
    promises = re.findall(r"^(\d+)\. \*\*(.+?)\.?\*\*", said[1], re.MULTILINE)
    assert promises == re.findall(r"^## (\d+)\. (.+)$", TEXT, re.MULTILINE)
    assert len(promises) == 12
    for section in re.split(r"^## \d+\. ", TEXT, flags=re.MULTILINE)[1:]:
        assert "- Proven by: " in section
        assert "- Again: " in section


def test_every_heading_that_is_linked_exists() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
    assert set(re.findall(r"README\.md#([^)]+)\)", TEXT)) <= anchors


def test_every_setting_named_exists() -> None:
    known = {setting.variable for setting in Settings.model_construct().describe()}
    assert set(re.findall(r"PRESENCE_\w+", TEXT)) <= known


def test_every_figure_has_its_command_and_its_date() -> None:
    rows = re.findall(r"^\| `(make [^`]+)` \| (\d{4}-\d\d-\d\d) \| (.+) \|$", TEXT, re.MULTILINE)
    assert {command.split()[1] for command, _, _ in rows} == {
        "simulate", "crash", "endurance", "cover", "mutate",
    }  # fmt: skip


def test_the_readme_links_to_it() -> None:
    assert "](tests/PROMISES.md)" in README
