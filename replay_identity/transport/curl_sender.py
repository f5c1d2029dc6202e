"""libcurl behind the seam, for bulk: many requests in flight, driven from one thread."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, Protocol

import attrs
import certifi
import pycurl as _untyped  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from pycurl import PREREQFUNCTION as _BEFORE_SENDING  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from .._forks import register_fork_hooks
from ..adapters.exchange import NoResponse, Request, Response
from .proxies import Proxies
from .senders import HEADERS, MAX_RESPONSE_BYTES


class Easy(Protocol):
    """`pycurl.Curl`, in part."""

    def setopt(self, option: int, value: object, /) -> None:
        """Tell it one thing; it remembers."""
        ...

    def unsetopt(self, option: int, /) -> None:
        """Forget one thing, a built-in default among them."""
        ...

    def getinfo(self, info: int, /) -> int:
        """Ask about the last answer."""
        ...


class Multi(Protocol):
    """`pycurl.CurlMulti`, in part."""

    def add_handle(self, easy: Easy, /) -> None:
        """Begin a request."""
        ...

    def remove_handle(self, easy: Easy, /) -> None:
        """End a request."""
        ...

    def perform(self) -> object:
        """Send and read what can be without waiting."""
        ...

    def select(self, timeout: float, /) -> object:
        """Wait for a socket."""
        ...

    def info_read(self) -> tuple[int, Sequence[Easy], Sequence[tuple[Easy, int, str]]]:
        """Return what has ended: well, and otherwise with an error's number and its text."""
        ...

    def close(self) -> None:
        """Free it and its connections."""
        ...


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~]*")


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return *headers* as libcurl takes them.

    Raises:
        ValueError: A name or a value has a character that would end the line or that HTTP does not know.
    """
    # A name with nothing after the colon is a header that libcurl would add and must not.
    lines = ["expect:"]
    if "content-type" not in headers:
        lines.append("content-type:")
    for name, value in ({"user-agent": HEADERS["user-agent"]} | dict(headers)).items():
        lines.append(f"{checked_token(name)}: {_checked(_VALUE, value)}" if value else f"{checked_token(name)};")
    return lines


def checked_token(text: str) -> str:
    """Return *text* if it is a token, as a method and a header's name are; else raise ValueError."""
    return _checked(_TOKEN, text)


def _checked(form: re.Pattern[str], text: str) -> str:
    if form.fullmatch(text) is None:
        raise ValueError("a method, a header name or a header value has a character that HTTP does not allow there")
    return text


@attrs.define(eq=False)
class Headers(Mapping[str, str]):
    """The headers of an answer, read when somebody asks for one: of a success nobody does."""

    _lines: Sequence[bytes] = attrs.field(repr=False)
    _read: dict[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = read_headers(self._lines)
        return self._read

    def __getitem__(self, name: str) -> str:
        """Return the value of one header."""
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all())


