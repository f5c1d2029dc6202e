"""Run exchanges over HTTP: retries, pacing, deadlines and secrets, once for every adapter."""

from .attempts import Attempts
from .runners import AsyncSender, AsyncTransport, Sender, Transport

__all__ = ["AsyncSender", "AsyncTransport", "Attempts", "Sender", "Transport"]
