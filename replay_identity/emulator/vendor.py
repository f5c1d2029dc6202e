"""The interface between the HTTP side of an emulator and the rules of its vendor."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import attrs

from .faults import Faults
from .http import JsonValue, ReceivedRequest, VendorResponse
from .journal import Journal
from .rate_limit import Limiter

Delay: TypeAlias = Callable[[], Awaitable[None]]
"""Waits for the latency that a fault adds, if any."""

View: TypeAlias = Callable[[], JsonValue]
"""Returns a part of the state as JSON, for debugging."""


class VendorApi(Protocol):
    """The rules and the state of one vendor, without HTTP."""

    async def respond(self, request: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Await *delay*, apply the request and return the response."""
        ...

    def error_response(self, status: int) -> VendorResponse:
        """Return the vendor's error response for *status*."""
        ...

    def on_injected_failure(self, request: ReceivedRequest, response: VendorResponse) -> None:
        """Handle a failure that a fault returned instead of the vendor."""
        ...

    def debug_views(self) -> Mapping[str, View]:
        """Return the views of the state by name."""
        ...

    def clear(self) -> None:
        """Delete all state."""
        ...


@attrs.define(kw_only=True)
class EmulatorState:
    """A vendor's API with the faults, the rate limiter and the journal of its emulator."""

    api: VendorApi
    faults: Faults
    limiter: Limiter
    journal: Journal = attrs.field(factory=Journal)

    def reset(self) -> None:
        """Delete users, requests, faults and counts."""
        self.api.clear()
        self.faults.clear()
        self.limiter.clear()
        self.journal.clear()
