"""What only the sender over libcurl does."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.children import in_children
from support.servers import OK, serving, tls_for

from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.transport import unpacking
from replay_identity.transport.curl_sender import (
    CurlHandle,
    CurlSender,
    ResponseHeaders,
    header_lines,
    parse_headers,
    pycurl,
)
from replay_identity.transport.unpacking import Body


@pytest.fixture
def sender() -> Iterator[CurlSender]:
    """Return a sender with one connection."""
    sender = CurlSender(1)
    yield sender
    sender.close()


def ask(sender: CurlSender, request: Request) -> Response:
    """Send *request* and return its response."""
    sender.submit(0, request, 5.0)
    ((_, response),) = sender.completed(10.0)
    return response


def test_sends_no_request_twice(sender: CurlSender) -> None:
    """The first request may have been applied when a kept connection closes without a response."""
    with serving(lambda request: None if b"second" in request else OK) as served:
        first = ask(sender, Request("identify", "POST", f"{served.url}/first"))
        second = ask(sender, Request("identify", "POST", f"{served.url}/second"))

    assert (first.status, second.no_response) == (200, NoResponse.CONNECTION_LOST)
    assert served.request_lines == ["POST /first HTTP/1.1", "POST /second HTTP/1.1"]


def test_reconnects_after_the_server_closed(sender: CurlSender) -> None:
    """A kept connection that the server has closed costs no request."""
    with serving(lambda _: OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)) as served:
        responses = [ask(sender, Request("identify", "PUT", served.url)) for _ in range(3)]

    assert [response.status for response in responses] == [200, 200, 200]


def test_a_reused_handle_keeps_nothing(sender: CurlSender) -> None:
    """A reused handle sends only what belongs to the current request."""
    requests = [
        Request("identify", "PUT", "/1", {"x-one": "canary", "content-type": "a/b"}, b"canary-body"),
        Request("ask", "GET", "/2"),
        Request("ask", "HEAD", "/3"),
        Request("identify", "POST", "/4", {"x-two": "2"}, b"{}"),
        Request("delete", "DELETE", "/5", {}, b"[1]"),
        Request("delete", "DELETE", "/6"),
        Request("identify", "PUT", "/7"),
    ]

    def respond(request: bytes) -> bytes:
        return OK[:-2] if request.startswith(b"HEAD") else OK

    with serving(respond) as served:
        responses = [
            ask(
                sender,
                Request(request.operation, request.method, served.url + request.url, request.headers, request.body),
            )
            for request in requests
        ]

    assert [response.body for response in responses] == [b"{}", b"{}", b"", b"{}", b"{}", b"{}", b"{}"]
    assert served.connections == 1
    assert served.request_lines == [f"{request.method} {request.url} HTTP/1.1" for request in requests]
    bodies = [request.partition(b"\r\n\r\n")[2] for request in served.requests]
    assert bodies == [b"canary-body", b"", b"", b"{}", b"[1]", b"", b""]
    later = b"".join(served.requests[1:]).lower()
    assert b"x-one" not in later
    assert b"canary" not in later
    assert b"content-type" not in later


def test_frees_a_large_body_after_the_response(sender: CurlSender) -> None:
    """Sixty handles that each keep their last batch would fill the memory."""
    body = b"x" * 1_000_000
    before = sys.getrefcount(body)
    with serving(lambda _: OK) as served:
        response = ask(sender, Request("create_job", "POST", served.url, {}, body))

    assert response.status == 200
    assert sys.getrefcount(body) == before


def test_shared_headers_are_sent_with_each_request(sender: CurlSender) -> None:
    """Requests that share a headers object all carry the headers."""
    headers = {"authorization": "token k"}

    with serving() as served:
        for _ in range(3):
            ask(sender, Request("identify", "PUT", served.url, headers))

    assert [b"\r\nauthorization: token k\r\n" in request for request in served.requests] == [True, True, True]


def test_a_lost_response_does_not_leak_into_the_next(sender: CurlSender) -> None:
    """What was received before a timeout is discarded."""
    no_response = b"HTTP/1.1 200 OK\r\nX-Lost: 1\r\nContent-Length: 9\r\n\r\nhalf"

    with serving(lambda request: no_response if b"/lost" in request else OK) as served:
        sender.submit(0, Request("identify", "PUT", f"{served.url}/lost"), 0.3)
        ((_, first),) = sender.completed(5.0)
        second = ask(sender, Request("identify", "PUT", served.url))

    assert first.no_response is NoResponse.TIMED_OUT
    assert (dict(second.headers), second.body) == ({"content-length": "2"}, b"{}")


def test_a_giant_response_does_not_affect_the_next(sender: CurlSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a response over the limit, the next failure has its own reason."""
    monkeypatch.setattr(unpacking, "MAX_RESPONSE_BYTES", 1)

    with serving(lambda request: OK if b"/giant" in request else None) as served:
        first = ask(sender, Request("identify", "PUT", f"{served.url}/giant"))
        second = ask(sender, Request("identify", "PUT", served.url))

    assert (first.no_response, second.no_response) == (NoResponse.TOO_LARGE, NoResponse.CONNECTION_LOST)


def test_clears_what_it_received() -> None:
    """The bytes of a response are discarded with it."""
    handle = CurlHandle(head=[b"HTTP/1.1 200 OK\r\n"], body=Body())

    handle.take_response(pycurl.E_RECV_ERROR)

    assert not handle.head
    assert handle.body is None


