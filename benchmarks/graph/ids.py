"""The ids of the benchmark's users and tenants.

One token serves all tenants here, so the tenant is written into the user's id: the first four hex
digits of its last group. The real Graph would take it from the token.
"""

from __future__ import annotations

from typing import Final

APP: Final = "a0000000-0000-4000-8000-000000000001"
"""The application's id, which is the sessionId of all sessions."""
TOKEN: Final = "bench"


def tenant_id(tenant: int) -> str:
    """Return the id of a tenant, counted from 0."""
    return f"7e000000-0000-4000-8000-{tenant:04x}00000000"


def user_id(user: int, tenant: int = 0) -> str:
    """Return the id of a user of that tenant, both counted from 0."""
    return f"5e000000-0000-4000-8000-{tenant:04x}{user:08x}"


def tenant_of(user: str) -> str:
    """Return the four digits that name the tenant of a user."""
    return user[24:28]
