"""Umami, 3.1 and newer: a session's properties, which its replays show (https://github.com/umami-software/umami)."""

from .adapter import Umami
from .limits import LIMITS

__all__ = ["LIMITS", "Umami"]
