"""A minimal asyncio HTTP server that answers every request the same way, so that only the client is measured.

`python benchmarks/sink.py [CORE]` prints its port and serves until it is killed.
"""

import asyncio
import json
import os
import sys

BODY = json.dumps({"id": "7449164135934483470", "userID": "u1", "name": "Ann", "traits": {}}).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


class Sink(asyncio.Protocol):
    """Respond to every request with BODY; requests need a content-length and must not be pipelined."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with an empty buffer."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # A TCP server's.
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Respond once the request is complete."""
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if separator and len(body) >= length:
            self.received = body[length:]
            self.transport.write(HEAD + BODY)


async def main() -> None:
    """Print the port and serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if hasattr(os, "sched_setaffinity") and len(sys.argv) > 1:
    os.sched_setaffinity(0, {int(sys.argv[1])})
asyncio.run(main())
