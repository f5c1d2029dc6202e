"""Proxies from the environment, read the way httpx reads them, for a client that reads them differently."""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

import attrs

from .senders import LOOPBACK

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class Proxies:
    """The proxies to use for which servers.

    Attributes:
        by_scheme: URL of the proxy by ``http``, ``https`` or ``all``; it may contain a password.
        exempt: Patterns of origins such as ``https://example.com:`` that are reached without a proxy. The port follows
            the colon, unless it is the scheme's default.
    """

    by_scheme: Mapping[str, str] = attrs.field(repr=False)
    exempt: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, in lower or upper case."""
        proxies = getproxies()
        exempt = [name.strip() for name in proxies.pop("no", "").split(",")]
        if "*" in exempt:
            return cls({})
        urls = {scheme: url if "://" in url else f"http://{url}" for scheme, url in proxies.items() if url}
        return cls(urls, tuple(_exempt_pattern(name) for name in (*LOOPBACK, *exempt) if name))

    def url_for(self, server: str) -> str:
        """Return the URL of the proxy to use for *server*, a URL, or "" for none.

        Raises:
            ValueError: *server* is not an absolute http or https URL.
        """
        parts = urlsplit(server)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("expected an absolute http or https URL")
        origin = f"{parts.scheme}://{parts.hostname}:{_port(parts) or ''}"
        if any(pattern.fullmatch(origin) for pattern in self.exempt):
            return ""
        return self.by_scheme.get(parts.scheme) or self.by_scheme.get("all", "")


def _port(parts: SplitResult) -> int | None:
    return None if parts.port == _DEFAULT_PORTS.get(parts.scheme) else parts.port


def _exempt_pattern(name: str) -> re.Pattern[str]:
    """Return the origins that an entry of ``no_proxy`` exempts: ``x.y`` with its subdomains, ``.x.y`` only those."""
    parts = urlsplit(name if "://" in name else f"all://{_host_pattern(name)}")
    scheme = "[a-z]+" if parts.scheme == "all" else re.escape(parts.scheme)
    port = _port(parts)
    return re.compile(f"{scheme}://{_host_regex(parts.hostname or '*')}:{r'[0-9]*' if port is None else port}")


def _host_pattern(name: str) -> str:
    address = name.partition("/")[0]
    try:
        IPv6Address(address)
    except ValueError:
        return name if name.lower() == "localhost" else f"*{name}"
    return f"[{address}]"


def _host_regex(host: str) -> str:
    if host.startswith("*."):
        return r".+\." + re.escape(host[2:])
    return r"(.+\.)?" + re.escape(host[1:]) if host.startswith("*") else re.escape(host)
