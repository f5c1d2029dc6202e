"""What holds whichever HTTP library sends, against real sockets."""

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
from transport.scripted import ask
from transport.servers import answering, serving, silent, tls_for

from replay_identity import RetryPolicy
from replay_identity.adapters.exchange import NoResponse, Request, Response
from replay_identity.emulator import Fault, LogRocketEmulator
from replay_identity.transport import AsyncTransport, ConcurrentSender, Transport, curl_sender, httpx_sender
from replay_identity.transport.curl_sender import CurlSender
from replay_identity.transport.thread_sender import ThreadSender

ONCE = RetryPolicy(attempts=1)
Run = Callable[[Request, float], Response]


def run_blocking(request: Request, timeout: float) -> Response:
    """Send *request* once, blocking."""
    with Transport(retry=ONCE, timeout=timeout) as transport:
        return transport.run(ask(request))


def run_awaiting(request: Request, timeout: float) -> Response:
    """Send *request* once, on asyncio."""

    async def main() -> Response:
        async with AsyncTransport(retry=ONCE, timeout=timeout) as transport:
            return await transport.run(ask(request))

    return asyncio.run(main())


def run_on_curl(request: Request, timeout: float) -> Response:
    """Send *request* as the only one of many, over libcurl."""
    return run_alone(CurlSender(1), request, timeout)


def run_on_threads(request: Request, timeout: float) -> Response:
    """Send *request* as the only one of many, over httpx in a thread."""
    return run_alone(ThreadSender(1), request, timeout)


def run_alone(sender: ConcurrentSender, request: Request, timeout: float) -> Response:
    """Send *request* as the only one of many and return its reply, which must come in time and under its ticket."""
    with closing(sender):
        sender.submit(7, request, timeout)
        ((request_id, response),) = sender.completed(timeout + 5.0)
    assert request_id == 7
    return response


WAYS = {"blocking": run_blocking, "asyncio": run_awaiting, "curl": run_on_curl, "threads": run_on_threads}


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Run:
    """Return each of the ways to send one request."""
    return WAYS[request.param]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that nobody trusts until told to."""
    return trustme.CA()


@pytest.fixture
def fresh_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the certificates read anew; httpx's are kept for the process."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(httpx_sender, "_tls", httpx.create_ssl_context)


def cap(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Lower the cap on answers."""
    for module in (httpx_sender, curl_sender):
        monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", size)


@pytest.mark.usefixtures("vendor")
def test_sends_and_reads(run: Run, put: Request) -> None:
    """A request reaches the vendor and its answer comes back."""
    response = run(put, 5.0)

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.json_object() or {})["userID"] == "u1"


def test_tells_that_nothing_was_sent(run: Run) -> None:
    """A port where nobody listens has applied nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    response = run(Request("identify", "PUT", f"http://127.0.0.1:{port}/"), 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert not response.may_have_applied


def test_knows_that_nothing_was_sent_while_connecting(run: Run) -> None:
    """A server that never ends its handshake has been sent nothing, and time is left to know it."""
    with silent() as port:
        response = run(Request("identify", "PUT", f"https://127.0.0.1:{port}/"), 1.5)

    assert response.no_response is NoResponse.NOT_SENT


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_tells_that_the_answer_was_lost(
    run: Run, vendor: LogRocketEmulator, put: Request, *, when: str, applied: bool
) -> None:
    """A connection dropped before or after applying looks the same: it may have been applied."""
    vendor.faults.add(Fault(drop="before" if when == "before" else "after"))

    response = run(put, 5.0)

    assert response.no_response is NoResponse.CONNECTION_LOST
    assert response.may_have_applied
    assert ("u1" in vendor.users) is applied


def test_gives_up_on_a_black_hole(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """A vendor that never answers costs the timeout, not more."""
    vendor.faults.add(Fault(hang=True))
    started = time.monotonic()

    response = run(put, 0.3)

    assert response.no_response is NoResponse.TIMED_OUT
    assert time.monotonic() - started < 3


def test_gives_up_on_a_trickle(run: Run, vendor: LogRocketEmulator, put: Request) -> None:
    """An answer that comes byte by byte is cut off at the timeout, though each byte is in time."""
    vendor.faults.add(Fault(garbage="drip", pause=0.05))
    started = time.monotonic()

    response = run(put, 0.3)

    assert response.no_response is NoResponse.TIMED_OUT
    assert time.monotonic() - started < 3


def test_caps_the_answer(run: Run, vendor: LogRocketEmulator, put: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer over the cap is not read to its end."""
    cap(monkeypatch, 100_000)
    vendor.faults.add(Fault(garbage="huge", size=100 * 2**20))

    response = run(put, 5.0)

    assert response.no_response is NoResponse.TOO_LARGE
    assert response.may_have_applied


