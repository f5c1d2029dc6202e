"""The people that LogRocket must not record (2026-11-21, https://docs.logrocket.com/docs/gdpr)."""

from typing import Literal, TypeAlias

from .fields import parse_object
from .javascript import string_of
from .refusal import malformed

ExclusionKind: TypeAlias = Literal["email", "user_id"]
Excluded: TypeAlias = tuple[ExclusionKind, str]


def read_person(body: bytes) -> Excluded:
    """Return whom *body* names, by e-mail or by id, or refuse it."""
    value = parse_object(body)
    match value:
        case {"email": str(email), **rest} if email and not rest:
            return "email", email
        case {"user_id": str(user_id), **rest} if user_id and not rest:
            return "user_id", user_id
        case {"user_id": int(number), **rest} if not isinstance(number, bool) and not rest:
            # The documents' own example sends a number, which loses digits beyond 2**53.
            return "user_id", string_of(number)
        case _:
            raise malformed()
