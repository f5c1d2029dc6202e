"""A fake vendor that takes several users in one request and returns one status each, without a socket."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final

import attrs
import orjson
from support.in_process import FAST, assert_closed

from replay_identity import Accepted, Outcome, Rejected, Route, Skipped, Unavailable, Unknown, UserTraits
from replay_identity.adapters import (
    Exchange,
    IdentityBackend,
    Limit,
    Limits,
    Plan,
    Request,
    Response,
    Unit,
    failure_outcome,
)
from replay_identity.bulk import SyncReport, sync
from replay_identity.ledger import Ledger
from replay_identity.outcomes import SkipReason, Violation

URL: Final = "http://acme.example/users"
# The outcome for each status that the vendor may return for a user.
OUTCOMES: Final[dict[str, Outcome]] = {
    "ok": Accepted("acme"),
    "bad": Rejected("acme", code="bad"),
    "later": Unavailable("acme", "busy"),
    "lost": Unknown("acme", "lost"),
}
TOO_LONG: Final = (Violation("traits.note", "too-long"),)


@attrs.define
class AcmeMulti:
    """The adapter. Users with a note are rejected without being sent, users named Nobody are skipped."""

    name: str = "acme"
    limit: int = 10
    limits: Limits = attrs.field(factory=Limits)
    identified: list[str | None] = attrs.field(factory=list[str | None])
    account: str = "acme.example"
    encoding: str = "1"

    @property
    def max_users(self) -> Limit:
        """Return the maximum number of users in one request."""
        return Limit(
            maximum=self.limit,
            unit=Unit.USERS,
            source="a test",
            read_on=date(2026, 11, 21),
            rule="most-users",
        )

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the plan for one user."""
        if "note" in user.traits:
            return Plan(self.name, None, violations=TOO_LONG)
        return Plan(self.name, None if user.name == "Nobody" else _request([user]))

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send one user."""
        self.identified.append(user.user_id)
        (outcome,) = yield from self.identify_many([user])
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send all users that may be sent in one request."""
        plans = [self.plan(user) for user in users]
        sent = [user for user, plan in zip(users, plans, strict=True) if plan.request]
        outcomes = iter((yield from self._send(sent)) if sent else ())
        return tuple(self._outcome(plan, outcomes) for plan in plans)

    def _send(self, users: Sequence[UserTraits]) -> Exchange[Sequence[Outcome]]:
        response = yield _request(users)
        if not response.is_success:
            return [failure_outcome(self.name, response, hints={401: "Check the key."})] * len(users)
        return [_to_outcome(status, response) for status in orjson.loads(response.body)]

    def _outcome(self, plan: Plan, outcomes: Iterator[Outcome]) -> Outcome:
        if plan.violations:
            return Rejected(self.name, plan.violations)
        return next(outcomes) if plan.request else Skipped(self.name, SkipReason.NOTHING_TO_SEND)


@attrs.define
class OneByOne:
    """The same adapter with one user in each request."""

    multi: AcmeMulti = attrs.field(factory=AcmeMulti)
    name: str = "acme"
    account: str = "acme.example"
    encoding: str = "1"

    @property
    def limits(self) -> Limits:
        """Return the limits."""
        return self.multi.limits

    def plan(self, one: UserTraits, /) -> Plan:
        """Return the plan for a user."""
        return self.multi.plan(one)

    def identify(self, one: UserTraits, /) -> Exchange[Outcome]:
        """Send one user."""
        return self.multi.identify(one)


def _request(users: Sequence[UserTraits]) -> Request:
    return Request("identify", "POST", URL, body=orjson.dumps([(user.user_id, dict(user.traits)) for user in users]))


def _to_outcome(status: str, response: Response) -> Outcome:
    return Unavailable("acme", "busy", response.retry_after) if status == "later" else OUTCOMES[status]


