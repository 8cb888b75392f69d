"""The files of the page, as they are served and as they are written."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from aiohttp import web

from presence_manager.hosts.page import POLICY, add_page

FILES = {
    file.name: file.read_text(encoding="utf-8")
    for file in files("presence_manager.hosts.page").iterdir()
    if file.name.endswith((".html", ".css", ".js", ".svg"))
}
CODE = {name: text for name, text in FILES.items() if name.endswith(".js")}


def test_whatever_is_named_is_there() -> None:
    paths = {"/" if name == "index.html" else f"/page/{name}" for name in FILES}
    router = web.UrlDispatcher()
    add_page(router)
    assert {resource.canonical for resource in router.resources()} == paths
    named = set(re.findall(r'(?:href|src)="(/[^"]+)"', FILES["index.html"]))
    for text in CODE.values():
        named |= {f"/page/{name}" for name in re.findall(r'from "./([^"]+)"', text)}
    assert named == paths - {"/"}


def test_every_id_that_the_code_looks_for_is_in_the_page() -> None:
    ids = set(re.findall(r' id="([^"]+)"', FILES["index.html"]))
    for name, text in CODE.items():
        assert set(re.findall(r'byId\("([^"]+)"\)', text)) <= ids, name


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_comes_from_elsewhere_and_text_stays_text(name: str) -> None:
    text = FILES[name]
    addresses = set(re.findall(r"\w+://[^\s\"']+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    for word in (
        *("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("),
        *("localStorage", "DOMParser", "setHTML", "srcdoc", "javascript:", " style=", "@import"),
    ):
        assert word not in text, word
    assert not re.search(r"<[^>]+\son\w+=", text)
    assert text.count("\n") <= 300


def test_the_policy_allows_nothing_but_our_own_files() -> None:
    for rule in POLICY.split("; "):
        name, *allowed = rule.split()
        assert allowed in (["'none'"], ["'self'"], ["'script'"]), rule
        assert name.endswith(("-src", "-uri", "-action", "-ancestors", "-for", "-types")), rule
