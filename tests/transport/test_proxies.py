"""Proxies from the environment, compared with what httpx makes of the same environment."""

from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replay_identity.transport.proxies import Proxies

NAMES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
URLS = ["", "http://one.proxy:3128", "two.proxy", "http://me:secret@three.proxy:8080"]
EXCEPTED = [
    "",
    "*",
    "a.b",
    ".a.b",
    "b",
    "A.B",
    "localhost",
    "LOCALHOST",
    "10.0.0.1",
    "10.0.0.0/8",
    "::1",
    "fe80::1",
    "a.b:8080",
    ".b:443",
    "https://a.b",
    "https://*.b",
    "https://a.b:443",
    "http://a.b:8080",
]
NOT_PROXIED = ["all://127.0.0.1", "all://localhost", "all://[::1]"]
HOSTS = ["a.b", "x.a.b", "xa.b", "b", "c", "localhost", "x.localhost", "127.0.0.1", "10.0.0.1", "[::1]", "[fe80::1]"]


class ProxyRecorder(httpx.BaseTransport):
    """An httpx transport that responds with the URL of its proxy."""

    def __init__(self, *, proxy: httpx.Proxy | None = None, **_: Any) -> None:
        self.proxy = proxy

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002  # It goes nowhere.
        """Respond with the proxy's URL."""
        if self.proxy is None:
            return httpx.Response(200)
        user, password = self.proxy.auth or ("", "")
        url = str(self.proxy.url)
        return httpx.Response(200, text=url.replace("://", f"://{user}:{password}@") if user else url)


@example({"http_proxy": URLS[1]}, ["*"], "http", "a.b", "")
@example({"all_proxy": URLS[1]}, ["https://a.b:443"], "https", "a.b", ":443")
@example({"all_proxy": URLS[1]}, ["https://a.b:443"], "https", "a.b", "")
@example({"all_proxy": URLS[1]}, ["https://a.b"], "http", "a.b", "")
@example({"all_proxy": URLS[1]}, ["10.0.0.0/8", "::1"], "http", "10.0.0.1", "")
@example({"all_proxy": URLS[1]}, ["fe80::1"], "http", "[fe80::1]", "")
@example({"all_proxy": URLS[1]}, ["localhost"], "http", "x.localhost", "")
@example({"all_proxy": URLS[1]}, ["b"], "http", "xa.b", "")
@example({"all_proxy": URLS[1]}, [".a.b"], "http", "x.a.b", "")
@example({"all_proxy": URLS[1]}, ["a.b"], "http", "xa.b", "")
@example({"all_proxy": URLS[1]}, ["a.b:8080"], "http", "a.b", "")
@example({"http_proxy": URLS[2]}, [], "http", "a.b", "")
@given(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(URLS)),
    st.lists(st.sampled_from(EXCEPTED), max_size=3),
    st.sampled_from(["http", "https"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":80", ":443", ":8080"]),
)
def test_uses_the_same_proxy_as_httpx(
    proxies: dict[str, str], excepted: list[str], scheme: str, host: str, port: str
) -> None:
    """In any environment, both clients use the same proxy for the same server."""
    server = f"{scheme}://{host}{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [*NAMES, "no_proxy", "NO_PROXY", "REQUEST_METHOD"]:
            patch.delenv(name, raising=False)
        for name, url in proxies.items():
            patch.setenv(name, url)
        patch.setenv("no_proxy", ", ".join(excepted))
        patch.setattr("httpx._client.HTTPTransport", ProxyRecorder)

        with httpx.Client(mounts=dict.fromkeys(NOT_PROXIED)) as client:
            response = client.get(f"{server}/")

        assert Proxies.from_environment().url_for(server) == response.text


@pytest.mark.parametrize("server", ["gopher://a.b", "a.b", "http://", "https:///x", "http://a.b:x"])
def test_rejects_an_invalid_server(server: str) -> None:
    """A request without an absolute http URL is a mistake of the adapter."""
    with pytest.raises(ValueError, match=r"absolute|[Pp]ort"):
        Proxies({}).url_for(server)


def test_reads_an_ipv6_network_as_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like httpx, it does not support networks, but must not fail because of them."""
    monkeypatch.setenv("http_proxy", URLS[1])
    monkeypatch.setenv("no_proxy", "fe80::/10")

    assert Proxies.from_environment().url_for("http://[fe80::1]") == URLS[1]


def test_repr_shows_no_proxy_password() -> None:
    """A proxy's URL may contain a password."""
    assert "secret" not in repr(Proxies({"http": "http://me:secret@proxy"}))
