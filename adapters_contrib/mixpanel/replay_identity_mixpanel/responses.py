"""Read Mixpanel's responses (https://docs.mixpanel.com/reference/profile-set, read 2026-11-21)."""

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

from .payload import UserUpdates

_HINTS: Final[Mapping[int, str]] = {
    401: "Check api_key: it is the token of a project.",
    403: "Check api_key, and base_url: projects stored in the EU and in India have their own hosts.",
    # An update creates its profile, so a missing user cannot be the reason (our policy "no-such-address").
    404: "Check base_url: there is no /engage below it.",
    405: "Check base_url: there is no /engage below it.",
}
_PLAIN: Final = {b"1": 1, b"0": 0}
_STATUSES: Final = frozenset(_PLAIN.values())
_MAX_MESSAGE_BYTES: Final = 10_000


@attrs.frozen
class Verdict:
    """What the body of a 200 says about the updates of one request.

    Attributes:
        status: 1 if at least one update is valid, else 0.
        error: What is wrong with the other updates, in an undocumented shape; None if nothing is.
        is_verbose: True if the body would name an error, as requested.
        valid_count: How many updates are valid, or None if the body does not say.
    """

    status: int
    error: object = attrs.field(default=None, repr=False)
    is_verbose: bool = False
    valid_count: int | None = None

    def covers(self, count: int) -> bool:
        """Return True if all *count* updates are valid, and not just one of them."""
        if self.status != 1 or self.error:
            return False
        if self.valid_count is not None:
            return self.valid_count >= count
        # "1: one or more objects provided are valid"; with strict=1, a JSON response names the invalid ones.
        return count == 1 or self.is_verbose


def is_retryable(response: Response) -> bool:
    """Return True if a retry may get another response: after any 5xx, as in Mixpanel's own Python SDK 5.4.1."""
    return response.is_retryable or _is_server_error(response)


def covers_all_updates(response: Response, count: int) -> bool:
    """Return True if *response* is about each of *count* updates; if not, sending fewer at a time tells more."""
    verdict = read_verdict(response)
    if verdict is not None:
        return verdict.covers(count)
    return not isinstance(_failure("", response, None), Rejected)


def read_outcome(backend: str, response: Response, user: UserUpdates, token: str) -> Outcome:
    """Map the response to an outcome of *user*, who was alone in the request unless it covers all updates."""
    verdict = read_verdict(response)
    if verdict is None and response.confirms and not response.refuses:
        return Accepted(backend, adjustments=user.adjustments)
    if verdict is None:
        return _failure(backend, response, _redacted(_message(response), user, token))
    if verdict.covers(len(user.updates)):
        return Accepted(backend, adjustments=user.adjustments)
    if verdict.status == 1 and not verdict.is_verbose:
        cause = f"{response.cause} that confirms one of several updates"
        return Unknown(backend, cause, status=response.status)
    return Rejected(backend, code=f"status {verdict.status}", message=_redacted(_as_text(verdict.error), user, token))


def read_verdict(response: Response) -> Verdict | None:
    """Return the verdict of a success, in JSON or a plain 1 or 0; None if *response* is anything else."""
    if not response.is_success:
        return None
    plain = _PLAIN.get(response.body.strip())
    if plain is not None:
        return Verdict(plain)
    content = response.json_object() or {}
    status, valid_count = content.get("status"), content.get("num_good_events")
    if type(status) is not int or status not in _STATUSES:
        return None
    # The count is undocumented, but an importer reads it (https://github.com/ak--47/mixpanel-import, 2026-11-29).
    count = valid_count if type(valid_count) is int else None
    return Verdict(status, content.get("error"), is_verbose=True, valid_count=count)


def _failure(backend: str, response: Response, message: str | None) -> Failure:
    if _is_server_error(response) and not response.is_retryable:
        if response.uncertain:
            return Unknown(backend, response.cause, status=response.status)
        return Unavailable(backend, response.cause, response.retry_after, response.status)
    return failure_outcome(backend, response, hints=_HINTS, message=message)


def _is_server_error(response: Response) -> bool:
    return 500 <= response.status < 600  # noqa: PLR2004  # The definition of 5xx.


def _message(response: Response) -> str | None:
    """Return the message of an error: ``error`` if Mixpanel itself responded, else the whole body."""
    content = response.json_object()
    if content is not None and (text := _as_text(content.get("error"))) is not None:
        return text
    return response.body[:_MAX_MESSAGE_BYTES].decode(errors="replace").strip() or None


def _as_text(error: Any) -> str | None:  # noqa: ANN401  # Any JSON.
    return error if isinstance(error, str) else orjson.dumps(error).decode() if error else None


def _redacted(message: str | None, user: UserUpdates, token: str) -> str | None:
    return None if message is None else redact(message, user.user, token) or None
