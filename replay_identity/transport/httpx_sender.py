"""Senders over httpx: the only module that imports it."""

import asyncio
import logging
import ssl
import time
from collections.abc import Generator
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from io import SEEK_END
from typing import BinaryIO, Final

import attrs
import httpx

from .._forks import fork_lock, register_fork_hooks
from ..adapters.exchange import NoResponse, Request, Response
from .network import Attempt, Pools
from .senders import HEADERS, LOOPBACK, AsyncSender, Sender
from .unpacking import Body, BodyAbortedError

# With more in flight on one client, httpx spends its time searching its own pool (encode/httpx#3215).
MAX_PER_ASYNC_CLIENT: Final = 16

# Seconds after which connections without requests are closed on asyncio.
IDLE_S: Final = 5.0

# Connecting times out a little before the whole attempt does, so that we know that nothing was sent.
_CONNECT_SHARE: Final = 0.95

# Most specific first. Any other exception is a bug in this library or in an adapter, and is raised.
NO_RESPONSE_REASONS: Final[tuple[tuple[type[Exception], NoResponse], ...]] = (
    (httpx.ConnectTimeout, NoResponse.NOT_SENT),
    (httpx.PoolTimeout, NoResponse.NOT_SENT),
    (httpx.ConnectError, NoResponse.NOT_SENT),
    (httpx.ProxyError, NoResponse.NOT_SENT),
    (httpx.TimeoutException, NoResponse.TIMED_OUT),
    (TimeoutError, NoResponse.TIMED_OUT),
    (httpx.NetworkError, NoResponse.CONNECTION_LOST),
    (httpx.RemoteProtocolError, NoResponse.CONNECTION_LOST),
    (httpx.DecodingError, NoResponse.UNREADABLE),
)

_PARTIAL_CONTENT: Final = 206
_DOWNLOAD_HEADERS: Final = {**HEADERS, "accept-encoding": "gzip"}

_NO_PROXY: Final = {f"all://[{host}]" if ":" in host else f"all://{host}": None for host in LOOPBACK}


def as_sender(client: httpx.Client | Sender | None) -> Sender:
    """Return *client* as a sender: an httpx client is wrapped, and None means this library's own client."""
    return HttpxSender(client) if client is None or isinstance(client, httpx.Client) else client


def as_async_sender(client: httpx.AsyncClient | AsyncSender | None) -> AsyncSender:
    """Return *client* as an async sender; see `as_sender`."""
    return AsyncHttpxSender(client) if client is None or isinstance(client, httpx.AsyncClient) else client


@attrs.define(eq=False)
class HttpxSender:
    """Send over the caller's `httpx.Client`, or over the library's own one, which a forked child replaces."""

    _client: httpx.Client | None = None
    _own_client: httpx.Client | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        register_fork_hooks(self)

    def send(self, request: Request, timeout: float) -> Response:
        """Send *request* and return the response; after *timeout* seconds, or on failure, one with `no_response`."""
        now = time.monotonic()
        attempt = Attempt(now + timeout * _CONNECT_SHARE, now + timeout)
        try:
            client = self._client or self._own_client or self._open_own_client()
        except OSError:  # The certificates that SSL_CERT_FILE names cannot be read.
            return Response(0, no_response=NoResponse.UNTRUSTED)
        try:
            with own_request(), attempt.current():
                return _send(client, request, timeout, attempt)
        except BodyAbortedError as error:
            return Response(0, no_response=error.no_response)
        except (httpx.HTTPError, TimeoutError) as error:
            return _read_error(error, is_connecting=attempt.is_connecting)
        except RuntimeError:
            # httpx refuses to send over a client that was closed in the meantime.
            if not client.is_closed:
                raise
            return Response(0, no_response=NoResponse.CLOSED)

    def _open_own_client(self) -> httpx.Client:
        # Two threads that get here at the same time both use the client that was opened first.
        with fork_lock():
            client = self._own_client
            if client is None:
                client = httpx.Client(headers=HEADERS, cookies=_no_cookies(), transport=_OwnTransport(_tls()))
                self._own_client = client
            return client

    def close(self) -> None:
        """Close the library's own client; the caller closes the caller's."""
        if self._own_client is not None:
            self._own_client.close()

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its connections."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child, without connections."""
        if in_child and self._own_client is not None:
            _LEFT_TO_PARENT.append(self._own_client)
            self._own_client = None


class _OwnTransport(httpx.HTTPTransport):
    """httpx's own transport, which respx replaces in tests, over pools that keep to the deadline of an attempt."""

    def __init__(self, tls: ssl.SSLContext) -> None:  # pyright: ignore[reportMissingSuperCall]
        self._pool = Pools(tls)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


