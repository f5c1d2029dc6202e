"""Exports of segments: start one, poll its operation, get a signed link and download its file.

Contract: 2026-11-30, https://developer.fullstory.com/server/v1/segments/create-segment-export/ and the contracts of
2026-09 in https://github.com/fullstorydev/sekizui (8f3699a).
"""

import base64
import gzip
import hashlib
import math
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias
from urllib.parse import urlencode

import attrs
from attrs import validators

from ..http import JsonObject, JsonValue, ReceivedRequest, VendorResponse, json_response
from ..rate_limit import Clock
from .errors import http_error, invalid
from .export_rows import ALL_CUSTOM, STANDARD_FIELDS, as_csv, as_json, as_ndjson, read_fields, tabulate
from .jobs import rfc3339
from .properties import parse_object
from .routes import ApiRoute, Level
from .users import FullstoryUser, FullstoryUsers

Compression: TypeAlias = Literal["none", "encoding", "file"]
Writer: TypeAlias = Callable[[Sequence[JsonObject], Sequence[str]], bytes]

# First segment of the path of a signed link, which stands for the object storage.
STORAGE: Final = "fullstory-exports"

SIGNATURE: Final = "X-Goog-Signature"

EVERYONE: Final = "everyone"
EVERYONE_SECONDS: Final = 30 * 24 * 3600.0

FORMATS: Final[Mapping[str, tuple[Writer, str, str]]] = {
    "FORMAT_NDJSON": (as_ndjson, "ndjson", "application/x-ndjson"),
    "FORMAT_CSV": (as_csv, "csv", "text/csv"),
    "FORMAT_JSON": (as_json, "json", "application/json"),
}

REQUIRED: Final = ("segmentId", "type", "format", "timeRange")
OPTIONAL: Final = ("segmentTimeRange", "fields", "timezone")

RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@attrs.frozen(kw_only=True)
class ExportRules:
    """How the emulated Fullstory exports segments.

    Attributes:
        seconds: Seconds, by the emulator's clock, that an export runs.
        polls: Number of polls of its operation before it is complete.
        failures: How the exports end, in order: the `errorDetails` of a failure, or None; later exports succeed.
        reported_states: States that the first polls of an operation report instead of the real one.
        result_seconds: Seconds for which links to the file of a complete export are given.
        link_seconds: Seconds for which a link can be used.
        link_origin: Start of a link, such as `http://127.0.0.1:8080`; by default this server under its other name, so
            that the file is on another host than the API.
        compression: `none`; `encoding`: gzip with a Content-Encoding if the client accepts it; `file`: a .gz file.
        shows_nulls: Whether JSON rows have the fields that have no value.
        active_uids: The uids of the users that had events; None is everybody. Only individuals with events are
            exported, and a user's events have the time at which it was created.
    """

    # Policy: the documents give no durations.
    seconds: float = attrs.field(default=0.0, validator=validators.ge(0))
    polls: int = attrs.field(default=0, validator=validators.ge(0))
    failures: Sequence[str | None] = ()
    reported_states: Sequence[str] = ()
    result_seconds: float = 24 * 3600.0
    link_seconds: float = 3600.0
    link_origin: str | None = None
    # Policy: both have been seen; Google's storage unpacks for clients that accept no gzip.
    compression: Compression = attrs.field(default="encoding", validator=validators.in_(("none", "encoding", "file")))
    # Policy: the documents do not show a row.
    shows_nulls: bool = True
    active_uids: Collection[str] | None = attrs.field(default=None, repr=False)


@attrs.frozen
class TimeRange:
    """Seconds since the epoch: from `start` until before `end`."""

    start: float = -math.inf
    end: float = math.inf

    def __contains__(self, moment: float) -> bool:
        return self.start <= moment < self.end


@attrs.frozen(kw_only=True)
class ExportRequest:
    """A valid request for an export; a segment's time range of None is the last 30 days."""

    format: str
    time_range: TimeRange
    segment_time_range: TimeRange | None
    fields: Sequence[str]


@attrs.define(kw_only=True, eq=False)
class EmulatedExport:
    """An export and its operation."""

    operation_id: str
    id: str
    request: ExportRequest
    created: float
    failure: str | None
    polls: int = 0
    finished: float | None = None
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class _Link:
    export: EmulatedExport
    path: Sequence[str]
    expires: float


