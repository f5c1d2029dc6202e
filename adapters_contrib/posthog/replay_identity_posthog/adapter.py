"""PostHog's capture endpoint, version 1."""

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
    Skipped,
    SkipReason,
    UserTraits,
)

from . import responses
from .distinct_ids import check_distinct_id
from .events import PLACEHOLDER_ID, PLACEHOLDER_TIME, Event, Opening, body_of, event_json, in_requests, timestamp
from .limits import EVENT, LIMITS, MOST_USERS
from .payload import Words, properties_of, without_largest, word_user

_HOST: Final = "https://us.i.posthog.com"
_PATH: Final = "/i/v1/analytics/events"
# As often as the SDK asks at the most by itself (PyPI posthog 7.91.1, capture_v1.py).
_MOST_ATTEMPTS: Final = 4
# PostHog shows them as the event's library and version.
_SDK: Final = "replay-identity-posthog/0.1.0"
_LONGEST_KEY: Final = 64


# Converters rather than validators, so that cattrs leaves both alone when it reads settings from a file.
def _checked_now(now: Callable[[], datetime]) -> Callable[[], datetime]:
    _check_function("now", now)
    return now


def _checked_new_id(new_id: Callable[[], UUID]) -> Callable[[], UUID]:
    _check_function("new_id", new_id)
    return new_id


def _check_function(setting: str, given: object) -> None:
    if not callable(given):
        raise ConfigurationError(setting, "is no function, so it cannot come from a file of settings")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class PostHog(HttpAdapter):
    """Identify users at PostHog.

    Attributes:
        api_key: The project's key, ``phc_…``.
        base_url: Where events are sent to: by default the US region; ``https://eu.i.posthog.com`` is the EU's.
        on_violation: ``"reject"`` a user who breaks a limit, or ``"adapt"`` the traits with a recorded loss.
        name: Name that outcomes and settings carry.
        allow_insecure: Allow a plain http address off loopback.
        now: Tells the time.
        new_id: Draws the ids of events and requests. Never made of the content: PostHog drops an event whose id it has
            seen, so that a plan that goes from a to b and back to a would stay b.

    Raises:
        ConfigurationError: The key or the address cannot be used.
    """

    KEY_HINT: ClassVar[str] = "pass api_key or set POSTHOG_API_KEY"
    DEFAULT_BASE_URL: ClassVar[str] = _HOST
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
        """Return how many users one request takes."""
        return MOST_USERS

    def plan(self, user: UserTraits, /) -> Plan:
        """Return the request that sets *user*'s properties, with an id and times that are drawn when it is sent."""
        words, adaptation = self._word(user)
        if adaptation.violations or not words:
            return self._plan(adaptation, None)

        adjustments = tuple(adaptation.adjustments)
        event = _event(user, words, adjustments, uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME)
        opening = Opening(str(PLACEHOLDER_ID), timestamp(PLACEHOLDER_TIME))
        return Plan(self.name, self._request(opening, [event], attempt=1, now=PLACEHOLDER_TIME), adjustments)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Send *user* unless a rule is broken; an accepted one is never verified, since PostHog only queues events."""
        (outcome,) = yield from self.identify_many((user,))
        return outcome

    def identify_many(self, users: Sequence[UserTraits], /) -> Exchange[tuple[Outcome, ...]]:
        """Send *users* in as few requests as may be, and return what became of each, in their order."""
        asked = [self._event_or_outcome(user) for user in users]
        outcomes: dict[str, Outcome] = {}
        for events in in_requests(each for each in asked if isinstance(each, Event)):
            outcomes |= yield from self._send(events)
        return tuple(outcomes[each.uuid] if isinstance(each, Event) else each for each in asked)

    def _check_settings(self) -> None:
        if self.api_key.startswith("phx_"):
            hint = "pass the project's own key, which starts with phc_"
            raise ConfigurationError("api_key", "expected a project's key, got a personal one", hint)
        if len(self.api_key) > _LONGEST_KEY:
            raise ConfigurationError("api_key", f"is longer than the {_LONGEST_KEY} characters that PostHog takes")

    def _make_url(self) -> str:
        return self._checked_base_url() + _PATH

    def _make_headers(self) -> Mapping[str, str]:
        authorization = f"Bearer {self.api_key}"
        return {**super()._make_headers(), "authorization": authorization, "posthog-sdk-info": _SDK}

    def _word(self, user: UserTraits) -> tuple[Words, Adaptation]:
        """Return what is said of *user*, small enough for one event, and what had to give."""
        adaptation = self._adaptation()
        check_distinct_id(user.user_id, adaptation)
        words = word_user(user, adaptation)
        size = len(event_json(user, properties_of(words), uuid=PLACEHOLDER_ID, now=PLACEHOLDER_TIME))
        if size > EVENT.maximum:
            words = without_largest(words, size, user, adaptation)
        if not words and adaptation.adjustments:
            adaptation.reject("traits", "nothing-left")
        return words, adaptation

    def _event_or_outcome(self, user: UserTraits) -> Event | Outcome:
        """Return the event to send for *user*, or what became of them without one."""
        words, adaptation = self._word(user)
        if adaptation.violations:
            return Rejected(self.name, tuple(adaptation.violations))
        if not words:
            return Skipped(self.name, SkipReason.NOTHING_TO_SEND)
        return _event(user, words, tuple(adaptation.adjustments), uuid=self.new_id(), now=self.now())

    def _send(self, events: Sequence[Event]) -> Exchange[dict[str, Outcome]]:
        """Send *events* together, again those that PostHog asks for again; return what became of each by its id."""
        opening = Opening(str(self.new_id()), timestamp(self.now()))
        outcomes: dict[str, Outcome] = {}
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            response = yield self._request(opening, events, attempt=attempt, now=self.now())
            results = responses.read_results(response)
            if results is None:
                rejection = responses.read_rejection(self.name, response, events, self.api_key)
                return outcomes | (yield from self._refused(events, rejection))

            outcomes |= responses.read_outcomes(self.name, response, results, events, self.api_key)
            events = [event for event in events if responses.asks_again(results, event)]
            if not events or attempt == _MOST_ATTEMPTS:
                break
            yield responses.pause_after(attempt, response)
        return outcomes

    def _refused(self, events: Sequence[Event], rejection: Outcome) -> Exchange[dict[str, Outcome]]:
        """Return the *rejection* of all *events*; if one of them may be the reason, send them in halves to find it."""
        if len(events) == 1 or not isinstance(rejection, Rejected):
            return dict.fromkeys((event.uuid for event in events), rejection)
        middle = len(events) // 2
        first = yield from self._send(events[:middle])
        return first | (yield from self._send(events[middle:]))

    def _request(self, opening: Opening, events: Sequence[Event], *, attempt: int, now: datetime) -> Request:
        # The transport's own retries repeat the bytes, so that only what is made here counts as another attempt.
        headers = {
            **self._headers,
            "posthog-attempt": str(attempt),
            "posthog-request-id": opening.request_id,
            "posthog-request-timestamp": timestamp(now),
        }
        body = body_of(opening, events)
        return Request("identify", "POST", self._url, headers, body, retry_on=responses.is_retryable)


def _event(user: UserTraits, words: Words, adjustments: tuple[Adjustment, ...], *, uuid: UUID, now: datetime) -> Event:
    content = event_json(user, properties_of(words), uuid=uuid, now=now)
    return Event(str(uuid), user, content, adjustments)
