"""A fake OpenPanel over real HTTP, of which `identify` alone is there.

Written from OpenPanel's own code (https://github.com/Openpanel-dev/openpanel, read 2026-11-21); it shares none with the
adapter. Where a comment starts with `Policy:`, the source is silent or more is not needed.
"""

from .app import OpenPanelEmulator
from .profiles import Profile

__all__ = ["OpenPanelEmulator", "Profile"]
