"""What OpenPanel makes of a User-Agent: a server, a bot, or somebody's device."""

import re

from replay_identity.emulator.http import JsonObject

# One name and one version, such as Go-http-client/1.1 (packages/common/server/parser-user-agent.ts).
NAME_AND_VERSION = re.compile(r"[^/]+/[\d.]+")

# What it says of a server: most of it nothing, which all the same takes the place of what the caller said.
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

# Policy: its lists are long; these stand for the rest.
BOTS = re.compile(r"bot|crawl|spider|curl|wget|python|http", re.IGNORECASE)
BROWSERS = ("Firefox", "Chrome", "Safari")
SYSTEMS = ("Windows", "Android", "iPhone", "Macintosh", "Linux")


def is_bot(user_agent: str) -> bool:
    """Say whether a request with this User-Agent is a bot's."""
    return BOTS.search(user_agent) is not None


def device_of(user_agent: str) -> JsonObject:
    """Return the properties that OpenPanel gives the profile for a User-Agent."""
    browser = next((name for name in BROWSERS if name in user_agent), None)
    if browser is None or NAME_AND_VERSION.fullmatch(user_agent):
        return SERVER
    found = re.search(rf"{browser}/([\d.]+)", user_agent)
    return {
        "device": "mobile" if "Mobile" in user_agent else "desktop",
        "isServer": False,
        "os": next((name for name in SYSTEMS if name in user_agent), ""),
        "os_version": "",
        "browser": browser,
        "browser_version": found[1] if found else "",
        "brand": "",
        "model": "",
    }