def read_headers(lines: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of the answer among *lines*, in lower case, those that repeat joined with commas.

    Before it may stand interim answers and a proxy's own, each from a status line to an empty line; after it trailers.
    """
    headers: dict[str, str] = {}
    is_open = False
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers, is_open = {}, True
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            is_open = False
        elif is_open:
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


# Not in pycurl before 7.45.7, nor over a libcurl before 7.80: an ImportError then, as where there is no pycurl at all.


# pycurl has no type hints; the two classes that we use are described in curl_handles.py.
pycurl: Any = _untyped

# select() does not see sockets numbered above 1,023 and knows nothing of libcurl's own timers, so both are looked
# after at least this often, in seconds.
LONGEST_WAIT: Final = 0.05

# Bytes of a request that are not worth keeping for the next one.
_MUCH: Final = 65_536

_UNTRUSTED: Final = {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_ISSUER_ERROR}
# No URL begins like this.
_NO_SERVER: Final = " "
# Methods that say "content-length: 0" where there is no body, as httpx has it.
_ALWAYS_WITH_BODY: Final = {"POST", "PUT", "PATCH"}


@attrs.define(eq=False)
class _Handle:
    """One of libcurl's handles, used again and again, with what it was last told, so that only changes are told."""

    easy: Easy = attrs.field(factory=pycurl.Curl)
    request_id: int = 0
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    method: str = ""
    proxy: str = attrs.field(default="", repr=False)
    timeout: float | None = None
    times_sent: int = 0
    is_too_large: bool = False
    holds_much: bool = False
    head: list[bytes] = attrs.field(factory=list[bytes], repr=False)
    body: bytearray = attrs.field(factory=bytearray, repr=False)

    def __attrs_post_init__(self) -> None:
        for option, value in _settings():
            if value is None:
                self.easy.unsetopt(option)
            else:
                self.easy.setopt(option, value)
        self.easy.setopt(_BEFORE_SENDING, self._before_sending)
        self.easy.setopt(pycurl.HEADERFUNCTION, self.head.append)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._take)

    def _before_sending(self, *_addresses: object) -> int:
        # libcurl sends again by itself when a kept connection closes without an answer. Whether to try again is ours
        # to decide, since the first request may have been applied.
        self.times_sent += 1
        answer: int = pycurl.PREREQFUNC_OK if self.times_sent == 1 else pycurl.PREREQFUNC_ABORT
        return answer

    def _take(self, chunk: bytes) -> int | None:
        self.body += chunk
        self.is_too_large = len(self.body) > MAX_RESPONSE_BYTES
        return 0 if self.is_too_large else None

    def load(self, request: Request, *, proxy: str, timeout: float) -> None:
        """Prepare to send *request*, whose answer may take *timeout* seconds."""
        easy = self.easy
        if request.headers is not self.headers:
            easy.setopt(pycurl.HTTPHEADER, header_lines(request.headers))
            self.headers = request.headers
        if request.method != self.method:
            easy.setopt(pycurl.CUSTOMREQUEST, checked_token(request.method))
            easy.setopt(pycurl.NOBODY, 0)
            self.method = request.method
        if proxy != self.proxy:
            easy.setopt(pycurl.PROXY, proxy)
            self.proxy = proxy
        if timeout != self.timeout:
            # To libcurl 0 is for ever.
            easy.setopt(pycurl.TIMEOUT_MS, max(1, int(timeout * 1000)))
            self.timeout = timeout
        easy.setopt(pycurl.URL, request.url)
        body = request.body or b""
        if body or request.method in _ALWAYS_WITH_BODY:
            easy.setopt(pycurl.POSTFIELDS, body)
            self.holds_much = len(body) > _MUCH
        else:
            easy.setopt(pycurl.HTTPGET, 1)
        if request.method == "HEAD":
            easy.setopt(pycurl.NOBODY, 1)

    def unload(self, error: int) -> Response:
        """Return the answer, or a Reply that says why there is none, and forget it."""
        if error:
            response = Response(0, no_response=self._lost(error))
        else:
            response = Response(self.easy.getinfo(pycurl.RESPONSE_CODE), Headers(tuple(self.head)), bytes(self.body))
        if self.holds_much:
            # libcurl's handle would keep the batch until it sends another body.
            self.easy.setopt(pycurl.POSTFIELDS, b"")
            self.holds_much = False
        self.head.clear()
        self.body.clear()
        self.times_sent, self.is_too_large = 0, False
        return response

    def _lost(self, error: int) -> NoResponse:
        if error in _UNTRUSTED:
            return NoResponse.UNTRUSTED
        if not self.times_sent:
            return NoResponse.NOT_SENT
        if self.is_too_large:
            return NoResponse.TOO_LARGE
        return NoResponse.TIMED_OUT if error == pycurl.E_OPERATION_TIMEDOUT else NoResponse.NO_ANSWER


def _settings() -> Iterable[tuple[int, object]]:
    """Yield what every handle is told once; None takes a built-in default away."""
    # The wheels' libcurl does both by itself; one that was built otherwise might not.
    yield pycurl.NOSIGNAL, 1
    yield pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2
    yield pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1
    yield pycurl.ACCEPT_ENCODING, HEADERS["accept-encoding"]
    yield pycurl.PATH_AS_IS, 1
    # Set, though empty, these keep libcurl from reading the environment in its own way.
    yield pycurl.PROXY, ""
    yield pycurl.NOPROXY, ""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    # The same certificates as httpx: of these three the first that is named.
    file = file or (None if folder else certifi.where())
    yield pycurl.CAINFO, file
    yield pycurl.PROXY_CAINFO, file
    yield pycurl.CAPATH, None if file else folder
    yield pycurl.PROXY_CAPATH, None if file else folder


