"""Fullstory: typed JSON properties through the server API v2 (https://developer.fullstory.com/server/)."""

from .adapter import Fullstory
from .limits import BATCH_LIMITS, LIMITS
from .user_filter import UserFilter

__all__ = ["BATCH_LIMITS", "LIMITS", "Fullstory", "UserFilter"]
