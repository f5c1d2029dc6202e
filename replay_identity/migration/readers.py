"""Where the users of a migration come from, a vendor or a file, and what is on record of those who were taken in."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Protocol

import attrs

from ..adapters.protocols import Page
from ..bulk.options import DeliveryOptions
from ..ledger import Checkpoint, Ledger
from ..mapping import RowMapping
from ..outcomes import Failure
from ..retry import RetryPolicy
from ..router import Route
from ..sources import BadRow, Row
from ..transport import Sender, Transport
from .conversion import Conversion
from .fidelity import Fidelity
from .pager import OnWait, PageReader, Readable, tell_nobody
from .report import ListingStats, ReadStats

# A reading that was left for longer begins anew: who has changed on the pages that were read would be stale.
CHECKPOINT_SECONDS: Final = 24 * 3600
_ONE_TRY: Final = RetryPolicy(attempts=1)


class RowReader(Protocol):
    """Rows of users, and what is on record of those who were taken in."""

    @property
    def fidelity(self) -> Fidelity:
        """Return what the vendors' limits made of each property."""
        ...

    @property
    def listing(self) -> ListingStats | None:
        """Return what the vendor has shown, or None where the source is none."""
        ...

    @property
    def failure(self) -> Failure | None:
        """Return what ended the reading of a vendor before its end, or None."""
        ...

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the users."""
        ...

    def taken(self, rows: int) -> None:
        """Take note that so many *rows* need not be given again."""
        ...

    def close(self) -> None:
        """Free what it took to read."""
        ...


class MigrationSource(Protocol):
    """Where users come from."""

    @property
    def name(self) -> str:
        """Return the name of the vendor's backend or of the file."""
        ...

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> RowReader:
        """Begin to read, for these *routes*; where a *ledger* knows the place, go on from there."""
        ...


@attrs.frozen
class FileSource:
    """Users of a file or a query, as `read_users` and `read_query` yield them.

    Attributes:
        name: Name of the file.
        users: Its rows.
    """

    name: str
    users: Iterable[Row | BadRow] = attrs.field(repr=False)

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> "FileReader":  # noqa: ARG002  # As `MigrationSource`.
        """Begin to read."""
        return FileReader(self.users, Fidelity(routes))


@attrs.define(eq=False)
class FileReader:
    """The rows of a file; a run that goes on reads them again, and sends nothing that is unchanged."""

    users: Iterable[Row | BadRow] = attrs.field(repr=False)
    fidelity: Fidelity
    listing: None = None
    failure: None = None

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the users."""
        for row in self.users:
            if isinstance(row, Row):
                self.fidelity.add(row.user)
            yield row

    def taken(self, rows: int) -> None:
        """Do nothing: a file begins anew."""

    def close(self) -> None:
        """Do nothing: the rows are the caller's."""


@attrs.frozen(kw_only=True)
class VendorSource:
    """The users of a vendor, page by page.

    Attributes:
        backend: The backend that shows them.
        mapping: What is made of their fields; see `Conversion`.
        options: How fast, and how patiently, the vendor is asked.
        begins_anew: Whether to read all of them, wherever an earlier run has come to.
        on_wait: Is told before each wait how many seconds it is, and why.
        transport: What sends; by default an HTTP client of ours.
        clock: Seconds since 1970.
        sleep: Waits so many seconds.
    """

    backend: Readable
    mapping: RowMapping | None = None
    options: DeliveryOptions = attrs.field(factory=DeliveryOptions)
    begins_anew: bool = False
    on_wait: OnWait = tell_nobody
    transport: Sender | None = None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        """Return the name of the backend."""
        return self.backend.name

    def open(self, routes: Sequence[Route], ledger: Ledger | None) -> "VendorReader":
        """Begin to read, or go on where an earlier run to the same backends by the same mapping has come to."""
        transport = Transport(self.transport, retry=_ONE_TRY, timeout=self.options.timeout)
        reader = PageReader(self.backend, transport, self.options, self.on_wait, sleep=self.sleep, now=self.clock)
        reading = VendorReader(self._title(routes), reader, Conversion(self.mapping), routes, ledger, self.clock)
        if not self.begins_anew:
            reading.go_on()
        return reading

    def _title(self, routes: Sequence[Route]) -> str:
        """Return what tells this reading from those for other backends or by other mappings."""
        said: dict[str, Any] = {} if self.mapping is None else attrs.asdict(self.mapping)
        digest = blake2b(repr(sorted(said.items())).encode(), digest_size=8).hexdigest()
        return f"{self.name} to {', '.join(sorted(route.name for route in routes))} by {digest}"


