"""Read rows from a file, or from a vendor with checkpoints in the ledger."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, get_args

import attrs

from ..adapters.protocols import Page, SupportsExport
from ..bulk.options import DeliveryOptions
from ..bulk.repeated import Users, as_rows
from ..errors import ConfigurationError
from ..ledger import Checkpoint, Ledger
from ..mapping import RowMapping
from ..outcomes import Failure
from ..retry import RetryPolicy
from ..router import Route
from ..sources import BadRow, Row, Rows
from ..transport import Sender, Transport
from .conversion import Conversion
from .exports import Download, ExportableBackend, ExportReader
from .fidelity import Fidelity
from .pager import OnWait, PageReader, ReadableBackend, ignore_wait
from .report import ListingStats, ReadStats

Via: TypeAlias = Literal["pages", "export"]

# Older checkpoints are ignored: users on the pages read before may have changed since.
MAX_CHECKPOINT_AGE: Final = 24 * 3600
_SINGLE_ATTEMPT: Final = RetryPolicy(attempts=1)


class RowReader(Protocol):
    """An open source: its rows, and statistics of the rows committed so far."""

    @property
    def fidelity(self) -> Fidelity:
        """What the backends' limits did to each property."""
        ...

    @property
    def listing(self) -> ListingStats | None:
        """What the vendor listed, or None if the source is not a vendor."""
        ...

    @property
    def failure(self) -> Failure | None:
        """The failure that stopped reading a vendor before the last page, or None."""
        ...

    def rows(self) -> Rows[Row | BadRow]:
        """Return the rows."""
        ...

    def commit(self, row_count: int) -> None:
        """Record that the first *row_count* rows are stored and need not be read again."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class MigrationSource(Protocol):
    """Where a migration reads users from."""

    @property
    def name(self) -> str:
        """The name of the backend or the file."""
        ...

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> RowReader:
        """Open the source for the backends that *routes* lead to, at the checkpoint that *ledger* has, if any."""
        ...


@attrs.frozen
class FileSource:
    """Users from a file or a query, as `read_users` and `read_query` yield them.

    Attributes:
        name: Name of the file.
        users: Its rows; or users from Python, of any kind that `sync` takes.
    """

    name: str
    users: Users = attrs.field(repr=False)

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> "FileReader":  # noqa: ARG002  # As `MigrationSource`.
        """Open the file at its first row."""
        return FileReader(self.users, Fidelity(routes))


@attrs.define(eq=False)
class FileReader:
    """The rows of a file. A later run reads all of them again, and sends only what has changed."""

    users: Users = attrs.field(repr=False)
    fidelity: Fidelity
    listing: None = None
    failure: None = None

    def rows(self) -> Rows[Row | BadRow]:
        """Return the rows."""
        return as_rows(self.users).through(self._with_fidelity)

    def commit(self, row_count: int) -> None:
        """Do nothing: files have no checkpoints."""

    def close(self) -> None:
        """Do nothing: the caller owns the rows."""

    def _with_fidelity(self, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
        for row in rows:
            if isinstance(row, Row):
                self.fidelity.add(row.user)
            yield row


def _check_via(source: "VendorSource", _attribute: object, via: str) -> None:
    if via not in get_args(Via):
        raise ConfigurationError("via", f"expected one of {', '.join(get_args(Via))}")
    if via == "export" and not isinstance(source.backend, SupportsExport):
        raise ConfigurationError("via", f"{source.backend.name} has no exports", 'use via="pages"')


@attrs.frozen(kw_only=True)
class VendorSource:
    """The users of a vendor, read page by page or from an export.

    Attributes:
        backend: The backend to read.
        via: ``"pages"`` reads the vendor's list page by page, ``"export"`` one file, if the backend `SupportsExport`.
        mapping: Rules for the fields of stored users; see `Conversion`.
        options: Quota, backoff and patience of the requests.
        restart: Whether to ignore checkpoints and read from the first user.
        on_wait: Called before each wait with its seconds and cause.
        transport: Sends requests; by default an HTTP client of its own.
        download: Downloads the file of an export; by default with an HTTP client of its own.
        clock: Returns seconds since 1970.
        sleep: Waits for a number of seconds.

    Raises:
        ConfigurationError: The backend has no exports, or *via* is unknown.
    """

    backend: ReadableBackend
    via: Via = attrs.field(default="pages", validator=_check_via)
    mapping: RowMapping | None = None
    options: DeliveryOptions = attrs.field(factory=DeliveryOptions)
    restart: bool = False
    on_wait: OnWait = ignore_wait
    transport: Sender | None = None
    download: Download | None = None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        """The name of the backend."""
        return self.backend.name

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> "VendorReader":
        """Open the list of users, at the checkpoint of an earlier run with the same backends and mapping, if any."""
        pages = self._export_reader() if self.via == "export" else self._page_reader()
        name = self._checkpoint_name(routes)
        reader = VendorReader(name, pages, Conversion(self.mapping), routes, ledger, self.clock)
        if isinstance(pages, ExportReader):
            pages.on_started = reader.begin
        if not self.restart:
            reader.resume()
        return reader

    def _page_reader(self) -> PageReader:
        return PageReader(self.backend, self._transport(), self.options, self.on_wait, sleep=self.sleep, now=self.clock)

    def _export_reader(self) -> ExportReader:
        # Importing httpx takes longer than importing the rest of the package.
        from ..transport.httpx_sender import download  # noqa: PLC0415

        return ExportReader(
            cast("ExportableBackend", self.backend),
            self._transport(),
            self.options,
            self.on_wait,
            sleep=self.sleep,
            now=self.clock,
            download=self.download or download,
        )

    def _transport(self) -> Transport:
        return Transport(self.transport, retry=_SINGLE_ATTEMPT, timeout=self.options.timeout)

    def _checkpoint_name(self, routes: Sequence[Route]) -> str:
        """Return a name that differs for other backends and mappings."""
        settings: dict[str, Any] = {} if self.mapping is None else attrs.asdict(self.mapping)
        fingerprint = blake2b(repr(sorted(settings.items())).encode(), digest_size=8).hexdigest()
        way = "" if self.via == "pages" else f" via {self.via}"
        return f"{self.name} to {', '.join(sorted(route.name for route in routes))} by {fingerprint}{way}"


@attrs.frozen
class _PageEnd:
    """The end of a page: the rows yielded so far, the next page's token, and statistics of this page."""

    row_count: int
    token: str | None = attrs.field(repr=False)
    stats: ReadStats


