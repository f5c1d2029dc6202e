"""Run exchanges over HTTP with retries, deadlines and rate limits."""

from .attempts import Attempts
from .concurrent import ConcurrentTransport
from .runners import AsyncTransport, Transport
from .senders import AsyncSender, ConcurrentSender, Sender

__all__ = [
    "AsyncSender",
    "AsyncTransport",
    "Attempts",
    "ConcurrentSender",
    "ConcurrentTransport",
    "Sender",
    "Transport",
    "concurrent_sender",
]


def concurrent_sender(connections: int = 64) -> ConcurrentSender:
    """Return a sender over libcurl if pycurl is installed, else one over httpx in threads."""
    # Imported here, because importing an HTTP library takes longer than importing the rest of the package.
    try:
        from .curl_sender import CurlSender  # noqa: PLC0415
    except ImportError:
        from .thread_sender import ThreadSender  # noqa: PLC0415

        return ThreadSender(connections)
    return CurlSender(connections)