@attrs.define(kw_only=True)
class ExportEndpoints:
    """Start exports, and return the state of their operations and signed links to their files."""

    rules: ExportRules
    users: FullstoryUsers
    clock: Clock = attrs.field(repr=False)
    _exports: list[EmulatedExport] = attrs.field(init=False, factory=list[EmulatedExport], repr=False)
    _links: dict[str, _Link] = attrs.field(init=False, factory=dict[str, _Link], repr=False)

    def routes(self) -> Sequence[ApiRoute]:
        """Return the routes with the key level that each needs."""
        start, operation = ("segments", "v1", "exports"), ("operations", "v1", "*")
        link = ("search", "v1", "exports", "*", "results")
        return (
            ApiRoute(method="POST", path=start, level=Level.ARCHITECT, handler=self.start),
            ApiRoute(method="GET", path=operation, level=Level.STANDARD, handler=self.operation),
            ApiRoute(method="GET", path=link, level=Level.ARCHITECT, handler=self.link),
        )

    def clear(self) -> None:
        """Delete all exports and links."""
        self._exports.clear()
        self._links.clear()

    def as_json(self) -> JsonValue:
        """Return all exports for debugging."""
        exports: list[JsonValue] = [
            {"operationId": export.operation_id, "state": _state(export), "polls": export.polls}
            for export in self._exports
        ]
        return {"exports": exports}

    def start(self, request: ReceivedRequest) -> VendorResponse:
        """Start an export of the individuals of a segment."""
        wanted = read_export(request.body)
        number = len(self._exports)
        export = EmulatedExport(
            operation_id=_export_id("operation", number),
            id=_export_id("export", number),
            request=wanted,
            created=self.clock(),
            failure=self.rules.failures[number] if number < len(self.rules.failures) else None,
        )
        self._exports.append(export)
        return json_response(200, {"operationId": export.operation_id}, applied=True)

    def operation(self, request: ReceivedRequest) -> VendorResponse:
        """Return the state of an export."""
        export = self._find(lambda export: export.operation_id == request.segments[2])
        self._advance(export)
        export.polls += 1
        return json_response(200, self._operation_json(export))

    def link(self, request: ReceivedRequest) -> VendorResponse:
        """Return a new signed link to the file of an export."""
        export = self._find(lambda export: export.id == request.segments[3])
        # Policy: an unfinished, failed or expired export has no results: 404.
        if _state(export) != "COMPLETED" or self.clock() >= self._expires(export):
            raise http_error(404)

        token, expires = secrets.token_hex(32), self.clock() + self.rules.link_seconds
        path = (STORAGE, f"{secrets.token_hex(8)}.{self._extension(export)}")
        self._links[token] = _Link(export, path, expires)
        query = urlencode({"X-Goog-Expires": math.ceil(self.rules.link_seconds), SIGNATURE: token})
        origin = self.rules.link_origin or _other_origin(request)
        return json_response(200, {"location": f"{origin}/{'/'.join(path)}?{query}", "expires": rfc3339(expires)})

    def download(self, request: ReceivedRequest) -> VendorResponse:
        """Return the file of a signed link, as an object storage does: without a key, and in parts if asked."""
        link = self._links.get(request.query.get(SIGNATURE, ""))
        if link is None or request.method != "GET" or request.segments != tuple(link.path):
            return _storage_error(403, "SignatureDoesNotMatch")
        # "Only one auth mechanism allowed": a key that is sent to another host has leaked.
        if "authorization" in request.headers:
            return _storage_error(400, "InvalidArgument")
        if self.clock() >= link.expires:
            return _storage_error(400, "ExpiredToken")
        return self._file(link.export, request)

    def _file(self, export: EmulatedExport, request: ReceivedRequest) -> VendorResponse:
        _, _, content_type = FORMATS[export.request.format]
        if self.rules.compression == "none":
            return _part(export.body, request, {"content-type": content_type})
        packed = gzip.compress(export.body, mtime=0)
        if self.rules.compression == "file":
            return _part(packed, request, {"content-type": "application/gzip"})
        if _accepts_gzip(request):
            return _part(packed, request, {"content-type": content_type, "content-encoding": "gzip"})
        # Google's storage unpacks here and ignores Range (2026-11-30, https://cloud.google.com/storage/docs/transcoding).
        return VendorResponse(status=200, body=export.body, headers={"content-type": content_type})

    def _extension(self, export: EmulatedExport) -> str:
        _, extension, _ = FORMATS[export.request.format]
        return extension if self.rules.compression == "none" else f"{extension}.gz"

    def _find(self, matches: Callable[[EmulatedExport], bool]) -> EmulatedExport:
        export = next(filter(matches, self._exports), None)
        if export is None:
            raise http_error(404)
        return export

    def _advance(self, export: EmulatedExport) -> None:
        is_due = self.clock() >= export.created + self.rules.seconds and export.polls >= self.rules.polls
        if export.finished is not None or not is_due:
            return

        export.finished = self.clock()
        if export.failure is None:
            export.body = self._body(export.request)

    def _body(self, request: ExportRequest) -> bytes:
        table = tabulate(self._individuals(request), request.fields)
        write, _, _ = FORMATS[request.format]
        return write(table.rows if self.rules.shows_nulls else table.without_nulls(), table.names)

    def _individuals(self, request: ExportRequest) -> Sequence[FullstoryUser]:
        now = self.clock()
        segment = request.segment_time_range or TimeRange(now - EVERYONE_SECONDS)
        # Policy: a user that is being deleted is not exported.
        return [
            user
            for user in self.users.all().values()
            if user.created in request.time_range
            and user.created in segment
            and not user.is_being_deleted
            and (self.rules.active_uids is None or user.uid in self.rules.active_uids)
        ]

    def _expires(self, export: EmulatedExport) -> float:
        return (export.finished or 0.0) + self.rules.result_seconds

    def _operation_json(self, export: EmulatedExport) -> JsonObject:
        reported = self.rules.reported_states
        state = reported[export.polls - 1] if export.polls <= len(reported) else _state(export)
        is_complete = state == "COMPLETED"
        results: JsonObject = {"searchExportId": export.id, "expires": rfc3339(self._expires(export))}
        return {
            "id": export.operation_id,
            "type": "SEARCH_EXPORT",
            "state": state,
            "step": "done" if export.finished is not None else "searching",
            "estimatePctComplete": self._percentage(export),
            "errorDetails": export.failure if state == "FAILED" else "",
            "results": results if is_complete else None,
        }

    def _percentage(self, export: EmulatedExport) -> int:
        if export.finished is not None:
            return 100
        elapsed = self.clock() - export.created
        by_time = elapsed / self.rules.seconds if self.rules.seconds else 1.0
        by_polls = export.polls / (self.rules.polls + 1)
        return int(99 * min(by_time, by_polls, 1.0))


