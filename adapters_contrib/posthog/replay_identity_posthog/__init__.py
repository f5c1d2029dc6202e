"""PostHog: one ``$set`` event per user, many per request, each with its own result (https://posthog.com/docs/api)."""

from .adapter import PostHog
from .limits import LIMITS

__all__ = ["LIMITS", "PostHog"]
