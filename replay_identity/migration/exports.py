"""Read all users of a vendor from the file of an export, through failures, slow exports and expired links."""

import gzip
import tempfile
import zlib
from collections.abc import Callable, Hashable, Iterator
from io import SEEK_END
from itertools import islice
from math import inf
from typing import BinaryIO, Final, Protocol, Self, cast

import attrs
import orjson

from ..adapters.exchange import NoResponse, Request, Response
from ..adapters.protocols import ExportLink, ExportProgress, Page, StoredUser, SupportsExport
from ..bulk.repeated import IdCounts
from ..errors import SourceError
from ..outcomes import Failure, Misconfigured, Rejected, Unavailable, Unknown
from ..retry import Backoff
from .pager import MAX_RESTARTS, NamedBackend, PatientReader

_PAGE_USERS: Final = 500
# No user has more, and a file without line ends must not fill the memory: the part of a longer line is not a user.
_MAX_LINE_BYTES: Final = 32 * 2**20
_GZIP: Final = b"\x1f\x8b"
# A store may send a packed file packed once more.
_MAX_LAYERS: Final = 2
_RANGE_NOT_SATISFIABLE: Final = 416


class ExportableBackend(NamedBackend, SupportsExport, Protocol):
    """A backend that can export its users."""


class Download(Protocol):
    """Writes the body of a response to a file; see `transport.httpx_sender.download`."""

    def __call__(
        self, request: Request, file: BinaryIO, *, stall_timeout: float, timeout: float, max_bytes: int
    ) -> Response:
        """Return the response without its body."""
        ...


def ignore_token(_token: str) -> None:
    """Do nothing with the token of a new export."""


@attrs.frozen
class _Position:
    """A place in the file of an export, as stored in a checkpoint.

    Attributes:
        operation: The vendor's id of the operation.
        started_at: When the export was started, in seconds since 1970.
        users: Number of users before this place.
    """

    operation: str = attrs.field(repr=False)
    started_at: float
    users: int = 0

    @classmethod
    def parse(cls, token: str) -> Self:
        """Return the position that `token` returned."""
        return cls(*orjson.loads(token))

    def token(self) -> str:
        """Return the position as a text."""
        return orjson.dumps([self.operation, self.started_at, self.users]).decode()


class _DamagedError(Exception):
    """The file is not what the vendor exported; the text says why, without a value."""


class _TooLargeError(Exception):
    """The file is too large once it is unpacked."""


