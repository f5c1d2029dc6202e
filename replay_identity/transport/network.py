"""Connections of the blocking client over httpx, which keep to the deadline of the whole attempt.

httpx's own timeouts start again with each address, each part of a write and each byte of a response, so that a server
that trickles would hold a thread without end. Here, all of an attempt has one end.
"""

import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import attrs
import httpcore

from .proxies import Proxies

T = TypeVar("T")
_Option: TypeAlias = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

# Bytes that are read or encrypted at once.
_PIECE_BYTES: Final = 65_536
# As in httpx.
_MAX_CONNECTIONS: Final = 100
_MAX_KEPT_CONNECTIONS: Final = 20
_KEPT_FOR_S: Final = 5.0
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


@attrs.define(eq=False)
class Attempt:
    """The attempt that the current thread makes.

    Attributes:
        connect_end: Moment on the monotonic clock by which a connection must be established.
        end: Moment by which the whole response must have arrived.
        is_connecting: True from the start of a connection, through proxies and TLS, to the first byte of the request.
        awaits_read: True from each write to a connection to the next read from it.
    """

    connect_end: float
    end: float
    is_connecting: bool = False
    awaits_read: bool = False

    def remaining(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are left.
        """
        remaining = (self.connect_end if self.is_connecting else self.end) - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    @contextmanager
    def current(self) -> Generator[None, None, None]:
        """Let connections that this thread uses keep to this attempt."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


# httpcore tells a connection only how long a single operation may take.
_current: ContextVar[Attempt] = ContextVar("replay_identity_attempt")


class _Stream(httpcore.NetworkStream, ABC):
    """A connection that keeps to the deadline of the current attempt."""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # The attempt has it.
        """Send all of *buffer*."""
        # What a proxy is asked for a tunnel holds nothing of ours; over SOCKS, it starts with a number.
        if buffer[:1].isalpha() and not buffer.startswith(b"CONNECT "):
            _current.get().is_connecting = False
        _current.get().awaits_read = True
        try:
            self.write_all(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, or none if the server has closed the connection."""
        _current.get().awaits_read = False
        try:
            return self.read_some(max_bytes, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  # As above.
    ) -> httpcore.NetworkStream:
        """Return a stream over TLS."""
        try:
            return _TlsStream(self, ssl_context, server_hostname)
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError from error

    @abstractmethod
    def read_some(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return the next bytes, or raise an OSError."""

    @abstractmethod
    def write_all(self, buffer: bytes) -> None:
        """Send all of *buffer*, which may be a part of a handshake, or raise an OSError."""


class _TcpStream(_Stream):
    """A connection over TCP."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read_some(self, max_bytes: int, timeout: float | None) -> bytes:
        remaining = _current.get().remaining()
        self._socket.settimeout(remaining if timeout is None else min(remaining, timeout))
        return self._socket.recv(max_bytes)

    def write_all(self, buffer: bytes) -> None:
        attempt, rest = _current.get(), memoryview(buffer)
        while rest:
            self._socket.settimeout(attempt.remaining())
            rest = rest[self._socket.send(rest) :]

    def close(self) -> None:
        """Close the connection, also under a thread that waits for it."""
        with suppress(OSError):  # The server has closed it.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def get_extra_info(self, info: str) -> object:
        """Return True for ``is_readable`` if the server has closed the connection, or sends what nobody asked for."""
        return _is_readable(self._socket) if info == "is_readable" else None


class _TlsStream(_Stream):
    """A connection over TLS, over any other connection: so a handshake that trickles ends in time, too."""

    def __init__(self, inner: _Stream, context: ssl.SSLContext, host: str | None) -> None:
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._run(self._tls.do_handshake)

    def read_some(self, max_bytes: int, timeout: float | None) -> bytes:
        try:
            return self._run(lambda: self._tls.read(max_bytes), timeout)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def write_all(self, buffer: bytes) -> None:
        rest = memoryview(buffer)
        while rest:
            piece = rest[:_PIECE_BYTES]
            rest = rest[self._run(lambda piece=piece: self._tls.write(piece)) :]  # type: ignore[misc]

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def get_extra_info(self, info: str) -> object:
        """Return the TLS object as ``ssl_object``, and ``is_readable`` as a connection over TCP does."""
        if info == "ssl_object":
            return self._tls
        return bool(self._incoming.pending) or self._inner.get_extra_info(info)

    def _run(self, operation: Callable[[], T], timeout: float | None = None) -> T:
        """Return the result of a TLS *operation*, and exchange what it needs with the server."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush()
                received = self._inner.read_some(_PIECE_BYTES, timeout)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                self._flush()  # The server learns why.
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._inner.write_all(self._outgoing.read())


class _Network(httpcore.NetworkBackend):
    """Opens connections within the deadline of the current attempt."""

    def __init__(self) -> None:
        self.is_closed = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # As above; the others are never set.
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[_Option] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Return a connection to one of the addresses of *host*."""
        attempt = _current.get()
        attempt.is_connecting = True
        try:
            connection = _connect(host, port, attempt)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError from error
        if self.is_closed:  # In the meantime.
            connection.close()
            raise httpcore.ConnectError
        return _TcpStream(connection)


def _connect(host: str, port: int, attempt: Attempt) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            # One address that does not answer leaves time for the others.
            connection.settimeout(attempt.remaining() / (len(addresses) - tried))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _is_readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows.
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


class Pools:
    """Pools of connections, one for each proxy that the environment names and one without."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._network = _Network()
        self._proxies = Proxies.from_environment()
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send *request* over the pool for its server."""
        scheme, host, port = request.url.scheme.decode(), request.url.host.decode(), request.url.port
        address = f"[{host}]" if ":" in host else host
        try:
            proxy = self._proxies.url_for(f"{scheme}://{address}:{port}" if port else f"{scheme}://{address}")
        except ValueError:
            proxy = ""  # The pool says what is wrong with the URL.
        # Two threads that get here at the same time both use the pool that was stored first.
        pool = self._pools.get(proxy) or self._pools.setdefault(proxy, self._open(proxy))
        response = pool.handle_request(request)
        if _current.get().awaits_read:
            # It came with the response to an earlier request, so it says nothing about this one.
            response.close()
            raise httpcore.RemoteProtocolError
        return response

    def close(self) -> None:
        """Close all connections; those that are being opened are closed, too."""
        self._network.is_closed = True
        for pool in tuple(self._pools.values()):
            pool.close()

    def _open(self, proxy: str) -> httpcore.ConnectionPool:
        shared: dict[str, Any] = {
            "ssl_context": self._tls,
            "max_connections": _MAX_CONNECTIONS,
            "max_keepalive_connections": _MAX_KEPT_CONNECTIONS,
            "keepalive_expiry": _KEPT_FOR_S,
            "network_backend": self._network,
        }
        if not proxy:
            return httpcore.ConnectionPool(**shared)
        parts = urlsplit(proxy)
        if parts.scheme not in _PROXY_SCHEMES:
            raise ValueError(f"expected a proxy with one of the schemes {', '.join(_PROXY_SCHEMES)}")
        auth = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode())
        url = httpcore.URL(proxy)
        kind = httpcore.SOCKSProxy if parts.scheme.startswith("socks") else httpcore.HTTPProxy
        return kind(url, proxy_auth=auth if any(auth) else None, **shared)
