"""A fake Mixpanel, its profile updates."""

from .app import MixpanelEmulator

__all__ = ["MixpanelEmulator"]
