"""Small loopback servers: one that responds and hangs up, one with kept connections, and one that never responds."""

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
# Returns the response to a request's bytes, or None to hang up.
Respond = Callable[[bytes], bytes | None]


@contextmanager
def responding(response: bytes, received_requests: list[bytes] | None = None) -> Generator[str, None, None]:
    """Run a server that sends *response* on every connection and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # A client may leave before it has read everything.
                with connection, suppress(ConnectionError):
                    received = connection.recv(65536)
                    if received_requests is not None:
                        received_requests.append(received)
                    connection.sendall(response)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@attrs.define
class Served:
    """A server with kept connections, and what it has received."""

    url: str = ""
    connections: int = 0
    ended: int = 0
    requests: list[bytes] = attrs.field(factory=list[bytes])

    @property
    def request_lines(self) -> list[str]:
        """Return the first line of each request."""
        return [request.partition(b"\r\n")[0].decode() for request in self.requests]


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that leave."""


@contextmanager
def serving(respond: Respond = lambda _: OK, tls: ssl.SSLContext | None = None) -> Generator[Served, None, None]:
    """Run a server that calls *respond* for each request, with one thread per connection."""
    served = Served()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            served.connections += 1
            connection = self.request if tls is None else tls.wrap_socket(self.request, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while request := read_request(stream):
                    served.requests.append(request)
                    response = respond(request)
                    if response is None:
                        break
                    connection.sendall(response)
            served.ended += 1

    with _Listener(("127.0.0.1", 0), Connection) as listener:
        scheme = "http://127.0.0.1" if tls is None else "https://localhost"
        served.url = f"{scheme}:{listener.server_address[1]}"
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        listener.shutdown()


def read_request(stream: BinaryIO) -> bytes:
    """Return the next request, head and body, or nothing once the client has left."""
    head, length = b"", 0
    while (line := stream.readline()) not in {b"\r\n", b""}:
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + line + stream.read(length)


def tls_for(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    """Return the server's TLS context for *name*, with a certificate from *authority*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # Typed in part.
    return context


@contextmanager
def silent_port() -> Generator[int, None, None]:
    """Listen on a port, accept every connection and never respond."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
