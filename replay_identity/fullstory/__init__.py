"""Fullstory: typed JSON properties through the server API v2 (https://developer.fullstory.com/server/)."""

from .adapter import Fullstory, UserFilter
from .limits import LIMITS

__all__ = ["LIMITS", "Fullstory", "UserFilter"]
