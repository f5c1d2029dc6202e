"""Mixpanel's answers in our words (https://docs.mixpanel.com/reference/profile-set, read 2026-11-21)."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from replay_identity.adapters import (
    Accepted,
    Failure,
    Outcome,
    Rejected,
    Response,
    Unavailable,
    Unknown,
    failure_outcome,
    redact,
)

from .payload import Updates

_HINTS: Final[Mapping[int, str]] = {
    401: "Check api_key: it is the token of a project.",
    403: "Check api_key, and base_url: projects kept in the EU and in India have hosts of their own.",
    # An update creates the profile that it is about, so it is no user who is missing (our policy "no-such-address").
    404: "Check base_url: there is no /engage below it.",
    405: "Check base_url: there is no /engage below it.",
}
_PLAIN: Final = {b"1": 1, b"0": 0}
_STATUSES: Final = frozenset(_PLAIN.values())


@attrs.frozen
class Verdict:
    """What Mixpanel says of the records of one request in a 200.

    Attributes:
        status: 1 where at least one record is valid, else 0.
        error: What is wrong with the others, in whatever shape; None where nothing is.
        is_verbose: Whether it would have told an error, as it was asked to.
        valid: How many records it took, where it says so.
    """

    status: int
    error: object = attrs.field(default=None, repr=False)
    is_verbose: bool = False
    valid: int | None = None

    def covers(self, records: int) -> bool:
        """Tell whether each of so many *records* is valid, and not perhaps one of them alone."""
        if self.status != 1 or self.error:
            return False
        if self.valid is not None:
            return self.valid >= records
        # "1: one or more objects provided are valid"; with strict=1 a JSON answer names those that are not.
        return records == 1 or self.is_verbose


def is_retryable(response: Response) -> bool:
    """Tell whether another try may be answered otherwise: after any 5xx, as Mixpanel's own Python SDK 5.4.1 has it."""
    return response.is_retryable or _is_server_error(response)


def tells_of_each(response: Response, records: int) -> bool:
    """Tell whether *response* to so many *records* holds for each of them; if not, asking in parts will tell more."""
    verdict = read_verdict(response)
    if verdict is not None:
        return verdict.covers(records)
    return not isinstance(_read_failure("", response, None), Rejected)


def read_reply(backend: str, response: Response, updates: Updates, token: str) -> Outcome:
    """Return what became of the user of *updates*, who was the only one in the request unless it tells of each."""
    verdict = read_verdict(response)
    if verdict is None:
        return _read_failure(backend, response, _masked(_words(response), updates, token))
    if verdict.covers(len(updates.records)):
        return Accepted(backend, adjustments=updates.adjustments)
    if verdict.status == 1 and not verdict.is_verbose:
        return Unknown(
            backend, f"{response.cause} that tells of one valid record and not of each", status=response.status
        )
    return Rejected(backend, code=f"status {verdict.status}", message=_masked(_text(verdict.error), updates, token))


def read_verdict(response: Response) -> Verdict | None:
    """Return what Mixpanel says in a success, as JSON or as a plain 1 or 0; None if *response* is anything else."""
    if not response.is_success:
        return None
    plain = _PLAIN.get(response.body.strip())
    if plain is not None:
        return Verdict(plain)
    content = response.json_object() or {}
    status, valid = content.get("status"), content.get("num_good_events")
    if type(status) is not int or status not in _STATUSES:
        return None
    # The count is not documented, but an importer reads one (https://github.com/ak--47/mixpanel-import, 2026-11-29).
    return Verdict(status, content.get("error"), is_verbose=True, valid=valid if type(valid) is int else None)


def _read_failure(backend: str, response: Response, message: str | None) -> Failure:
    if _is_server_error(response) and not response.is_retryable:
        if response.uncertain:
            return Unknown(backend, response.cause, status=response.status)
        return Unavailable(backend, response.cause, response.retry_after, response.status)
    return failure_outcome(backend, response, hints=_HINTS, message=message)


def _is_server_error(response: Response) -> bool:
    return 500 <= response.status < 600  # noqa: PLR2004  # The definition of 5xx.


def _words(response: Response) -> str | None:
    """Return the words of an error, which stand under ``error`` where Mixpanel itself answers."""
    content = response.json_object()
    if content is not None and (text := _text(content.get("error"))) is not None:
        return text
    return response.body[:10_000].decode(errors="replace").strip() or None


def _text(error: Any) -> str | None:  # noqa: ANN401  # Whatever JSON stands there.
    return error if isinstance(error, str) else orjson.dumps(error).decode() if error else None


def _masked(words: str | None, updates: Updates, token: str) -> str | None:
    return None if words is None else redact(words, updates.user, token) or None
