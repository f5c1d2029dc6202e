"""OpenPanel: one identify call per user, merged into the profile that the browser records under the same id."""

from .adapter import OpenPanel
from .limits import LIMITS

__all__ = ["LIMITS", "OpenPanel"]
