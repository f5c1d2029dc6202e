"""Whether what LogRocket shows of a user is what it would be sent."""

from collections.abc import Mapping
from typing import Any

import orjson

from ..backend import Comparison
from ..differences import differences

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
