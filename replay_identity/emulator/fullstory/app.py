"""Fullstory as an ASGI app."""

import random
import time
from collections.abc import Callable, Mapping, Sequence

import attrs
from starlette.types import Receive, Scope, Send

from ..faults import Faults
from ..front import Front
from ..journal import RecordedRequest
from ..rate_limit import Clock, Limiter, RateLimit
from ..vendor import Backstage
from .access import Level
from .api import Api
from .idempotency import Replays
from .listing import Listing
from .properties import Oversized
from .single import SingleUsers
from .users import FullstoryUser, Users


def _default_keys() -> Mapping[str, Level]:
    return {"na1.emulator": Level.ADMIN}


@attrs.define(kw_only=True, eq=False)
class FullstoryEmulator:
    """A fake Fullstory, server API v2 for single users.

    Attributes:
        api_keys: The keys it knows, and what each may do.
        page_size: Users on a page of the list.
        clock: Seconds since the epoch.
        oversized: Whether a property value over 8192 bytes fails the request or is dropped without a word.
        deletion_seconds: How long a deleted user stays visible as being deleted.
        remembers_faults: Whether a status answered by a fault is kept under its Idempotency-Key and replayed
            for 24 h, as Fullstory documents it for its own, all but 429 and those above 500.
        rate_limit: When to answer 429.
        max_body: Bytes of a request body, over which 413 is answered.
        draw: Gives a number in [0, 1) for faults with a probability.
        faults: What is to go wrong.
    """

    api_keys: Mapping[str, Level] = attrs.field(factory=_default_keys, repr=False)
    page_size: int = 100
    clock: Clock = attrs.field(default=time.time, repr=False)
    oversized: Oversized = "refuse"
    # Policy: the documents say that deletion is asynchronous, and not how long it takes.
    deletion_seconds: float = 30.0
    # Policy: a fault stands for something between the client and Fullstory, unless told otherwise.
    remembers_faults: bool = False
    rate_limit: RateLimit | None = None
    max_body: int = 50_000_000
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    faults: Faults = attrs.field(init=False)
    _users: Users = attrs.field(init=False, repr=False)
    _backstage: Backstage = attrs.field(init=False, repr=False)
    _front: Front = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._users = Users(clock=self.clock, deletion_seconds=self.deletion_seconds)
        limiter = Limiter(limit=self.rate_limit, clock=self.clock)
        self._backstage = Backstage(vendor=self._api(), faults=self.faults, limiter=limiter)
        self._front = Front(backstage=self._backstage, max_body=self.max_body)

    @property
    def users(self) -> Mapping[str, FullstoryUser]:
        """The users by Fullstory id, as they stand now."""
        return self._users.all()

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """The requests in order of arrival, as they stand now."""
        return self._backstage.journal.entries

    def by_uid(self, uid: str) -> FullstoryUser | None:
        """Return the user with that uid, unless it is being deleted."""
        return self._users.by_uid(uid)

    def reset(self) -> None:
        """Forget users, requests, faults and counts."""
        self._backstage.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._front(scope, receive, send)

    def _api(self) -> Api:
        listing = Listing(users=self._users, page_size=self.page_size, clock=self.clock)
        single = SingleUsers(users=self._users, listing=listing, oversized=self.oversized)
        return Api(
            api_keys=self.api_keys,
            users=self._users,
            listing=listing,
            replays=Replays(self.clock),
            routes=single.routes(),
            remembers_faults=self.remembers_faults,
        )
