"""Microsoft Graph's presence API on this machine, as documented, to develop and test against.

It imports nothing else of this project: what Graph does is written down here a second time,
independently of the code that talks to it, and what Graph would refuse is refused.

    async with Emulator() as emulator:
        token = emulator.token(DEFAULT_TENANT, DEFAULT_APP)
        ...  # talk to emulator.graph_url, look at emulator.sessions() and emulator.journal
"""

from .emulator import DEFAULT_APP, DEFAULT_SECRET, DEFAULT_TENANT, Emulator
from .faults import Fault
from .journal import Entry
from .rules import Session
from .serve import run

__all__ = [
    "DEFAULT_APP",
    "DEFAULT_SECRET",
    "DEFAULT_TENANT",
    "Emulator",
    "Entry",
    "Fault",
    "Session",
    "run",
]