# A forked child must neither speak on its parent's connections nor take leave on them, which is what freeing does.
_LEFT_TO_THE_PARENT: Final[list[object]] = []


@attrs.define(eq=False)
class CurlSender:
    """Send many requests at once over libcurl; not to be shared between threads.

    Attributes:
        connections: Requests in flight at most; the others wait, and their waiting counts.
    """

    connections: int = 64
    _multi: Multi = attrs.field(init=False, repr=False)
    _lines: dict[Easy, _Handle] = attrs.field(init=False, repr=False)
    _free: list[_Handle] = attrs.field(init=False, repr=False)
    # By the end of their time, the soonest first.
    _waiting: list[tuple[float, int, Request]] = attrs.field(init=False, repr=False)
    _done: list[tuple[int, Response]] = attrs.field(init=False, repr=False)
    _proxies: Proxies = attrs.field(init=False, repr=False)
    # The server that was asked last, and the proxy before it.
    _server: str = attrs.field(init=False, repr=False)
    _proxy: str = attrs.field(init=False, repr=False)
    _process: int = attrs.field(init=False, repr=False)
    _is_closed: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._open()
        register_fork_hooks(self)

    def _open(self) -> None:
        self._process = os.getpid()
        self._multi = pycurl.CurlMulti()
        self._lines, self._free, self._waiting, self._done = {}, [], [], []
        self._proxies, self._server, self._proxy = Proxies.from_environment(), _NO_SERVER, ""

    def before_fork(self) -> None:
        """Do nothing: the parent goes on."""

    def after_fork(self) -> None:
        """Begin anew in the child."""
        if self._process != os.getpid():
            _LEFT_TO_THE_PARENT.append((self._multi, self._lines))
            self._open()

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Begin to send *request*, whose reply comes back under *request_id* within *timeout* seconds.

        Raises:
            ValueError: No server could be asked this.
        """
        if self._is_closed:
            self._done.append((request_id, Response(0, no_response=NoResponse.STOPPED)))
        elif self._has_free_line():
            self._send(request_id, request, timeout)
        else:
            heappush(self._waiting, (time.monotonic() + timeout, request_id, request))

    def _has_free_line(self) -> bool:
        if not self._free and len(self._lines) < self.connections:
            line = _Handle()
            self._lines[line.easy] = line
            self._free.append(line)
        return bool(self._free)

    def _send(self, request_id: int, request: Request, timeout: float) -> None:
        line, url = self._free[-1], request.url
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("a URL must be percent-encoded")
        line.load(request, proxy=self._proxy_before(url), timeout=timeout)
        line.request_id = request_id
        self._free.pop()
        self._multi.add_handle(line.easy)

    def _proxy_before(self, url: str) -> str:
        if not url.startswith(self._server):  # As nearly every URL does.
            scheme, _, rest = url.partition("://")
            server = f"{scheme}://{rest.partition('/')[0]}"
            self._proxy = self._proxies.before(server)
            self._server = f"{server}/"
        return self._proxy

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the replies that are in, with their tickets; wait at most *timeout* seconds for the first one.

        Requests are sent and answers read while this waits. With no request under way it returns at once.
        """
        until = time.monotonic() + timeout
        while not self._is_closed:
            self._multi.perform()
            self._collect()
            left = until - time.monotonic()
            if self._done or len(self._free) == len(self._lines) or left <= 0:
                break
            self._multi.select(min(left, LONGEST_WAIT))
        done, self._done = self._done, []
        return done

    def _collect(self) -> None:
        _, answered, failed = self._multi.info_read()
        for easy in answered:
            self._take(easy, 0)
        for easy, error, _ in failed:
            self._take(easy, error)
        while self._waiting:
            until, request_id, request = self._waiting[0]
            left = until - time.monotonic()
            if left > 0 and not self._has_free_line():
                break
            heappop(self._waiting)
            if left > 0:
                self._send(request_id, request, left)
            else:
                self._done.append((request_id, Response(0, no_response=NoResponse.NOT_SENT)))

    def _take(self, easy: Easy, error: int) -> None:
        line = self._lines[easy]
        self._multi.remove_handle(easy)
        self._done.append((line.request_id, line.unload(error)))
        self._free.append(line)

    def close(self) -> None:
        """Free the connections; requests under way lose their answers."""
        self._is_closed = True
        self._multi.close()
