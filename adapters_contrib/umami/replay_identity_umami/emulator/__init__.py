"""A fake Umami over real HTTP that does what 3.1.0 did in tests; it shares no code with the adapter."""

from .api import UmamiEmulator
from .properties import Property
from .sessions import Session

__all__ = ["Property", "Session", "UmamiEmulator"]
