"""LogRocket's answers in our words (https://docs.logrocket.com/docs/user-identification-api, read 2026-11-21)."""

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from ..adapters.diff import differences
from ..adapters.exchange import Response
from ..adapters.protocols import Comparison
from ..adapters.redaction import redact
from ..adapters.responses import failure_outcome
from ..outcomes import Failure
from ..traits import UserTraits

_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key; it reads org:app:secret and is sent whole.",
    403: "Check the API key, and that the plan includes the User Identification API (Pro or Enterprise).",
    404: "Check org and app: a user is created where there is none, so it is not the user who is missing.",
}


def read_user(response: Response) -> Mapping[str, Any] | None:
    """Return the user object that LogRocket answers a success with, or None if *response* is anything else."""
    user = response.json_object() if response.is_success else None
    return user if user is not None and isinstance(user.get("userID"), str) else None


def shows(user: Mapping[str, Any], user_id: str | None, body: bytes | None) -> bool:
    """Tell whether *user* has *user_id* and every value of *body*; other traits they may have are none of ours."""
    traits = user.get("traits")
    if user["userID"] != user_id or not isinstance(traits, dict):
        return False
    found = cast("dict[str, Any]", traits)
    sent: dict[str, Any] = orjson.loads(body or b"{}")
    return (
        # A trait that was removed is absent or blank.
        all(found.get(name, "") == text for name, text in sent.get("traits", {}).items())
        and all((user.get(name) or "") == sent[name] for name in ("name", "email") if name in sent)
    )


def read_rejection(backend: str, response: Response, user: UserTraits | None, *secrets: str) -> Failure:
    """Return why LogRocket did not do as asked, with *user* and *secrets* masked in its words."""
    message = _message(response)
    return failure_outcome(
        backend, response, hints=_HINTS, message=None if message is None else redact(message, user, *secrets)
    )


def _message(response: Response) -> str | None:
    """Return LogRocket's words, whose envelope is not documented: error, message, detail or the text itself."""
    content = response.json_object()
    if content is None:
        return response.body[:10_000].decode(errors="replace").strip() or None
    words = (content.get(name) for name in ("error", "message", "detail"))
    return next((word for word in words if isinstance(word, str) and word), None)


# LogRocket shows a user only in reply to a PUT. This one names no trait, and "if a trait is not present in the
# request, it will maintain its previous value" (our policy "read-by-empty-put"; user-identification-api, 2026-11-21).
NOTHING: bytes = orjson.dumps({"traits": {}})


def compared(backend: str, body: bytes | None, shown: Mapping[str, Any]) -> Comparison:
    """Compare the *body* that would be sent, if any, with the user as LogRocket shows them."""
    wanted, found = _fields(orjson.loads(body or b"{}")), _fields(shown)
    comparison = differences(backend, wanted, found, is_same=lambda _, sent, held: bool(sent == held))
    # A user of whom it holds nothing was made by asking, or might as well have been.
    is_unknown = comparison.absent and not any(found.values())
    return Comparison(backend, missing=True) if is_unknown else comparison


def _fields(user: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": user.get("name"), "email": user.get("email"), "traits": user.get("traits") or {}}
