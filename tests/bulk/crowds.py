"""A vendor that takes several users in one request and tells what became of each, asked without a socket."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, Final

import attrs
import orjson
from bulk.worlds import FAST, assert_closed

from replay_identity import Accepted, Outcome, Rejected, Route, Skipped, Unavailable, Unknown, UserTraits
from replay_identity.adapters.exchange import Exchange, Request, Response
from replay_identity.adapters.limits import Limit, Limits, Unit
from replay_identity.adapters.protocols import IdentityBackend, Plan
from replay_identity.adapters.responses import failure_outcome
from replay_identity.bulk import SyncReport, sync
from replay_identity.ledger import Ledger
from replay_identity.outcomes import SkipReason, Violation

URL: Final = "http://crowd.example/users"
# What the vendor may say of one user; what it says of the others is "ok".
SAID: Final[dict[str, Outcome]] = {
    "ok": Accepted("crowd"),
    "bad": Rejected("crowd", code="bad"),
    "later": Unavailable("crowd", "busy"),
    "lost": Unknown("crowd", "lost"),
}
TOO_LONG: Final = (Violation("traits.note", "too-long"),)


@attrs.define
class Crowd:
    """The adapter: who has a note is refused without being sent, who is called Nobody is skipped."""

    name: str = "crowd"
    most: int = 10
    limits: Limits = attrs.field(factory=Limits)
    identified: list[str | None] = attrs.field(factory=list[str | None])

    @property
    def max_users(self) -> Limit:
        """Return how many users one request takes."""
        return Limit(maximum=self.most, unit=Unit.USERS, source="a test", read_on=date(2026, 11, 21), rule="most-users")

    def plan(self, user: UserTraits, /) -> Plan:
        """Return what would be sent for one user."""
        if "note" in user.traits:
            return Plan(self.name, None, violations=TOO_LONG)
        return Plan(self.name, None if user.name == "Nobody" else _request([user]))

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send one user."""
        self.identified.append(user.user_id)
        (outcome,) = yield from self.identify_many([user])
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send all who may be sent in one request."""
        plans = [self.plan(user) for user in users]
        sent = [user for user, plan in zip(users, plans, strict=True) if plan.request]
        said = iter((yield from self._send(sent)) if sent else ())
        return tuple(self._outcome(plan, said) for plan in plans)

    def _send(self, users: Sequence[UserTraits]) -> Exchange[Sequence[Outcome]]:
        response = yield _request(users)
        if not response.is_success:
            return [failure_outcome(self.name, response, hints={401: "Check the key."})] * len(users)
        return [_read(word, response) for word in orjson.loads(response.body)]

    def _outcome(self, plan: Plan, said: Iterable[Outcome]) -> Outcome:
        if plan.violations:
            return Rejected(self.name, plan.violations)
        return next(iter(said)) if plan.request else Skipped(self.name, SkipReason.NOTHING_TO_SEND)


def _request(users: Sequence[UserTraits]) -> Request:
    return Request("identify", "POST", URL, body=orjson.dumps([(user.user_id, dict(user.traits)) for user in users]))


def _read(word: str, response: Response) -> Outcome:
    return Unavailable("crowd", "busy", response.retry_after) if word == "later" else SAID[word]


@attrs.define(eq=False)
class Vendor:
    """The vendor, as a `ConcurrentSender`.

    Attributes:
        says: Tells what it says of a user.
        replies_to: Tells its reply to a request about these users, or None for what it says of each; it takes all of
            them where the reply leaves that open.
        headers: Of its own replies.
        after: Is called after it acted on the request of that number, before the answer is there.
        groups: The ids of the users in each request.
        held: What it was told of each user, in order.
        most_at_once: Most requests under way.
    """

    says: Callable[[str], str] = lambda _: "ok"
    replies_to: Callable[[list[str]], Response | None] = lambda _: None
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    after: Callable[[int], None] = lambda _: None
    groups: list[list[str]] = attrs.field(factory=list[list[str]])
    held: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict[str, list[dict[str, Any]]])
    most_at_once: int = 0
    _in_flight_count: dict[int, list[str]] = attrs.field(factory=dict[int, list[str]])
    _answers: list[tuple[int, Response]] = attrs.field(factory=list[tuple[int, Response]])

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Act at once; nobody may be under way twice."""
        assert timeout > 0
        users: list[tuple[str, dict[str, Any]]] = orjson.loads(request.body or b"")
        ids = [user_id for user_id, _ in users]
        others = [user_id for group in self._in_flight_count.values() for user_id in group]
        assert len(set(ids + others)) == len(ids + others)
        self.groups.append(ids)
        self._in_flight_count[request_id] = ids
        self.most_at_once = max(self.most_at_once, len(self._in_flight_count))
        response = self.replies_to(ids)
        words = [self.says(user_id) for user_id in ids] if response is None else ["ok"] * len(ids)
        if response is None or response.may_have_applied:
            for word, (user_id, traits) in zip(words, users, strict=True):
                if word == "ok":
                    self.held.setdefault(user_id, []).append(traits)
        self._answers.append((request_id, response or Response(200, self.headers, orjson.dumps(words))))
        self.after(len(self.groups))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the answers."""
        answers, self._answers = self._answers, []
        for request_id, _ in answers:
            del self._in_flight_count[request_id]
        if not answers:
            time.sleep(min(timeout, 0.001))
        return answers

    def close(self) -> None:
        """Have nothing under way."""
        self._in_flight_count.clear()
        self._answers.clear()

    def start_over(
        self,
        *,
        after: Callable[[int], None] = lambda _: None,
        replies_to: Callable[[list[str]], Response | None] = lambda _: None,
    ) -> None:
        """Count requests anew, and let this happen at them."""
        self.groups.clear()
        self.after, self.replies_to = after, replies_to


def deliver_to(
    vendor: Vendor,
    users: Iterable[UserTraits],
    *,
    ledger: Ledger | None,
    backend: IdentityBackend | Route | None = None,
    **options: Any,
) -> SyncReport:
    """Bring the vendor up to date, and check that the books close."""
    name = options.pop("name", "crowd")
    settings = {name: options.pop("options", FAST)}
    report = sync(users, [backend or Crowd()], ledger=ledger, options=settings, transport=lambda _: vendor, **options)
    assert_closed(report)
    return report


def one_after_another(responses: Iterable[Response | None]) -> Callable[[list[str]], Response | None]:
    """Return what gives each of the *responses* to one request, and then none."""
    left = iter(responses)
    return lambda _: next(left, None)


def first_time(word: str, *user_ids: str) -> Callable[[str], str]:
    """Return what says that *word* once of each of these users."""
    left = set(user_ids)

    def say(user_id: str) -> str:
        if user_id not in left:
            return "ok"
        left.remove(user_id)
        return word

    return say