@attrs.define(eq=False)
class ExportFile:
    """The file of an export, in a temporary file without a name that only its owner can read.

    Attributes:
        reached: The size in bytes that any download of the file has reached.
        users_in_all: Number of users in the file.
        has_repeated_users: Whether several users have one id.
    """

    reached: int = attrs.field(default=0, init=False)
    users_in_all: int = attrs.field(default=0, init=False)
    has_repeated_users: bool = attrs.field(default=False, init=False)
    _raw: BinaryIO | None = attrs.field(default=None, init=False, repr=False)
    _etag: str | None = attrs.field(default=None, init=False, repr=False)

    @property
    def raw(self) -> BinaryIO:
        """The file as it was downloaded."""
        if self._raw is None:
            self._raw = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  # Closed by `close`.
        return self._raw

    def request(self, url: str) -> Request:
        """Return the request for the file at *url*, or for its rest if the beginning is there."""
        size = self.raw.seek(0, SEEK_END)
        rest = {"range": f"bytes={size}-", "if-range": self._etag} if size and self._etag else {}
        return Request("download_export", "GET", url, rest)

    def received(self, response: Response) -> None:
        """Record what was downloaded with *response*, or with a part of it."""
        if response.status == _RANGE_NOT_SATISFIABLE:
            self.clear()
        elif response.headers and (response.is_success or response.no_response is not None):
            etag = response.headers.get("etag", "")
            # A weak one may stand for other bytes.
            self._etag = etag if etag.startswith('"') else None
            self.reached = max(self.reached, self.raw.seek(0, SEEK_END))

    def clear(self) -> None:
        """Start again with an empty file."""
        self.raw.seek(0)
        self.raw.truncate()
        self._etag = None

    def check(self, backend: ExportableBackend, max_bytes: int) -> None:
        """Read all users, which at most *max_bytes* describe.

        Raises:
            _DamagedError: A line is not a user.
            _TooLargeError: There are more bytes.
        """
        counts, self.users_in_all = IdCounts(), 0

        def ids() -> Iterator[Hashable]:
            for user in self.users(backend, max_bytes):
                self.users_in_all += 1
                if user.user_id is not None:
                    yield user.user_id

        counts.add(ids())
        self.has_repeated_users = counts.repeated() is not None

    def users(self, backend: ExportableBackend, max_bytes: float = inf) -> Iterator[StoredUser]:
        """Yield the users in the file; see `check`."""
        number, size = 0, 0
        for line in self._lines():
            number, size = number + 1, size + len(line)
            if size > max_bytes:
                raise _TooLargeError
            if line.isspace():
                continue
            user = backend.read_exported(line)
            if user is None:
                raise _DamagedError(f"line {number} is not a user")
            yield user

    def close(self) -> None:
        """Delete the file."""
        if self._raw is not None:
            self._raw.close()

    def _lines(self) -> Iterator[bytes]:
        try:
            stream = self._unpacked()
            while line := stream.readline(_MAX_LINE_BYTES):
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise _DamagedError("it cannot be unpacked") from None

    def _unpacked(self) -> BinaryIO:
        stream = self.raw
        for _ in range(_MAX_LAYERS):
            stream.seek(0)
            is_packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            if not is_packed:
                break
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=stream, mode="rb"))
        return stream


