"""A fake Fullstory, server API v2."""

from .access import Level
from .app import FullstoryEmulator
from .users import FullstoryUser

__all__ = ["FullstoryEmulator", "FullstoryUser", "Level"]
