"""Move the users of a vendor, or of a file, to other vendors, and keep a record of what could not be carried over."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from threading import Event
from typing import TypeAlias

from ..adapters.protocols import IdentityBackend
from ..bulk import DeliveryOptions, DryRunReport, SyncReport, dry_run, sync
from ..bulk.run import OnProgress
from ..bulk.worker import SenderFactory
from ..errors import SourceError
from ..ledger import Ledger
from ..router import Route, as_routes
from ..sources import BadRow, Row
from ..transport import concurrent_sender
from .readers import MigrationSource
from .report import MigrationReport

Rows: TypeAlias = Iterator[Row | BadRow]
Watch: TypeAlias = Callable[[Rows], Iterable[Row | BadRow]]


def _unwatched(rows: Rows) -> Rows:
    return rows


def migrate(
    source: MigrationSource,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    watch: Watch = _unwatched,
    stop: Event | None = None,
    transport: SenderFactory = concurrent_sender,
) -> MigrationReport:
    """Bring the *backends* to the state of the *source*, and return what became of users and of their properties.

    As `sync`, it can be ended at any moment, and the next run goes on from there, the reading of a vendor as well.

    Args:
        source: A `VendorSource` or a `FileSource`.
        backends: Backends, or routes to them; their names must differ.
        ledger: Where the desired state is kept, and how far the reading has come.
        options: How fast and how patiently, by name of the backend.
        on_progress: Is told a few times a second how far each backend is.
        watch: Is given the rows, and yields them: for whoever wants to see how far the reading is.
        stop: Set it to have the run come to an end.
        transport: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read or written.
        SourceError: Not even the first row of a file can be read. Why a vendor's users cannot be is in the report.
    """
    routes = as_routes(backends)
    with closing(source.open(routes, ledger)) as reading:
        try:
            run = sync(
                watch(reading.rows()),
                routes,
                ledger=ledger,
                options=options,
                on_progress=on_progress,
                on_committed=reading.taken,
                stop=stop,
                transport=transport,
            )
        except SourceError as error:
            if reading.failure is None:
                raise
            run = SyncReport(stopped=str(error))
        return MigrationReport(source.name, reading.listing, reading.fidelity, run, failure=reading.failure)


def rehearse_migration(
    source: MigrationSource,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    watch: Watch = _unwatched,
) -> MigrationReport:
    """Return what `migrate` would come to, from the first user on, without writing to any vendor or to the *ledger*.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read, or there is no room for its copy.
        SourceError: Not even the first row of a file can be read. Why a vendor's users cannot be is in the report.
    """
    routes = as_routes(backends)
    with closing(source.open(routes, None)) as reading:
        try:
            dry_run_report = dry_run(watch(reading.rows()), routes, ledger=ledger, options=options)
        except SourceError as error:
            if reading.failure is None:
                raise
            dry_run_report = DryRunReport(SyncReport(stopped=str(error)), {})
        reading.taken(dry_run_report.report.rows)
        return MigrationReport(
            source.name,
            reading.listing,
            reading.fidelity,
            dry_run_report.report,
            dry_run_report.estimate,
            reading.failure,
        )
