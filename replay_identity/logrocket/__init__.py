"""LogRocket: one PUT per user, every trait a string (https://docs.logrocket.com/docs/user-identification-api)."""

from .adapter import LogRocket
from .limits import LIMITS

__all__ = ["LIMITS", "LogRocket"]
