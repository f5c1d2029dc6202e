"""A fake Mixpanel over real HTTP: profile updates."""

from .api import MixpanelEmulator

__all__ = ["MixpanelEmulator"]
