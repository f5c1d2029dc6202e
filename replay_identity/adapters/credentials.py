"""Validate keys and addresses early, and name the account that they belong to without a secret."""

import ipaddress
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def check_api_key(api_key: object, *, hint: str) -> None:
    """Raise ConfigurationError unless *api_key* is a valid HTTP header value."""
    if not isinstance(api_key, str) or not api_key:
        raise ConfigurationError("api_key", "the key is missing", hint)
    if not _is_header_safe(api_key) or " " in api_key:
        problem = "expected printable ASCII without spaces"
        raise ConfigurationError("api_key", problem, "pass the key alone, without a scheme or a line break")


def check_header(setting: str, value: str) -> None:
    """Raise ConfigurationError unless *value* is a valid HTTP header value."""
    if not _is_header_safe(value):
        raise ConfigurationError(setting, "expected printable ASCII")


def check_base_url(base_url: str, *, allow_insecure: bool) -> str:
    """Return *base_url* without a trailing slash.

    Raises:
        ConfigurationError: It is not a plain http(s) URL, or it is http, not loopback, and *allow_insecure* is False.
    """
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # Raises ValueError if it is not a number.
    except ValueError:
        parts = None  # The exception quotes the URL.
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("base_url", "expected an http or https URL", "write it like https://api.example.com")

    if parts.username is not None or not base_url.isprintable() or any(char in base_url for char in " ?#"):
        raise ConfigurationError("base_url", "expected only a scheme, a host, a port and a path")

    if parts.scheme == "http" and not allow_insecure and not _is_loopback(parts.hostname):
        problem = "plain http would expose the key and the users"
        raise ConfigurationError("base_url", problem, "use https, or pass allow_insecure=True")
    return base_url.rstrip("/")


def account_name(base_url: str, *, api_key: str | None = None) -> str:
    """Return the host and the path of a checked *base_url*, and a fingerprint of *api_key* if one is passed.

    Pass the key only if nothing else tells two accounts apart: with a new key, the account is another one.
    """
    parts = urlsplit(base_url)
    place = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme]) + parts.path
    if api_key is None:
        return place
    return f"{place} key {blake2b(api_key.encode(), digest_size=4, person=b'account').hexdigest()}"


def _is_header_safe(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
