"""Who an activity is about, in the shapes of three SDKs (hosts and libraries, section 1)."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

import pytest

from presence_manager import InvalidHold
from presence_manager.hosts.activity import Identity, identity

TENANT = "7a000000-0000-4000-8000-00000000000c"
USER = "5e000000-0000-4000-8000-00000000000a"
OTHER = "5e000000-0000-4000-8000-00000000000b"


def wire(**changes: Any) -> dict[str, Any]:
    """The JSON as Teams sends it."""
    return {
        "type": "message",
        "from": {"id": "29:1abc", "name": "Alex", "aadObjectId": USER},
        "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": TENANT},
        "channelData": {"tenant": {"id": TENANT}},
    } | changes


def botbuilder(**changes: Any) -> Thing:
    return Thing(
        **{
            "from_property": Thing(id="29:1abc", aad_object_id=USER),
            "channel_data": {"tenant": {"id": TENANT}},
            "conversation": Thing(id="a:1", tenant_id=None),
        }
        | changes
    )


def agents(**changes: Any) -> Thing:
    return Thing(
        **{
            "from_property": Thing(id="29:1abc", aad_object_id=USER, tenant_id=TENANT),
            "channel_data": {},
            "conversation": Thing(id="a:1", tenant_id=TENANT),
        }
        | changes
    )


def teams(**changes: Any) -> Thing:
    return Thing(
        **{
            "from_": Thing(id="29:1abc", aad_object_id=USER),
            "channel_data": Thing(tenant=Thing(id=TENANT)),
            "conversation": Thing(id="a:1", tenant_id=TENANT),
        }
        | changes
    )


@pytest.mark.parametrize("activity", [wire(), botbuilder(), agents(), teams()])
def test_every_shape(activity: Any) -> None:
    assert identity(activity) == Identity(TENANT, USER)


def test_ids_are_folded_to_one_spelling() -> None:
    activity = wire(**{"from": {"aadObjectId": USER.upper()}})
    assert identity(activity, tenant=TENANT.upper()) == (TENANT, USER)


@pytest.mark.parametrize(
    "activity",
    [
        wire(channelData=None),
        wire(channelData={"tenant": None}),
        wire(channelData={"tenant": {"id": ""}}),
        teams(channel_data=None),
        teams(channel_data=Thing(tenant=None)),
    ],
)
def test_the_tenant_of_the_conversation_where_channel_data_has_none(activity: Any) -> None:
    assert identity(activity) == (TENANT, USER)


def test_channel_data_goes_first_and_the_caller_before_it() -> None:
    activity = teams(conversation=Thing(tenant_id=OTHER))
    assert identity(activity).tenant == TENANT
    assert identity(activity, tenant=OTHER).tenant == OTHER


@pytest.mark.parametrize(
    "sender", [None, {}, {"id": "29:1abc"}, {"aadObjectId": ""}, {"aadObjectId": None}]
)
def test_no_user(sender: Any) -> None:
    with pytest.raises(InvalidHold, match="names no user"):
        identity(wire(**{"from": sender}))


@pytest.mark.parametrize("activity", [None, object(), {}, "text", [1]])
def test_what_is_no_activity(activity: Any) -> None:
    with pytest.raises(InvalidHold, match="names no user"):
        identity(activity)


@pytest.mark.parametrize(
    "activity",
    [
        wire(channelData={}, conversation={}),
        botbuilder(channel_data=None),
        agents(conversation=Thing(tenant_id=None)),  # what the sender says of itself is no proof
    ],
)
def test_no_tenant(activity: Any) -> None:
    with pytest.raises(InvalidHold, match="give tenant="):
        identity(activity)
    assert identity(activity, tenant=TENANT) == (TENANT, USER)


def test_what_is_no_id() -> None:
    with pytest.raises(InvalidHold, match="not a user id"):
        identity(wire(**{"from": {"aadObjectId": "alex@example.com"}}))
    with pytest.raises(InvalidHold, match="not a tenant id"):
        identity(wire(), tenant="example.com")
