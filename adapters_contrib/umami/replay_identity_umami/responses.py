"""Umami's answers in our words: a 200 may store nothing, and a 500 may be about the user (3.1.0, tried 2026-11-21)."""

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
    401: "Something before Umami asks for credentials: Umami itself takes users without any.",
    403: "Take the address that requests come from out of that Umami's IGNORE_IP.",
    404: "Check base_url: it is the address of Umami itself, without /api/send.",
    405: "Check base_url: it is the address of Umami itself, without /api/send.",
}
_UNKNOWN_WEBSITE: Final = "Website not found."
_HINTS_OF_UNKNOWN_WEBSITE: Final = {**_HINTS, 400: "Check api_key: there is no website of that id at base_url."}

# Prisma's codes for a value too long, a number too large and a NUL byte: as much the user's as a 400 would be.
_FINAL: Final = frozenset({"P2000", "P2020", "P2039"})
# A query that failed in the database, which says why: in PostgreSQL's words, an id too long.
_RAW_QUERY: Final = "P2010"
_TOO_LONG: Final = "22001"
_CODE: Final = re.compile(r"P[0-9]{4}")


@attrs.frozen
class BatchResult:
    """What Umami says of a batch.

    Attributes:
        errors: What it says of each user whom it did not take, by their place in the batch.
        took_somebody: Whether it took anybody at all: it counts whoever comes from a bot among the processed.
    """

    errors: Mapping[int, Mapping[str, Any]] = attrs.field(repr=False)
    took_somebody: bool


def read_session_id(response: Response) -> str | None:
    """Return the id of the user's session, or None if *response* shows none; then nothing was stored."""
    content = response.json_object() if response.is_success else None
    session_id = content.get("sessionId") if content else None
    return session_id if isinstance(session_id, str) and session_id else None


def takes_us_for_bot(response: Response) -> bool:
    """Tell whether Umami stored nothing because the User-Agent looks like a bot's, which it answers with 200."""
    content = response.json_object() if response.is_success else None
    return content is not None and content.get("beep") == "boop"


def taken_for_bot(backend: str) -> Misconfigured:
    """Return what it means to be taken for a bot."""
    hint = (
        "Nothing was stored. Something in between may replace the User-Agent; "
        "otherwise update this adapter, or set DISABLE_BOT_CHECK at that Umami."
    )
    return Misconfigured(backend, "Umami takes replay-identity for a bot", hint)


def read_batch(response: Response, size: int) -> BatchResult | None:
    """Return what became of a batch of *size* users, or None if *response* does not tell of each."""
    content = response.json_object() if response.is_success else None
    details = content.get("details") if content else None
    if content is None or not isinstance(details, list):
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
    """Tell whether another try may be answered otherwise: not where a 500 is about the user."""
    return response.is_retryable and not (response.status == _SERVER_ERROR and _is_final(_error(response)))


def read_rejection(backend: str, response: Response, user: UserTraits, api_key: str) -> Failure:
    """Return why Umami did not take *user*, with all that was sent masked in its words."""
    return _read_error(backend, response, _error(response), user, api_key)


def read_item(backend: str, error: Mapping[str, Any], user: UserTraits, api_key: str) -> Failure:
    """Return why Umami did not take *user*, who was one of a batch, as its *error* tells."""
    status = error.get("status")
    if type(status) is not int:
        return Unknown(backend, "the batch tells of an error, but not of which")
    return _read_error(backend, Response(status), error, user, api_key)


def read_lost_batch(backend: str, response: Response) -> Failure:
    """Return what became of each user of a batch that was not answered as documented.

    Without Umami's words, since those could quote any of the users.
    """
    if response.status == _SERVER_ERROR:
        return _half_written(backend, None)
    return failure_outcome(backend, response, hints=_HINTS)


def _read_error(backend: str, response: Response, error: Mapping[str, Any], user: UserTraits, api_key: str) -> Failure:
    message = error.get("message")
    masked = redact(message, user, api_key) if isinstance(message, str) else None
    if response.status == _SERVER_ERROR:
        code = _database_code(error)
        return Rejected(backend, code=code, message=masked) if _is_final(error) else _half_written(backend, code)
    hints = _HINTS_OF_UNKNOWN_WEBSITE if message == _UNKNOWN_WEBSITE else _HINTS
    return failure_outcome(backend, response, hints=hints, message=masked)


def _half_written(backend: str, code: str | None) -> Unknown:
    """Return what a 500 means that is not about the user: Umami writes one property after another."""
    cause = f"HTTP 500 {code}" if code else "HTTP 500"
    return Unknown(backend, f"{cause}, and a part of the user may be stored", status=_SERVER_ERROR)


def _error(response: Response) -> Mapping[str, Any]:
    return _object((response.json_object() or {}).get("error"))


def _is_final(error: Mapping[str, Any]) -> bool:
    code = _database_code(error)
    return code in _FINAL or (code == _RAW_QUERY and _tells_too_long(error))


def _database_code(error: Mapping[str, Any]) -> str | None:
    """Return Prisma's code, or None if *error* has none that could be one."""
    code = _object(error.get("errorObject")).get("code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _tells_too_long(error: Mapping[str, Any]) -> bool:
    """Tell whether PostgreSQL's code stands in *error*, however deep Prisma has put it this time."""
    left: list[object] = [error]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            found = cast("dict[str, object]", item)
            if _TOO_LONG in (found.get("code"), found.get("originalCode")):
                return True
            left += found.values()
        elif isinstance(item, list):
            left += cast("list[object]", item)
        elif isinstance(item, str) and f"Code: `{_TOO_LONG}`" in item:
            return True
    return False


def _object(content: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
