"""PostHog's answers in our words.

As rust/capture/src/v1/error.rs and rust/capture/src/v1/analytics/{types,response,process}.rs in
github.com/PostHog/posthog write them, and capture_v1.py in PyPI posthog 7.91.1 reads them (2026-11-21).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from replay_identity import Accepted, Misconfigured, Outcome, Rejected, Unavailable, Unknown, UserTraits
from replay_identity.exchange import Pause, Reply
from replay_identity.masking import mask
from replay_identity.outcome import Failure
from replay_identity.reading import read_failure

from .events import Event

_NOT_FOUND: Final = 404
_OVER_QUOTA: Final = "billing_limit_exceeded"
_QUOTA_HINT: Final = "Raise the billing limit of the PostHog project, or wait for its next billing period."
_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key: it is the project's own (phc_…), of the region that base_url is in.",
    402: "Check the billing of the PostHog organisation.",
    403: "Check what stands between here and PostHog, which has no such answer itself.",
    415: "Check what stands between here and PostHog: it changed the type of what was sent.",
}
_HEADERS_HINT: Final = "Check what stands between here and PostHog: it changed the headers of what was sent."
_ABOUT_HEADERS: Final = frozenset({"missing_required_headers", "invalid_header_value"})
_LONGEST_WAIT: Final = 30.0


def is_worth_retrying(reply: Reply) -> bool:
    """Tell whether another try may be answered otherwise: 404 is a proxy's, and a quota lasts for weeks."""
    return (reply.is_retryable or reply.status == _NOT_FOUND) and _code(reply) != _OVER_QUOTA


def read_results(reply: Reply) -> Mapping[str, Any] | None:
    """Return what PostHog says of each event by its uuid, or None if *reply* is anything else."""
    content = reply.json_object() if reply.is_success else None
    results = None if content is None else content.get("results")
    return cast("dict[str, Any]", results) if isinstance(results, dict) else None


def asks_again(results: Mapping[str, Any], event: Event) -> bool:
    """Tell whether PostHog did not keep *event* and wants it again."""
    match results.get(event.uuid):
        case {"result": "retry"}:
            return True
        case _:
            return False


def read_result(backend: str, reply: Reply, results: Mapping[str, Any], event: Event, api_key: str) -> Outcome:
    """Return what became of *event*; one that is asked for again is Unavailable until it is sent again."""
    if event.uuid not in results:
        return Accepted(backend, adjustments=event.adjustments)  # As PostHog's own SDKs read it.
    match results[event.uuid]:
        case {"result": "ok", "details": "person_processing_disabled"}:
            # It kept the event and made no person of this id.
            return Rejected(backend, code="person_processing_disabled")
        case {"result": "ok"}:
            return Accepted(backend, adjustments=event.adjustments)
        case {"result": "drop", "details": "billing_limit_exceeded"}:
            return Misconfigured(backend, _OVER_QUOTA, _QUOTA_HINT)
        case {"result": "drop"}:
            return Rejected(backend, code="drop", message=_details(results, event, api_key))
        case {"result": "warning" | "retry" as word}:
            # A warning is "accepted with person processing disabled": the event is kept and the person is not touched,
            # since there were too many events of this one of late.
            details = _details(results, event, api_key)
            return Unavailable(backend, f"{word} {details}" if details else word, reply.retry_after)
        case _:
            return Unknown(backend, f"{reply.cause} with a result that is not documented")


def pause_after(attempt: int, reply: Reply) -> Pause:
    """Return how long PostHog's SDKs wait after *attempt*, counted from 1, for events that are asked for again."""
    return Pause(max(min(2.0 ** (attempt - 1), _LONGEST_WAIT), min(reply.retry_after or 0.0, _LONGEST_WAIT)))


def read_refusal(backend: str, reply: Reply, events: Iterable[Event], api_key: str) -> Failure:
    """Return why PostHog took none of *events*, with their users and the key masked in its words."""
    content = reply.json_object() or {}
    users = [event.user for event in events]
    code = _masked(content.get("error"), users, api_key)
    if _code(reply) == _OVER_QUOTA:
        return Misconfigured(backend, f"{reply.cause} {_OVER_QUOTA}", _QUOTA_HINT)
    if reply.status == _NOT_FOUND:
        # PostHog has the endpoint, so a proxy has lost it for now; or base_url is wrong, which looks the same.
        cause = f"{reply.cause}: is it PostHog's address that base_url says?"
        return Unknown(backend, cause) if reply.uncertain else Unavailable(backend, cause, reply.retry_after)
    hints = {**_HINTS, 400: _HEADERS_HINT} if _code(reply) in _ABOUT_HEADERS else _HINTS
    message = _masked(content.get("error_description"), users, api_key)
    return read_failure(backend, reply, hints=hints, code=code, message=message)


def _code(reply: Reply) -> object:
    return (reply.json_object() or {}).get("error")


def _details(results: Mapping[str, Any], event: Event, api_key: str) -> str | None:
    return _masked(results[event.uuid].get("details"), [event.user], api_key)


def _masked(words: object, users: Iterable[UserTraits], api_key: str) -> str | None:
    """Return PostHog's *words*, if they are some, without anything that *users* or the key hold."""
    if not isinstance(words, str) or not words:
        return None
    for user in users:
        words = mask(words, user, api_key)
    return words
