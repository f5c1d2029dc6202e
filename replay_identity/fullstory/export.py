"""Fullstory's segment export: all individuals as one file of JSON Lines.

Source: the contracts of 2026-09 of POST /segments/v1/exports, GET /operations/v1/{id} and GET
/search/v1/exports/{id}/results (github.com/fullstorydev/sekizui at 8f3699a), and the list of fields
(https://developer.fullstory.com/server/v1/segments/export-fields); read 2026-11-30.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import attrs
import orjson

from .._paths import nest_fields, parents_of
from ..adapters.credentials import check_base_url
from ..adapters.exchange import Exchange, Request, Response
from ..adapters.protocols import ExportLink, ExportProgress, StoredUser
from ..adapters.redaction import redact
from ..errors import ConfigurationError
from ..outcomes import Failure, Misconfigured, Rejected, Unknown
from ..traits import TRAIT_TYPES
from . import responses

_EXPORTS_PATH: Final = "/segments/v1/exports"
_GONE: Final = 410
_EXPORT_HINT: Final = (
    "Segment exports are an add-on of the Enterprise and Advanced plans and need an Architect or Admin key; "
    "without them, read the pages."
)
# An empty time is "forever in the past" or "up to the time of the request". Without its own range, the segment
# everyone has only the last 30 days.
_ALL_TIME: Final = {"start": "", "end": ""}
_START: Final = orjson.dumps(
    {
        "segmentId": "everyone",
        "type": "TYPE_INDIVIDUAL",
        "format": "FORMAT_NDJSON",
        "timeRange": _ALL_TIME,
        "segmentTimeRange": _ALL_TIME,
        "fields": ["IndvId", "UserAppKey", "UserDisplayName", "UserEmail", "UserCreated", "user_*"],
    }
)
_TRAIT_PREFIX: Final = "user_"
_INT: Final = re.compile("-?[0-9]{1,19}")


@attrs.frozen
class FullstoryExport:
    """The exchanges of an export of all individuals.

    Attributes:
        backend: Name of the backend.
        make_request: Returns the request for an operation, a method, a path and a body.
        api_key: The key, to be redacted from messages.
        allow_insecure: Allow a link with a plain http address that is not loopback.
    """

    backend: str
    make_request: Callable[[str, str, str, bytes | None], Request] = attrs.field(repr=False)
    api_key: str = attrs.field(repr=False)
    allow_insecure: bool

    def start(self) -> Exchange[str | Failure]:
        """Start an export and return the id of its operation."""
        response = yield self.make_request("start_export", "POST", _EXPORTS_PATH, _START)
        operation = _segment(_content(response).get("operationId"))
        return operation or self._failure(response)

    def poll(self, operation: str) -> Exchange[ExportProgress | Failure]:
        """Return the progress of an *operation*; a Standard key is enough."""
        path = f"/operations/v1/{quote(operation, safe='')}"
        response = yield self.make_request("poll_export", "GET", path, None)
        content = _content(response)
        state = content.get("state")
        if state == "FAILED":
            details = content.get("errorDetails")
            message = redact(details, None, self.api_key, operation) if isinstance(details, str) else None
            return Rejected(self.backend, code="the export failed", message=message or None)
        if state == "COMPLETED":
            file_id = _segment(_object(content.get("results")).get("searchExportId"))
            return self._failure(response, operation) if file_id is None else ExportProgress(file_id)
        if not isinstance(state, str):
            return self._failure(response, operation)
        return ExportProgress(makes_progress=state == "PENDING")

    def link(self, file_id: str) -> Exchange[ExportLink | Failure]:
        """Return a link to the file of a completed export."""
        path = f"/search/v1/exports/{quote(file_id, safe='')}/results"
        response = yield self.make_request("link_export", "GET", path, None)
        content = _content(response)
        url = content.get("location")
        if not isinstance(url, str):
            return self._failure(response, file_id)
        if not _is_safe(url, allow_insecure=self.allow_insecure):
            return Unknown(self.backend, "the link of the export is not an https URL", status=response.status)
        return ExportLink(url, _moment(content.get("expires")))

    def _failure(self, response: Response, *secrets: str) -> Failure:
        if response.status in {responses.NOT_FOUND, _GONE} and secrets:
            # Operations and files expire.
            return Rejected(self.backend, code=f"HTTP {response.status}")
        failure = responses.read_failure(self.backend, response, secrets=(self.api_key, *secrets))
        if response.status == responses.FORBIDDEN and isinstance(failure, Misconfigured):
            return attrs.evolve(failure, hint=_EXPORT_HINT)
        return failure


def read_individual(backend: str, line: bytes) -> StoredUser | None:
    """Return the individual in one *line* of an export, or None if there is none."""
    try:
        row = _object(orjson.loads(line))
    except orjson.JSONDecodeError:
        return None
    # An int64, which some encoders of JSON write as a string.
    individual = row.get("IndvId")
    if type(individual) not in {int, str} or individual == "":
        return None
    columns = _columns(row)
    conflicts = _conflicts(columns)
    known = {path: next(iter(values.items())) for path, values in columns.items() if path not in conflicts}
    return StoredUser(
        backend=backend,
        vendor_id=str(individual),
        user_id=_text(row.get("UserAppKey")),
        name=_text(row.get("UserDisplayName")),
        email=_text(row.get("UserEmail")),
        traits=nest_fields((path, _value(value, type_)) for path, (type_, value) in known.items()),
        types={path: type_ for path, (type_, _) in known.items() if type_},
        type_conflicts={path: sorted(columns.get(path, ())) for path in conflicts},
        created_at=_moment(row.get("UserCreated")),
    )


def _columns(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values of each property by type: ``user_plan_str`` is the property ``plan`` of type ``str``."""
    columns: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        if value is None or not column.startswith(_TRAIT_PREFIX):
            continue
        name = column.removeprefix(_TRAIT_PREFIX)
        path, _, type_ = name.rpartition("_")
        if not path or type_ not in TRAIT_TYPES:
            path, type_ = name, ""
        if path:
            columns.setdefault(path, {})[type_] = value
    return columns


def _conflicts(columns: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the properties that have several types, or that are objects as well: nothing says what is newest."""
    nested = {parent for path in columns for parent in parents_of(path)}
    several = {path for path, values in columns.items() if len(values) > 1 or path in nested}
    return several | {path for path in columns if several.intersection(parents_of(path))}


def _value(value: Any, type_: str) -> Any:  # noqa: ANN401  # A value of JSON.
    if type_ == "int" and isinstance(value, str) and _INT.fullmatch(value):
        return int(value)
    return [_value(item, "int") for item in cast("list[object]", value)] if type_ == "ints" else value


# Of responses and rows


def _content(response: Response) -> dict[str, Any]:
    return (response.json_object() if response.is_success else None) or {}


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _segment(value: object) -> str | None:
    """Return *value* if it can be a segment of a URL's path."""
    return value if isinstance(value, str) and responses.is_path_segment(value) else None


def _text(value: object) -> str | None:
    """Return *value* if it is a text; an empty one stands for none, as in the other columns of an export."""
    return value if isinstance(value, str) and value else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _is_safe(url: str, *, allow_insecure: bool) -> bool:
    """Return True if *url* is https, or http where an API's URL may be http."""
    try:
        parts = urlsplit(url)
        check_base_url(f"{parts.scheme}://{parts.netloc}", allow_insecure=allow_insecure)
    except (ValueError, ConfigurationError):
        return False
    return url.isascii() and url.isprintable() and " " not in url
