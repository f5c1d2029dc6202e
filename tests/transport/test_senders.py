"""What all senders have in common, over real sockets."""

import asyncio
import gzip
import logging
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trustme
from support.scripted import ask
from support.servers import responding, serving, silent_port, tls_for

from replay_identity import RetryPolicy
from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.emulator import Fault, LogRocketEmulator
from replay_identity.transport import AsyncTransport, ConcurrentSender, Transport, httpx_sender, unpacking
from replay_identity.transport.curl_sender import CurlSender
from replay_identity.transport.thread_sender import ThreadSender

ONCE = RetryPolicy(attempts=1)
Run = Callable[[Request, float], Response]


def run_blocking(request: Request, timeout: float) -> Response:
    """Send *request* once, blocking."""
    with Transport(retry=ONCE, timeout=timeout) as transport:
        return transport.run(ask(request))


def run_async(request: Request, timeout: float) -> Response:
    """Send *request* once, on asyncio."""

    async def main() -> Response:
        async with AsyncTransport(retry=ONCE, timeout=timeout) as transport:
            return await transport.run(ask(request))

    return asyncio.run(main())


def run_on_curl(request: Request, timeout: float) -> Response:
    """Send *request* over libcurl."""
    return run_concurrent(CurlSender(1), request, timeout)


def run_on_threads(request: Request, timeout: float) -> Response:
    """Send *request* over httpx in a thread."""
    return run_concurrent(ThreadSender(1), request, timeout)


def run_concurrent(sender: ConcurrentSender, request: Request, timeout: float) -> Response:
    """Send a single request and return its response, which must arrive in time and with its id."""
    with closing(sender):
        sender.submit(7, request, timeout)
        ((request_id, response),) = sender.completed(timeout + 5.0)
    assert request_id == 7
    return response