def gzipped(packed: bytes) -> bytes:
    """Return an answer whose body is *packed*."""
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode() + packed


def test_caps_the_answer_after_decompression(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small answer that unpacks to a large one is over the cap as well."""
    cap(monkeypatch, 100_000)

    with answering(gzipped(gzip.compress(b" " * 1_000_000))) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.TOO_LARGE


def test_takes_an_answer_just_under_the_cap(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap is the largest answer that is taken, in full."""
    cap(monkeypatch, 100_000)

    with answering(gzipped(gzip.compress(b" " * 100_000))) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert (response.no_response, len(response.body)) == (None, 100_000)


@pytest.mark.parametrize(
    "answer",
    [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "no HTTP", "half an answer"],
)
def test_takes_garbage_for_a_lost_answer(run: Run, answer: bytes) -> None:
    """What is no HTTP answer is no answer."""
    with answering(answer) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.CONNECTION_LOST


def test_takes_a_broken_encoding_for_a_lost_answer(run: Run) -> None:
    """A body that does not unpack is no answer."""
    with answering(gzipped(b"abcd")) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert response.no_response is NoResponse.CONNECTION_LOST


def test_does_not_follow_a_redirection(run: Run, server: tuple[LogRocketEmulator, str], put: Request) -> None:
    """The key goes to the configured host and to no other."""
    vendor, url = server
    vendor.reset()
    vendor.faults.add(Fault(status=307, headers={"location": f"{url}/elsewhere"}))

    response = run(put, 5.0)

    assert response.status == 307
    assert [recorded.path for recorded in vendor.requests] == ["/v1/orgs/acme/apps/shop/users/u1"]


def test_raises_what_is_a_mistake_of_ours(run: Run) -> None:
    """A request that no server could be asked is a bug, not weather."""
    with pytest.raises((httpx.UnsupportedProtocol, ValueError)):
        run(Request("identify", "PUT", "gopher://127.0.0.1/"), 5.0)


def test_carries_no_cookie_from_one_user_to_the_next(run: Run) -> None:
    """What a vendor sets with one answer does not come back with another's request."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: u=canary; Path=/\r\nContent-Length: 0\r\n\r\n"

    with serving(lambda _: answer) as served:
        for _ in range(2):
            run(Request("identify", "PUT", served.url), 5.0)

    assert len(served.requests) == 2
    assert b"canary" not in b"".join(served.requests)


# What goes out.


def test_sends_the_address_and_the_bytes_as_they_are(run: Run) -> None:
    """What an adapter encoded arrives as it encoded it, with the length, and with nothing it did not say."""
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


def test_does_not_ask_before_it_sends_much(run: Run) -> None:
    """A batch of megabytes goes out at once: no server is asked whether it would like it."""
    with serving() as served:
        response = run(Request("batch", "POST", served.url, {}, b"x" * 3 * 2**20), 5.0)

    assert response.status == 200
    assert b"expect" not in served.requests[0].partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize(("method", "length"), [("PUT", True), ("POST", True), ("GET", False), ("DELETE", False)])
def test_says_that_there_is_no_body_where_one_is_expected(run: Run, method: str, *, length: bool) -> None:
    """A PUT or a POST without a body says so; what has none by nature does not."""
    with serving() as served:
        run(Request("ask", method, served.url), 5.0)

    assert served.first_lines == [f"{method} / HTTP/1.1"]
    assert (b"content-length: 0" in served.requests[0].lower()) is length


# What comes in.


def test_reads_headers_in_lower_case_and_joins_those_that_repeat(run: Run) -> None:
    """An adapter looks a header up by one name and finds all that was said under it."""
    answer = b"HTTP/1.1 429 \r\nRetry-After: 2\r\nRETRY-AFTER:  5 \r\nX-Note: a: b\r\nContent-Length: 0\r\n\r\n"

    with answering(answer) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert dict(response.headers) == {"retry-after": "2, 5", "x-note": "a: b", "content-length": "0"}
    assert response.retry_after == 5.0


def test_skips_interim_answers_and_trailers(run: Run) -> None:
    """Only the final answer counts, and of it what stands before its body."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nX-Real: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"

    with answering(interim + final) as url:
        response = run(Request("identify", "PUT", url), 5.0)

    assert (response.status, response.body) == (200, b"{}")
    assert dict(response.headers) == {"x-real": "1", "transfer-encoding": "chunked"}


def test_reads_an_answer_without_a_body(run: Run) -> None:
    """HEAD promises a length that does not come."""
    with serving(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") as served:
        response = run(Request("ask", "HEAD", served.url), 5.0)

    assert (response.status, response.body) == (200, b"")


# Certificates.


def test_does_not_speak_to_a_server_it_cannot_trust(run: Run, authority: trustme.CA) -> None:
    """A certificate of an unknown authority ends it, and nothing is sent."""
    with serving(tls=tls_for(authority)) as served:
        response = run(Request("identify", "PUT", served.url), 5.0)

    assert response.no_response is NoResponse.UNTRUSTED
    assert not response.may_have_applied
    assert served.requests == []


@pytest.mark.usefixtures("fresh_tls")
def test_trusts_the_authority_that_the_environment_names(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_FILE names who is trusted, as behind a company's own proxy."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
def test_speaks_http_1_1(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that would rather speak HTTP/2 is not asked to."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = tls_for(authority)
    tls.set_alpn_protocols(["h2", "http/1.1"])

    with serving(tls=tls) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="a folder of certificates is made with openssl")
def test_trusts_the_folder_that_the_environment_names(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_DIR names a folder of certificates, each under its hash."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)  # noqa: S607  # Found above.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).status == 200


@pytest.mark.usefixtures("fresh_tls")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="a folder of certificates is made with openssl")
def test_trusts_the_file_alone_where_both_are_named(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever names a file of certificates trusts no other."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)  # noqa: S607  # Found above.
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_trusts_no_certificate_for_another_name(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever is trusted is trusted for the name on the certificate."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with serving(tls=tls_for(authority, "other.example")) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_takes_certificates_that_cannot_be_read_for_a_wrong_setting(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong SSL_CERT_FILE is no bug of an adapter's."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with serving(tls=tls_for(authority)) as served:
        assert run(Request("identify", "PUT", served.url), 5.0).no_response is NoResponse.UNTRUSTED


@pytest.mark.usefixtures("fresh_tls")
def test_speaks_no_tls_that_is_broken(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TLS 1.1 and older are not spoken."""
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
def test_sends_nothing_for_this_machine_through_a_proxy(
    run: Run, put: Request, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is allowed on loopback only because it stays there."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert run(put, 5.0).status == 200


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_sends_through_the_proxy_that_the_environment_names(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not for this machine takes the way out that the environment names."""
    with serving() as proxy:
        monkeypatch.setenv(name, proxy.url.replace("://", "://me:secret@"))
        response = run(Request("identify", "PUT", "http://vendor.invalid/u1", {}, b"{}"), 5.0)

    assert response.status == 200
    assert proxy.first_lines == ["PUT http://vendor.invalid/u1 HTTP/1.1"]
    assert b"proxy-authorization: basic bwu6c2vjcmv0" in proxy.requests[0].lower()


@pytest.mark.usefixtures("no_proxies")
def test_sends_straight_to_what_the_environment_excepts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY names what is reached without one: here a host that is not there."""
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "other.invalid, vendor.invalid")
        response = run(Request("identify", "PUT", "http://eu.vendor.invalid/u1"), 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert proxy.requests == []


@pytest.mark.usefixtures("no_proxies")
def test_sends_through_the_proxy_to_what_is_not_excepted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a dot before it in NO_PROXY excepts what is below it and not itself; libraries differ in that."""
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", ".vendor.invalid")
        response = run(Request("identify", "PUT", "http://vendor.invalid/u1"), 5.0)

    assert response.status == 200


@pytest.mark.usefixtures("no_proxies", "fresh_tls")
def test_tells_a_proxy_no_secret(
    run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over TLS a proxy learns the host's name; the key and the user are for the vendor alone."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    request = Request("identify", "PUT", "https://vendor.invalid/canary", {"authorization": "token canary"}, b"canary")

    with serving(lambda _: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        response = run(request, 5.0)

    assert response.no_response is NoResponse.NOT_SENT
    assert proxy.first_lines == ["CONNECT vendor.invalid:443 HTTP/1.1"]
    assert b"canary" not in b"".join(proxy.requests)


# Secrets.


@pytest.mark.usefixtures("vendor")
def test_writes_nothing_of_a_request_anywhere(
    run: Run, put: Request, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even an application that logs at DEBUG sees a user id in an HTTP library's records."""
    with caplog.at_level(logging.DEBUG):
        run(put, 5.0)

    about_requests = [record.getMessage() for record in caplog.records if "close" not in record.getMessage()]
    assert not [message for message in about_requests if "users/u1" in message or "headers" in message]
    assert capfd.readouterr() == ("", "")
