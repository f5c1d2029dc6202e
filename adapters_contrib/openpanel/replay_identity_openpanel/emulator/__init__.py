"""A fake OpenPanel over real HTTP, with `identify` only.

Written from OpenPanel's own code (https://github.com/Openpanel-dev/openpanel, read 2026-11-21); it shares no code with
the adapter. A comment that starts with `Policy:` marks what the source does not say, or what is simpler here.
"""

from .api import OpenPanelEmulator
from .profiles import Profile

__all__ = ["OpenPanelEmulator", "Profile"]
