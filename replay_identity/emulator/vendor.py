"""What a fake vendor is to the HTTP side in front of it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import attrs

from .faults import Faults
from .http import JsonValue, ReceivedRequest, VendorResponse
from .journal import Journal
from .rate_limit import Limiter

Delay: TypeAlias = Callable[[], Awaitable[None]]
"""Takes as long as the vendor's work is told to take."""

View: TypeAlias = Callable[[], JsonValue]
"""Part of the state for people to look at."""


class VendorApi(Protocol):
    """Rules and state of one vendor, without any HTTP."""

    async def answer(self, received: ReceivedRequest, delay: Delay) -> VendorResponse:
        """Act on the request after *delay*, and answer it."""
        ...

    def failure(self, status: int) -> VendorResponse:
        """Return the vendor's own words for an error status."""
        ...

    def on_injected_failure(self, received: ReceivedRequest, answer: VendorResponse) -> None:
        """Take note of a failure that a fault answered in the vendor's place."""
        ...

    def debug_views(self) -> Mapping[str, View]:
        """Return what there is to look at, by name."""
        ...

    def forget(self) -> None:
        """Return to the state of a new vendor."""
        ...


@attrs.define(kw_only=True)
class EmulatorState:
    """A vendor and everything that tests set and read around it."""

    vendor: VendorApi
    faults: Faults
    limiter: Limiter
    journal: Journal = attrs.field(factory=Journal)

    def reset(self) -> None:
        """Forget users, requests, faults and counts."""
        self.vendor.forget()
        self.faults.clear()
        self.limiter.clear()
        self.journal.clear()