@attrs.define(eq=False)
class VendorReader:
    """The rows of a vendor's users. Users without an id, or being deleted, are counted but not yielded.

    Attributes:
        checkpoint_name: Name of the checkpoint in the ledger.
        page_reader: Reads the users in pages.
        conversion: Converts users to rows.
        routes: Routes to the backends that get the rows.
        ledger: Stores the checkpoint, or None.
        clock: Returns seconds since 1970.
    """

    checkpoint_name: str
    page_reader: PageReader | ExportReader
    conversion: Conversion
    routes: Sequence[Route]
    ledger: Ledger | None
    clock: Callable[[], float]
    _stats: ReadStats = attrs.field(init=False)
    _earlier: int = attrs.field(default=0, init=False)
    _token: str | None = attrs.field(default=None, init=False, repr=False)
    _rows_yielded: int = attrs.field(default=0, init=False)
    _users_read: int = attrs.field(default=0, init=False)
    _uncommitted: deque[_PageEnd] = attrs.field(factory=deque[_PageEnd], init=False)

    def __attrs_post_init__(self) -> None:
        self._stats = ReadStats.empty(self.routes)

    @property
    def fidelity(self) -> Fidelity:
        """What the backends' limits did to each property."""
        return self._stats.fidelity

    @property
    def listing(self) -> ListingStats:
        """What the vendor listed."""
        return self._stats.listing(earlier=self._earlier, restarts=self.page_reader.restarts)

    @property
    def failure(self) -> Failure | None:
        """The failure that stopped reading before the last page, or None."""
        return self.page_reader.failure

    def resume(self) -> None:
        """Continue at the checkpoint in the ledger, unless it is too old."""
        checkpoint = None if self.ledger is None else self.ledger.checkpoint(self.checkpoint_name)
        if checkpoint is None or self.clock() - checkpoint.stored_at > MAX_CHECKPOINT_AGE:
            return
        self._token = checkpoint.token
        self._stats = ReadStats.from_json(checkpoint.stats, self.routes)
        self._earlier = self._users_read = self._stats.counts.total()

    def begin(self, token: str) -> None:
        """Store *token*, of a place before the first user, so that a later run does not start over."""
        self._reset()
        if self.ledger is not None:
            self.ledger.set_checkpoint(self.checkpoint_name, self._checkpoint(token))

    def rows(self) -> Rows[Row | BadRow]:
        """Return the rows."""
        return Rows(self._rows(), self._ids)

    def commit(self, row_count: int) -> None:
        """Record that the first *row_count* rows are stored, and move the checkpoint to the last complete page."""
        last: _PageEnd | None = None
        while self._uncommitted and self._uncommitted[0].row_count <= row_count:
            last = self._uncommitted.popleft()
            self._stats.merge(last.stats)
        if last is not None and self.ledger is not None:
            self.ledger.set_checkpoint(self.checkpoint_name, self._checkpoint(last.token))

    def close(self) -> None:
        """Close the connections."""
        self.page_reader.close()

    def _rows(self) -> Iterator[Row | BadRow]:
        restarts = 0
        for page in self.page_reader.pages(self._token):
            if restarts < self.page_reader.restarts:
                restarts = self.page_reader.restarts
                self._reset()
            yield from self._page_rows(page)

    def _ids(self) -> Iterator[str]:
        for stored in self.page_reader.users_ahead(self._token):
            user_id = self.conversion.user_id(stored)
            if user_id is not None:
                yield user_id

    def _page_rows(self, page: Page) -> Iterator[Row | BadRow]:
        stats = ReadStats.empty(self.routes)
        # The time of the request, so that newer traits from the application are not overwritten.
        requested_at = datetime.fromtimestamp(self.page_reader.requested_at, UTC)
        for stored in page.users:
            self._users_read += 1
            observed_at = _observed_at(requested_at, stored.created_at)
            row = self.conversion.to_row(stored, self._users_read, observed_at)
            if isinstance(row, Row) and row.user.user_id is None:
                stats.add(stored, None)
                continue
            stats.add(stored, row)
            if not stored.being_deleted:
                self._rows_yielded += 1
                yield row
        self._uncommitted.append(_PageEnd(self._rows_yielded, page.next_token, stats))

    def _reset(self) -> None:
        """Discard the statistics, since reading starts again; the count of rows continues."""
        self._stats, self._earlier, self._users_read = ReadStats.empty(self.routes), 0, 0
        self._uncommitted.clear()

    def _checkpoint(self, token: str | None) -> Checkpoint | None:
        return None if token is None else Checkpoint(token, int(self.clock()), self._stats.to_json())


def _observed_at(requested_at: datetime, created_at: datetime | None) -> datetime:
    """Return *requested_at*, or a moment before it that is earlier for a user who was created earlier.

    So the newest of several users with one id wins, property by property. A year before the request counts as half a
    minute.
    """
    if created_at is None or created_at > requested_at:
        return requested_at
    return requested_at - (requested_at - created_at) / 1_000_000
