"""An emulator of LogRocket's User Identification API."""

from .api import LogRocketEmulator
from .users import LogRocketUser

__all__ = ["LogRocketEmulator", "LogRocketUser"]
