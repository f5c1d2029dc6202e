"""Read PostHog's responses.

They are written by rust/capture/src/v1/error.rs and rust/capture/src/v1/analytics/{types,response,process}.rs in
github.com/PostHog/posthog, and read by capture_v1.py in PyPI posthog 7.91.1 (2026-11-21).
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
    readable_code,
    redact,
)

from .events import Capture, Event

_NOT_FOUND: Final = 404
_TOO_MANY_REQUESTS: Final = 429
_OVER_QUOTA: Final = "billing_limit_exceeded"
_NO_PERSON: Final = "person_processing_disabled"
# PostHog's own SDKs treat an event without a result like this.
_DEFAULT_RESULT: Final = {"result": "ok"}
_QUOTA_HINT: Final = "Raise the billing limit of the PostHog project, or wait for its next billing period."
_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key: it is the project's own (phc_…), of the region of base_url.",
    402: "Check the billing of the PostHog organisation.",
    403: "Check the proxies between here and PostHog, which never responds with 403 itself.",
    415: "Check the proxies between here and PostHog: one changed the content type of the request.",
}
# A server without version 1 responds with 404 every time (PyPI posthog 7.91.1, capture_mode.py: v0 is the default).
_NOT_FOUND_HINTS: Final[Mapping[Capture, str]] = {
    "v0": "Check base_url: there is no /batch/ below it.",
    "v1": 'Check base_url, or set capture="v0": a self-hosted server may not have version 1.',
}
_HEADERS_HINT: Final = "Check the proxies between here and PostHog: one changed the headers of the request."
_HEADER_ERRORS: Final = frozenset({"missing_required_headers", "invalid_header_value"})
_MAX_WAIT_S: Final = 30.0


def is_retryable(response: Response) -> bool:
    """Return True if a retry of version 1 may get another response: a 404 may be a proxy's; a quota lasts for weeks."""
    return (response.is_retryable or response.status == _NOT_FOUND) and not _is_over_quota(response)


def read_results(response: Response) -> Mapping[str, Any] | None:
    """Return the results of the events by their ids, which a success need not have; None if *response* is a failure."""
    if not response.confirms or response.refuses or _is_over_quota(response):
        return None
    results = (response.json_object() or {}).get("results")
    return cast("dict[str, Any]", results) if isinstance(results, dict) else {}


def wants_retry(results: Mapping[str, Any], event: Event) -> bool:
    """Return True if PostHog did not store *event* and asks for it again."""
    return _result(results, event)[0] == "retry"


def read_outcomes(
    backend: str, response: Response, results: Mapping[str, Any], events: Sequence[Event], api_key: str
) -> dict[str, Outcome]:
    """Map the results to outcomes by event id; an event that PostHog asks for again is Unavailable for now."""

    # Cached because a hundred events may have the same details.
    @cache
    def redacted(text: str) -> str:
        return _redacted(text, events, api_key)

    return {event.uuid: _read_outcome(backend, response, results, event, redacted) for event in events}


def _read_outcome(
    backend: str, response: Response, results: Mapping[str, Any], event: Event, redacted: Callable[[str], str]
) -> Outcome:
    result, details = _result(results, event)
    reason = None if details is None else redacted(details)
    match result:
        case "ok" if details == _NO_PERSON:
            return Rejected(backend, code=_NO_PERSON)  # PostHog stored the event and creates no person for this id.
        case "ok":
            return Accepted(backend, adjustments=event.adjustments)
        case "drop" if details == _OVER_QUOTA:
            return Misconfigured(backend, _OVER_QUOTA, _QUOTA_HINT)
        case "drop":
            return Rejected(backend, code="drop", message=reason)
        case "warning" | "retry":
            # A warning means "accepted with person processing disabled": the event is stored and the person unchanged,
            # because there were too many events of this person recently.
            cause = f"{result} {reason}" if reason else result
            return Unavailable(backend, cause, response.retry_after, response.status)
        case _:
            return Unknown(backend, f"{response.cause} with an undocumented result", status=response.status)


def _result(results: Mapping[str, Any], event: Event) -> tuple[str | None, str | None]:
    """Return the result of *event* and its details, each None if it is not text."""
    content: object = results.get(event.uuid, _DEFAULT_RESULT)
    result = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    return _text(result, "result"), _text(result, "details")


def pause_after(attempt: int, response: Response) -> Sleep:
    """Return how long PostHog's SDKs wait after *attempt*, counted from 1, before they send events again."""
    return Sleep(max(min(2.0 ** (attempt - 1), _MAX_WAIT_S), min(response.retry_after or 0.0, _MAX_WAIT_S)))


def read_failure(backend: str, response: Response, events: Sequence[Event], api_key: str, capture: Capture) -> Failure:
    """Map an error response to an outcome of all *events*, redacting their users and the key from its message."""
    if _is_over_quota(response):
        return Misconfigured(backend, f"{response.cause} {_OVER_QUOTA}", _QUOTA_HINT)
    content = response.json_object() or {}
    tag, description = _text(content, "error"), _text(content, "error_description")
    hints = {**_HINTS, 404: _NOT_FOUND_HINTS[capture]}
    return failure_outcome(
        backend,
        response,
        hints={**hints, 400: _HEADERS_HINT} if tag in _HEADER_ERRORS else hints,
        code=None if tag is None else _readable_tag(tag, events, api_key),
        message=None if description is None else _redacted(description, events, api_key),
    )


def _is_over_quota(response: Response) -> bool:
    content = response.json_object() or {}
    # v0 may name what exceeds a quota in a 200 (rust/capture/src/api.rs, read 2026-11-30).
    if response.is_success:
        return bool(content.get("quota_limited"))
    return response.status == _TOO_MANY_REQUESTS and content.get("error") == _OVER_QUOTA


def _text(content: Mapping[str, Any], name: str) -> str | None:
    text = content.get(name)
    return text if isinstance(text, str) and text else None


def _readable_tag(tag: str, events: Iterable[Event], api_key: str) -> str | None:
    return tag if all(readable_code(tag, event.user, api_key) for event in events) else None


def _redacted(text: str, events: Iterable[Event], api_key: str) -> str:
    """Return *text* without the key and without any value of the users of *events*."""
    for event in events:
        text = redact(text, event.user, api_key)
    return text