def _send(client: httpx.Client, request: Request, timeout: float, attempt: Attempt) -> Response:
    received = client.send(_build(client, request, timeout), stream=True, auth=None, follow_redirects=False)
    with closing(received):
        body = _body_of(received)
        # A transport of the caller's may have read the response, for example in a test.
        for chunk in (received.content,) if received.is_stream_consumed else received.iter_raw():
            for _ in body.add(chunk):
                attempt.remaining()
            attempt.remaining()
        return Response(received.status_code, dict(received.headers), body.content())


def _body_of(received: httpx.Response) -> Body:
    return Body("" if received.is_stream_consumed else received.headers.get("content-encoding", ""))


# Clients whose connections belong to the parent process: collecting them would close the connections.
_LEFT_TO_PARENT: Final[list[httpx.Client]] = []


@attrs.define(eq=False)
class _PooledClient:
    """An async client, the number of requests in flight on it, and the moment at which the last one ended."""

    client: httpx.AsyncClient
    pool: "_AsyncPool | None" = None
    in_flight: int = 0
    idle_since: float = 0.0


@attrs.define(eq=False)
class _AsyncPool:
    """The clients of one event loop; those without requests are closed by a timer of the loop."""

    loop: asyncio.AbstractEventLoop
    clients: list[_PooledClient] = attrs.field(factory=list[_PooledClient], init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    # An event loop keeps only weak references to its tasks.
    _closing: set[asyncio.Task[None]] = attrs.field(factory=set["asyncio.Task[None]"], init=False)

    def pick(self) -> _PooledClient:
        """Return a client that can send another request."""
        for pooled in self.clients:
            if pooled.in_flight < MAX_PER_ASYNC_CLIENT:
                return pooled
        client = httpx.AsyncClient(headers=HEADERS, verify=_tls(), cookies=_no_cookies(), mounts=_NO_PROXY)
        self.clients.append(_PooledClient(client, self))
        return self.clients[-1]

    def release(self, pooled: _PooledClient) -> None:
        """Start the timer if *pooled* has no more requests."""
        pooled.idle_since = self.loop.time()
        if not pooled.in_flight and self._timer is None:
            self._timer = self.loop.call_later(IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._timer = None
        latest = self.loop.time() - IDLE_S
        idle = [pooled for pooled in self.clients if not pooled.in_flight]
        for pooled in (pooled for pooled in idle if pooled.idle_since <= latest):
            self.clients.remove(pooled)
            task = self.loop.create_task(pooled.client.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        if later := [pooled.idle_since for pooled in idle if pooled.idle_since > latest]:
            self._timer = self.loop.call_at(min(later) + IDLE_S, self._close_idle)

    async def aclose(self) -> None:
        """Close all clients."""
        if self._timer is not None:
            self._timer.cancel()
        clients, self.clients = self.clients, []
        for pooled in clients:
            await pooled.client.aclose()
        await asyncio.gather(*self._closing)


@attrs.define(eq=False)
class AsyncHttpxSender:
    """Send over the caller's `httpx.AsyncClient`, or over the library's own ones, of which each has a small pool."""

    _client: httpx.AsyncClient | None = None
    # By event loop, since connections belong to one.
    _pools: dict[asyncio.AbstractEventLoop, _AsyncPool] = attrs.field(
        factory=dict["asyncio.AbstractEventLoop", _AsyncPool], init=False
    )

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # For the whole attempt.
        """Send *request* and return the response; after *timeout* seconds, or on failure, one with `no_response`."""
        try:
            pooled = self._own_pool().pick() if self._client is None else _PooledClient(self._client)
        except OSError:  # As in `HttpxSender`.
            return Response(0, no_response=NoResponse.UNTRUSTED)
        pooled.in_flight += 1
        try:
            async with asyncio.timeout(timeout):
                return await _send_async(pooled.client, request, timeout)
        except BodyAbortedError as error:
            return Response(0, no_response=error.no_response)
        except (httpx.HTTPError, TimeoutError) as error:
            return _read_error(error)
        except RuntimeError:
            if not pooled.client.is_closed:
                raise
            return Response(0, no_response=NoResponse.CLOSED)
        finally:
            pooled.in_flight -= 1
            if pooled.pool is not None:
                pooled.pool.release(pooled)

    def _own_pool(self) -> _AsyncPool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            # Connections of a closed loop cannot be closed any more; Python frees them with their last reference.
            self._pools = {known: pool for known, pool in self._pools.items() if not known.is_closed()}
            self._pools[loop] = _AsyncPool(loop)
        return self._pools[loop]

    async def aclose(self) -> None:
        """Close the library's own clients of this event loop; the caller closes the caller's."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()


async def _send_async(client: httpx.AsyncClient, request: Request, timeout: float) -> Response:  # noqa: ASYNC109
    with own_request():
        built = _build(client, request, timeout)
        received = await client.send(built, stream=True, auth=None, follow_redirects=False)
        async with aclosing(received):
            body = _body_of(received)
            if received.is_stream_consumed:
                body.add(received.content)
            else:
                async for chunk in received.aiter_raw():
                    for _ in body.add(chunk):
                        await asyncio.sleep(0)  # Other tasks run between the steps, and the timeout can end this one.
            return Response(received.status_code, dict(received.headers), body.content())


def _build(client: httpx.Client | httpx.AsyncClient, request: Request, timeout: float) -> httpx.Request:
    connect = timeout * _CONNECT_SHARE
    timeouts = httpx.Timeout(timeout, connect=connect, pool=connect)
    return client.build_request(
        request.method, request.url, headers=request.headers, content=request.body, timeout=timeouts
    )


def download(request: Request, file: BinaryIO, *, stall_timeout: float, timeout: float, max_bytes: int) -> Response:
    """Write the body of a successful response to *file* as it arrives, and return the response without it.

    The body is not unpacked. A 206 continues the file, any other success replaces what is in it. If the body breaks
    off, only its headers are returned.

    Args:
        request: The request; no header is added that would show whose it is.
        file: A file for reading and writing.
        stall_timeout: Maximum seconds between two pieces of the response.
        timeout: Maximum seconds for the whole response.
        max_bytes: Maximum size of the file.

    Raises:
        OSError: The file cannot be written.
    """
    now = time.monotonic()
    attempt = Attempt(now + min(stall_timeout, timeout), now + timeout)
    headers: dict[str, str] = {}
    try:
        client = httpx.Client(headers=_DOWNLOAD_HEADERS, cookies=_no_cookies(), transport=_OwnTransport(_tls()))
    except OSError:  # As in `HttpxSender`.
        return Response(0, no_response=NoResponse.UNTRUSTED)
    try:
        with closing(client), own_request(), attempt.current():
            built = _build(client, request, min(stall_timeout, timeout))
            received = client.send(built, stream=True, auth=None, follow_redirects=False)
            with closing(received):
                headers.update(received.headers)
                _write_body(received, file, attempt, max_bytes)
    except BodyAbortedError as error:
        return Response(0, headers, no_response=error.no_response)
    except (httpx.HTTPError, TimeoutError) as error:
        return attrs.evolve(_read_error(error, is_connecting=attempt.is_connecting), headers=headers)
    except httpx.InvalidURL:
        return Response(0, no_response=NoResponse.NOT_SENT)
    return Response(received.status_code, headers)


def _write_body(received: httpx.Response, file: BinaryIO, attempt: Attempt, max_bytes: int) -> None:
    if not received.is_success:
        return
    size = file.seek(0, SEEK_END)
    if received.status_code != _PARTIAL_CONTENT:
        size = file.seek(0)
        file.truncate()
    elif not received.headers.get("content-range", "").startswith(f"bytes {size}-"):
        # Another part than the one that was asked for.
        raise BodyAbortedError(NoResponse.CONNECTION_LOST)
    for chunk in received.iter_raw():
        size += len(chunk)
        if size > max_bytes:
            raise BodyAbortedError(NoResponse.TOO_LARGE)
        file.write(chunk)
        attempt.remaining()


def _read_error(error: Exception, *, is_connecting: bool = False) -> Response:
    """Return a response that says why there is none, or raise *error* if the network is not the reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Response(0, no_response=NoResponse.UNTRUSTED)
        cause = cause.__cause__ or cause.__context__
    for kind, no_response in NO_RESPONSE_REASONS:
        if isinstance(error, kind):
            return Response(0, no_response=NoResponse.NOT_SENT if is_connecting else no_response)
    raise error


@cache
def _tls() -> ssl.SSLContext:
    """Return one TLS context for all clients: loading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context()


def _no_cookies() -> CookieJar:
    """Return a jar that accepts no cookies: one set with one user must not be sent with the next."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


# httpx and httpcore log URLs and headers, which contain user ids and the key, so their records about our requests are
# dropped. Filters of a logger do not apply to its children, so each logger is listed.
_LOGGERS: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "hpack.hpack",
    "hpack.table",
)
_is_own_request: ContextVar[bool] = ContextVar("replay_identity_is_own_request", default=False)


class ExcludeOwnRequests(logging.Filter):
    """Drop log records about requests of this library."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # The context decides, not the record.
        """Return False while a request of this library is being sent."""
        return not _is_own_request.get()


@contextmanager
def own_request() -> Generator[None, None, None]:
    """Mark what is sent in this context as a request of this library."""
    token = _is_own_request.set(True)
    try:
        yield
    finally:
        _is_own_request.reset(token)


_filter: Final = ExcludeOwnRequests()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_filter)
