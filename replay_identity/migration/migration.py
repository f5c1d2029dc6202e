"""Move users from a vendor or a file to other vendors."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from threading import Event
from typing import TypeAlias

from ..adapters.protocols import IdentityBackend
from ..bulk import DeliveryOptions, DryRunReport, SyncReport, sync
from ..bulk import dry_run as dry_run_sync
from ..bulk.run import OnProgress
from ..bulk.worker import SenderFactory
from ..errors import ConfigurationError, SourceError
from ..ledger import Ledger
from ..router import Route, as_routes
from ..sources import BadRow, Row, Rows
from ..transport import concurrent_sender
from .readers import MigrationSource, RowReader
from .report import MigrationReport

WrapRows: TypeAlias = Callable[[Rows[Row | BadRow]], Iterable[Row | BadRow]]


def _unwrapped(rows: Rows[Row | BadRow]) -> Rows[Row | BadRow]:
    return rows


def migrate(  # noqa: PLR0913  # Two to move, and one for each option of `sync`.
    source: MigrationSource,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    dry_run: bool = False,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    wrap_rows: WrapRows = _unwrapped,
    same_account: bool = False,
    stop: Event | None = None,
    transport: SenderFactory = concurrent_sender,
) -> MigrationReport:
    """Bring the *backends* to the state of the *source*, and report what their limits did to each property.

    Like `sync`, a migration can be stopped at any time. The next run resumes it, and resumes reading a vendor at the
    last checkpoint.

    Args:
        source: A `VendorSource` or a `FileSource`.
        backends: Backends, or routes to them, with distinct names.
        ledger: Stores the desired state and the checkpoints. In a dry run it may be None.
        dry_run: Whether to report what a run from the first user on would do, without writing to a vendor or to the
            ledger.
        options: Delivery options by name of the backend.
        on_progress: Called a few times a second with the progress of each backend; not in a dry run.
        wrap_rows: Given the rows, returns those to read instead, for example to count rows with `Rows.through`.
        same_account: True if the account of each backend is the one used before, with another key; see `sync`.
        stop: Set it to stop the run; not in a dry run.
        transport: Makes the sender for a number of concurrent requests.

    Raises:
        ConfigurationError: There is no backend, two have the same name, *options* names an unknown one, or the
            ledger is missing.
        LedgerError: The ledger cannot be read or written, or a dry run cannot copy it.
        SourceError: A file cannot be read. If a vendor cannot be read, the report holds the failure.
    """
    routes = as_routes(backends)
    if dry_run:
        return _dry_run(source, routes, ledger, options, wrap_rows, same_account=same_account)
    if ledger is None:
        raise ConfigurationError("ledger", "expected a Ledger, got None", "only a dry run works without one")
    with closing(source.open(routes, ledger)) as reader:
        try:
            run = sync(
                wrap_rows(reader.rows()),
                routes,
                ledger=ledger,
                options=options,
                on_progress=on_progress,
                on_committed=reader.commit,
                same_account=same_account,
                stop=stop,
                transport=transport,
            )
        except SourceError as error:
            run = _stopped(reader, error)
        return MigrationReport(source.name, reader.listing, reader.fidelity, run, failure=reader.failure)


def _dry_run(
    source: MigrationSource,
    routes: list[Route],
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None,
    wrap_rows: WrapRows,
    *,
    same_account: bool,
) -> MigrationReport:
    # Without the ledger, the reader starts at the first user and stores no checkpoint.
    with closing(source.open(routes, None)) as reader:
        try:
            result = dry_run_sync(
                wrap_rows(reader.rows()), routes, ledger=ledger, options=options, same_account=same_account
            )
        except SourceError as error:
            result = DryRunReport(_stopped(reader, error), {})
        reader.commit(result.report.rows)
        return MigrationReport(
            source.name, reader.listing, reader.fidelity, result.report, result.estimate, reader.failure
        )


def _stopped(reader: RowReader, error: SourceError) -> SyncReport:
    """Return the report of a run that could not read a vendor; raise *error* for a file."""
    if reader.failure is None:
        raise error
    return SyncReport(stopped=str(error))
