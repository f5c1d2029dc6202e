"""Fullstory: typed JSON properties, sent to the server API v2 (https://developer.fullstory.com/server/)."""

from .adapter import Fullstory, UserFilter
from .limits import BATCH_LIMITS, LIMITS

__all__ = ["BATCH_LIMITS", "LIMITS", "Fullstory", "UserFilter"]
