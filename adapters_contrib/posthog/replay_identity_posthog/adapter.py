"""The PostHog backend: its capture API, version 0 or 1."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, get_args
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
    check_base_url,
)

from . import responses
from .distinct_ids import check_distinct_id
from .events import (
    PATHS,
    PLACEHOLDER_ID,
    PLACEHOLDER_TIME,
    Capture,
    Event,
    RequestInfo,
    encode_body,
    encode_event,
    split_into_requests,
    timestamp,
)
from .limits import EVENT, LIMITS, MAX_USERS
from .payload import Properties, encode_user, event_properties, without_largest

# What a base_url may not end in; the second is the documented address of a single event
# (https://posthog.com/docs/api/capture, read 2026-11-30).
_API_PATHS: Final = (PATHS["v0"], "/i/v0/e", PATHS["v1"])
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


def _check_capture(_instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if value not in get_args(Capture):
        raise ConfigurationError(attribute.name, 'expected "v0" or "v1"')


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
        capture: Version of the API. ``"v0"`` is what every server has and PostHog's own SDKs use by default; its
            response is about a request as a whole. ``"v1"`` returns a result for each user.
        now: Returns the current time.
        new_id: Generates random ids of events and requests. Never derive them from the content: PostHog drops an event
            whose id it has seen, so a trait set to a, to b and back to a would stay b.

    Raises:
        ConfigurationError: The key or the URL is invalid.
    """

    KEY_HINT: ClassVar[str] = "pass api_key or set POSTHOG_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = "https://us.i.posthog.com"
    LIMITS: ClassVar[Limits] = LIMITS

    name: str = attrs.field(default="posthog", kw_only=True)
    # Policy: opt in to v1, as in the SDKs (PyPI posthog 7.91.1, capture_mode.py, read 2026-11-30): a self-hosted server
    # may not have it, and responds with 404 every time.
    capture: Capture = attrs.field(default="v0", kw_only=True, validator=_check_capture)
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
        event = self._event(user, properties, adjustments, uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME)
        info = self._info(PLACEHOLDER_ID, PLACEHOLDER_TIME)
        return Plan(self.name, self._request(info, [event], attempt=1, now=PLACEHOLDER_TIME), adjustments)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless they break a rule. Accepted is never verified, since PostHog only queues events."""
        (outcome,) = yield from self.identify_many((user,))
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in as few requests as possible, and return their outcomes in the same order."""
        entries = [self._event_or_outcome(user) for user in users]
        outcomes: dict[str, Outcome] = {}
        empty = self._info(PLACEHOLDER_ID, PLACEHOLDER_TIME)
        for events in split_into_requests((entry for entry in entries if isinstance(entry, Event)), empty):
            outcomes |= yield from self._send(events)
        return tuple(outcomes[entry.uuid] if isinstance(entry, Event) else entry for entry in entries)

    def _check_settings(self) -> None:
        if self.api_key.startswith("phx_"):
            hint = "pass the project's own key, which starts with phc_"
            raise ConfigurationError("api_key", "expected a project's key, got a personal one", hint)
        if len(self.api_key) > _MAX_KEY_LENGTH:
            raise ConfigurationError("api_key", f"expected at most {_MAX_KEY_LENGTH} characters")

    def _make_url(self) -> str:
        return self._checked_base_url() + PATHS[self.capture]

    def _checked_base_url(self) -> str:
        base_url = super()._checked_base_url()
        for path in _API_PATHS:
            check_base_url(base_url, allow_insecure=self.allow_insecure, api_path=path)
        return base_url

    def _make_headers(self) -> Mapping[str, str]:
        if self.capture == "v0":
            return super()._make_headers()
        authorization = f"Bearer {self.api_key}"
        return {**super()._make_headers(), "authorization": authorization, "posthog-sdk-info": _SDK}

    def _encode(self, user: UserTraits) -> tuple[Properties, Adaptation]:
        """Return the properties of *user*, small enough for one event, and what changed."""
        adaptation = self._adaptation(user)
        check_distinct_id(user.user_id, adaptation)
        properties = encode_user(user, adaptation)
        size = len(self._event(user, properties, (), uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME).content)
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
        return self._event(user, properties, tuple(adaptation.adjustments), uuid=self.new_id(), now=self.now())

    def _event(
        self,
        user: UserTraits,
        properties: Properties,
        adjustments: tuple[Adjustment, ...],
        *,
        uuid: UUID,
        now: datetime,
    ) -> Event:
        content = encode_event(user, event_properties(properties), capture=self.capture, uuid=uuid, now=now)
        return Event(str(uuid), user, content, adjustments)

    def _info(self, request_id: UUID, now: datetime) -> RequestInfo:
        return RequestInfo(self.capture, self.api_key, str(request_id), timestamp(now))

    def _send(self, events: Sequence[Event]) -> Exchange[dict[str, Outcome]]:
        """Send *events* together, and again those that PostHog asks for again; return the outcomes by event id."""
        info = self._info(self.new_id(), self.now())
        outcomes: dict[str, Outcome] = {}
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            response = yield self._request(info, events, attempt=attempt, now=self.now())
            results = responses.read_results(response)
            if results is None:
                failure = responses.read_failure(self.name, response, events, self.api_key, self.capture)
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
        body = encode_body(info, events)
        if self.capture == "v0":
            return Request("identify", "POST", self._url, self._headers, body)
        # The transport's own retries repeat the bytes and are not attempts in PostHog's sense.
        headers = {
            **self._headers,
            "posthog-attempt": str(attempt),
            "posthog-request-id": info.request_id,
            "posthog-request-timestamp": timestamp(now),
        }
        return Request("identify", "POST", self._url, headers, body, retry_on=responses.is_retryable)
