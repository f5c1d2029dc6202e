"""The seam behind which one HTTP library, or another, sends requests."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, Protocol

from ..adapters.exchange import Request, Response


class Sender(Protocol):
    """One HTTP library, blocking: what another one must do to take httpx's place."""

    def send(self, request: Request, timeout: float) -> Response:
        """Send *request* and return the answer within *timeout* seconds, or a Reply that says why there is none."""
        ...

    def close(self) -> None:
        """Free the connections."""
        ...


class AsyncSender(Protocol):
    """One HTTP library on asyncio: what another one must do to take httpx's place."""

    async def send(self, request: Request, timeout: float) -> Response:  # noqa: ASYNC109  # The library's own timeout.
        """Send *request* and return the answer, or a Reply that says why there is none."""
        ...

    async def aclose(self) -> None:
        """Free the connections."""
        ...


class ConcurrentSender(Protocol):
    """One HTTP library with many requests in flight at once, driven from one thread."""

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Begin to send *request*, whose reply comes back under *request_id* within *timeout* seconds."""
        ...

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the replies that are in, with their tickets; wait at most *timeout* seconds for the first one."""
        ...

    def close(self) -> None:
        """Free the connections; requests under way lose their answers."""
        ...


# Enough for any page of users; a vendor that sends more is not answering what was asked.
MAX_RESPONSE_BYTES: Final = 32 * 2**20
HEADERS: Final = {"accept-encoding": "gzip, deflate", "user-agent": f"replay-identity/{version('replay-identity')}"}
# A proxy from the environment is for the way out: what is meant for this machine must not leave it.
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
