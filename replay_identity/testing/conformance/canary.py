"""A user whose every value would be noticed wherever it is shown."""

from typing import Final

from ...exchange import Request
from ...model import UserTraits

USER: Final = UserTraits(
    "canary-id-4711",
    name="Canary Finch",
    email="canary@example.com",
    traits={"plan": "canary-plan", "seats": 918273, "tags": ["canary-tag"]},
)
_TELLING: Final = ("canary-id", "canary finch", "finch", "canary@", "canary-plan", "918273", "canary-tag")


def shown_in(shown: str, key: str) -> list[str]:
    """Return what of the user and of the *key* stands in what is *shown*."""
    folded = shown.lower()
    return [text for text in (*_TELLING, key.lower()) if text in folded]


def echoes(request: Request, key: str) -> list[bytes]:
    """Return what a server says that quotes the *request* and its *key*."""
    body = request.body or b""
    quoted = f"cannot take {body.decode()} at {request.url} with {key}".encode()
    words = ", ".join(f"{text}" for text in (USER.user_id, USER.name, USER.email, "canary-plan", "918273", key))
    objects = [f'{{"{name}": "invalid: {words}", "code": "bad_request"}}' for name in ("message", "error", "detail")]
    return [body, quoted, words.encode(), *(text.encode() for text in objects)]
