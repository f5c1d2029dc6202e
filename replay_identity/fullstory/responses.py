"""Read Fullstory's responses.

Sources: https://developer.fullstory.com/server/, read 2026-11-21, and the contracts of 2026-09 in
github.com/fullstorydev/sekizui at 8f3699a, read 2026-11-30, which win where they differ.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import attrs
import orjson

from ..adapters.diff import compare_fields
from ..adapters.exchange import Response
from ..adapters.protocols import BatchTooLarge, Comparison, JobProgress, KeyInfo, Operation, Page, StoredUser
from ..adapters.redaction import readable_code, redact
from ..adapters.responses import failure_outcome
from ..errors import InvalidTraitsError
from ..outcomes import Accepted, Adjustment, Failure, Rejected, Unknown
from ..traits import UserTraits

NOT_READY: Final = 202
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PAYLOAD_TOO_LARGE: Final = 413
# The code of a user that a batch rejected, where Fullstory's own is missing or may contain personal values.
REJECTED: Final = "rejected"
# Fullstory's messages about a larger batch are left out, since redacting all its values would take too long.
MAX_REDACTED_BATCH_BYTES: Final = 65_536
# No organisation has more users than this many digits can count.
_MAX_TOTAL_DIGITS: Final = 18

_HINTS: Final[Mapping[int, str]] = {
    401: "Check the API key and its realm; pass the key exactly as Fullstory shows it.",
    403: "Writing users needs a Standard key; reading and deleting them, and reading the results of a batch or of a "
    "streamed user, an Architect or Admin key.",
}
# What the role that /me reports permits: writing users and creating batches takes a Standard key ("USER"), everything
# that shows or deletes users an Architect key or more, and no call is documented to take less than a Standard key (our
# policy "viewing-writes-nothing"). What an UMBRELLA_MANAGER may do is not documented (the contracts of 2026-09; the
# order of the levels is that of https://developer.fullstory.com/server/v2/authentication/, read 2026-11-21).
_ROLE_OPERATIONS: Final[Mapping[str, tuple[Operation, ...]]] = {
    "VIEW_ONLY": (),
    "USER": (Operation.WRITE, Operation.BATCH),
    "ARCHITECT": tuple(Operation),
    "ADMIN": tuple(Operation),
}
# Fullstory always sends a code with these statuses. Without one, another server that has no such path has responded.
_HINTS_WITHOUT_CODE: Final[Mapping[int, str]] = {
    **_HINTS,
    404: "Check base_url: this response is not Fullstory's.",
    405: "Check base_url: this response is not Fullstory's.",
}
# COMPLETED may come with errors and FAILED with imports: the documents contradict each other.
_FINAL_STATUSES: Final = ("COMPLETED", "FAILED")
_STATUSES: Final = ("PROCESSING", *_FINAL_STATUSES)


# Users


def read_accepted(backend: str, response: Response, adjustments: tuple[Adjustment, ...]) -> Accepted | None:
    """Return `Accepted` with the id of the user, or of the request of a streamed user, or None after a failure."""
    content = (response.json_object() if response.is_success else None) or {}
    vendor_id, request_id = _text(content.get("id")) or None, _text(content.get("request_id")) or None
    if vendor_id is None and request_id is None and not is_accepted(response):
        return None
    return Accepted(backend, vendor_id, adjustments, request_id=request_id)


def read_streamed_id(response: Response) -> str | None:
    """Return the Fullstory id of a streamed user, "" before Fullstory has stored them, or None after a failure."""
    content = response.json_object() if response.is_success else None
    return _text(content.get("id")) if content else None


def is_accepted(response: Response) -> bool:
    """Return True if *response* is a success, whether or not it shows anything.

    Deletions are answered by ``{}``, and Fullstory's own driver takes a 204 for a success as well
    (github.com/fullstorydev/sekizui at 8f3699a, read 2026-11-30).
    """
    return response.confirms and not response.refuses


def is_not_found(response: Response) -> bool:
    """Return True if Fullstory says that there is no such user; a proxy or a wrong address also responds 404."""
    content = response.json_object() if response.status == NOT_FOUND else None
    return content is not None and isinstance(content.get("code"), str)


def read_user(backend: str, response: Response) -> StoredUser | None:
    """Return the user in *response*, or None if there is none."""
    return _stored_user(backend, response.json_object()) if response.is_success else None


def read_page(backend: str, response: Response) -> Page | None:
    """Return the page of users in *response*, or None if there is none."""
    content = response.json_object() if response.is_success else None
    results = content.get("results") if content else None
    if content is None or not isinstance(results, list):
        return None
    users = [_stored_user(backend, item) for item in cast("list[object]", results)]
    if None in users:
        return None
    total = content.get("total_records")
    return Page(
        tuple(user for user in users if user),
        next_token=_next_token(content),
        total=int(total) if isinstance(total, str) and total.isdecimal() and len(total) <= _MAX_TOTAL_DIGITS else None,
    )


def read_key_info(backend: str, region: str, response: Response) -> KeyInfo | None:
    """Return the facts about the key, or None if *response* has none."""
    content = (response.json_object() if response.is_success else None) or {}
    role, organisation = _text(content.get("role")) or None, _text(content.get("orgId")) or None
    if role is None and organisation is None:
        return None
    return KeyInfo(backend, region, role, organisation, _ROLE_OPERATIONS.get(role or ""))


def compare_user(backend: str, body: bytes, stored: StoredUser) -> Comparison:
    """Compare the *body* that would be sent with the user as Fullstory stores them."""
    sent: dict[str, Any] = orjson.loads(body)
    declared: dict[str, str] = sent.get("schema", {}).get("properties", {})
    return compare_fields(
        backend,
        {"name": sent.get("display_name"), "email": sent.get("email"), "traits": sent.get("properties", {})},
        {"name": stored.name, "email": stored.email, "traits": stored.traits},
        is_same=lambda path, expected, actual: _is_same(
            expected, actual, is_date=declared.get(path.removeprefix("traits.")) in {"date", "dates"}
        ),
    )


def _is_same(expected: object, actual: object, *, is_date: bool) -> bool:
    if isinstance(expected, list) and isinstance(actual, list):
        expected_items, actual_items = cast("list[object]", expected), cast("list[object]", actual)
        return len(expected_items) == len(actual_items) and all(
            _is_same(*pair, is_date=is_date) for pair in zip(expected_items, actual_items, strict=True)
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual  # In Python, True equals 1.
    if is_date and isinstance(expected, str) and isinstance(actual, str):
        return expected == actual or _moment(expected) == _moment(actual)
    return expected == actual


def _moment(text: str) -> datetime | str:
    """Return the moment that *text* denotes, in UTC where it has no zone, or *text* if it is not a date."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stored_user(backend: str, content: object) -> StoredUser | None:
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


