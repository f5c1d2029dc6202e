"""LogRocket as an ASGI app."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs
from starlette.types import Receive, Scope, Send

from ..answer import JsonValue
from ..applied import Applied
from ..faults import Faults
from ..front import Front
from ..journal import KEEP_BYTES, Journal, RecordedRequest
from ..rate_limit import Clock, Limiter, RateLimit
from ..vendor import Backstage
from .api import Api
from .exclusion import Excluded
from .refusal import Envelope
from .users import LogRocketUser, Users

KEY_PARTS = 3


def _has_three_parts(_: object, __: object, key: str) -> None:
    parts = key.split(":", KEY_PARTS - 1)
    if len(parts) != KEY_PARTS or not all(parts):
        raise ValueError("api_key must read org:app:secret")


@attrs.define(kw_only=True, eq=False)
class LogRocketEmulator:
    """A fake LogRocket, the User Identification API and the exclusion list.

    Attributes:
        api_key: The key it knows; its organisation and app come from it.
        clock: Seconds since the epoch.
        envelope: The JSON key that an error message stands under, or `text` for no JSON.
        accepts_empty: Whether `{}` is a body; otherwise it is a malformed request.
        rate_limit: When to answer 429.
        max_body: Bytes of a request body, over which 413 is answered.
        journal_bytes: Bytes of request bodies kept in `requests`; over it, the oldest are let go.
        keeps_history: Whether `history` keeps what was applied to each user.
        draw: Gives a number in [0, 1) for faults with a probability.
        faults: What is to go wrong.
    """

    api_key: str = attrs.field(default="acme:shop:emulator", repr=False, validator=_has_three_parts)
    clock: Clock = attrs.field(default=time.time, repr=False)
    envelope: Envelope = "error"
    # Policy: every field is optional, so an object without any conforms.
    accepts_empty: bool = True
    rate_limit: RateLimit | None = None
    max_body: int = 50_000_000
    journal_bytes: int = KEEP_BYTES
    keeps_history: bool = False
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)
    faults: Faults = attrs.field(init=False)
    _api: Api = attrs.field(init=False, repr=False)
    _backstage: Backstage = attrs.field(init=False, repr=False)
    _front: Front = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(draw=self.draw)
        self._api = Api(
            api_key=self.api_key,
            users=Users(clock=self.clock),
            applied=Applied(keeps_history=self.keeps_history),
            envelope=self.envelope,
            accepts_empty=self.accepts_empty,
        )
        limiter = Limiter(limit=self.rate_limit, clock=self.clock)
        journal = Journal(keep_bytes=self.journal_bytes)
        self._backstage = Backstage(vendor=self._api, faults=self.faults, limiter=limiter, journal=journal)
        self._front = Front(backstage=self._backstage, max_body=self.max_body)

    @property
    def users(self) -> Mapping[str, LogRocketUser]:
        """The users by the application's id, as they stand now."""
        return dict(self._api.users.known)

    @property
    def excluded(self) -> AbstractSet[Excluded]:
        """Everybody on the do-not-record list, as ("email" or "user_id", value), as it stands now."""
        return set(self._api.excluded)

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """The requests in order of arrival, as they stand now."""
        return self._backstage.journal.entries

    @property
    def applied(self) -> Mapping[str, int]:
        """How many PUTs were applied to each user, by the application's id, as it stands now."""
        return self._api.applied.counts

    @property
    def total_applied(self) -> int:
        """How many PUTs were applied to all users together."""
        return self._api.applied.total

    def history(self, user_id: str) -> Sequence[JsonValue]:
        """Return the bodies that were applied to a user, oldest first.

        Raises:
            HistoryNotKeptError: The emulator was made without `keeps_history=True`.
        """
        return self._api.applied.history(user_id)

    def reset(self) -> None:
        """Forget users, exclusions, requests, faults and counts."""
        self._backstage.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._front(scope, receive, send)