WAYS = {"blocking": run_blocking, "asyncio": run_async, "curl": run_on_curl, "threads": run_on_threads}


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Run:
    """Return each of the functions that send one request."""
    return WAYS[request.param]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that is not trusted by default."""
    return trustme.CA()


@pytest.fixture
def fresh_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the certificates again; the TLS context of httpx is cached for the process."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(httpx_sender, "_tls", httpx.create_ssl_context)


def limit_responses(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Lower the limit on the size of responses."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", size)


@pytest.mark.usefixtures("vendor")
def test_sends_a_request_and_returns_the_response(run: Run, put: Request) -> None:
    """A request reaches the vendor, and its response is returned."""
    response = run(put, 5.0)

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.json_object() or {})["userID"] == "u1"


def test_a_closed_port_is_not_sent(run: Run) -> None:
    """Nothing can have been applied where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    response = run(Request("identify", "PUT", f"http://127.0.0.1:{port}/"), 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert not response.may_have_applied


@pytest.mark.slow
def test_an_unfinished_handshake_is_not_sent(run: Run) -> None:
    """Connecting times out early enough to know that nothing was sent."""
    with silent_port() as port:
        response = run(Request("identify", "PUT", f"https://127.0.0.1:{port}/"), 1.5)

    assert response.no_response is NoResponse.NOT_SENT


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_a_dropped_connection_may_have_applied(
    run: Run, vendor: LogRocketEmulator, put: Request, *, when: str, applied: bool
) -> None:
    """A connection dropped before or after applying looks the same."""
    vendor.faults.add(Fault(drop="before" if when == "before" else "after"))

    response = run(put, 5.0)

    assert response.no_response is NoResponse.CONNECTION_LOST
    assert response.may_have_applied
    assert ("u1" in vendor.users) is applied


def test_times_out_without_a_response(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """A vendor that never responds costs the timeout, not more."""
    vendor.faults.add(Fault(hang=True))
    started = time.monotonic()

    response = run(put, 0.3)

    assert response.no_response is NoResponse.TIMED_OUT
    assert time.monotonic() - started < 30


def test_times_out_on_a_slow_trickle(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """A response that arrives byte by byte ends at the timeout, though each byte is in time."""
    vendor.faults.add(Fault(garbage="drip", pause=0.05))
    started = time.monotonic()

    response = run(put, 0.3)

    assert response.no_response is NoResponse.TIMED_OUT
    assert time.monotonic() - started < 30


def test_limits_the_size_of_a_response(
    run: Run, vendor: LogRocketEmulator, put: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response over the limit is not read to its end."""
    limit_responses(monkeypatch, 100_000)
    vendor.faults.add(Fault(garbage="huge", size=100 * 2**20))

    response = run(put, 5.0)

    assert response.no_response is NoResponse.TOO_LARGE
    assert response.may_have_applied


def gzipped(packed: bytes) -> bytes:
    """Return a response with *packed* as its body."""
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode() + packed


def test_limits_the_size_after_decompression(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small response may unpack to a large one."""
    limit_responses(monkeypatch, 100_000)

    with responding(gzipped(gzip.compress(b" " * 1_000_000))) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.TOO_LARGE


def test_accepts_a_response_at_the_limit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response as large as the limit is read in full."""
    limit_responses(monkeypatch, 100_000)

    with responding(gzipped(gzip.compress(b" " * 100_000))) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert (response.no_response, len(response.body)) == (None, 100_000)


@pytest.mark.parametrize(
    "response_bytes",
    [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "not HTTP", "half a response"],
)
def test_an_invalid_response_is_a_lost_connection(run: Run, response_bytes: bytes) -> None:
    """What is not HTTP is not a response."""
    with responding(response_bytes) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.CONNECTION_LOST


@pytest.mark.parametrize("packed", [b"abcd", gzip.compress(b"{}")[:-4]], ids=["not gzip", "half of it"])
def test_a_body_that_cannot_be_unpacked_is_unreadable(run: Run, packed: bytes) -> None:
    """It is not a response."""
    with responding(gzipped(packed)) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.UNREADABLE


def test_does_not_follow_redirects(run: Run, server: tuple[LogRocketEmulator, str], put: Request) -> None:
    """The key is sent to the configured host only."""
    vendor, url = server
    vendor.reset()
    vendor.faults.add(Fault(status=307, headers={"location": f"{url}/elsewhere"}))

    response = run(put, 5.0)

    assert response.status == 307
    assert [recorded.path for recorded in vendor.requests] == ["/v1/orgs/acme/apps/shop/users/u1"]


def test_raises_for_an_invalid_request(run: Run) -> None:
    """A request that no server could get is a bug, not a network failure."""
    with pytest.raises((httpx.UnsupportedProtocol, ValueError)):
        run(Request("identify", "PUT", "gopher://127.0.0.1/"), 5.0)


def test_keeps_no_cookies(run: Run) -> None:
    """A cookie set with one user is not sent with the next."""
    response_bytes = b"HTTP/1.1 200 OK\r\nSet-Cookie: u=canary; Path=/\r\nContent-Length: 0\r\n\r\n"

    with serving(lambda _: response_bytes) as served:
        for _ in range(2):
            run(Request("identify", "PUT", served.url), 5.0)

    assert len(served.requests) == 2
    assert b"canary" not in b"".join(served.requests)


# What goes out.


def test_sends_exactly_what_the_adapter_encoded(run: Run) -> None:
    """URL, headers and body arrive unchanged, and nothing is added."""
    request = Request("identify", "PUT", "", {"x-name": "value", "x-empty": ""}, b'{"a":"\xc3\xa9"}')

    with serving() as served:
        url = f"{served.url}/users/a%2Fb%20%C3%A9/%2E%2E?q=%26"
        run(Request(request.operation, request.method, url, request.headers, request.body), 5.0)

    head, _, body = served.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert first == "PUT /users/a%2Fb%20%C3%A9/%2E%2E?q=%26 HTTP/1.1"
    assert body == b'{"a":"\xc3\xa9"}'
    assert headers.pop("user-agent").startswith("replay-identity/")
    assert headers.pop("host") == served.url.removeprefix("http://")
    assert headers.pop("connection", "keep-alive") == "keep-alive"
    assert headers == {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-length": "10",
        "x-name": "value",
        "x-empty": "",
    }


def test_does_not_send_expect_continue(run: Run) -> None:
    """A batch of megabytes is sent at once."""
    with serving() as served:
        response = run(Request("batch", "POST", served.url, {}, b"x" * 3 * 2**20), 5.0)

    assert response.status == 200
    assert b"expect" not in served.requests[0].partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize(("method", "length"), [("PUT", True), ("POST", True), ("GET", False), ("DELETE", False)])
def test_sends_a_content_length_of_zero(run: Run, method: str, *, length: bool) -> None:
    """A PUT or a POST without a body has one; a GET or a DELETE has none."""
    with serving() as served:
        run(Request("ask", method, served.url), 5.0)

    assert served.request_lines == [f"{method} / HTTP/1.1"]
    assert (b"content-length: 0" in served.requests[0].lower()) is length


# What comes in.


def test_header_names_are_lower_case_and_unique(run: Run) -> None:
    """Repeated headers are joined with commas."""
    response_bytes = b"HTTP/1.1 429 \r\nRetry-After: 2\r\nRETRY-AFTER:  5 \r\nX-Note: a: b\r\nContent-Length: 0\r\n\r\n"

    with responding(response_bytes) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert dict(response.headers) == {"retry-after": "2, 5", "x-note": "a: b", "content-length": "0"}
    assert response.retry_after == 5.0


def test_ignores_interim_responses_and_trailers(run: Run) -> None:
    """Only the headers of the final response count."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nX-Real: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"

    with responding(interim + final) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert (response.status, response.body) == (200, b"{}")
    assert dict(response.headers) == {"x-real": "1", "transfer-encoding": "chunked"}


def test_reads_a_response_without_a_body(run: Run) -> None:
    """The response to HEAD has a length but no body."""
    with serving(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") as served:
        response = run(Request("ask", "HEAD", served.url), 5.0)

    assert (response.status, response.body) == (200, b"")


# Certificates.


def test_sends_nothing_to_an_untrusted_server(run: Run, authority: trustme.CA) -> None:
    """A certificate from an unknown authority ends the connection."""
    with serving(tls=tls_for(authority)) as served:
        response = run(Request("identify", "PUT", served.url), 5.0)

    assert response.no_response is NoResponse.UNTRUSTED
    assert not response.may_have_applied
    assert served.requests == []


@pytest.mark.usefixtures("fresh_tls")
def test_trusts_ssl_cert_file(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_FILE may contain the authority of a company's proxy."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
def test_uses_http_1_1(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HTTP/2 is not negotiated, even if the server prefers it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = tls_for(authority)
    tls.set_alpn_protocols(["h2", "http/1.1"])

    with serving(tls=tls) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="a folder of certificates is made with openssl")
def test_trusts_ssl_cert_dir(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_DIR is a folder of certificates, each under its hash."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)  # noqa: S607  # Found above.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="a folder of certificates is made with openssl")
def test_ssl_cert_file_takes_precedence(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With both variables set, only the file counts."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)  # noqa: S607  # Found above.
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_verifies_the_host_name(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A trusted certificate is valid for its own name only."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with serving(tls=tls_for(authority, "other.example")) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_unreadable_certificates_are_untrusted(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong SSL_CERT_FILE is not a bug in the adapter."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_rejects_old_tls_versions(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TLS 1.1 and older are not used."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    old = tls_for(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with serving(tls=old) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.NOT_SENT


# Proxies.

PROXY_SETTINGS = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment without proxies."""
    for name in PROXY_SETTINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("vendor", "no_proxies")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_uses_no_proxy_for_loopback(run: Run, put: Request, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http is allowed on loopback only because it stays there."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert run(put, 5.0).status == 200


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_uses_the_proxy_from_the_environment(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to other machines use the proxy, with its credentials."""
    with serving() as proxy:
        monkeypatch.setenv(name, proxy.url.replace("://", "://me:secret@"))
        response = run(Request("identify", "PUT", "http://vendor.invalid/u1", {}, b"{}"), 5.0)

    assert response.status == 200
    assert proxy.request_lines == ["PUT http://vendor.invalid/u1 HTTP/1.1"]
    assert b"proxy-authorization: basic bwu6c2vjcmv0" in proxy.requests[0].lower()


@pytest.mark.usefixtures("no_proxies")
def test_honours_no_proxy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is reached directly; here it does not exist."""
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.invalid, vendor.invalid")
        response = run(Request("identify", "PUT", "http://eu.vendor.invalid/u1"), 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert proxy.requests == []


@pytest.mark.usefixtures("no_proxies")
def test_a_dot_in_no_proxy_exempts_subdomains_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP libraries differ in this."""
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", ".vendor.invalid")
        response = run(Request("identify", "PUT", "http://vendor.invalid/u1"), 5.0)

    assert response.status == 200


@pytest.mark.usefixtures("no_proxies", "fresh_tls")
def test_an_https_proxy_sees_no_secret(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy learns the host name, but neither the key nor the user."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    request = Request("identify", "PUT", "https://vendor.invalid/canary", {"authorization": "token canary"}, b"canary")

    with serving(lambda _: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        response = run(request, 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert proxy.request_lines == ["CONNECT vendor.invalid:443 HTTP/1.1"]
    assert b"canary" not in b"".join(proxy.requests)


# Secrets.


@pytest.mark.usefixtures("vendor")
def test_logs_nothing_about_a_request(
    run: Run, put: Request, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even at level DEBUG, no record of an HTTP library has a user id."""
    with caplog.at_level(logging.DEBUG):
        run(put, 5.0)

    about_requests = [record.getMessage() for record in caplog.records if "close" not in record.getMessage()]
    assert not [message for message in about_requests if "users/u1" in message or "headers" in message]
    assert capfd.readouterr() == ("", "")