def read_export(body: bytes) -> ExportRequest:
    """Return the request for an export in *body*.

    Raises:
        FullstoryHttpError: A field is missing, unknown or invalid (400), or the segment is unknown (404).
    """
    value = parse_object(body)
    unknown = value.keys() - {*REQUIRED, *OPTIONAL}
    if unknown:
        raise invalid(f"Unknown field {min(unknown)}")
    for name in REQUIRED:
        if name not in value:
            raise invalid(f"{name} is required", code="required_field")

    # Policy: only individuals of the built-in segment can be exported here.
    if value["type"] != "TYPE_INDIVIDUAL":
        raise invalid("type must be TYPE_INDIVIDUAL")
    if value["format"] not in FORMATS:
        raise invalid("format is unknown")
    if not isinstance(value.get("timezone", ""), str):
        raise invalid("timezone must be a string")
    request = ExportRequest(
        format=str(value["format"]),
        time_range=_read_range(value["timeRange"], "timeRange"),
        segment_time_range=_read_range(value["segmentTimeRange"], "segmentTimeRange")
        if "segmentTimeRange" in value
        else None,
        fields=read_fields(value.get("fields", [*STANDARD_FIELDS, ALL_CUSTOM])),
    )
    if value["segmentId"] != EVERYONE:
        raise http_error(404)
    return request


def _read_range(value: JsonValue, name: str) -> TimeRange:
    if not isinstance(value, dict) or value.keys() - {"start", "end"}:
        raise invalid(f"{name} must hold start and end")
    start = _read_time(value.get("start", ""), name)
    end = _read_time(value.get("end", ""), name)
    return TimeRange(-math.inf if start is None else start, math.inf if end is None else end)


def _read_time(value: JsonValue, name: str) -> float | None:
    if value == "":
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise invalid(f"{name} must hold RFC 3339 times or empty strings")
    return moment.timestamp()


def _state(export: EmulatedExport) -> str:
    if export.finished is None:
        return "PENDING"
    return "COMPLETED" if export.failure is None else "FAILED"


def _export_id(kind: str, number: int) -> str:
    # Policy: ids are opaque, so that these must be percent-encoded, as those of batches.
    digest = hashlib.sha256(f"{kind} {number}".encode()).digest()
    return f"{kind[0]}/+{base64.b64encode(digest[:10]).decode()}"


def _other_origin(request: ReceivedRequest) -> str:
    name, colon, port = request.headers["host"].rpartition(":")
    name, port = (name, port) if port.isdecimal() else (request.headers["host"], "")
    other = "127.0.0.1" if name.lower() == "localhost" else "localhost"
    return f"http://{other}{colon if port else ''}{port}"


def _accepts_gzip(request: ReceivedRequest) -> bool:
    codings = request.headers.get("accept-encoding", "").lower().split(",")
    return any(coding.partition(";")[0].strip() == "gzip" for coding in codings)


def _part(body: bytes, request: ReceivedRequest, headers: Mapping[str, str]) -> VendorResponse:
    etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    sent = {**headers, "etag": etag, "accept-ranges": "bytes"}
    match = RANGE.fullmatch(request.headers.get("range", ""))
    # Several ranges, a malformed one or one of an older file get the whole file (RFC 9110, section 14.2).
    if match is None or not any(match.groups()) or request.headers.get("if-range", etag) != etag:
        return VendorResponse(status=200, body=body, headers=sent)

    first, last = match.groups()
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(len(body), int(last) + 1) if first and last else len(body)
    if start >= end:
        return _storage_error(416, "InvalidRange", {"content-range": f"bytes */{len(body)}"})
    content_range = f"bytes {start}-{end - 1}/{len(body)}"
    return VendorResponse(status=206, body=body[start:end], headers={**sent, "content-range": content_range})


def _storage_error(status: int, code: str, headers: Mapping[str, str] | None = None) -> VendorResponse:
    # Policy: statuses and codes as Google's storage documents them for signed links (2026-11-30,
    # https://cloud.google.com/storage/docs/xml-api/reference-status).
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode()
    return VendorResponse(status=status, body=body, headers={"content-type": "application/xml", **(headers or {})})
