"""Several users in one request, many requests at once."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs

from .._text import pluralize
from ..adapters.exchange import Exchange, Sleep
from ..adapters.protocols import SupportsMultiIdentify
from ..adapters.responses import adapter_error, checked_outcome, isolate_errors
from ..ledger import Claim
from ..outcomes import Broken, Misconfigured, Outcome, Unavailable, Unknown
from ..router import Route
from ..traits import UserTraits
from ..transport import ConcurrentTransport
from .options import DeliveryOptions
from .outbox import Outbox


@attrs.define
class OutcomeHandler:
    """Settle users who were sent.

    Attributes:
        outbox: Who is told what became of them.
        transport: What has sent them.
        on_problem: Is told the answer that leaves no hope for this run: the settings are wrong.
        wait: Seconds before a user is sent again whom the vendor put off in an answer that is no failure.
        is_hopeless: Whether the settings are wrong, so that nobody else is to be sent.
    """

    outbox: Outbox
    transport: ConcurrentTransport
    on_problem: Callable[[Outcome], None]
    wait: float
    is_hopeless: bool = attrs.field(default=False, init=False)
    _put_off_now: int = attrs.field(default=0, init=False)

    def handle(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> None:
        """Settle *claims*, which one exchange was about, each with its own outcome."""
        # After a failed request the pace waits before the next one, but not after one that answered.
        has_answered = self.transport.limiter.failure is None
        put_off: list[tuple[Claim, Unavailable]] = []
        problem: Misconfigured | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            if has_answered and isinstance(outcome, Unavailable):
                put_off.append((claim, outcome))
                continue
            self.outbox.settle(claim, outcome)
            if isinstance(outcome, Misconfigured):
                problem = outcome
        if put_off:
            self._defer(put_off)
        if problem is not None:
            self.is_hopeless = True
            self.on_problem(problem)

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        count = self._put_off_now
        return f"{pluralize(count, 'user')} deferred by the vendor" if count else ""

    def _defer(self, users: Sequence[tuple[Claim, Unavailable]]) -> None:
        """Settle *users* after a while; they count as without an answer, so that no run sends them for ever."""
        seconds = max(self.wait, *(outcome.retry_after or 0.0 for _, outcome in users))
        self._put_off_now += len(users)
        self.transport.submit(_pause(seconds), partial(self._release, users))

    def _release(self, users: Sequence[tuple[Claim, Unavailable]], _result: None) -> None:
        self._put_off_now -= len(users)
        for claim, outcome in users:
            self.outbox.settle(claim, Unknown(outcome.backend, outcome.cause))


def _pause(seconds: float) -> Exchange[None]:
    yield Sleep(seconds)


# Seconds that a group which is not full waits for more users.
_LINGER: Final = 0.5
# Users under way at once, each of whom is held in memory until the answer.
_MOST_UNDER_WAY: Final = 10_000


@attrs.define
class _OpenRequest:
    """Users who share a request: the claims, and what the backend may see of each."""

    claims: list[Claim] = attrs.field(factory=list[Claim])
    users: list[UserTraits] = attrs.field(factory=list[UserTraits], repr=False)
    since: float = 0.0


@attrs.define
class MultiDispatcher:
    """Send users in groups, of whom each has an outcome of their own.

    Nobody is in two groups under way: an outbox hands out one claim to a user at a time.

    Attributes:
        route: The backend, and what it may see.
        backend: The same backend, as one that takes several users in one request.
        outbox: Who is to be sent.
        handler: What becomes of them then.
        options: How large groups are.
        clock: Seconds since some fixed moment.
    """

    route: Route
    backend: SupportsMultiIdentify
    outbox: Outbox
    handler: OutcomeHandler
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    _max_users: int = attrs.field(init=False)
    _open: _OpenRequest = attrs.field(factory=_OpenRequest, init=False)
    _in_flight_count: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._max_users = self.options.users_at_once(self.backend.max_users.maximum)

    @property
    def transport(self) -> ConcurrentTransport:
        """Return what sends."""
        return self.handler.transport

    def dispatch(self, *, is_last: bool) -> None:
        """Start as many groups as may be in flight; one that is not full only if *is_last* or it waited a while."""
        while self._has_room() and self._fill(is_last=is_last):
            filling, self._open = self._open, _OpenRequest()
            self._in_flight_count += len(filling.claims)
            self.transport.submit(self._identify(filling.users), partial(self._handle, filling))

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        return self.handler.status_text()

    def _has_room(self) -> bool:
        return (
            not self.handler.is_hopeless
            and self._in_flight_count < _MOST_UNDER_WAY
            and self.transport.limiter.allows(self.transport.in_flight)
        )

    def _fill(self, *, is_last: bool) -> bool:
        """Take users into the next group, and tell whether it is to be sent now."""
        filling = self._open
        while len(filling.claims) < self._max_users:
            claim = self.outbox.next()
            if claim is None:
                return bool(filling.claims) and (is_last or self.clock() - filling.since >= _LINGER)
            if not filling.claims:
                filling.since = self.clock()
            self._add(claim, filling)
        return True

    def _add(self, claim: Claim, filling: _OpenRequest) -> None:
        """Add one user to a group, unless the route keeps them from being sent."""
        seen: UserTraits | Outcome
        try:
            seen = self.route.apply(claim.user)
        except Exception as error:  # noqa: BLE001  # A bug of a route's must not stop the run.
            seen = adapter_error(self.route.name, error)
        if isinstance(seen, UserTraits):
            filling.claims.append(claim)
            filling.users.append(seen)
        else:
            self.outbox.settle(claim, seen)

    def _identify(self, users: Sequence[UserTraits]) -> Exchange[tuple[Outcome, ...]]:
        """Send *users*; what an adapter raises, or answers for somebody else, is `Broken` for whom it may concern."""
        try:
            outcomes = tuple((yield from self.backend.identify_many(users)))
        except Exception as error:  # noqa: BLE001  # An adapter's bug must not stop the run.
            return (adapter_error(self.route.name, error),) * len(users)
        if len(outcomes) != len(users):
            problem = f"the adapter answered {len(outcomes)} outcomes for {len(users)} users"
            return (Broken(self.route.name, problem),) * len(users)
        return tuple(checked_outcome(self.route.name, outcome) for outcome in outcomes)

    def _handle(self, group: _OpenRequest, outcomes: Sequence[Outcome]) -> None:
        self._in_flight_count -= len(group.claims)
        self.handler.handle(group.claims, outcomes)


@attrs.define
class SingleDispatcher:
    """Send users one by one.

    Attributes:
        route: The backend, and what it may see.
        outbox: Who is to be sent.
        handler: What becomes of them then.
    """

    route: Route
    outbox: Outbox
    handler: OutcomeHandler

    @property
    def transport(self) -> ConcurrentTransport:
        """Return what sends."""
        return self.handler.transport

    def dispatch(self, *, is_last: bool) -> None:  # noqa: ARG002  # As `BatchDispatcher`.
        """Start as many requests as may be in flight."""
        transport = self.transport
        while (
            not self.handler.is_hopeless
            and transport.limiter.allows(transport.in_flight)
            and (claim := self.outbox.next()) is not None
        ):
            transport.submit(
                isolate_errors(self.route.name, self.route.identify(claim.user)), partial(self._handle, (claim,))
            )

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        return self.handler.status_text()

    def _handle(self, claims: Sequence[Claim], outcome: Outcome) -> None:
        self.handler.handle(claims, (outcome,))
