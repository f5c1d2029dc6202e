"""A user whose every value would be noticed wherever it is shown."""

from collections.abc import Iterable
from typing import Final

from ...exchange import Request
from ...model import UserTraits

USER_ID: Final = "canary-id-4711"
USER: Final = UserTraits(
    USER_ID,
    name="Canary Finch",
    email="canary@example.com",
    traits={"plan": "canary-plan", "seats": 918273, "tags": ["canary-tag"]},
)
# What a vendor may quote of a request that says all of the user.
WORDS: Final = (USER_ID, "Canary Finch", "canary@example.com", "canary-plan", "918273")
_TELLING: Final = ("canary-id", "canary finch", "finch", "canary@", "canary-plan", "918273", "canary-tag")


def shown_in(shown: str, key: str) -> list[str]:
    """Return what of the user and of the *key* stands in what is *shown*."""
    folded = shown.lower()
    return [text for text in (*_TELLING, key.lower()) if text in folded]


def echoes(request: Request, key: str, words: Iterable[str] = WORDS) -> list[bytes]:
    """Return what a server says that quotes the *request*, its *key* and *words* that it was sent."""
    body = request.body or b""
    quoted = f"cannot take {body.decode()} at {request.url} with {key}".encode()
    listed = ", ".join((*words, key))
    objects = [f'{{"{name}": "invalid: {listed}", "code": "bad_request"}}' for name in ("message", "error", "detail")]
    return [body, quoted, listed.encode(), *(text.encode() for text in objects)]


# How many ways to quote a request there are.
ECHOES: Final = len(echoes(Request("quote", "GET", ""), ""))