# Batches


@attrs.frozen
class ResultPage:
    """One page of a job's results."""

    rows: tuple[dict[str, Any], ...] = attrs.field(repr=False)
    next_token: str | None = attrs.field(repr=False)


def is_path_segment(text: str) -> bool:
    """Return True if *text* can be a segment of a URL's path; HTTP clients resolve dots away."""
    return text not in {"", ".", ".."}


def read_job_id(
    backend: str, response: Response, body: bytes, *, secrets: Sequence[str]
) -> str | BatchTooLarge | Failure:
    """Return the id of the job for the batch *body*, or why there is none."""
    content = response.json_object() if response.is_success else None
    job_id = _text(_object(content.get("job")).get("id")) if content else None
    if job_id is not None and is_path_segment(job_id):
        return job_id
    if response.status == PAYLOAD_TOO_LARGE:
        return BatchTooLarge(backend)
    if response.status == CONFLICT:
        return conflict(backend)
    user = _as_user(_items(body)) if len(body) <= MAX_REDACTED_BATCH_BYTES else None
    if user is None:
        return read_job_failure(backend, response, secrets=secrets, body=body)
    return read_failure(backend, response, user=user, secrets=secrets)


def read_progress(response: Response) -> JobProgress | None:
    """Return the progress of a job, or None if *response* has none; a status that is not final means running."""
    content = response.json_object() if response.is_success else None
    job = content.get("job") if content else None
    if content is None or not isinstance(job, dict):
        return None
    status = _text(cast("dict[str, Any]", job).get("status"))
    counts = _count(content.get("imports")), _count(content.get("errors"))
    return JobProgress(status not in _FINAL_STATUSES, *counts, status if status not in _STATUSES else None)


