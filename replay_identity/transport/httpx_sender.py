"""httpx behind the seam: the module to leave out when another HTTP library takes its place."""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Generator
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import attrs
import httpx

from ..adapters.exchange import NoResponse, Request, Response
from .senders import HEADERS, LOOPBACK, MAX_RESPONSE_BYTES, AsyncSender, Sender

_ours: ContextVar[bool] = ContextVar("replay_identity_own_traffic", default=False)
# A logger's filters do not see its children's records, so each is named.
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


class ExcludeOwnRequests(logging.Filter):
    """Let a record pass unless it is about a request of ours."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # Who logs decides, not what.
        """Return False while a request of ours is being sent."""
        return not _ours.get()


_filter: Final = ExcludeOwnRequests()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_filter)


@contextmanager
def own_traffic() -> Generator[None, None, None]:
    """Mark what is sent inside as ours."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


# With more in flight on one client, httpx spends its time searching its own pool (encode/httpx#3215).
MAX_PER_ASYNC_CLIENT: Final = 16


class _BodyAbortedError(Exception):
    """End the reading of an answer that is too large or too slow."""

    def __init__(self, no_response: NoResponse) -> None:
        super().__init__(no_response)
        self.no_response = no_response


# Most specific first. What is not here is a mistake of ours or of an adapter's, and is raised.
LOST: Final[tuple[tuple[type[Exception], NoResponse], ...]] = (
    (httpx.ConnectTimeout, NoResponse.NOT_SENT),
    (httpx.PoolTimeout, NoResponse.NOT_SENT),
    (httpx.ConnectError, NoResponse.NOT_SENT),
    (httpx.ProxyError, NoResponse.NOT_SENT),
    (httpx.TimeoutException, NoResponse.TIMED_OUT),
    (TimeoutError, NoResponse.TIMED_OUT),
    (httpx.NetworkError, NoResponse.NO_ANSWER),
    (httpx.RemoteProtocolError, NoResponse.NO_ANSWER),
    (httpx.DecodingError, NoResponse.NO_ANSWER),
)


def read_error(error: Exception) -> Response:
    """Return the Reply that says why there is no answer, or raise *error* if it is no matter of the network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Response(0, no_response=NoResponse.UNTRUSTED)
        cause = cause.__cause__ or cause.__context__
    for kind, no_response in LOST:
        if isinstance(error, kind):
            return Response(0, no_response=no_response)
    raise error


@cache
def _tls() -> ssl.SSLContext:
    """Return one TLS context for all clients, since each takes tens of milliseconds to load the certificates."""
    return httpx.create_ssl_context()


_NO_PROXY: Final = {f"all://[{host}]" if ":" in host else f"all://{host}": None for host in LOOPBACK}


def _no_cookies() -> CookieJar:
    """Return a jar that takes none: what a vendor says with one user must not come back with the next."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


@attrs.define
class _BodyReader:
    """An answer's bytes while they come in.

    Attributes:
        until: Moment on the monotonic clock by which they must all be here; httpx's own timeouts start anew with
            each chunk, so that a trickle would never end.
    """

    until: float
    content: bytearray = attrs.field(factory=bytearray, repr=False)

    def add(self, chunk: bytes) -> None:
        """Take in *chunk*, or raise _BodyAbortedError if it is one too many."""
        self.content += chunk
        if len(self.content) > MAX_RESPONSE_BYTES:
            raise _BodyAbortedError(NoResponse.TOO_LARGE)
        if time.monotonic() > self.until:
            raise _BodyAbortedError(NoResponse.TIMED_OUT)

    def to_response(self, received: httpx.Response) -> Response:
        """Return the whole answer."""
        return Response(received.status_code, dict(received.headers), bytes(self.content))


def sender_over(client: httpx.Client | Sender | None) -> Sender:
    """Return *client* as a sender: an httpx client wrapped, any other sender as it is, ours for None."""
    return HttpxSender(client) if client is None or isinstance(client, httpx.Client) else client


def async_sender_over(client: httpx.AsyncClient | AsyncSender | None) -> AsyncSender:
    """Return *client* as a sender on asyncio; as `sender_over`."""
    return AsyncHttpxSender(client) if client is None or isinstance(client, httpx.AsyncClient) else client


