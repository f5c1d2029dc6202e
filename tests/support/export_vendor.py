"""A vendor with scripted exports, and a store with scripted files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import attrs
import orjson

from replay_identity.adapters import (
    Exchange,
    ExportLink,
    ExportProgress,
    NoResponse,
    Page,
    Request,
    Response,
    StoredUser,
)
from replay_identity.adapters.exchange import T
from replay_identity.outcomes import Failure

LINK = ExportLink("https://store.example/file?signature=canary")


@attrs.define
class ExportVendor:
    """Returns the scripted results of each call in turn, then the last one again; a started export has a number.

    Attributes:
        starts: Failures of starts, before each start succeeds.
        polls: Results of polls.
        links: Results of asking for a link.
        calls: The calls so far.
    """

    starts: list[Failure] = attrs.field(factory=list[Failure])
    polls: list[ExportProgress | Failure] = attrs.field(factory=lambda: [ExportProgress("file")])
    links: list[ExportLink | Failure] = attrs.field(factory=lambda: [LINK])
    calls: list[str] = attrs.field(factory=list[str])
    started: int = 0
    name: str = "acme"

    def start_export(self) -> Exchange[str | Failure]:
        """Start an export."""
        yield self._call("start")
        if self.starts:
            return self.starts.pop(0)
        self.started += 1
        return f"op{self.started}"

    def poll_export(self, operation: str, /) -> Exchange[ExportProgress | Failure]:
        """Return the next progress."""
        yield self._call(f"poll {operation}")
        return _next(self.polls)

    def link_export(self, file_id: str, /) -> Exchange[ExportLink | Failure]:
        """Return the next link."""
        yield self._call(f"link {file_id}")
        return _next(self.links)

    def read_exported(self, line: bytes, /) -> StoredUser | None:
        """Return the user whose fields the line has as JSON."""
        try:
            fields: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return StoredUser(backend="acme", **fields)

    def get(self, user_id: str, /) -> Exchange[StoredUser | Failure | None]:
        """Raise: single users are not scripted."""
        raise NotImplementedError

    def pages(self, *, page_token: str | None = None) -> Iterator[Exchange[Page | Failure]]:
        """Raise: pages are not scripted."""
        raise NotImplementedError

    def _call(self, call: str) -> Request:
        self.calls.append(call)
        return Request("export", "GET", "http://127.0.0.1:1/")


def _next(results: list[T]) -> T:
    return results.pop(0) if len(results) > 1 else results[0]


@attrs.frozen
class Stored:
    """What a store responds.

    Attributes:
        body: The body.
        status: The status.
        etag: The ETag, if any.
        breaks_at: Length at which the connection is lost, or None.
        no_response: Why nothing is sent back.
        retry_after: Seconds that the store asks for.
    """

    body: bytes = b""
    status: int = 200
    etag: str = ""
    breaks_at: int | None = None
    no_response: NoResponse | None = None
    retry_after: str = ""


@attrs.define
class Store:
    """A `Download` with scripted files; the last one repeats.

    Attributes:
        files: The files.
        requests: The requests so far.
        limits: The limits of each download.
    """

    files: Sequence[Stored]
    requests: list[Request] = attrs.field(factory=list[Request])
    limits: list[Mapping[str, float]] = attrs.field(factory=list[Mapping[str, float]])

    def __call__(
        self, request: Request, file: BinaryIO, *, stall_timeout: float, timeout: float, max_bytes: int
    ) -> Response:
        """Write the next file."""
        stored = self.files[min(len(self.requests), len(self.files) - 1)]
        self.requests.append(request)
        self.limits.append({"stall_timeout": stall_timeout, "timeout": timeout, "max_bytes": max_bytes})
        if stored.no_response is not None:
            return Response(0, no_response=stored.no_response)
        headers = {"etag": stored.etag, "retry-after": stored.retry_after}
        if stored.status != 200:
            return Response(stored.status, headers)
        start = 0
        if "range" in request.headers and request.headers["if-range"] == stored.etag:
            start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        file.seek(start)
        file.truncate()
        file.write(stored.body[start : stored.breaks_at])
        if stored.breaks_at is not None:
            return Response(0, headers, no_response=NoResponse.CONNECTION_LOST)
        return Response(206 if start else 200, headers)
