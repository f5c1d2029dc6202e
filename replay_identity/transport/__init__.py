"""Run exchanges over HTTP: retries, pacing, deadlines and secrets, once for every adapter."""

from .attempts import Attempts
from .runners import AsyncTransport, Transport
from .senders import AsyncSender, Sender

__all__ = ["AsyncSender", "AsyncTransport", "Attempts", "Sender", "Transport"]
