"""Whether what Fullstory shows of a user is what it would be sent."""

from datetime import UTC, datetime
from typing import Any, cast

import orjson

from ..backend import Comparison, StoredUser
from ..differences import differences


def compared(backend: str, body: bytes, stored: StoredUser) -> Comparison:
    """Compare the *body* that would be sent with the user as Fullstory has them."""
    sent: dict[str, Any] = orjson.loads(body)
    declared: dict[str, str] = sent.get("schema", {}).get("properties", {})
    return differences(
        backend,
        {"name": sent.get("display_name"), "email": sent.get("email"), "traits": sent.get("properties", {})},
        {"name": stored.name, "email": stored.email, "traits": stored.traits},
        is_same=lambda path, wanted, found: _is_same(
            wanted, found, is_date=declared.get(path.removeprefix("traits.")) in {"date", "dates"}
        ),
    )


def _is_same(wanted: object, found: object, *, is_date: bool) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        items, others = cast("list[object]", wanted), cast("list[object]", found)
        return len(items) == len(others) and all(
            _is_same(item, other, is_date=is_date) for item, other in zip(items, others, strict=True)
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found  # For Python, True is 1.
    if is_date and isinstance(wanted, str) and isinstance(found, str):
        return wanted == found or _moment(wanted) == _moment(found)
    return wanted == found


def _moment(text: str) -> datetime | str:
    """Return the moment that *text* writes, in UTC where it names no zone, or *text* if it writes none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
