"""Mixpanel: profile updates, up to 2,000 per request (https://docs.mixpanel.com/reference/profile-set)."""

from .adapter import Mixpanel
from .limits import LIMITS

__all__ = ["LIMITS", "Mixpanel"]
