"""Read a User-Agent as OpenPanel does: a server, a bot, or a user's device."""

import re

from replay_identity.emulator.http import JsonObject

# One name and one version, such as Go-http-client/1.1 (packages/common/server/parser-user-agent.ts).
NAME_AND_VERSION = re.compile(r"[^/]+/[\d.]+")

# The properties of a server. The blank ones also overwrite those of the payload.
SERVER: JsonObject = {
    "device": "server",
    "isServer": True,
    "os": "",
    "osVersion": "",
    "browser": "",
    "browserVersion": "",
    "brand": "",
    "model": "",
}

# Policy: a few entries of OpenPanel's long lists.
BOTS = re.compile(r"bot|crawl|spider|curl|wget|python|http", re.IGNORECASE)
BROWSERS = ("Firefox", "Chrome", "Safari")
SYSTEMS = ("Windows", "Android", "iPhone", "Macintosh", "Linux")


def is_bot(user_agent: str) -> bool:
    """Return True if *user_agent* is a bot's."""
    return BOTS.search(user_agent) is not None


def device_of(user_agent: str) -> JsonObject:
    """Return the properties that OpenPanel derives from *user_agent*."""
    browser = next((name for name in BROWSERS if name in user_agent), None)
    if browser is None or NAME_AND_VERSION.fullmatch(user_agent):
        return SERVER
    version = re.search(rf"{browser}/([\d.]+)", user_agent)
    return {
        "device": "mobile" if "Mobile" in user_agent else "desktop",
        "isServer": False,
        "os": next((name for name in SYSTEMS if name in user_agent), ""),
        "os_version": "",
        "browser": browser,
        "browser_version": version[1] if version else "",
        "brand": "",
        "model": "",
    }
