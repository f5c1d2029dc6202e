"""The proxies that the environment names, read as httpx reads them, for a library that reads them otherwise."""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

import attrs

from .senders import LOOPBACK

_USUAL_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class Proxies:
    """Which proxy stands before a server.

    Attributes:
        by_scheme: ``http``, ``https`` or ``all`` to the proxy's URL, which may hold a password.
        exempt: Origins, as `_origin` writes them, that are reached without one.
    """

    by_scheme: Mapping[str, str] = attrs.field(repr=False)
    exempt: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, in lower or in upper case."""
        named = getproxies()
        excepted = [name.strip() for name in named.pop("no", "").split(",")]
        if "*" in excepted:
            return cls({})
        urls = {scheme: url if "://" in url else f"http://{url}" for scheme, url in named.items() if url}
        return cls(urls, tuple(_exemption(name) for name in (*LOOPBACK, *excepted) if name))

    def before(self, server: str) -> str:
        """Return the URL of the proxy before *server*, a URL, or nothing if there is none.

        Raises:
            ValueError: *server* is no address over HTTP.
        """
        parts = urlsplit(server)
        if parts.scheme not in _USUAL_PORTS or not parts.hostname:
            raise ValueError("a request needs an absolute http or https URL")
        origin = f"{parts.scheme}://{parts.hostname}:{_port(parts) or ''}"
        if any(pattern.fullmatch(origin) for pattern in self.exempt):
            return ""
        return self.by_scheme.get(parts.scheme) or self.by_scheme.get("all", "")


def _port(parts: SplitResult) -> int | None:
    return None if parts.port == _USUAL_PORTS.get(parts.scheme) else parts.port


def _exemption(name: str) -> re.Pattern[str]:
    """Return what an entry of ``no_proxy`` matches: ``x.y`` with all below it, ``.x.y`` only what is below."""
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
