"""A vendor that answers at once: the smallest HTTP server on asyncio, so that what is measured is the client."""

import asyncio
import json
import os
import sys

ANSWER = json.dumps({"id": "7449164135934483470", "userID": "u1", "name": "Ann", "traits": {}}).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n".encode()


class Sink(asyncio.Protocol):
    """Answer every request the same way; requests have a content-length and come one after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # A TCP server's.
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer once a whole request is here."""
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if separator and len(body) >= length:
            self.received = body[length:]
            self.transport.write(HEAD + ANSWER)


async def main() -> None:
    """Print the port and serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if hasattr(os, "sched_setaffinity") and len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(sys.argv[1])})
asyncio.run(main())