@attrs.frozen
class _Checkpoint:
    """The end of a page: how many rows were given by then, where to go on, and what is on record of its users."""

    rows: int
    token: str | None = attrs.field(repr=False)
    record: ReadStats


@attrs.define(eq=False)
class VendorReader:
    """The rows of a vendor's users; those who are being deleted and those without an id are only counted.

    Attributes:
        title: Under what name the ledger keeps the place.
        reader: What reads the pages.
        conversion: How users become rows.
        routes: Whom they are for.
        ledger: Where the place is kept, or None.
        clock: Seconds since 1970.
    """

    title: str
    reader: PageReader
    conversion: Conversion
    routes: Sequence[Route]
    ledger: Ledger | None
    clock: Callable[[], float]
    _record: ReadStats = attrs.field(init=False)
    _earlier: int = attrs.field(default=0, init=False)
    _token: str | None = attrs.field(default=None, init=False, repr=False)
    _given: int = attrs.field(default=0, init=False)
    _seen: int = attrs.field(default=0, init=False)
    _marks: deque[_Checkpoint] = attrs.field(factory=deque[_Checkpoint], init=False)

    def __attrs_post_init__(self) -> None:
        self._record = ReadStats.to(self.routes)

    @property
    def fidelity(self) -> Fidelity:
        """Return what the vendors' limits made of each property."""
        return self._record.fidelity

    @property
    def listing(self) -> ListingStats:
        """Return what the vendor has shown."""
        return self._record.listing(earlier=self._earlier, restarts=self.reader.restarts)

    @property
    def failure(self) -> Failure | None:
        """Return what ended the reading before its end, or None."""
        return self.reader.failure

    def go_on(self) -> None:
        """Go on from where the ledger says, unless that was too long ago."""
        checkpoint = None if self.ledger is None else self.ledger.checkpoint(self.title)
        if checkpoint is None or self.clock() - checkpoint.stored_at > CHECKPOINT_SECONDS:
            return
        self._token = checkpoint.token
        self._record = ReadStats.of_json(checkpoint.stats, self.routes)
        self._earlier = self._seen = self._record.counts.total()

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the users."""
        restarts = 0
        for page in self.reader.pages(self._token):
            if restarts < self.reader.restarts:
                restarts = self.reader.restarts
                self._forget_all()
            yield from self._rows_of(page)

    def taken(self, rows: int) -> None:
        """Take note that so many *rows* are on disk, and store where to go on."""
        reached: _Checkpoint | None = None
        while self._marks and self._marks[0].rows <= rows:
            reached = self._marks.popleft()
            self._record.merge(reached.record)
        if reached is not None and self.ledger is not None:
            self.ledger.set_checkpoint(self.title, self._checkpoint(reached.token))

    def close(self) -> None:
        """Free the connections."""
        self.reader.transport.close()

    def _rows_of(self, page: Page) -> Iterator[Row | BadRow]:
        record = ReadStats.to(self.routes)
        # Older than what an app says meanwhile of the same users, so that nothing newer is undone.
        moment = datetime.fromtimestamp(self.reader.asked_at, UTC)
        for stored in page.users:
            self._seen += 1
            row = self.conversion.row(stored, self._seen, moment)
            if isinstance(row, Row) and row.user.user_id is None:
                record.count(stored, None)
                continue
            record.count(stored, row)
            if not stored.being_deleted:
                self._given += 1
                yield row
        self._marks.append(_Checkpoint(self._given, page.next_token, record))

    def _forget_all(self) -> None:
        """Begin the record anew, as the reading does; the rows are still counted on."""
        self._record, self._earlier, self._seen = ReadStats.to(self.routes), 0, 0
        self._marks.clear()

    def _checkpoint(self, token: str | None) -> Checkpoint | None:
        return None if token is None else Checkpoint(token, int(self.clock()), self._record.as_json())
