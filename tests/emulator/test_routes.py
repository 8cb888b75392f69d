"""No id can change the route, whatever it contains."""

from __future__ import annotations

import pytest

from presence_manager.emulator.answers import Answer
from presence_manager.emulator.routes import Target, Verb, route

from .client import ALICE, BOB


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"/users/{ALICE}/presence/setPresence", Target(Verb.SET, ALICE)),
        (f"users/{ALICE}/presence/clearPresence", Target(Verb.CLEAR, ALICE)),
        (f"/users/{ALICE}/presence/setPresence?x=1", Target(Verb.SET, ALICE)),
        (f"/users/{ALICE.upper()}/presence/setPresence", Target(Verb.SET, ALICE)),
        (f"/users/{ALICE.replace('-', '%2D')}/presence/setPresence", Target(Verb.SET, ALICE)),
        (f"/users/{ALICE}/presence/%73etPresence", Target(Verb.SET, ALICE)),
    ],
)
def test_spellings_of_one_route(path: str, target: Target) -> None:
    assert route("POST", path) == target


@pytest.mark.parametrize(
    "name",
    [
        f"{BOB}/../{ALICE}",
        f"../users/{ALICE}",
        f"%2e%2e/users/{ALICE}",
        f"%2E%2E%2Fusers%2F{ALICE}",
        f"x%2F..%2F{ALICE}",
        f"..%5c{ALICE}",
        f".%2F{ALICE}",
        f"%252e%252e/{ALICE}",
        f"{ALICE}/presence/setPresence?",
        f"{ALICE}%00",
        f"{ALICE}%0a",
        f"{ALICE}#",
        f" {ALICE}",
        f"{ALICE};x",
        f"('{ALICE}')",
        "",
        ".",
        "%2e",
    ],
)
def test_an_id_cannot_change_the_route(name: str) -> None:
    for verb in ("set", "clear"):
        answer = route("POST", f"/users/{name}/presence/{verb}Presence")
        if "?" in name:
            # The query begins there for every server; the rest of the path is not looked at.
            assert answer == Target(Verb.SET, ALICE)
        else:
            assert isinstance(answer, Answer)
            assert answer.status in {400, 404}
