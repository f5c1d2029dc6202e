"""Which User-Agents count as bots: those that were tried with isbot 5.1.37 (2026-11-21), and no list of bots."""

import re
from typing import Final

_BOTS: Final = re.compile(
    r"^(python|curl)"  # python-requests/2.32, Python-urllib/3.13, Python/3.13 aiohttp/3.11, curl/8.5.0
    r"|^[\w.-]+(/[\w.]+)?$"  # Any bare product/1.0.
    r"|^mozilla/\d\.\d \(compatible"
    r"|bot\b|crawl|spider",
    re.IGNORECASE,
)


def is_bot(user_agent: str) -> bool:
    """Tell whether *user_agent* looks like a bot's; none at all does not."""
    return _BOTS.search(user_agent) is not None
