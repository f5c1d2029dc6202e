"""A concurrent sender over libcurl, for bulk runs: many requests in flight from one thread."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, Protocol

import attrs
import certifi
import pycurl as _untyped  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

# Missing in pycurl before 7.45.7 and with a libcurl before 7.80: then this import fails as if there were no pycurl.
from pycurl import PREREQFUNCTION as _PREREQFUNCTION  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from .._forks import register_fork_hooks
from ..adapters.exchange import NoResponse, Request, Response
from .proxies import Proxies
from .senders import HEADERS, MAX_HEADER_BYTES
from .unpacking import Body, BodyAbortedError

# pycurl has no type hints; `Easy` and `Multi` describe the two classes that are used here.
pycurl: Any = _untyped

# Seconds between calls of perform(): select() does not see sockets numbered above 1,023 and ignores libcurl's timers.
MAX_SELECT_S: Final = 0.05

# A larger request body is freed after its response, not with the next request.
_MAX_KEPT_BODY_BYTES: Final = 65_536

_UNTRUSTED: Final = {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_ISSUER_ERROR}
# No URL starts with a space.
_NO_SERVER: Final = " "
# Without a body, httpx sends "content-length: 0" with these methods.
_METHODS_WITH_BODY: Final = {"POST", "PUT", "PATCH"}

# A forked child must neither use nor close its parent's connections, and freeing them would close them.
_LEFT_TO_PARENT: Final[list[object]] = []


class Easy(Protocol):
    """The part of `pycurl.Curl` that is used here."""

    def setopt(self, option: int, value: object, /) -> None:
        """Set an option for this and all further requests."""
        ...

    def unsetopt(self, option: int, /) -> None:
        """Remove an option, also one that libcurl sets by default."""
        ...

    def getinfo(self, info: int, /) -> int:
        """Return a fact about the last response."""
        ...


class Multi(Protocol):
    """The part of `pycurl.CurlMulti` that is used here."""

    def add_handle(self, easy: Easy, /) -> None:
        """Start a request."""
        ...

    def remove_handle(self, easy: Easy, /) -> None:
        """End a request."""
        ...

    def perform(self) -> object:
        """Send and receive what is possible without waiting."""
        ...

    def select(self, timeout: float, /) -> object:
        """Wait for a socket."""
        ...

    def info_read(self) -> tuple[int, Sequence[Easy], Sequence[tuple[Easy, int, str]]]:
        """Return the handles that succeeded, and those that failed with an error number and a message."""
        ...

    def close(self) -> None:
        """Free it and its connections."""
        ...


@attrs.define(eq=False)
class CurlSender:
    """Send many requests at once over libcurl; not to be shared between threads.

    Attributes:
        connections: Maximum number of requests in flight; others wait, and the wait counts towards their timeout.
    """

    connections: int = 64
    _multi: Multi = attrs.field(init=False, repr=False)
    _handles: "dict[Easy, CurlHandle]" = attrs.field(init=False, repr=False)
    _free: "list[CurlHandle]" = attrs.field(init=False, repr=False)
    # A heap, ordered by the moment at which a request times out.
    _waiting: list[tuple[float, int, Request]] = attrs.field(init=False, repr=False)
    _done: list[tuple[int, Response]] = attrs.field(init=False, repr=False)
    _proxies: Proxies = attrs.field(init=False, repr=False)
    # The server of the last request, and its proxy.
    _server: str = attrs.field(init=False, repr=False)
    _proxy: str = attrs.field(init=False, repr=False)
    _is_closed: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._open()
        register_fork_hooks(self)

    def _open(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._handles, self._free, self._waiting, self._done = {}, [], [], []
        self._proxies, self._server, self._proxy = Proxies.from_environment(), _NO_SERVER, ""

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its connections."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child, without connections."""
        if in_child:
            _LEFT_TO_PARENT.append((self._multi, self._handles))
            self._open()

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Start sending *request*; within *timeout* seconds `completed` returns its response under *request_id*.

        Raises:
            ValueError: The request cannot be sent over HTTP: its URL, its method or a header is invalid.
        """
        if self._is_closed:
            self._done.append((request_id, Response(0, no_response=NoResponse.CLOSED)))
        elif self._has_free_handle():
            self._send(request_id, request, timeout)
        else:
            heappush(self._waiting, (time.monotonic() + timeout, request_id, request))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return request ids and responses that have arrived, waiting at most *timeout* seconds for the first one.

        Requests are sent and responses read while this waits. Returns at once if no request is in flight.
        """
        end = time.monotonic() + timeout
        while not self._is_closed:
            self._multi.perform()
            self._collect()
            remaining = end - time.monotonic()
            if self._done or len(self._free) == len(self._handles) or remaining <= 0:
                break
            self._multi.select(min(remaining, MAX_SELECT_S))
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Free the connections and discard the responses to requests in flight."""
        self._is_closed = True
        self._multi.close()

    def _has_free_handle(self) -> bool:
        if not self._free and len(self._handles) < self.connections:
            handle = CurlHandle()
            self._handles[handle.easy] = handle
            self._free.append(handle)
        return bool(self._free)

    def _send(self, request_id: int, request: Request, timeout: float) -> None:
        handle, url = self._free[-1], request.url
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("expected a percent-encoded URL")
        handle.prepare(request, proxy=self._proxy_for(url), timeout=timeout)
        handle.request_id = request_id
        self._free.pop()
        self._multi.add_handle(handle.easy)

    def _proxy_for(self, url: str) -> str:
        # Nearly every request goes to the same server as the one before.
        if not url.startswith(self._server):
            scheme, _, rest = url.partition("://")
            server = f"{scheme}://{rest.partition('/')[0]}"
            self._proxy = self._proxies.url_for(server)
            self._server = f"{server}/"
        return self._proxy

    def _collect(self) -> None:
        _, succeeded, failed = self._multi.info_read()
        for easy in succeeded:
            self._finish(easy, 0)
        for easy, error, _ in failed:
            self._finish(easy, error)
        while self._waiting:
            end, request_id, request = self._waiting[0]
            remaining = end - time.monotonic()
            if remaining > 0 and not self._has_free_handle():
                break
            heappop(self._waiting)
            if remaining > 0:
                self._send(request_id, request, remaining)
            else:
                self._done.append((request_id, Response(0, no_response=NoResponse.NOT_SENT)))

    def _finish(self, easy: Easy, error: int) -> None:
        handle = self._handles[easy]
        self._multi.remove_handle(easy)
        self._done.append((handle.request_id, handle.take_response(error)))
        self._free.append(handle)


@attrs.define(eq=False)
class CurlHandle:
    """A libcurl handle that is reused, with its current options, so that only changed ones are set."""

    easy: Easy = attrs.field(factory=pycurl.Curl)
    request_id: int = 0
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    method: str = ""
    proxy: str = attrs.field(default="", repr=False)
    timeout: float | None = None
    times_sent: int = 0
    has_large_body: bool = False
    head: list[bytes] = attrs.field(factory=list[bytes], repr=False)
    head_size: int = 0
    body: Body | None = attrs.field(default=None, repr=False)
    # Why the body was not read to its end.
    aborted: NoResponse | None = None

    def __attrs_post_init__(self) -> None:
        for option, value in _default_options():
            if value is None:
                self.easy.unsetopt(option)
            else:
                self.easy.setopt(option, value)
        self.easy.setopt(_PREREQFUNCTION, self._before_sending)
        self.easy.setopt(pycurl.HEADERFUNCTION, self._add_line)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._add_chunk)

    def _before_sending(self, *_addresses: object) -> int:
        # libcurl resends on its own when a reused connection closes without a response. We abort that, since the first
        # request may have been applied; `Attempts` decides about retries.
        self.times_sent += 1
        verdict: int = pycurl.PREREQFUNC_OK if self.times_sent == 1 else pycurl.PREREQFUNC_ABORT
        return verdict

    def _add_line(self, line: bytes) -> int | None:
        self.head_size += len(line)
        self.head.append(line)
        return None if self.head_size <= MAX_HEADER_BYTES else 0

    def _add_chunk(self, chunk: bytes) -> int | None:
        if self.body is None:
            # Nearly no response has an encoding, and to parse all headers would take a tenth of the request's time.
            is_encoded = b"content-encoding" in b"".join(self.head).lower()
            self.body = Body(ResponseHeaders(tuple(self.head)).get("content-encoding", "") if is_encoded else "")
        try:
            for _ in self.body.add(chunk):
                pass
        except BodyAbortedError as error:
            self.aborted = error.no_response
            return 0
        return None

    def prepare(self, request: Request, *, proxy: str, timeout: float) -> None:
        """Set the options for *request*."""
        easy = self.easy
        if request.headers is not self.headers:
            easy.setopt(pycurl.HTTPHEADER, header_lines(request.headers))
            self.headers = request.headers
        if request.method != self.method:
            easy.setopt(pycurl.CUSTOMREQUEST, _checked(_TOKEN, request.method))
            easy.setopt(pycurl.NOBODY, 0)
            self.method = request.method
        if proxy != self.proxy:
            easy.setopt(pycurl.PROXY, proxy)
            self.proxy = proxy
        if timeout != self.timeout:
            # For libcurl, 0 means no timeout.
            easy.setopt(pycurl.TIMEOUT_MS, max(1, int(timeout * 1000)))
            self.timeout = timeout
        easy.setopt(pycurl.URL, request.url)
        body = request.body or b""
        if body or request.method in _METHODS_WITH_BODY:
            easy.setopt(pycurl.POSTFIELDS, body)
            self.has_large_body = len(body) > _MAX_KEPT_BODY_BYTES
        else:
            easy.setopt(pycurl.HTTPGET, 1)
        if request.method == "HEAD":
            easy.setopt(pycurl.NOBODY, 1)

    def take_response(self, error: int) -> Response:
        """Return the response, or one that says why there is none, and clear the handle's state."""
        response = Response(0, no_response=self._no_response(error)) if error else self._read_response()
        if self.has_large_body:
            # Otherwise libcurl would keep the batch in memory until it sends another body.
            self.easy.setopt(pycurl.POSTFIELDS, b"")
            self.has_large_body = False
        self.head.clear()
        self.times_sent, self.head_size, self.body, self.aborted = 0, 0, None, None
        return response

    def _read_response(self) -> Response:
        headers = ResponseHeaders(tuple(self.head))
        try:
            body = b"" if self.body is None else self.body.content()
        except BodyAbortedError as error:
            return Response(0, no_response=error.no_response)
        return Response(self.easy.getinfo(pycurl.RESPONSE_CODE), headers, body)

    def _no_response(self, error: int) -> NoResponse:
        if error in _UNTRUSTED:
            return NoResponse.UNTRUSTED
        if not self.times_sent:
            return NoResponse.NOT_SENT
        if self.aborted:
            return self.aborted
        return NoResponse.TIMED_OUT if error == pycurl.E_OPERATION_TIMEDOUT else NoResponse.CONNECTION_LOST


