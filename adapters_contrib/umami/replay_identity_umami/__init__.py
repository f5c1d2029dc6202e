"""Umami 3.1 or newer: properties of sessions, shown next to replays (https://github.com/umami-software/umami)."""

from .adapter import Umami
from .limits import LIMITS

__all__ = ["LIMITS", "Umami"]
