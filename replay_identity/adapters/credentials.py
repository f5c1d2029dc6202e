"""Validate keys and addresses early, and name the account that they belong to without a secret."""

import ipaddress
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from ..errors import ConfigurationError, printable

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
# A place, and what else tells accounts apart there: a fingerprint of the key, or an organisation.
_ACCOUNT: Final = re.compile(r"(?P<place>.*?)(?: key (?P<key>[0-9a-f]+)| org (?P<organisation>\S+))?\Z", re.DOTALL)
# Characters: a longer text is not taken for the id of an organisation.
_MAX_ORGANISATION: Final = 128
# Such as v1, v2beta and v1.1.
_VERSION: Final = re.compile(r"v[0-9][0-9a-z._-]*")


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


def check_base_url(base_url: str, *, allow_insecure: bool, api_path: str = "") -> str:
    """Return *base_url* without a trailing slash.

    Args:
        base_url: URL of an API.
        allow_insecure: True if a plain http URL need not be loopback.
        api_path: The path that is appended to it, such as ``/v2/users``; a part in braces, as in ``/v1/orgs/{org}``, is
            any text. With it, a URL that ends in a version or in the beginning of this path is refused.

    Raises:
        ConfigurationError: It is not a plain http(s) URL, it is http, not loopback, and *allow_insecure* is False, or
            it contains a part of *api_path*.
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
    path = _without_api_path(parts.path, api_path) if api_path else None
    if path is not None:
        problem = "the URL ends in a part of the path, or in a version, that is appended to it"
        right = printable(f"{parts.scheme}://{parts.netloc}{path}")
        raise ConfigurationError("base_url", problem, f"write {right}")
    return base_url.rstrip("/")


def _without_api_path(path: str, api_path: str) -> str | None:
    """Return *path* without the part of *api_path* that it contains, or None if it contains none."""
    names = [name for name in unquote(path).split("/") if name not in {"", "."}]
    appended = api_path.strip("/").split("/")
    for start in range(len(names)):
        if _begins(names[start:], appended):
            return "".join(f"/{quote(name)}" for name in names[:start])
    return None


def _begins(names: list[str], appended: list[str]) -> bool:
    """Return True if *names* are the beginning of *appended*, all of it with more, or a version alone."""
    if len(names) == 1 and _is_version(names[0]):
        return True
    if len(names) > len(appended) and not any(map(_is_version, appended)):
        return False  # The name of one endpoint, such as /track, may also be the place of a reverse proxy.
    return all(map(_is_same, names, appended))


def _is_same(name: str, appended: str) -> bool:
    if appended.startswith("{") or name.casefold() == appended.casefold():
        return True
    return _is_version(name) and _is_version(appended)


def _is_version(name: str) -> bool:
    return _VERSION.fullmatch(name.casefold()) is not None


def account_name(base_url: str, *, api_key: str | None = None) -> str:
    """Return the host and the path of a checked *base_url*, and a fingerprint of *api_key* if one is passed.

    Pass the key only if nothing else tells two accounts apart: with a new key, the account is another one.
    """
    parts = urlsplit(base_url)
    place = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme]) + parts.path
    if api_key is None:
        return place
    return f"{place} key {blake2b(api_key.encode(), digest_size=4, person=b'account').hexdigest()}"


def organisation_account(account: str, organisation: str | None) -> str | None:
    """Return the name of *account* with its *organisation* in place of the fingerprint of its key.

    Return None if *account* has no such fingerprint, or *organisation* cannot be part of a name.
    """
    parts = _parts(account)
    if parts["key"] is None or organisation is None or len(organisation) > _MAX_ORGANISATION:
        return None
    name = f"{parts['place']} org {organisation}"
    return name if name.isprintable() and _parts(name)["organisation"] == organisation else None


def has_key_fingerprint(account: str) -> bool:
    """Return True if only a fingerprint of the key tells *account* from others at the same place."""
    return _parts(account)["key"] is not None


def at_one_place(account: str, other: str) -> bool:
    """Return True if two accounts differ at most in the key and the organisation."""
    return _parts(account)["place"] == _parts(other)["place"]


def organisation_of(account: str) -> str | None:
    """Return the organisation that is part of the name of *account*, or None."""
    return _parts(account)["organisation"]


def of_two_organisations(account: str, other: str) -> bool:
    """Return True if two accounts are known to belong to different organisations."""
    return len({organisation_of(account), organisation_of(other)} - {None}) > 1


def _parts(account: str) -> Mapping[str, str | None]:
    # Any text is at least a place.
    return next(_ACCOUNT.finditer(account)).groupdict()


def _is_header_safe(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