def _default_options() -> Iterable[tuple[int, object]]:
    """Yield the options that are the same for all requests; None removes one that libcurl sets by default."""
    # The libcurl in pycurl's wheels behaves like this by default; one built differently might not.
    yield pycurl.NOSIGNAL, 1
    yield pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2
    yield pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1
    yield pycurl.ACCEPT_ENCODING, HEADERS["accept-encoding"]
    yield pycurl.HTTP_CONTENT_DECODING, 0
    yield pycurl.PATH_AS_IS, 1
    # Set to empty strings, these keep libcurl from reading the environment its own way.
    yield pycurl.PROXY, ""
    yield pycurl.NOPROXY, ""
    # The same certificates as httpx uses: SSL_CERT_FILE, else SSL_CERT_DIR, else certifi's.
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    file = file or (None if folder else certifi.where())
    yield pycurl.CAINFO, file
    yield pycurl.PROXY_CAINFO, file
    yield pycurl.CAPATH, None if file else folder
    yield pycurl.PROXY_CAPATH, None if file else folder


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return *headers* in the form that libcurl takes.

    Raises:
        ValueError: A name or a value contains a character that HTTP does not allow there, such as a line break.
    """
    # A name without a value keeps libcurl from adding that header.
    lines = ["expect:"]
    if "content-type" not in headers:
        lines.append("content-type:")
    for name, value in ({"user-agent": HEADERS["user-agent"]} | dict(headers)).items():
        name = _checked(_TOKEN, name)  # noqa: PLW2901
        lines.append(f"{name}: {_checked(_HEADER_VALUE, value)}" if value else f"{name};")
    return lines


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError("the method, a header name or a header value contains a character that HTTP does not allow")
    return text


@attrs.define(eq=False)
class ResponseHeaders(Mapping[str, str]):
    """The headers of a response, parsed on first access: those of a success are hardly ever read."""

    _lines: Sequence[bytes] = attrs.field(repr=False)
    _parsed: dict[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            self._parsed = parse_headers(self._lines)
        return self._parsed


def parse_headers(lines: Sequence[bytes]) -> dict[str, str]:
    """Return the final response's headers, with names in lower case and repeated headers joined with commas.

    *lines* may start with interim responses and the proxy's, each from a status line to an empty line, and may end
    with trailers.
    """
    headers: dict[str, str] = {}
    is_head = False
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers, is_head = {}, True
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            is_head = False
        elif is_head:
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
