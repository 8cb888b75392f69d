"""What is asked of Graph, to the byte."""

from __future__ import annotations

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS, Pair
from presence_manager.core.session import Attempt
from presence_manager.graph import wire

from .stage import APP, GRAPH, TENANT, asks, clearing, lane, setting, user

ROOT = f"{GRAPH}/v1.0"


def test_a_clear_alone() -> None:
    request = wire.single(ROOT, wire.part(*asks()[0]))
    assert request.url == f"{ROOT}/users/{user(0)}/presence/clearPresence"
    assert json.loads(request.body) == {"sessionId": APP}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_set_alone(pair: Pair) -> None:
    request = wire.single(ROOT, wire.part(*asks(attempt=setting(pair))[0]))
    assert request.url == f"{ROOT}/users/{user(0)}/presence/setPresence"
    assert json.loads(request.body) == {
        "sessionId": APP,
        "availability": pair.availability,
        "activity": pair.activity,
        "expirationDuration": "PT10M",
    }


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_batch(count: int) -> None:
    parts = [wire.part(*ask) for ask in asks(count)]
    parts[-1] = wire.part(*asks(count, setting())[-1])
    request = wire.batch(ROOT, parts)
    assert request.url == f"{ROOT}/$batch"
    items = json.loads(request.body)["requests"]
    assert [item["id"] for item in items] == [str(i) for i in range(count)]
    for part, item in zip(parts, items, strict=True):
        assert item == {
            "id": item["id"],
            "method": "POST",
            "url": part.path,
            "headers": {"Content-Type": "application/json"},
            "body": json.loads(part.body),
        }
        assert not item["url"].startswith("/v1.0")


@pytest.mark.parametrize("count", [0, 21])
def test_a_batch_of_an_impossible_size_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 20"):
        wire.batch(ROOT, [wire.part(*ask) for ask in asks(count)])


@pytest.mark.parametrize(
    ("lease", "text"),
    [(300, "PT5M"), (600.0, "PT10M"), (605, "PT605S"), (605.9, "PT605S"), (14400, "PT240M")],
)
def test_a_lease_is_a_duration(lease: float, text: str) -> None:
    assert wire.duration(lease) == text


@pytest.mark.parametrize("lease", [299.9, 14400.1, 0, -1, nan, inf, -inf])
def test_a_lease_out_of_bounds_is_refused(lease: float) -> None:
    with pytest.raises(ValueError, match="lease"):
        wire.part(*asks(attempt=setting(lease=lease))[0])


def test_a_set_without_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="pair"):
        wire.part(*asks(attempt=setting()._replace(pair=None))[0])


HOSTILE = [
    "",
    ".",
    "..",
    "me",
    "someone@contoso.com",
    f"{user(1)}/presence/setPresence?x=",
    f"../{user(1)}"[:36],
    user(1) + "\n",
    "\n" + user(1)[1:],
    user(1).replace("-", "/"),
    user(1).replace("0", "\u0660"),
    "{" + user(1)[:-2] + "}",
    user(1).replace("-", ""),
    "urn:uuid:" + user(1),
    f'{user(1)}","method":"DELETE',
    user(1)[:-1] + "\x00",
    user(1)[:-1] + "%",
    user(1)[:-1] + "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("attempt", [clearing(), setting()])
def test_no_id_but_a_guid_reaches_a_path_or_a_body(text: str, attempt: Attempt) -> None:
    with pytest.raises(ValueError, match="not the id of a user") as caught:
        wire.part(Key(lane(), text), attempt)
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="not the id of an application"):
        wire.part(Key(LaneId(GRAPH, text, TENANT), user(1)), attempt)


def test_an_id_in_capitals_is_taken_as_it_is() -> None:
    name = "ABCDEF00-0000-4000-8000-000000000000"
    assert wire.part(Key(lane(), name), clearing()).path == f"/users/{name}/presence/clearPresence"


@given(st.text(max_size=60))
def test_whatever_the_id_the_path_has_four_steps(text: str) -> None:
    try:
        part = wire.part(Key(lane(), text), clearing())
    except ValueError:
        return
    assert part.path.count("/") == 4
    assert part.path.isascii()


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_the_pair_the_body_is_json(availability: str, activity: str) -> None:
    part = wire.part(Key(lane(), user(1)), setting(Pair(availability, activity)))
    item = json.loads(wire.batch(ROOT, [part]).body)["requests"][0]
    assert item["body"]["availability"] == availability
    assert item["body"]["activity"] == activity
    assert set(item) == {"id", "method", "url", "headers", "body"}
