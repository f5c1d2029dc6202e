"""PostHog's answers in our words.

As rust/capture/src/v1/error.rs and rust/capture/src/v1/analytics/{types,response,process}.rs in
github.com/PostHog/posthog write them, and capture_v1.py in PyPI posthog 7.91.1 reads them (2026-11-21).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from replay_identity.adapters import (
    Accepted,
    Failure,
    Misconfigured,
    Outcome,
    Rejected,
    Response,
    Sleep,
    Unavailable,
    Unknown,
    failure_outcome,
    redact,
)

from .events import Event

_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_OVER_QUOTA: Final = "billing_limit_exceeded"
_NO_PERSON: Final = "person_processing_disabled"
# How PostHog's own SDKs read an event that no result is told of.
_TAKEN: Final = {"result": "ok"}
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


def is_retryable(response: Response) -> bool:
    """Tell whether another try may be answered otherwise: 404 is a proxy's, and a quota lasts for weeks."""
    return (response.is_retryable or response.status == _NOT_FOUND) and not _is_over_quota(response)


def read_results(response: Response) -> Mapping[str, Any] | None:
    """Return what PostHog says of each event by its uuid, or None if *response* is anything else."""
    content = response.json_object() if response.is_success else None
    results = None if content is None else content.get("results")
    return cast("dict[str, Any]", results) if isinstance(results, dict) else None


def asks_again(results: Mapping[str, Any], event: Event) -> bool:
    """Tell whether PostHog did not keep *event* and wants it again."""
    return _verdict(results, event)[0] == "retry"


def read_outcomes(
    backend: str, response: Response, results: Mapping[str, Any], events: Sequence[Event], api_key: str
) -> dict[str, Outcome]:
    """Return what became of each of *events* by its id; one that is asked for again is Unavailable for now."""

    # Once for all events that it is said of, since there may be a hundred of each.
    @cache
    def masked(words: str) -> str:
        return _masked(words, events, api_key)

    return {event.uuid: _read_outcome(backend, response, results, event, masked) for event in events}


def _read_outcome(
    backend: str, response: Response, results: Mapping[str, Any], event: Event, masked: Callable[[str], str]
) -> Outcome:
    result, details = _verdict(results, event)
    why = None if details is None else masked(details)
    match result:
        case "ok" if details == _NO_PERSON:
            return Rejected(backend, code=_NO_PERSON)  # It kept the event and makes no person of this id.
        case "ok":
            return Accepted(backend, adjustments=event.adjustments)
        case "drop" if details == _OVER_QUOTA:
            return Misconfigured(backend, _OVER_QUOTA, _QUOTA_HINT)
        case "drop":
            return Rejected(backend, code="drop", message=why)
        case "warning" | "retry":
            # A warning is "accepted with person processing disabled": the event is kept and the person is not touched,
            # since there were too many events of this one of late.
            cause = f"{result} {why}" if why else result
            return Unavailable(backend, cause, response.retry_after, response.status)
        case _:
            return Unknown(backend, f"{response.cause} with a result that is not documented", status=response.status)


def _verdict(results: Mapping[str, Any], event: Event) -> tuple[str | None, str | None]:
    """Return the result of *event* and its details, each None if it is no text."""
    said: object = results.get(event.uuid, _TAKEN)
    verdict = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    return _text(verdict, "result"), _text(verdict, "details")


def pause_after(attempt: int, response: Response) -> Sleep:
    """Return how long PostHog's SDKs wait after *attempt*, counted from 1, for events that are asked for again."""
    return Sleep(max(min(2.0 ** (attempt - 1), _LONGEST_WAIT), min(response.retry_after or 0.0, _LONGEST_WAIT)))


def read_rejection(backend: str, response: Response, events: Sequence[Event], api_key: str) -> Failure:
    """Return why PostHog took none of *events*, with their users and the key masked in its words."""
    if _is_over_quota(response):
        return Misconfigured(backend, f"{response.cause} {_OVER_QUOTA}", _QUOTA_HINT)
    if response.status == _NOT_FOUND:
        # PostHog has the endpoint, so a proxy has lost it for now; or base_url is wrong, which looks the same.
        cause = f"{response.cause}: is it PostHog's address that base_url says?"
        if response.uncertain:
            return Unknown(backend, cause, status=response.status)
        return Unavailable(backend, cause, response.retry_after, response.status)
    content = response.json_object() or {}
    tag, description = _text(content, "error"), _text(content, "error_description")
    return failure_outcome(
        backend,
        response,
        hints={**_HINTS, 400: _HEADERS_HINT} if tag in _ABOUT_HEADERS else _HINTS,
        code=None if tag is None else _masked(tag, events, api_key),
        message=None if description is None else _masked(description, events, api_key),
    )


def _is_over_quota(response: Response) -> bool:
    return response.status == _TOO_MANY and (response.json_object() or {}).get("error") == _OVER_QUOTA


def _text(content: Mapping[str, Any], name: str) -> str | None:
    words = content.get(name)
    return words if isinstance(words, str) and words else None


def _masked(words: str, events: Iterable[Event], api_key: str) -> str:
    """Return PostHog's *words* without anything that the users of *events*, or the key, hold."""
    for event in events:
        words = redact(words, event.user, api_key)
    return words
