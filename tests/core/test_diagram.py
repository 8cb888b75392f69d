"""The state diagram in the documentation is drawn from the table."""

from __future__ import annotations

from pathlib import Path

from presence_manager.core.table import TRANSITIONS, diagram


def test_the_diagram_shows_every_transition() -> None:
    drawn = diagram()
    for (known, event), then in TRANSITIONS.items():
        name = event.replace(",", ":")
        arrows = [line for line in drawn.splitlines() if name in line]
        if known is then:
            assert any(f"note right of {known}:" in line for line in arrows)
        else:
            assert any(f"{known} --> {then}:" in line for line in arrows)


def test_the_diagram_in_the_documentation_is_this_one() -> None:
    """When it fails: python -c 'from presence_manager.core.table import *; print(diagram())'."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
