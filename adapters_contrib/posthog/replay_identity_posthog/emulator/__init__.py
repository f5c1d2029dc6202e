"""A fake PostHog over real HTTP, with both versions of its capture API; it shares no code with the adapter.

Written from PostHog's own server, rust/capture/src in https://github.com/PostHog/posthog, and its client, PyPI
posthog 7.91.1 (both read 2026-11-21). A comment that starts with `Policy:` marks what neither of them says.
"""

from .api import PostHogEmulator
from .event_faults import EventFault, EventFaults
from .persons import Person

__all__ = ["EventFault", "EventFaults", "Person", "PostHogEmulator"]
