"""The face of the library: `PresenceManager`."""

from presence_manager.manager.manager import PresenceManager

__all__ = ["PresenceManager"]
