"""A fake Umami over real HTTP, written from what 3.1.0 did when it was tried; shares no code with the adapter."""

from .app import UmamiEmulator
from .properties import Property
from .sessions import Session

__all__ = ["Property", "Session", "UmamiEmulator"]
