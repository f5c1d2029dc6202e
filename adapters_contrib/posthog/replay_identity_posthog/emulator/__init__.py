"""A fake PostHog over real HTTP, as far as capture version 1 goes; it shares no code with the adapter.

Written from PostHog's own server, rust/capture/src/v1 in https://github.com/PostHog/posthog, and from how PyPI posthog
7.91.1 speaks to it (both read 2026-11-21). Where they are silent, a comment that starts with `Policy:` says what was
chosen.
"""

from .app import PostHogEmulator
from .event_faults import EventFault, EventFaults
from .persons import Person

__all__ = ["EventFault", "EventFaults", "Person", "PostHogEmulator"]