@attrs.define(eq=False)
class HttpxSender:
    """Send over the caller's `httpx.Client`, or over one of ours per process.

    A forked child must not speak on its parent's connections, so our clients are kept by process id.
    """

    _given: httpx.Client | None = None
    _own: dict[int, httpx.Client] = attrs.field(factory=dict[int, httpx.Client])

    def send(self, request: Request, timeout: float) -> Response:
        """Send *request* and return the answer within *timeout* seconds, or a Reply that says why there is none."""
        body = _BodyReader(time.monotonic() + timeout)
        try:
            client = self._client()
        except OSError:  # Certificates that cannot be read, as SSL_CERT_FILE names them.
            return Response(0, no_response=NoResponse.UNTRUSTED)
        try:
            with own_traffic():
                received = client.send(_build(client, request, timeout), stream=True, auth=None, follow_redirects=False)
                with closing(received):
                    for chunk in received.iter_bytes():
                        body.add(chunk)
        except _BodyAbortedError as error:
            return Response(0, no_response=error.no_response)
        except (httpx.HTTPError, TimeoutError) as error:
            return read_error(error)
        except RuntimeError:
            if not client.is_closed:
                raise
            return Response(
                0, no_response=NoResponse.STOPPED
            )  # httpx refuses to send over a client that was closed meanwhile.
        return body.to_response(received)

    def _client(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        client = self._own.get(os.getpid())
        if client is None:
            # Of two threads that come here at once, both get the client of the first.
            client = self._own.setdefault(
                os.getpid(), httpx.Client(headers=HEADERS, verify=_tls(), cookies=_no_cookies(), mounts=_NO_PROXY)
            )
        return client

    def close(self) -> None:
        """Free our own connections; the caller's client stays the caller's."""
        client = self._own.get(os.getpid())
        if client is not None:
            client.close()


def _build(client: httpx.Client | httpx.AsyncClient, request: Request, timeout: float) -> httpx.Request:
    # Connecting is given up on a little sooner than the whole attempt, so that it is known that nothing was sent.
    limits = httpx.Timeout(timeout, connect=timeout * 0.95, pool=timeout * 0.95)
    return client.build_request(
        request.method, request.url, headers=request.headers, content=request.body, timeout=limits
    )


@attrs.define(eq=False)
class _PooledClient:
    """One client and how many requests are in flight on it."""

    client: httpx.AsyncClient
    in_flight: int = 0


@attrs.define(eq=False)
class AsyncHttpxSender:
    """Send over the caller's `httpx.AsyncClient`, or over as many of ours as keep each one small."""

    _given: httpx.AsyncClient | None = None
    # Connections belong to one event loop.
    _shards: dict[asyncio.AbstractEventLoop, list[_PooledClient]] = attrs.field(
        factory=dict["asyncio.AbstractEventLoop", "list[_PooledClient]"]
    )

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # One for the whole attempt.
        """Send *request* and return the answer within *timeout* seconds, or a Reply that says why there is none."""
        try:
            shard = self._shard()
        except OSError:  # As above.
            return Response(0, no_response=NoResponse.UNTRUSTED)
        shard.in_flight += 1
        try:
            async with asyncio.timeout(timeout):
                return await _send(shard.client, request, timeout)
        except _BodyAbortedError as error:
            return Response(0, no_response=error.no_response)
        except (httpx.HTTPError, TimeoutError) as error:
            return read_error(error)
        except RuntimeError:
            if not shard.client.is_closed:
                raise
            return Response(0, no_response=NoResponse.STOPPED)  # As above.
        finally:
            shard.in_flight -= 1

    def _shard(self) -> _PooledClient:
        if self._given is not None:
            return _PooledClient(self._given)
        loop = asyncio.get_running_loop()
        if loop not in self._shards:
            # Of a loop that has ended nobody can close the connections any more; they go with the last reference.
            self._shards = {other: shards for other, shards in self._shards.items() if not other.is_closed()}
        shards = self._shards.setdefault(loop, [])
        for shard in shards:
            if shard.in_flight < MAX_PER_ASYNC_CLIENT:
                return shard
        shards.append(
            _PooledClient(httpx.AsyncClient(headers=HEADERS, verify=_tls(), cookies=_no_cookies(), mounts=_NO_PROXY))
        )
        return shards[-1]

    async def aclose(self) -> None:
        """Free our own connections of this event loop; the caller's client stays the caller's."""
        for shard in self._shards.pop(asyncio.get_running_loop(), []):
            await shard.client.aclose()


async def _send(client: httpx.AsyncClient, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # As above.
    body = _BodyReader(time.monotonic() + timeout)
    with own_traffic():
        built = _build(client, request, timeout)
        received = await client.send(built, stream=True, auth=None, follow_redirects=False)
        async with aclosing(received):
            async for chunk in received.aiter_bytes():
                body.add(chunk)
    return body.to_response(received)
