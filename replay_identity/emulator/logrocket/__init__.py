"""A fake LogRocket, the User Identification API."""

from .app import LogRocketEmulator
from .users import LogRocketUser

__all__ = ["LogRocketEmulator", "LogRocketUser"]
