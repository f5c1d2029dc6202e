"""Read LogRocket's responses (https://docs.logrocket.com/docs/user-identification-api, read 2026-11-21)."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from ..adapters.diff import compare_fields
from ..adapters.exchange import Response
from ..adapters.protocols import Comparison
from ..adapters.redaction import redact
from ..adapters.responses import failure_outcome
from ..outcomes import Failure
from ..traits import UserTraits

_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key; pass the whole key, org:app:secret.",
    403: "Check the API key, and that the plan includes the User Identification API (Pro or Enterprise).",
    404: "Check org and app: LogRocket creates users who do not exist, so 404 is not about the user.",
}
_MAX_MESSAGE_BYTES: Final = 10_000


def read_user(response: Response) -> Mapping[str, Any] | None:
    """Return the user that a successful response shows, with the id as text, or None if it shows none."""
    user = response.json_object() if response.is_success else None
    if user is None or user.get("success") is False:
        return None
    user_id = user.get("userID")
    if type(user_id) is int:
        return {**user, "userID": str(user_id)}
    return user if isinstance(user_id, str) else None


def read_success(response: Response) -> Mapping[str, Any] | None:
    """Return the user that a success shows, or an empty object if it shows none; None after a failure."""
    user = read_user(response)
    if user is None and response.confirms and not response.refuses:
        return {}
    return user


def shows_user(user: Mapping[str, Any], user_id: str | None, sent: Mapping[str, Any]) -> bool:
    """Return True if *user* has *user_id* and every value that was *sent*; further traits do not matter."""
    stored = user.get("traits")
    if user.get("userID") != user_id or not isinstance(stored, dict):
        return False
    stored = cast("dict[str, Any]", stored)
    return (
        # A trait that was removed is absent or blank.
        all(stored.get(name, "") == text for name, text in sent.get("traits", {}).items())
        and all((user.get(name) or "") == sent[name] for name in ("name", "email") if name in sent)
    )


def left_of_removed(
    user: Mapping[str, Any], user_id: str | None, sent: Mapping[str, Any], fields: Container[str]
) -> list[str]:
    """Return the traits of *user* that are nested in one that was *sent* blank, except those in *fields*.

    LogRocket's traits are flat, so that it removes ``a`` and keeps ``a.x`` (our policy "remove-what-is-nested").
    """
    texts: Mapping[str, str] = sent.get("traits", {})
    traits = user.get("traits")
    if "" not in texts.values() or user.get("userID") != user_id or not isinstance(traits, dict):
        return []
    removed = tuple(f"{name}." for name, text in texts.items() if not text)
    return [
        name
        for name, value in cast("dict[str, Any]", traits).items()
        if value is not None and value != "" and name.startswith(removed) and f"traits.{name}" not in fields
    ]


def compare_user(backend: str, body: bytes | None, user: Mapping[str, Any]) -> Comparison:
    """Compare the *body* that would be sent, if any, with the *user* as LogRocket stores them."""
    expected, actual = _fields(orjson.loads(body or b"{}")), _fields(user)
    comparison = compare_fields(backend, expected, actual, is_same=lambda _, sent, stored: bool(sent == stored))
    # The request itself may have created a user without any values, so such a user counts as missing.
    is_missing = comparison.absent and not any(actual.values())
    return Comparison(backend, missing=True) if is_missing else comparison


def _fields(user: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": user.get("name"), "email": user.get("email"), "traits": user.get("traits") or {}}


def read_failure(
    backend: str, response: Response, *, user: UserTraits | None = None, secrets: Sequence[str] = ()
) -> Failure:
    """Map an error response to an outcome, redacting *user* and *secrets* from its message."""
    message = _message(response)
    return failure_outcome(
        backend, response, hints=_HINTS, message=None if message is None else redact(message, user, *secrets)
    )


def _message(response: Response) -> str | None:
    """Return the message, in a format that is not documented: ``error``, ``message``, ``detail`` or the whole body."""
    content = response.json_object()
    if content is None:
        return response.body[:_MAX_MESSAGE_BYTES].decode(errors="replace").strip() or None
    messages = (content.get(name) for name in ("error", "message", "detail"))
    return next((message for message in messages if isinstance(message, str) and message), None)
