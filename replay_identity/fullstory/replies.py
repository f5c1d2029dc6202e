"""Fullstory's answers in our words (https://developer.fullstory.com/server/, read 2026-11-21)."""

from collections.abc import Mapping
from typing import Any, Final, cast

from ..backend import Credentials, Page, StoredUser
from ..exchange import Reply
from ..masking import mask
from ..model import UserTraits
from ..outcome import Failure
from ..reading import read_failure

NOT_FOUND: Final = 404
CONFLICT: Final = 409
# No organisation has more users than fit into so many digits.
_MOST_DIGITS: Final = 18

_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key and its realm; it is sent as it is, so pass it as Fullstory shows it.",
    403: "Writing users needs a Standard key; reading and deleting them an Architect or Admin key.",
}


def read_id(reply: Reply) -> str | None:
    """Return the Fullstory id of the user that was created or updated, or None if *reply* shows none."""
    content = reply.json_object() if reply.is_success else None
    vendor_id = content.get("id") if content else None
    return vendor_id if isinstance(vendor_id, str) and vendor_id else None


def finds_none(reply: Reply) -> bool:
    """Tell whether Fullstory itself says that there is no such user; a proxy or a wrong address says 404 too."""
    content = reply.json_object() if reply.status == NOT_FOUND else None
    return content is not None and isinstance(content.get("code"), str)


def read_user(backend: str, reply: Reply) -> StoredUser | None:
    """Return the user shown, or None if *reply* shows none."""
    return _user(backend, reply.json_object()) if reply.is_success else None


def read_page(backend: str, reply: Reply) -> Page | None:
    """Return the page shown, or None if *reply* shows none."""
    content = reply.json_object() if reply.is_success else None
    results = content.get("results") if content else None
    if content is None or not isinstance(results, list):
        return None
    users = [_user(backend, item) for item in cast("list[object]", results)]
    if None in users:
        return None
    total = content.get("total_records")
    return Page(
        tuple(user for user in users if user),
        # Absent, null and "" have all been seen on a last page.
        next_token=_text(content.get("next_page_token")) or None,
        total=int(total) if isinstance(total, str) and total.isdecimal() and len(total) <= _MOST_DIGITS else None,
    )


def read_credentials(backend: str, region: str, reply: Reply) -> Credentials | None:
    """Return whose key it is, or None if *reply* does not say."""
    content = reply.json_object() if reply.is_success else None
    role = _text(content.get("role")) if content else None
    if content is None or role is None:
        return None
    return Credentials(backend, region, role, _text(content.get("orgId")))


def read_refusal(backend: str, reply: Reply, user: UserTraits | None, *secrets: str) -> Failure:
    """Return why Fullstory did not do as asked, with *user* and *secrets* masked in its words."""
    content = reply.json_object() or {}
    code, message = _text(content.get("code")), _text(content.get("message"))
    return read_failure(
        backend,
        reply,
        hints=_HINTS,
        code=None if code is None else mask(code, user, *secrets),
        message=None if message is None else mask(message, user, *secrets),
    )


def _user(backend: str, content: object) -> StoredUser | None:
    if not isinstance(content, dict):
        return None
    fields = cast("dict[str, Any]", content)
    vendor_id = _text(fields.get("id"))
    if vendor_id is None:
        return None
    return StoredUser(
        backend=backend,
        vendor_id=vendor_id,
        user_id=_text(fields.get("uid")) or None,
        name=_text(fields.get("display_name")),
        email=_text(fields.get("email")),
        traits=_object(fields.get("properties")),
        types=_object(_object(fields.get("schema")).get("properties")),
        type_conflicts=_object(_object(fields.get("type_conflicts")).get("properties")),
        being_deleted=fields.get("is_being_deleted") is True,
        url=_text(fields.get("app_url")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one for null and for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
