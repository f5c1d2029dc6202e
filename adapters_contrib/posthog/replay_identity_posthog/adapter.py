"""The PostHog backend: its capture endpoint, version 1."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final
from uuid import UUID, uuid4

import attrs

from replay_identity.adapters import (
    Adaptation,
    Adjustment,
    ConfigurationError,
    Exchange,
    HttpAdapter,
    Limit,
    Limits,
    Outcome,
    Plan,
    Rejected,
    Request,
    UserTraits,
)

from . import responses
from .distinct_ids import check_distinct_id
from .events import (
    PLACEHOLDER_ID,
    PLACEHOLDER_TIME,
    Event,
    RequestInfo,
    encode_body,
    encode_event,
    split_into_requests,
    timestamp,
)
from .limits import EVENT, LIMITS, MAX_USERS
from .payload import Properties, encode_user, event_properties, without_largest

_PATH: Final = "/i/v1/analytics/events"
# As often as the SDK (PyPI posthog 7.91.1, capture_v1.py).
_MAX_ATTEMPTS: Final = 4
# PostHog shows this as the event's library and version.
_SDK: Final = "replay-identity-posthog/0.1.0"
_MAX_KEY_LENGTH: Final = 64


# Converters instead of validators, so that cattrs does not structure these fields when it reads a settings file.
def _checked_now(now: Callable[[], datetime]) -> Callable[[], datetime]:
    _check_function("now", now)
    return now


def _checked_new_id(new_id: Callable[[], UUID]) -> Callable[[], UUID]:
    _check_function("new_id", new_id)
    return new_id


def _check_function(setting: str, value: object) -> None:
    if not callable(value):
        raise ConfigurationError(setting, "expected a function", "set it in Python; a settings file cannot contain one")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class PostHog(HttpAdapter):
    """Identify users at PostHog.

    Attributes:
        api_key: The project's key, ``phc_…``.
        base_url: URL of the API; by default that of the US region. The EU's is ``https://eu.i.posthog.com``.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        allow_ids: Rules about ids that do not apply: ``"placeholder-id"``, ``"id-in-scientific-notation"`` or both.
        name: Name of the backend in outcomes and settings.
        allow_insecure: Allow a plain http URL that is not loopback.
        now: Returns the current time.
        new_id: Generates random ids of events and requests. Never derive them from the content: PostHog drops an event
            whose id it has seen, so a trait set to a, to b and back to a would stay b.

    Raises:
        ConfigurationError: The key or the URL is invalid.
    """

    KEY_HINT: ClassVar[str] = "pass api_key or set POSTHOG_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = "https://us.i.posthog.com"
    API_PATH: ClassVar[str] = _PATH
    LIMITS: ClassVar[Limits] = LIMITS

    name: str = attrs.field(default="posthog", kw_only=True)
    now: Callable[[], datetime] = attrs.field(
        default=_utc_now, kw_only=True, repr=False, eq=False, converter=_checked_now
    )
    new_id: Callable[[], UUID] = attrs.field(
        default=uuid4, kw_only=True, repr=False, eq=False, converter=_checked_new_id
    )

    @property
    def max_users(self) -> Limit:
        """Return the maximum number of users in one request."""
        return MAX_USERS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that sets *user*'s properties, with placeholders for the ids and times of sending."""
        properties, adaptation = self._encode(user)
        if adaptation.violations or not properties:
            return self._plan(adaptation, None)

        adjustments = tuple(adaptation.adjustments)
        event = _event(user, properties, adjustments, uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME)
        info = RequestInfo(str(PLACEHOLDER_ID), timestamp(PLACEHOLDER_TIME))
        return Plan(self.name, self._request(info, [event], attempt=1, now=PLACEHOLDER_TIME), adjustments)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a rule. Accepted is never verified, since PostHog only queues events."""
        (outcome,) = yield from self.identify_many((user,))
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in as few requests as possible, and return their outcomes in the same order."""
        entries = [self._event_or_outcome(user) for user in users]
        outcomes: dict[str, Outcome] = {}
        for events in split_into_requests(entry for entry in entries if isinstance(entry, Event)):
            outcomes |= yield from self._send(events)
        return tuple(outcomes[entry.uuid] if isinstance(entry, Event) else entry for entry in entries)

    def _check_settings(self) -> None:
        if self.api_key.startswith("phx_"):
            hint = "pass the project's own key, which starts with phc_"
            raise ConfigurationError("api_key", "expected a project's key, got a personal one", hint)
        if len(self.api_key) > _MAX_KEY_LENGTH:
            raise ConfigurationError("api_key", f"expected at most {_MAX_KEY_LENGTH} characters")

    def _make_url(self) -> str:
        return self._checked_base_url() + _PATH

    def _make_headers(self) -> Mapping[str, str]:
        authorization = f"Bearer {self.api_key}"
        return {**super()._make_headers(), "authorization": authorization, "posthog-sdk-info": _SDK}

    def _encode(self, user: UserTraits) -> tuple[Properties, Adaptation]:
        """Return the properties of *user*, small enough for one event, and what changed."""
        adaptation = self._adaptation(user)
        check_distinct_id(user.user_id, adaptation)
        properties = encode_user(user, adaptation)
        size = len(encode_event(user, event_properties(properties), uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME))
        if size > EVENT.maximum:
            properties = without_largest(properties, size, user, adaptation)
        if not properties and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        return properties, adaptation

    def _event_or_outcome(self, user: UserTraits) -> Event | Outcome:
        """Return the event to send for *user*, or their outcome if there is none."""
        properties, adaptation = self._encode(user)
        if adaptation.violations or not properties:
            return self._plan(adaptation, None).unsent
        return _event(user, properties, tuple(adaptation.adjustments), uuid=self.new_id(), now=self.now())

    def _send(self, events: Sequence[Event]) -> Exchange[dict[str, Outcome]]:
        """Send *events* together, and again those that PostHog asks for again; return the outcomes by event id."""
        info = RequestInfo(str(self.new_id()), timestamp(self.now()))
        outcomes: dict[str, Outcome] = {}
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            response = yield self._request(info, events, attempt=attempt, now=self.now())
            results = responses.read_results(response)
            if results is None:
                failure = responses.read_failure(self.name, response, events, self.api_key)
                return outcomes | (yield from self._send_halves(events, failure))

            outcomes |= responses.read_outcomes(self.name, response, results, events, self.api_key)
            events = [event for event in events if responses.wants_retry(results, event)]
            if not events or attempt == _MAX_ATTEMPTS:
                break
            yield responses.pause_after(attempt, response)
        return outcomes

    def _send_halves(self, events: Sequence[Event], failure: Outcome) -> Exchange[dict[str, Outcome]]:
        """Return *failure* for all *events*; if one of them may be the reason, send them in halves to find it."""
        if len(events) == 1 or not isinstance(failure, Rejected):
            return dict.fromkeys((event.uuid for event in events), failure)
        middle = len(events) // 2
        first = yield from self._send(events[:middle])
        return first | (yield from self._send(events[middle:]))

    def _request(self, info: RequestInfo, events: Sequence[Event], *, attempt: int, now: datetime) -> Request:
        # The transport's own retries repeat the bytes and are not attempts in PostHog's sense.
        headers = {
            **self._headers,
            "posthog-attempt": str(attempt),
            "posthog-request-id": info.request_id,
            "posthog-request-timestamp": timestamp(now),
        }
        body = encode_body(info, events)
        return Request("identify", "POST", self._url, headers, body, retry_on=responses.is_retryable)


def _event(
    user: UserTraits, properties: Properties, adjustments: tuple[Adjustment, ...], *, uuid: UUID, now: datetime
) -> Event:
    content = encode_event(user, event_properties(properties), uuid=uuid, now=now)
    return Event(str(uuid), user, content, adjustments)
