"""What every fake vendor is to a test: an ASGI app with faults, a rate limit and a journal."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import attrs
from starlette.types import Receive, Scope, Send

from .answer import JsonValue
from .applied import Applied
from .faults import Faults
from .front import Front
from .journal import KEEP_BYTES, Journal, RecordedRequest
from .rate_limit import Clock, Limiter, RateLimit
from .vendor import Backstage, Vendor


@attrs.define(kw_only=True, eq=False)
class Emulator(ABC):
    """A fake vendor over real HTTP; a subclass gives the vendor's own rules and state.

    Attributes:
        clock: Seconds since the epoch.
        rate_limit: When to answer 429.
        max_body: Bytes of a request body, over which 413 is answered.
        journal_bytes: Bytes of request bodies kept in `requests`; over it, the oldest are let go.
        keeps_history: Whether `history` keeps what was applied to each user.
        draw: Gives a number in [0, 1) for faults with a probability.
        faults: What is to go wrong with requests.
    """

    clock: Clock = attrs.field(default=time.time, repr=False)
    rate_limit: RateLimit | None = None
    max_body: int = 50_000_000
    journal_bytes: int = KEEP_BYTES
    keeps_history: bool = False
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    faults: Faults = attrs.field(init=False)
    _applied: Applied = attrs.field(init=False, repr=False)
    _backstage: Backstage = attrs.field(init=False, repr=False)
    _front: Front = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._applied = Applied(keeps_history=self.keeps_history)
        self._backstage = Backstage(
            vendor=self.make_vendor(self._applied),
            faults=self.faults,
            limiter=Limiter(limit=self.rate_limit, clock=self.clock),
            journal=Journal(keep_bytes=self.journal_bytes),
        )
        self._front = Front(backstage=self._backstage, max_body=self.max_body)

    @abstractmethod
    def make_vendor(self, applied: Applied) -> Vendor:
        """Return the vendor's rules and state, who notes in *applied* what was applied to whom."""

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """The requests in order of arrival, as they stand now."""
        return self._backstage.journal.entries

    @property
    def applied(self) -> Mapping[str, int]:
        """How often each user was written to, by the application's id or else by the vendor's, as it stands now."""
        return self._applied.counts

    @property
    def total_applied(self) -> int:
        """How often all users together were written to."""
        return self._applied.total

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return what was applied to a user, as sent, oldest first.

        Raises:
            HistoryNotKeptError: The emulator was made without `keeps_history=True`.
        """
        return self._applied.history(user_id)

    def reset(self) -> None:
        """Forget users, requests, faults and counts, and whatever else happened."""
        self._backstage.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._front(scope, receive, send)