@attrs.define(eq=False)
class MultiVendor:
    """The vendor as a `ConcurrentSender`.

    Attributes:
        status_of: Returns the status for a user id.
        respond: Returns the response to a request with these user ids, or None for the statuses of each user. If the
            response leaves open whether the request was applied, it was.
        headers: Headers of its own responses.
        after: Called with the number of each request, after it was applied and before the response.
        requests: The user ids of each request.
        stored: The traits sent for each user, in order.
        max_in_flight: The maximum number of requests that were in flight at once.
    """

    status_of: Callable[[str], str] = lambda _: "ok"
    respond: Callable[[list[str]], Response | None] = lambda _: None
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    after: Callable[[int], None] = lambda _: None
    requests: list[list[str]] = attrs.field(factory=list[list[str]])
    stored: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict[str, list[dict[str, Any]]])
    max_in_flight: int = 0
    _in_flight: dict[int, list[str]] = attrs.field(factory=dict[int, list[str]])
    _responses: list[tuple[int, Response]] = attrs.field(factory=list[tuple[int, Response]])

    @property
    def newest(self) -> dict[str, dict[str, Any]]:
        """Return the traits that were sent last for each user."""
        return {user_id: states[-1] for user_id, states in self.stored.items()}

    @property
    def times_sent(self) -> dict[str, int]:
        """Return how often each user was sent."""
        return {user_id: len(states) for user_id, states in self.stored.items()}

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Apply the request at once; no user may be in flight twice."""
        assert timeout > 0
        users: list[tuple[str, dict[str, Any]]] = orjson.loads(request.body or b"")
        ids = [user_id for user_id, _ in users]
        others = [user_id for request_ids in self._in_flight.values() for user_id in request_ids]
        assert len(set(ids + others)) == len(ids + others)
        self.requests.append(ids)
        self._in_flight[request_id] = ids
        self.max_in_flight = max(self.max_in_flight, len(self._in_flight))
        response = self.respond(ids)
        statuses = [self.status_of(user_id) for user_id in ids] if response is None else ["ok"] * len(ids)
        if response is None or response.may_have_applied:
            for status, (user_id, traits) in zip(statuses, users, strict=True):
                if status == "ok":
                    self.stored.setdefault(user_id, []).append(traits)
        self._responses.append((request_id, response or Response(200, self.headers, orjson.dumps(statuses))))
        self.after(len(self.requests))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return all responses."""
        responses, self._responses = self._responses, []
        for request_id, _ in responses:
            del self._in_flight[request_id]
        if not responses:
            time.sleep(min(timeout, 0.001))
        return responses

    def close(self) -> None:
        """Forget all requests in flight."""
        self._in_flight.clear()
        self._responses.clear()

    def restart(
        self,
        *,
        after: Callable[[int], None] = lambda _: None,
        respond: Callable[[list[str]], Response | None] = lambda _: None,
    ) -> None:
        """Forget the requests so far and replace the hooks."""
        self.requests.clear()
        self.after, self.respond = after, respond


def deliver_to(
    vendor: MultiVendor,
    users: Iterable[UserTraits],
    *,
    ledger: Ledger | None,
    backend: IdentityBackend | Route | None = None,
    **options: Any,
) -> SyncReport:
    """Sync *users* to the vendor, and check that the report adds up."""
    name = options.pop("name", "acme")
    settings = {name: options.pop("options", FAST)}
    report = sync(
        users, [backend or AcmeMulti()], ledger=ledger, options=settings, transport=lambda _: vendor, **options
    )
    assert_closed(report)
    return report


def in_turn(responses: Iterable[Response | None]) -> Callable[[list[str]], Response | None]:
    """Return a function that returns each of *responses* once, and then None."""
    remaining = iter(responses)
    return lambda _: next(remaining, None)


def first_time(status: str, *user_ids: str) -> Callable[[str], str]:
    """Return a function that returns *status* once for each of these users, and then "ok"."""
    remaining = set(user_ids)

    def status_of(user_id: str) -> str:
        if user_id not in remaining:
            return "ok"
        remaining.remove(user_id)
        return status

    return status_of
