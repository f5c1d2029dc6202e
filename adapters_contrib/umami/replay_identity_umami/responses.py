"""Read Umami's responses: a 200 may store nothing, and a 500 may be about the user (3.1.0, tested 2026-11-21)."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from replay_identity.adapters import (
    Failure,
    Misconfigured,
    Rejected,
    Response,
    Unknown,
    UserTraits,
    failure_outcome,
    redact,
)

_SERVER_ERROR: Final = 500
_HINTS: Final[Mapping[int, str]] = {
    401: "Check the proxy in front of Umami: it asks for credentials, which Umami itself does not need.",
    403: "Remove the address that requests come from from IGNORE_IP of that Umami server.",
    404: "Check base_url: it is the URL of Umami itself, without /api/send.",
    405: "Check base_url: it is the URL of Umami itself, without /api/send.",
}
_UNKNOWN_WEBSITE: Final = "Website not found."
_UNKNOWN_WEBSITE_HINTS: Final = {**_HINTS, 400: "Check api_key: base_url has no website with that id."}

# Prisma's codes for a value too long, a number too large and a NUL byte: errors about the user, like a 400.
_USER_ERRORS: Final = frozenset({"P2000", "P2020", "P2039"})
# Prisma's code for a query that failed in the database, and PostgreSQL's for an id too long.
_RAW_QUERY: Final = "P2010"
_TOO_LONG: Final = "22001"
# In the results of a batch.
_COUNTS: Final = frozenset({"size", "processed", "details"})
_PRISMA_CODE: Final = re.compile(r"P[0-9]{4}")


@attrs.frozen
class BatchResult:
    """The results of a batch.

    Attributes:
        errors: The errors of the rejected users, by index.
        has_accepted: True if Umami stored any user: its count of processed users includes bots.
    """

    errors: Mapping[int, Mapping[str, Any]] = attrs.field(repr=False)
    has_accepted: bool


def read_session_id(response: Response) -> str | None:
    """Return the id of the user's session, or None if *response* has none."""
    content = response.json_object() if response.is_success else None
    session_id = content.get("sessionId") if content else None
    return session_id if isinstance(session_id, str) and session_id else None


def is_for_bot(response: Response) -> bool:
    """Return True for the 200 of a User-Agent that looks like a bot's; then nothing was stored."""
    content = response.json_object() if response.is_success else None
    return content is not None and content.get("beep") == "boop"


def taken_for_bot(backend: str) -> Misconfigured:
    """Return the outcome of a request that Umami took for a bot's."""
    hint = (
        "Check whether a proxy replaces the User-Agent; "
        "if not, update this adapter, or set DISABLE_BOT_CHECK on that Umami server."
    )
    return Misconfigured(backend, "Umami took replay-identity for a bot and stored nothing", hint)


def read_batch(response: Response, size: int) -> BatchResult | None:
    """Return the results of a batch of *size* users, or None if *response* is not about each of them."""
    if not response.confirms:
        return None
    content = response.json_object() or {}
    if _COUNTS.isdisjoint(content):
        return None if response.refuses else BatchResult({}, has_accepted=not is_for_bot(response))
    details = content.get("details")
    if not isinstance(details, list):
        return None
    errors = {
        index: _object(_object(detail.get("response")).get("error"))
        for detail in map(_object, cast("list[object]", details))
        if type(index := detail.get("index")) is int and 0 <= index < size
    }
    counts = [content.get(name) for name in ("size", "errors", "processed")]
    if len(errors) != len(cast("list[object]", details)) or counts != [size, len(errors), size - len(errors)]:
        return None
    return BatchResult(errors, isinstance(content.get("cache"), str))


def is_retryable(response: Response) -> bool:
    """Return True if a retry may get another response; after a 500 about the user, it would get the same."""
    return response.is_retryable and not (response.status == _SERVER_ERROR and _is_about_user(_error(response)))


def read_failure(backend: str, response: Response, user: UserTraits, api_key: str) -> Failure:
    """Map an error response to an outcome of *user*, redacting what was sent from its message."""
    return _read_error(backend, response, _error(response), user, api_key)


def read_item_failure(backend: str, error: Mapping[str, Any], user: UserTraits, api_key: str) -> Failure:
    """Map the *error* of one user of a batch to an outcome."""
    status = error.get("status")
    if type(status) is not int:
        return Unknown(backend, "an error without a status in the results of the batch")
    return _read_error(backend, Response(status), error, user, api_key)


def read_batch_failure(backend: str, response: Response) -> Failure:
    """Map a response without results to an outcome of each user of the batch.

    The outcome has no message, since that could quote any of the users.
    """
    if response.status == _SERVER_ERROR:
        return _partly_stored(backend, None)
    if response.is_success and not _COUNTS.isdisjoint(response.json_object() or {}):
        return Unknown(backend, f"{response.cause} whose counts do not add up", status=response.status)
    return failure_outcome(backend, response, hints=_HINTS)


def _read_error(backend: str, response: Response, error: Mapping[str, Any], user: UserTraits, api_key: str) -> Failure:
    message = error.get("message")
    redacted = redact(message, user, api_key) if isinstance(message, str) else None
    if response.status == _SERVER_ERROR:
        code = _database_code(error)
        return (
            Rejected(backend, code=code, message=redacted) if _is_about_user(error) else _partly_stored(backend, code)
        )
    hints = _UNKNOWN_WEBSITE_HINTS if message == _UNKNOWN_WEBSITE else _HINTS
    return failure_outcome(backend, response, hints=hints, message=redacted)


def _partly_stored(backend: str, code: str | None) -> Unknown:
    """Return the outcome of a 500 that is not about the user: Umami writes one property after another."""
    cause = f"HTTP 500 {code}" if code else "HTTP 500"
    return Unknown(backend, f"{cause}, and some traits may be stored", status=_SERVER_ERROR)


def _error(response: Response) -> Mapping[str, Any]:
    return _object((response.json_object() or {}).get("error"))


def _is_about_user(error: Mapping[str, Any]) -> bool:
    code = _database_code(error)
    return code in _USER_ERRORS or (code == _RAW_QUERY and _has_too_long_code(error))


def _database_code(error: Mapping[str, Any]) -> str | None:
    """Return Prisma's code, or None if *error* has none."""
    code = _object(error.get("errorObject")).get("code")
    return code if isinstance(code, str) and _PRISMA_CODE.fullmatch(code) else None


def _has_too_long_code(error: Mapping[str, Any]) -> bool:
    """Return True if *error* contains PostgreSQL's code at any depth, since its place is not known."""
    remaining: list[object] = [error]
    while remaining:
        item = remaining.pop()
        if isinstance(item, dict):
            content = cast("dict[str, object]", item)
            if _TOO_LONG in (content.get("code"), content.get("originalCode")):
                return True
            remaining += content.values()
        elif isinstance(item, list):
            remaining += cast("list[object]", item)
        elif isinstance(item, str) and f"Code: `{_TOO_LONG}`" in item:
            return True
    return False


def _object(content: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
