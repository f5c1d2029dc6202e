"""Servers that do what no vendor should: silence, trickles, floods, bombs and lies, each on a port of its own."""

import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import repeat
from typing import Final, TypeAlias

import attrs
import trustme
from support.servers import tls_for

# Seconds between two pieces of a trickle: shorter than any timeout, so that only a limit on the whole attempt ends it.
PAUSE: Final = 0.02
_MIB: Final = 2**20
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_CHUNKED: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_EMPTY_DEFLATE_BLOCK: Final = b"\x00\x00\x00\xff\xff"
# Begins a gzip stream of deflate blocks.
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
# Begins a TLS record of 16 KiB, which holds a message of the handshake.
_TLS_RECORD: Final = b"\x16\x03\x03\x40\x00"
_TLS_PIECE: Final = b"\x02"

# Given the connection after one request has arrived, behaves badly until it returns or the client leaves.
Behaviour: TypeAlias = "Callable[[Connection], None]"


@attrs.frozen
class Connection:
    """A client's connection, and the event that stops its server."""

    socket: socket.socket
    stopped: threading.Event

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self.socket.sendall(data)

    def trickle(self, pieces: Iterator[bytes]) -> None:
        """Send one piece after another, with a pause after each."""
        for piece in pieces:
            if self.stopped.wait(PAUSE):
                return
            self.send(piece)

    def flood(self, pieces: Iterator[bytes]) -> None:
        """Send the pieces as fast as the client takes them."""
        for piece in pieces:
            if self.stopped.is_set():
                return
            self.send(piece)

    def wait(self) -> None:
        """Do nothing until the server stops or the client leaves."""
        self.socket.settimeout(PAUSE)
        while not self.stopped.is_set():
            with suppress(TimeoutError):
                if not self.socket.recv(65_536):
                    return

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def _bytes(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def _sends(data: bytes) -> Behaviour:
    """Send *data* and close."""
    return lambda connection: connection.send(data)


def _sends_and_waits(data: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.send(data)
        connection.wait()

    return behave


def _trickles(head: bytes, piece: bytes) -> Behaviour:
    """Send *head*, and then *piece* again and again, slowly."""

    def behave(connection: Connection) -> None:
        connection.send(head)
        connection.trickle(repeat(piece))

    return behave


def _floods(head: bytes, piece: bytes) -> Behaviour:
    """Send *head*, and then *piece* again and again, fast."""

    def behave(connection: Connection) -> None:
        connection.send(head)
        connection.flood(repeat(piece))

    return behave


def _with_length(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
    return _OK + lines.encode() + b"\r\n" + body


def _bomb(layers: int) -> bytes:
    """Return 100 MiB of zeros, compressed *layers* times; with two layers they are 3 GiB."""
    data = zlib.compressobj(9, wbits=31)
    size = 100 if layers == 1 else 3 * 1024
    packed = b"".join(data.compress(bytes(_MIB)) for _ in range(size)) + data.flush()
    return packed if layers == 1 else gzip.compress(packed)


def _is_dripped(connection: Connection) -> None:
    connection.trickle(_bytes(_OK + b"Content-Length: 10000\r\n\r\n" + b" " * 10_000))


SERVERS: Final[Mapping[str, Behaviour]] = {
    "never answers": Connection.wait,
    "hangs up": lambda _: None,
    "resets the connection": Connection.reset,
    "sends no HTTP": _sends(b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n" * 10),
    "sends a body without a head": _sends(b'{"userID": "u1"}'),
    "drips the whole response": _is_dripped,
    "drips headers": _trickles(_OK, b"X-Filler: 1\r\n"),
    "floods with headers": _floods(_OK, b"X-Filler: " + b"1" * 1000 + b"\r\n"),
    "sends one endless header": _floods(_OK + b"X-Filler: ", b"1" * 65_536),
    "drips interim responses": _trickles(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"),
    "floods with interim responses": _floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "drips a body of known length": _trickles(_OK + b"Content-Length: 1000000\r\n\r\n", b" "),
    "drips chunks": _trickles(_CHUNKED, b"1\r\n \r\n"),
    "drips a chunk's size": _trickles(_CHUNKED + b"1;x=", b"y"),
    "drips trailers": _trickles(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Filler: 1\r\n"),
    "drips a body that ends with the connection": _trickles(_OK + b"Connection: close\r\n\r\n{", b" "),
    "floods with chunks": _floods(_CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "floods with trailers": _floods(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Filler: " + b"1" * 1000 + b"\r\n"),
    "promises 1 TB and is silent": _sends_and_waits(_OK + b"Content-Length: 1000000000000\r\n\r\n{"),
    "promises more than it sends": _sends(_OK + b"Content-Length: 100\r\n\r\n{}"),
    "states two lengths": _sends(_OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "sends 100 MB": _sends(_with_length(b" " * 100 * _MIB)),
    "sends a gzip bomb": _sends(_with_length(_bomb(1), "Content-Encoding: gzip")),
    "sends a gzip bomb in gzip": _sends(_with_length(_bomb(2), "Content-Encoding: gzip, gzip")),
    "drips empty deflate blocks": _trickles(
        _OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + _GZIP_HEAD, _EMPTY_DEFLATE_BLOCK
    ),
    "floods with empty deflate blocks": _floods(
        _OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + _GZIP_HEAD, _EMPTY_DEFLATE_BLOCK * 10_000
    ),
    "sends broken gzip": _sends(_with_length(gzip.compress(b"{}")[:12] + b"\xff" * 20, "Content-Encoding: gzip")),
    "sends an encoding not asked for": _sends(_with_length(b"\x0b\x01\x80{}\x03", "Content-Encoding: br")),
}
# These differ before the request: in the TLS handshake, in reading the request, and in the proxy.
UNTRUSTED: Final = "has a certificate of nobody we trust"
TLS_DRIP: Final = "drips the TLS handshake"
PROXY_DRIP: Final = "drips the response of a proxy"
NAMES: Final = (*SERVERS, UNTRUSTED, TLS_DRIP, PROXY_DRIP)


@attrs.frozen
class Place:
    """Where to send a request, and through which proxy, if any."""

    url: str
    proxy: str = ""


@contextmanager
def hostile_servers() -> Generator[Mapping[str, Place], None, None]:
    """Run all servers, and yield where they are by name."""
    authority = trustme.CA()
    with ExitStack() as stack:
        stopped = threading.Event()
        run = partial(_run, stack, stopped)
        places = {name: Place(f"http://127.0.0.1:{run(_after_request(behave))}/") for name, behave in SERVERS.items()}
        places[UNTRUSTED] = Place(f"https://localhost:{run(_with_tls(tls_for(authority)))}/")
        places[TLS_DRIP] = Place(f"https://localhost:{run(_trickles(_TLS_RECORD, _TLS_PIECE))}/")
        proxy = run(_after_request(_trickles(_OK, b"X-Filler: 1\r\n")))
        places[PROXY_DRIP] = Place("https://vendor.invalid/", f"http://127.0.0.1:{proxy}")
        yield places
        stopped.set()


def _after_request(behave: Behaviour) -> Behaviour:
    def serve(connection: Connection) -> None:
        received = b""
        while b"\r\n\r\n" not in received and (piece := connection.socket.recv(65_536)):
            received += piece
        behave(connection)

    return serve


def _with_tls(context: ssl.SSLContext) -> Behaviour:
    def serve(connection: Connection) -> None:
        with context.wrap_socket(connection.socket, server_side=True) as wrapped:
            wrapped.sendall(_with_length(b"{}"))

    return serve


def _run(stack: ExitStack, stopped: threading.Event, behave: Behaviour) -> int:
    """Accept connections until *stack* closes, and return the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    stack.callback(listener.close)
    stack.callback(partial(_shut_down, listener))

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(behave, Connection(accepted, stopped)), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _shut_down(listener: socket.socket) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def _serve(behave: Behaviour, connection: Connection) -> None:
    # A client may leave at any time.
    with connection.socket, suppress(OSError):
        behave(connection)
