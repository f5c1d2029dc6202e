"""Fullstory's answers in our words (https://developer.fullstory.com/server/, read 2026-11-21)."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import attrs
import orjson

from ..adapters.diff import differences
from ..adapters.exchange import Response
from ..adapters.protocols import BatchTooLarge, Comparison, JobProgress, KeyInfo, Page, StoredUser
from ..adapters.redaction import redact
from ..adapters.responses import failure_outcome
from ..errors import InvalidTraitsError
from ..outcomes import Failure, Rejected, Unknown
from ..traits import UserTraits

NOT_YET: Final = 202
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PAYLOAD_TOO_LARGE: Final = 413
# The code of a user whom a batch refused without a code that can be told.
REJECTED: Final = "refused"
# The longest body of a batch that is looked through for what an answer may quote.
MOST_LOOKED_THROUGH: Final = 65_536
# No organisation has more users than fit into so many digits.
_MOST_DIGITS: Final = 18

_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key and its realm; it is sent as it is, so pass it as Fullstory shows it.",
    403: "Writing users needs a Standard key; reading and deleting them an Architect or Admin key.",
}
# Of these statuses Fullstory always says why; without its code somebody else has answered, who knows no such path.
_HINTS_WITHOUT_CODE: Final[Mapping[int, str]] = {
    **_HINTS,
    404: "Check base_url: this answer is not Fullstory's own.",
    405: "Check base_url: this answer is not Fullstory's own.",
}


def read_id(response: Response) -> str | None:
    """Return the Fullstory id of the user that was created or updated, or None if *response* shows none."""
    content = response.json_object() if response.is_success else None
    vendor_id = content.get("id") if content else None
    return vendor_id if isinstance(vendor_id, str) and vendor_id else None


def finds_none(response: Response) -> bool:
    """Tell whether Fullstory itself says that there is no such user; a proxy or a wrong address says 404 too."""
    content = response.json_object() if response.status == NOT_FOUND else None
    return content is not None and isinstance(content.get("code"), str)


def read_user(backend: str, response: Response) -> StoredUser | None:
    """Return the user shown, or None if *response* shows none."""
    return _user(backend, response.json_object()) if response.is_success else None


def read_page(backend: str, response: Response) -> Page | None:
    """Return the page shown, or None if *response* shows none."""
    content = response.json_object() if response.is_success else None
    results = content.get("results") if content else None
    if content is None or not isinstance(results, list):
        return None
    users = [_user(backend, item) for item in cast("list[object]", results)]
    if None in users:
        return None
    total = content.get("total_records")
    return Page(
        tuple(user for user in users if user),
        next_token=_next_token(content),
        total=int(total) if isinstance(total, str) and total.isdecimal() and len(total) <= _MOST_DIGITS else None,
    )


def read_key_info(backend: str, region: str, response: Response) -> KeyInfo | None:
    """Return whose key it is, or None if *response* does not say."""
    content = response.json_object() if response.is_success else None
    role = _text(content.get("role")) if content else None
    if content is None or role is None:
        return None
    return KeyInfo(backend, region, role, _text(content.get("orgId")))


def read_rejection(backend: str, response: Response, user: UserTraits | None, *secrets: str) -> Failure:
    """Return why Fullstory did not do as asked, with *user* and *secrets* masked in its words."""
    content = response.json_object() or {}
    code, message = _text(content.get("code")), _text(content.get("message"))
    return failure_outcome(
        backend,
        response,
        hints=_HINTS_WITHOUT_CODE if code is None else _HINTS,
        code=None if code is None else redact(code, user, *secrets),
        message=None if message is None else redact(message, user, *secrets),
    )


def conflict(backend: str) -> Unknown:
    """Return what a 409 means where a key was sent that only an earlier attempt of our own can hold."""
    return Unknown(backend, "HTTP 409, an earlier attempt may still be running")


def read_job_id(backend: str, response: Response, body: bytes, *secrets: str) -> str | BatchTooLarge | Failure:
    """Return the id of the job that was made of the batch *body*, or why there is none."""
    content = response.json_object() if response.is_success else None
    job_id = _text(_object(content.get("job")).get("id")) if content else None
    if job_id is not None and is_segment(job_id):
        return job_id
    if response.status == PAYLOAD_TOO_LARGE:
        return BatchTooLarge(backend)
    if response.status == CONFLICT:
        return conflict(backend)
    user = _as_user(_items(body)) if len(body) <= MOST_LOOKED_THROUGH else None
    if user is None:
        return read_job_failure(backend, response, *secrets, body=body)
    return read_rejection(backend, response, user, *secrets, *_days(user))


def is_segment(text: str) -> bool:
    """Tell whether *text* can stand in a path; HTTP libraries resolve dots away."""
    return text not in {"", ".", ".."}


def read_progress(response: Response) -> JobProgress | None:
    """Return how far a job is, or None if *response* does not say; whatever is not a final status means running."""
    content = response.json_object() if response.is_success else None
    job = content.get("job") if content else None
    if content is None or not isinstance(job, dict):
        return None
    status = cast("dict[str, Any]", job).get("status")
    return JobProgress(status not in _FINAL, _count(content.get("imports")), _count(content.get("errors")))


# COMPLETED may come with errors and FAILED with imports: the documents contradict each other.
_FINAL: Final = ("COMPLETED", "FAILED")


@attrs.frozen
class Rows:
    """One page of what became of the users of a batch."""

    rows: tuple[dict[str, Any], ...] = attrs.field(repr=False)
    next_token: str | None = attrs.field(repr=False)


def read_rows(response: Response) -> Rows | None:
    """Return the rows shown, or None if *response* shows no page of them."""
    content = response.json_object() if response.is_success else None
    # Results are not required on a page of errors, the total is.
    if not content or not content.keys() & {"results", "total_records"}:
        return None
    results: object = content.get("results") or []
    if not isinstance(results, list):
        return None
    rows = [_object(row) for row in cast("list[object]", results)]
    # No row is left out silently, and one that says nothing is none.
    return Rows(tuple(rows), _next_token(content)) if all(rows) else None


def read_row_rejection(
    backend: str, row: Mapping[str, Any], sent: Sequence[Mapping[str, Any]], *secrets: str
) -> Rejected:
    """Return why the user of an error *row* was refused, with the items *sent* and *secrets* masked in its words."""
    code, message = _text(row.get("code")), _text(row.get("message"))
    user = _as_user(sent)
    if user is None:
        # Without knowing what was sent, nothing can be masked.
        return Rejected(backend, code=_bare(code, *secrets) or REJECTED)
    said = (*secrets, *_days(user))
    return Rejected(
        backend,
        code=redact(code or "", user, *said) or REJECTED,
        message=None if message is None else redact(message, user, *said),
    )


def read_job_failure(backend: str, response: Response, *secrets: str, body: bytes = b"") -> Failure:
    """Return why Fullstory did not do as asked about a job, without its words: they may quote any of the users."""
    said = _text((response.json_object() or {}).get("code"))
    code = _bare(said, *secrets)
    if code is not None and orjson.dumps(code) in body:
        code = None
    return failure_outcome(backend, response, hints=_HINTS_WITHOUT_CODE if said is None else _HINTS, code=code)


def _bare(code: str | None, *secrets: str) -> str | None:
    """Return *code* if it looks like Fullstory's own and not like what somebody is called."""
    return code if code and _CODE.fullmatch(code) and code not in secrets else None


_CODE: Final = re.compile(r"[a-z]+(_[a-z]+){0,7}")


def _items(body: bytes) -> Sequence[Mapping[str, Any]]:
    """Return the items of a batch."""
    items: Sequence[Mapping[str, Any]] = (Response(0, body=body).json_object() or {}).get("requests", [])
    return items


def _as_user(sent: Sequence[Mapping[str, Any]]) -> UserTraits | None:
    """Return a user who holds all that the items *sent* say, or None if they say nothing or cannot be sent."""
    said = [{name: value for name, value in item.items() if name != "schema"} for item in sent if item]
    try:
        return UserTraits(traits={"sent": said}) if said else None
    except InvalidTraitsError:
        return None


def _days(user: UserTraits) -> list[str]:
    """Return the days that *user* holds: a moment may be quoted in another form, but not with another day."""
    return [day.decode() for day in _DAY.findall(orjson.dumps(user.traits))]


_DAY: Final = re.compile(rb'"(\d{4}-\d{2}-\d{2})')


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _next_token(content: Mapping[str, Any]) -> str | None:
    # Absent, null and "" have all been seen on a last page.
    return _text(content.get("next_page_token")) or None


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
