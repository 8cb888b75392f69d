"""The sender of an activity, as three SDKs and the bare JSON spell it."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

import pytest

from presence_manager.hosts.activity import identity

USER = "5e000000-0000-4000-8000-000000000001"
TENANT = "7a000000-0000-4000-8000-000000000001"
OTHER = "7a000000-0000-4000-8000-000000000002"
WHO = Thing(aad_object_id=USER)


@pytest.mark.parametrize(
    "activity",
    [
        pytest.param(
            Thing(
                from_property=WHO,
                conversation=Thing(tenant_id=None),
                channel_data={"tenant": {"id": TENANT}},
            ),
            id="botbuilder",
        ),
        pytest.param(
            Thing(from_property=WHO, conversation=Thing(tenant_id=TENANT), channel_data={}),
            id="Agents SDK",
        ),
        pytest.param(
            Thing(
                from_=WHO,
                conversation=Thing(tenant_id=OTHER),
                channel_data=Thing(tenant=Thing(id=TENANT)),
            ),
            id="Teams SDK",
        ),
        pytest.param(
            Thing(from_=WHO, conversation=Thing(tenant_id=TENANT), channel_data=None),
            id="Teams SDK, in a personal chat",
        ),
        pytest.param(
            {
                "from": {"aadObjectId": f" {USER} "},
                "conversation": {"tenantId": OTHER},
                "channelData": {"tenant": {"id": TENANT}},
            },
            id="JSON",
        ),
        pytest.param(
            {"from": {"aadObjectId": USER}, "conversation": {"tenantId": TENANT}},
            id="JSON without channel data",
        ),
    ],
)
def test_who_it_is(activity: Any) -> None:
    assert identity(activity) == (TENANT, USER)


@pytest.mark.parametrize(
    ("activity", "missing"),
    [
        ({}, "object id"),
        (None, "object id"),
        ({"from": {"id": "29:1abc"}, "conversation": {"tenantId": TENANT}}, "object id"),
        ({"from": {"aadObjectId": ""}, "conversation": {"tenantId": TENANT}}, "object id"),
        ({"from": {"aadObjectId": USER}}, "tenant"),
        ({"from": {"aadObjectId": USER}, "channelData": "text", "conversation": 7}, "tenant"),
        # Agents SDK knows the sender's own tenant; that is not where the conversation is.
        (Thing(from_property=Thing(aad_object_id=USER, tenant_id=TENANT)), "tenant"),
    ],
)
def test_it_never_guesses(activity: Any, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        identity(activity)
