"""Protocols that an HTTP client must implement, and constants that all our clients share."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, Protocol

from ..adapters.exchange import Request, Response

# Enough for any page of users.
MAX_RESPONSE_BYTES: Final = 32 * 2**20
# As in httpx's parser, but for all headers of a response together, also those of interim responses.
MAX_HEADER_BYTES: Final = 100 * 2**10
HEADERS: Final = {"accept-encoding": "gzip, deflate", "user-agent": f"replay-identity/{version('replay-identity')}"}
# Never sent through a proxy from the environment: requests to this machine must not leave it.
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Sender(Protocol):
    """A blocking HTTP client."""

    def send(self, request: Request, timeout: float) -> Response:
        """Send *request* and return the response; after *timeout* seconds, or on failure, one with `no_response`."""
        ...

    def close(self) -> None:
        """Free the connections."""
        ...


class AsyncSender(Protocol):
    """An HTTP client on asyncio."""

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # The client's own timeout.
        """Send *request* and return the response; after *timeout* seconds, or on failure, one with `no_response`."""
        ...

    async def aclose(self) -> None:
        """Free the connections."""
        ...


class ConcurrentSender(Protocol):
    """An HTTP client with many requests in flight, driven from one thread."""

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Start sending *request*; within *timeout* seconds `completed` returns its response under *request_id*."""
        ...

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return request ids and responses that have arrived, waiting at most *timeout* seconds for the first one."""
        ...

    def close(self) -> None:
        """Free the connections and discard the responses to requests in flight."""
        ...