@pytest.mark.slow
def test_each_request_has_its_own_timeout(sender: CurlSender) -> None:
    """Neither a long nor a short timeout is kept for the next request."""

    def respond(request: bytes) -> bytes:
        time.sleep(0.6 if b"slow" in request else 0.0)
        return OK

    with serving(respond) as served:
        no_response: list[NoResponse | None] = []
        for timeout in (5.0, 0.2, 5.0):
            sender.submit(0, Request("identify", "PUT", f"{served.url}/slow"), timeout)
            ((_, response),) = sender.completed(10.0)
            no_response.append(response.no_response)

    assert no_response == [None, NoResponse.TIMED_OUT, None]


@pytest.mark.parametrize("trusted", [True, False])
def test_verifies_a_proxy_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, trusted: bool) -> None:
    """The certificates from the environment also apply to a proxy."""
    authority = trustme.CA()
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with serving(tls=tls_for(authority)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        sender = CurlSender(1)
        response = ask(sender, Request("identify", "PUT", "http://vendor.invalid/u1"))
        sender.close()

    assert (response.status, response.no_response) == ((200, None) if trusted else (0, NoResponse.UNTRUSTED))


def test_a_child_does_not_end_its_parents_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Freeing a TLS connection in a child would end it for the parent."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    sender = CurlSender(1)

    with serving(tls=tls_for(authority)) as served:
        request = Request("identify", "PUT", served.url)
        statuses = [ask(sender, request).status]
        statuses += in_children(lambda: ask(sender, request).status, count=1)
        statuses += [ask(sender, request).status]
        sender.close()

    assert statuses == [200, 200, 200]
    assert served.connections == 2


@pytest.mark.parametrize(
    "request_",
    [
        Request("identify", "PUT", "http://127.0.0.1/canary space"),
        Request("identify", "PUT", "http://127.0.0.1/canary\n"),
        Request("identify", "PUT", "http://127.0.0.1/canaryé"),
        Request("identify", "PUT", "http://127.0.0.1/canary", {"x": "canary\r\nhost: other"}),
        Request("identify", "PUT", "http://127.0.0.1/canary", {"x": "canaryé"}),
        Request("identify", "PUT", "http://127.0.0.1/canary", {"x: y\r\nz": "canary"}),
        Request("identify", "PUT / HTTP/1.1\r\nx", "http://127.0.0.1/canary"),
    ],
    ids=["a space", "a new line", "not ASCII", "two headers", "a value not ASCII", "a name", "a method"],
)
def test_rejects_characters_that_http_does_not_allow(sender: CurlSender, request_: Request) -> None:
    """A line break would start another header; the error quotes nothing."""
    with pytest.raises(ValueError, match=r"URL|character") as caught:
        sender.submit(0, request_, 5.0)

    assert "canary" not in repr(caught.value)
    assert list(sender.completed(0.0)) == []


def test_sends_after_a_rejected_request(sender: CurlSender) -> None:
    """A rejected request costs no connection and leaves nothing behind."""
    with serving() as served:
        for _ in range(3):
            with pytest.raises(ValueError, match="character"):
                sender.submit(0, Request("identify", "PUT", served.url, {"x-bad": "\n"}, b"canary"), 5.0)

        assert ask(sender, Request("identify", "PUT", served.url)).status == 200
    assert b"canary" not in served.requests[0]


def test_raises_for_an_invalid_queued_request(sender: CurlSender) -> None:
    """A queued request is checked when a connection is free."""
    with serving() as served:
        sender.submit(0, Request("identify", "PUT", served.url), 5.0)
        sender.submit(1, Request("identify", "PUT", "gopher://127.0.0.1/"), 5.0)

        with pytest.raises(ValueError, match="URL"):
            sender.completed(5.0)

        assert [request_id for request_id, _ in sender.completed(5.0)] == [0]


def test_works_with_many_open_files(sender: CurlSender) -> None:
    """select() does not see sockets numbered above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with serving() as served:
            assert ask(sender, Request("identify", "PUT", served.url)).status == 200
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_adds_no_content_type() -> None:
    """Without a header of its own, libcurl declares every body as a form."""
    assert "content-type:" in header_lines({})
    assert "content-type: application/json" in header_lines({"content-type": "application/json"})
    assert "content-type:" not in header_lines({"content-type": "application/json"})


def test_parses_the_headers_of_the_final_response() -> None:
    """Headers of proxies and interim responses, and trailers, do not count."""
    lines = [
        b"HTTP/1.1 200 Connection established\r\n",
        b"Via: proxy\r\n",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"X-Real: a:b\r\n",
        b"no colon\r\n",
        b"\r\n",
        b"X-Late: 1\r\n",
    ]

    assert parse_headers(lines) == {"x-real": "a:b"}


def test_headers_are_a_mapping() -> None:
    """Headers are parsed on access and do not appear in a repr."""
    headers = ResponseHeaders([b"HTTP/1.1 429 \r\n", b"Retry-After: 7\r\n", b"X-Of: canary\r\n", b"\r\n"])

    assert "canary" not in repr(headers)
    assert headers == {"retry-after": "7", "x-of": "canary"}
    assert (len(headers), headers["x-of"], headers.get("date")) == (2, "canary", None)
    assert Response(429, headers).retry_after == 7.0
