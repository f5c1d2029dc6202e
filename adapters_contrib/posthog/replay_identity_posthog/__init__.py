"""PostHog: one ``$set`` event per user, many in a request, each answered by itself (https://posthog.com/docs/api)."""

from .adapter import PostHog
from .limits import LIMITS

__all__ = ["LIMITS", "PostHog"]