@attrs.define(eq=False)
class ExportReader(PatientReader[ExportableBackend]):
    """Reads the users of a backend from the file of an export.

    Attributes:
        download: Downloads the file.
        on_started: Called with the token of each new export, so that it is not started again after a crash.
    """

    download: Download = attrs.field(kw_only=True)
    on_started: Callable[[str], None] = attrs.field(default=ignore_token, kw_only=True)
    _file: ExportFile = attrs.field(factory=ExportFile, init=False)
    _position: _Position | None = attrs.field(default=None, init=False)
    _is_downloaded: bool = attrs.field(default=False, init=False)
    _may_have_expired: bool = attrs.field(default=False, init=False)

    def users_ahead(self, token: str | None) -> Iterator[StoredUser]:
        """Yield the users that `pages` will yield.

        Raises:
            SourceError: The export cannot be read.
        """
        position = self._open(token)
        return islice(self._file.users(self.backend), position.users, None)

    def pages(self, token: str | None) -> Iterator[Page]:
        """Yield the users from *token* on, or those of a new export, in pages.

        Raises:
            SourceError: The export cannot be read.
        """
        position = self._open(token)
        users, read = islice(self._file.users(self.backend), position.users, None), position.users
        page = tuple(islice(users, _PAGE_USERS))
        while following := tuple(islice(users, _PAGE_USERS)):
            read += len(page)
            yield Page(page, attrs.evolve(position, users=read).token())
            page = following
        yield Page(page)

    def close(self) -> None:
        """Delete the file and close the connections."""
        self._file.close()
        super().close()

    def _open(self, token: str | None) -> _Position:
        """Download the export of *token*, or a new one if there is none, and return where to read on."""
        if self.failure is not None:
            raise self._stop(self.failure)
        if self._position is None and token is not None:
            self._position, self._may_have_expired = _Position.parse(token), True
        while not self._is_downloaded:
            position = self._position or self._start()
            self._position, self.requested_at = position, position.started_at
            try:
                result = self._obtain(position)
            except OSError as error:
                problem = f"cannot be read: the temporary file cannot be written: {error.strerror}"
                raise SourceError(self.backend.name, problem) from None
            if result is None:
                self._position, self._is_downloaded = self._place_in_file(position), True
            elif isinstance(result, Rejected) and self._may_have_expired and self.restarts < MAX_RESTARTS:
                self.restarts += 1
                self._position = None
            else:
                raise self._stop(result)
        return cast("_Position", self._position)

    def _start(self) -> _Position:
        operation = self._patiently(lambda: self._request(self.backend.start_export()))
        if not isinstance(operation, str):
            raise self._stop(operation)
        position = _Position(operation, self._sent_at)
        self.on_started(position.token())
        return position

    def _obtain(self, position: _Position) -> Failure | None:
        """Download the file of an export once it is complete; return why that is impossible."""
        file_id = self._wait_for_file(position.operation)
        if not isinstance(file_id, str):
            return file_id
        # What is known to have been there is gone if it is rejected.
        self._may_have_expired = True
        end = self.clock() + self.options.download_timeout
        return self._patiently(lambda: self._try_download(file_id, end), lambda: self._file.reached)

    def _wait_for_file(self, operation: str) -> str | Failure:
        """Return the vendor's id of the file of an export once it is complete."""
        backoff, is_reported = Backoff(self.options.poll_initial, self.options.poll_max), False
        started, stalled = self.clock(), 0.0
        while True:
            progress = self._patiently(lambda: self._request(self.backend.poll_export(operation)))
            if not isinstance(progress, ExportProgress):
                return progress
            if progress.file_id is not None:
                return progress.file_id
            wait = backoff.next()
            stalled = 0.0 if progress.makes_progress else stalled + wait
            if stalled > self.options.patience or self.clock() - started > self.options.job_patience:
                return Unavailable(self.backend.name, "the export does not end")
            if not is_reported:
                self.on_wait(wait, "the export is running")
            self.sleep(wait)
            is_reported = True

    def _try_download(self, file_id: str, end: float) -> Failure | None:
        link = self._request(self.backend.link_export(file_id))
        if not isinstance(link, ExportLink):
            return link
        if link.expires_at is not None and link.expires_at.timestamp() <= self.now():
            return Unavailable(self.backend.name, "the link to the export has expired; is this machine's clock right?")
        left = end - self.clock()
        if left <= 0:
            return self._limited("download_timeout")
        response = self.download(
            self._file.request(link.url),
            self._file.raw,
            stall_timeout=self.options.timeout,
            timeout=left,
            max_bytes=self.options.download_bytes,
        )
        return self._received(response)

    def _received(self, response: Response) -> Failure | None:
        self._file.received(response)
        if response.no_response is NoResponse.TOO_LARGE:
            return self._limited("download_bytes")
        if response.no_response is NoResponse.UNTRUSTED:
            hint = "Point SSL_CERT_FILE at your certificates."
            return Misconfigured(self.backend.name, f"download of the export: {response.cause}", hint)
        if not response.is_success:
            # An expired link gets another status from each store, and the next attempt has a new link.
            cause = f"download of the export: {response.cause}"
            return Unavailable(self.backend.name, cause, response.retry_after, response.status or None)
        try:
            self._file.check(self.backend, self.options.download_bytes)
        except _TooLargeError:
            return self._limited("download_bytes")
        except _DamagedError as error:
            self._file.clear()
            return Unknown(self.backend.name, f"download of the export: {error}")
        return None

    def _limited(self, setting: str) -> Misconfigured:
        return Misconfigured(self.backend.name, f"the export exceeds {setting}", f"Raise {setting}.")

    def _place_in_file(self, position: _Position) -> _Position:
        """Return *position*, or the beginning of the file if what was read before it is needed again."""
        if not position.users or (position.users <= self._file.users_in_all and not self._file.has_repeated_users):
            return position
        # The individuals of one user are merged before anything is sent, so they must be read in one run.
        self.restarts += 1
        first = attrs.evolve(position, users=0)
        self.on_started(first.token())
        return first
