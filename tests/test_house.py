"""The house: which file may import which, how large it may be, and what lies where.

CONTRIBUTING.md has the map. A file imports only lower floors or, on its own floor, its own room.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = "presence_manager"
LONGEST_FILE = 300
LONGER = {  # more documentation than code
    "presence_manager/manager/manager.py": 465,  # the face
    "presence_manager/ports.py": 350,  # the clauses
}
LARGEST_ROOM = 1 / 6


class Room(NamedTuple):
    floor: int
    name: str


ROOMS = {
    "core": Room(0, "core"),
    "errors": Room(0, "errors and settings"),
    "settings": Room(0, "errors and settings"),
    "ports": Room(1, "ports"),
    "ledger": Room(2, "ledger"),
    "graph": Room(2, "graph"),
    "clock": Room(2, "clock"),
    "gate": Room(2, "gate"),
    "engine": Room(3, "engine"),
    "manager": Room(4, "manager"),
    "hosts": Room(5, "hosts"),
    "testing": Room(5, "testing"),
    "emulator": Room(0, "emulator"),
    "__init__": Room(6, "door"),
    "__main__": Room(6, "door"),
}
ONLY = {  # narrower than the floors
    "emulator": {"emulator"},  # what Graph does is written down twice, independently
    "engine": {"core", "errors and settings", "ports", "gate", "engine"},  # no adapters
    "gate": {"core", "ports", "gate"},
}
TENANTS_OF_EMULATOR = {"emulator", "hosts", "testing"}
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
TOP = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "benchmarks", "config", "examples", HOUSE, "pyproject.toml", "tests",
}  # fmt: skip
# Spelled so that this file does not name them.
NEVER_NAMED = [
    re.compile(pattern)
    for pattern in (
        r"(?<![\w.])/wor" r"k\b",
        "pypi" r"\.org",
        "pythonhosted" r"\.",
        r"(extra-)?index" "-url",
        "PIP_(EXTRA_)?INDEX",
        "find" "-links",
    )
]  # fmt: skip


def room_of(module: str) -> Room | None:
    """The room of a module, by its dotted name."""
    return ROOMS.get([*module.split("."), "__init__"][1])


def module_of(path: str) -> str:
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def imports(path: str, source: str, modules: set[str]) -> Iterator[str]:
    """Every module of ours that the file imports, at run time, lazily or for types."""
    package = PurePosixPath(path).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*above, *(node.module or "").split("."))).strip(".")
            names = [f"{start}.{alias.name}" for alias in node.names]
            found = [name if name in modules else start for name in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == HOUSE)


def faults(files: Mapping[str, str]) -> list[str]:
    """What is wrong with a house of these files."""
    modules = {module_of(path) for path in files}
    found = []
    for path, source in files.items():
        room = room_of(module_of(path))
        if room is None:
            found.append(f"{path} is in no room")
            continue
        if NO_NAMES & {part.strip("_") for part in PurePosixPath(path).with_suffix("").parts}:
            found.append(f"{path} has a name that says nothing")
        if (lines := source.count("\n")) > LONGER.get(path, LONGEST_FILE):
            found.append(f"{path} has {lines} lines: it is asking to be two files")
        for name in sorted(set(imports(path, source, modules))):
            other = room_of(name)
            if other is None:
                found.append(f"{path} imports {name}, which is in no room")
            elif not may_import(room, other):
                found.append(f"{path} (floor {room.floor}, {room.name}) imports {name}")
    return found


def may_import(room: Room, other: Room) -> bool:
    if other.name == "emulator":
        return room.name in TENANTS_OF_EMULATOR
    if other.name not in ONLY.get(room.name, {other.name}):
        return False
    return other.floor < room.floor or other == room


@pytest.fixture(scope="module")
def house() -> dict[str, str]:
    paths = sorted((ROOT / HOUSE).rglob("*.py"))
    return {str(path.relative_to(ROOT).as_posix()): path.read_text() for path in paths}


@pytest.fixture(scope="module")
def tree() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for path in answer.stdout.splitlines() if (ROOT / path).is_file()]


def test_the_house_stands(house: dict[str, str]) -> None:
    assert faults(house) == []


def test_no_room_is_too_large(house: dict[str, str]) -> None:
    sizes: Counter[str] = Counter()
    for path, source in house.items():
        room = room_of(module_of(path))
        name = room.name if room else path
        if name == "hosts":  # a house of its own: each host is a room
            name = PurePosixPath(path).parent.relative_to(HOUSE).as_posix()
        sizes[name] += source.count("\n")
    name, lines = sizes.most_common(1)[0]
    assert lines <= sizes.total() * LARGEST_ROOM, f"{name} has {lines} of {sizes.total()} lines"


def test_the_top_level_has_only_what_is_expected(tree: list[str]) -> None:
    assert {path.split("/")[0] for path in tree} <= TOP


def test_no_file_names_a_package_index_or_a_workplace(tree: list[str]) -> None:
    found = []
    for path in tree:
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {match}" for each in NEVER_NAMED if (match := each.search(text))]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/key.py", "import presence_manager.ports"),
        ("core/key.py", "from presence_manager import ports"),
        ("core/key.py", "from .. import ports"),
        ("core/key.py", "from ..ports import Graph"),
        ("core/key.py", "from presence_manager.errors import PresenceError"),
        ("core/key.py", "import presence_manager"),
        ("settings/model.py", "from presence_manager.core import key"),
        ("ports.py", "from presence_manager.ledger import memory"),
        ("ledger/memory.py", "from presence_manager.graph import wire"),
        ("graph/wire.py", "def f():\n from presence_manager.engine import lane"),
        ("engine/lane.py", "from presence_manager.graph import wire"),
        ("engine/lane.py", "from ..ledger import memory"),
        ("engine/lane.py", "import importlib\nimportlib.import_module('presence_manager.graph')"),
        ("engine/lane.py", "from presence_manager.hosts import cli"),
        (
            "manager.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import presence_manager.hosts",
        ),
        ("manager.py", "from presence_manager.emulator import app"),
        ("hosts/cli.py", "from presence_manager.testing import Kit"),
        ("hosts/cli.py", "import presence_manager"),
        ("testing.py", "from presence_manager.hosts import cli"),
        ("emulator/app.py", "from presence_manager.core import key"),
        ("emulator/app.py", "from presence_manager.errors import PresenceError"),
        ("hosts/cli.py", "import presence_manager.elsewhere"),
        ("elsewhere.py", ""),
        ("ledger/utils.py", ""),
        ("engine/lane.py", "\n" * 301),
    ],
)
def test_what_breaks_the_house(path: str, source: str) -> None:
    others = {f"{HOUSE}/{name}.py": "" for name in ("ports", "errors")}
    assert len(faults({**others, f"{HOUSE}/{path}": source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/key.py", "from presence_manager.core.pair import Pair\nfrom . import pair"),
        ("settings/model.py", "from presence_manager.errors import SettingsError"),
        ("engine/lane.py", "from presence_manager.ports import Graph\nimport aiohttp"),
        ("hosts/cli.py", "from presence_manager.manager import PresenceManager"),
        ("hosts/demo.py", "from presence_manager.emulator import app"),
        ("testing.py", "from presence_manager.emulator import app"),
        ("manager.py", "from presence_manager.graph import wire"),
        ("__init__.py", "from presence_manager.manager import PresenceManager"),
        ("engine/lane.py", "\n" * 300),
    ],
)
def test_what_does_not(path: str, source: str) -> None:
    assert faults({f"{HOUSE}/{path}": source}) == []