def read_result_page(response: Response) -> ResultPage | None:
    """Return the page of results in *response*, or None if there is none."""
    content = response.json_object() if response.is_success else None
    # A page of errors must have a total, but may come without results.
    if not content or not content.keys() & {"results", "total_records"}:
        return None
    results: object = content.get("results") or []
    if not isinstance(results, list):
        return None
    rows = [_object(row) for row in cast("list[object]", results)]
    # A page with an empty row is not accepted, so that no row is lost silently.
    return ResultPage(tuple(rows), _next_token(content)) if all(rows) else None


# Failures


def read_failure(
    backend: str, response: Response, *, user: UserTraits | None = None, secrets: Sequence[str] = ()
) -> Failure:
    """Map an error response to an outcome, redacting *user* and *secrets* from its message."""
    content = response.json_object() or {}
    code, message = _text(content.get("code")), _text(content.get("message"))
    return failure_outcome(
        backend,
        response,
        hints=_HINTS_WITHOUT_CODE if code is None else _HINTS,
        code=None if code is None else readable_code(code, user, *secrets),
        message=None if message is None else redact(message, user, *secrets),
    )


def conflict(backend: str) -> Unknown:
    """Return the outcome of a 409 to a random idempotency key, which only an earlier attempt of ours can hold."""
    return Unknown(backend, "HTTP 409, an earlier attempt may still be running", status=CONFLICT)


def read_job_failure(backend: str, response: Response, *, secrets: Sequence[str], body: bytes = b"") -> Failure:
    """Map an error response about a job to an outcome, without its message, which may quote any of the users."""
    full_code = _text((response.json_object() or {}).get("code"))
    code = None if full_code is None else readable_code(full_code, None, *secrets)
    if code is not None and orjson.dumps(code) in body:
        code = None
    return failure_outcome(backend, response, hints=_HINTS_WITHOUT_CODE if full_code is None else _HINTS, code=code)


def read_row_rejection(
    backend: str, row: Mapping[str, Any], sent: Sequence[Mapping[str, Any]], *, secrets: Sequence[str]
) -> Rejected:
    """Return the rejection in an error *row*, with the items *sent* and *secrets* redacted from its message."""
    code, message = _text(row.get("code")) or "", _text(row.get("message"))
    user = _as_user(sent)
    # Without knowing what was sent, the message cannot be redacted.
    shown = None if message is None or user is None else redact(message, user, *secrets)
    return Rejected(backend, code=readable_code(code, user, *secrets) or REJECTED, message=shown)


def _items(body: bytes) -> Sequence[Mapping[str, Any]]:
    items: Sequence[Mapping[str, Any]] = (Response(0, body=body).json_object() or {}).get("requests", [])
    return items


def _as_user(sent: Sequence[Mapping[str, Any]]) -> UserTraits | None:
    """Return a user with all values of the items *sent*, or None if there are none or they are invalid."""
    values = [{name: value for name, value in item.items() if name != "schema"} for item in sent if item]
    try:
        return UserTraits(traits={"sent": values}) if values else None
    except InvalidTraitsError:
        return None


# JSON


def _next_token(content: Mapping[str, Any]) -> str | None:
    # Absent, null and "" have all been seen on a last page.
    return _text(content.get("next_page_token")) or None


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: object) -> dict[str, Any]:
    """Return *value* if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
