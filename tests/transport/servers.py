"""Small servers on loopback: one that says what it is told to and hangs up, one that keeps its connections, TLS."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

import attrs
import trustme

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
# What a server says to one request as it came in; None is to hang up.
Answer = Callable[[bytes], bytes | None]


@contextmanager
def answering(answer: bytes, seen: list[bytes] | None = None) -> Generator[str, None, None]:
    """Run a server that answers every connection with *answer*, whatever it is asked, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # A client that has read enough leaves.
                with connection, suppress(ConnectionError):
                    received = connection.recv(65536)
                    if seen is not None:
                        seen.append(received)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@attrs.define
class Served:
    """A server that keeps its connections, and what it has seen."""

    url: str = ""
    connections: int = 0
    ended: int = 0
    requests: list[bytes] = attrs.field(factory=list[bytes])

    @property
    def first_lines(self) -> list[str]:
        """Return the first line of each request."""
        return [request.partition(b"\r\n")[0].decode() for request in self.requests]


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that leaves."""


@contextmanager
def serving(answer: Answer = lambda _: OK, tls: ssl.SSLContext | None = None) -> Generator[Served, None, None]:
    """Run a server that asks *answer* what to say to each request, one connection per thread."""
    served = Served()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            served.connections += 1
            connection = self.request if tls is None else tls.wrap_socket(self.request, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while request := read_request(stream):
                    served.requests.append(request)
                    said = answer(request)
                    if said is None:
                        break
                    connection.sendall(said)
            served.ended += 1

    with _Listener(("127.0.0.1", 0), Connection) as listener:
        scheme = "http://127.0.0.1" if tls is None else "https://localhost"
        served.url = f"{scheme}:{listener.server_address[1]}"
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        listener.shutdown()


def read_request(stream: BinaryIO) -> bytes:
    """Return the next request, head and body, or nothing when the client has left."""
    head, length = b"", 0
    while (line := stream.readline()) not in {b"\r\n", b""}:
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + line + stream.read(length)


def tls_for(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    """Return the TLS side of a server called *name* with a certificate from *authority*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # Typed in part.
    return context


@contextmanager
def silent() -> Generator[int, None, None]:
    """Listen on a port, take every connection and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
