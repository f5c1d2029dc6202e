"""Keys and addresses: refused early when they cannot work, or would travel in clear."""

import ipaddress
from urllib.parse import urlsplit

from ..errors import ConfigurationError


def check_api_key(api_key: object, *, hint: str) -> None:
    """Raise ConfigurationError unless *api_key* can stand in an HTTP header as it is."""
    if not isinstance(api_key, str) or not api_key:
        raise ConfigurationError("api_key", "is missing", hint)
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        problem = "holds a space, a control character or a letter outside ASCII"
        raise ConfigurationError("api_key", problem, "pass the key alone, without a scheme or a line break")


def check_header(setting: str, value: str) -> None:
    """Raise ConfigurationError unless *value* can stand in an HTTP header."""
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(setting, "holds a control character or a letter outside ASCII")


def check_base_url(base_url: str, *, allow_insecure: bool) -> str:
    """Return *base_url* without a slash at its end.

    Raises:
        ConfigurationError: It is no plain http(s) address, or it is http off loopback and *allow_insecure* is False.
    """
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise ConfigurationError("base_url", "is not an address that can be read") from None  # The cause quotes it.
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("base_url", "is not an http or https address", "for example https://api.example.com")
    if parts.username is not None or not base_url.isprintable() or any(char in base_url for char in " ?#"):
        raise ConfigurationError("base_url", "holds more than a scheme, a host, a port and a path")
    if parts.scheme == "http" and not allow_insecure and not _is_loopback(parts.hostname):
        problem = "is plain http, so the key and the users would travel in clear"
        raise ConfigurationError("base_url", problem, "use https, or allow_insecure=True if you must")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
