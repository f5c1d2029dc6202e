"""Run exchanges over HTTP: retries, pacing, deadlines and secrets, once for every adapter."""

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
    """Return what sends many requests at once: over libcurl where pycurl is installed, else over httpx in threads."""
    # Loaded by whoever sends, not by whoever imports.
    try:
        from .curl_sender import CurlSender  # noqa: PLC0415
    except ImportError:
        from .thread_sender import ThreadSender  # noqa: PLC0415

        return ThreadSender(connections)
    return CurlSender(connections)
