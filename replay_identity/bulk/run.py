"""Bring every vendor to the state that a source of users describes."""

import gc
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from typing import Final, TypeAlias

import attrs

from ..adapters.protocols import IdentityBackend
from ..errors import SourceError
from ..ledger import Claim, Ledger
from ..router import Route
from ..sources import BadRow, Row, Rows
from ..sources.inspection import with_warnings
from ..traits import UserTraits
from ..transport import concurrent_sender
from .mirror import Mirror, MirrorRun
from .options import DeliveryOptions
from .outbox import BitSet
from .repeated import IdCounts, RepeatedUsers, RowMerger, Users, as_rows
from .report import Progress, SyncReport
from .worker import BackendWorker, SenderFactory, ask_organisations, make_worker, routes_with_options

OnProgress: TypeAlias = Callable[[Sequence[Progress]], None]
OnCommitted: TypeAlias = Callable[[int], None]

_MAX_BAD_ROWS: Final = 20
# Rows read at once: few at first, so that sending begins soon; then the number doubles each time.
_FIRST_CHUNK_ROWS: Final = 250
_MAX_CHUNK_ROWS: Final = 4000
# Ids read at once before the rows.
_CHUNK_IDS: Final = 20_000
# Reading pauses while even the fastest vendor has more users to catch up on.
_MAX_BACKLOG: Final = 10_000
_MAX_BACKLOG_WITHOUT_LEDGER: Final = 5_000
# Seconds between two looks at the workers, and between two calls of `on_progress`.
_POLL_INTERVAL_S: Final = 0.02
_PROGRESS_INTERVAL_S: Final = 0.2
# Thresholds of the cyclic garbage collector during a run; see `relaxed_gc`.
_GC_THRESHOLDS: Final = (100_000, 20, 50)
_ANONYMOUS: Final = "the user has no id; anonymous users can only be sent without a ledger"


def sync(  # noqa: PLR0913  # Two inputs, and one parameter for each setting and callback.
    users: Users,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | str | Path | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    on_committed: OnCommitted | None = None,
    resend: bool = False,
    same_account: bool = False,
    mirror: Mirror | None = None,
    stop: Event | None = None,
    transport: SenderFactory = concurrent_sender,
) -> SyncReport:
    """Bring the vendors to the state that *users* describe.

    A run may end at any moment, by Ctrl-C, *stop* or a crash: with a ledger, the next run resumes where it ended.

    Args:
        users: `UserTraits`, rows from `read_users`, or whatever `read_rows` reads: dicts, rows of a database, a frame.
            Invalid rows are only counted in the report.
        backends: Backends, or routes to them, with distinct names.
        ledger: A ledger, or the path of its file, which is created if missing. With None, users who are
            pending at the end of the run are forgotten, and so are batches that have not ended.
        options: Delivery options by name of the backend.
        on_progress: Called a few times a second with the progress of each backend.
        on_committed: Called with the number of rows committed so far. With a ledger they are durable, so the source
            need not replay them.
        resend: Also resend what vendors already confirmed, for example after users were deleted there.
        same_account: True if the account of each backend is the one that the ledger was used for before, although its
            name differs, because the key was rotated. Without it, everything is sent to an account with another name.
        mirror: What to do about users who vanished since the last run, if *users* are complete.
        stop: Event that ends the run: nothing more is sent, but requests in flight are completed.
        transport: Factory for the concurrent sender; receives the maximum number of connections.

    Returns:
        The report, in which every user is accounted for.

    Raises:
        ConfigurationError: There is no backend, two have the same name, *options* names an unknown one, or a *mirror*
            has no ledger.
        LedgerError: The ledger cannot be read or written.
        SourceError: The source could not be read at all.
    """
    settings, stopping, rows = routes_with_options(backends, options), stop or Event(), as_rows(users)
    with open_ledger(ledger) as opened:
        rows = inspected_at_first(rows, opened)
        mirror_run = None if mirror is None else MirrorRun.begin(mirror, opened)
        held = BitSet()
        former = _learn_organisations(settings, opened, transport, stopping)
        workers = [
            make_worker(route, opened, chosen, held=held, same_account=same_account) for route, chosen in settings
        ]
        for worker in workers:
            worker.report.former_account = former.get(worker.report.backend, "")
        for worker in workers:
            worker.siblings = [each for each in workers if each is not worker and each.shares_account(worker)]
        if resend and opened is not None:
            for worker in workers:
                opened.invalidate(worker.account)
        on_chunk = on_committed if mirror_run is None else mirror_run.mark_committed(on_committed)
        run = _Run(workers, opened, held, transport, on_progress, on_chunk, stopping)
        with relaxed_gc():
            report = run.run(rows if mirror_run is None else mirror_run.track(rows))
        if mirror_run is not None:
            mirror_run.finish(report, settings, transport, stopping)
        return report


def _learn_organisations(
    settings: Iterable[tuple[Route, DeliveryOptions]], ledger: Ledger | None, transport: SenderFactory, stop: Event
) -> Mapping[str, str]:
    """Ask which organisations the keys belong to; return the former account of each backend whose key has moved."""
    if ledger is None:
        return {}
    routes = [route for route, _ in settings]
    names = ask_organisations(routes, transport, stop.is_set)
    moved = {account: ledger.learn_organisation(account, name) for account, name in names.items()}
    return {route.name: moved[route.account] or "" for route in routes if route.account in moved}


def inspected_at_first(rows: Rows[Row | BadRow], ledger: Ledger | None) -> Rows[Row | BadRow]:
    """Return *rows* with warnings, if the ledger was never used and the caller has not warned of them yet."""
    is_first = ledger is None or not ledger.vendor_accounts()
    return with_warnings(rows) if is_first and not rows.notes.warnings else rows


def deliver(
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | str | Path,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    same_account: bool = False,
    stop: Event | None = None,
    transport: SenderFactory = concurrent_sender,
) -> SyncReport:
    """Send the pending users of *ledger*; like `sync` without users."""
    return sync(
        Rows(iter(())),
        backends,
        ledger=ledger,
        options=options,
        on_progress=on_progress,
        same_account=same_account,
        stop=stop,
        transport=transport,
    )


@contextmanager
def open_ledger(ledger: Ledger | str | Path | None) -> Generator[Ledger | None]:
    """Yield *ledger*, or open the one at that path and close it at the end."""
    if ledger is None or isinstance(ledger, Ledger):
        yield ledger
        return
    with Ledger(ledger) as opened:
        yield opened


@attrs.define(eq=False)
class _Run:
    """One run: the calling thread reads, and each backend has a worker thread. It is the workers' `StopSignal`."""

    workers: Sequence[BackendWorker]
    ledger: Ledger | None
    held: BitSet
    transport: SenderFactory
    on_progress: OnProgress | None
    on_committed: OnCommitted | None
    stop: Event
    report: SyncReport = attrs.field(factory=SyncReport)
    _is_complete: Event = attrs.field(factory=Event)
    _is_over: Event = attrs.field(factory=Event)
    _progress_at: float = 0.0

    def run(self, users: Rows[Row | BadRow]) -> SyncReport:
        """Read and deliver *users*, and return the closed report."""
        self.report.backends = tuple(worker.report for worker in self.workers)
        ingest, rows = Ingest(self.workers, self.ledger, self.report, self.held), users
        try:
            self._look_ahead(ingest, rows)
            for worker in self.workers:
                worker.start(self, self.transport)
            self._read(ingest, rows)
            self._is_complete.set()
            self._wait_while(lambda: any(worker.is_alive for worker in self.workers))
            if self.stop.is_set():
                self.report.stopped = self.report.stopped or "stopped"
        except KeyboardInterrupt:
            self.report.stopped = "interrupted"
        finally:
            self._is_over.set()
            for worker in self.workers:
                worker.join()
        self._raise_worker_error()
        ingest.close()
        for worker in self.workers:
            worker.close_report()
        self._report_progress(is_final=True)
        return self.report

    def is_complete(self) -> bool:
        """Return True if the source has ended."""
        return self._is_complete.is_set()

    def is_stopped(self) -> bool:
        """Return True if the workers should end soon."""
        return self.stop.is_set() or self._is_over.is_set()

    def _look_ahead(self, ingest: "Ingest", rows: Rows[Row | BadRow]) -> None:
        for _ in ingest.look_ahead(rows):
            self._report_progress()
            if self.stop.is_set():
                break

    def _read(self, ingest: "Ingest", rows: Rows[Row | BadRow]) -> None:
        for _ in ingest.ingest(rows):
            self._report_committed()
            self._wait_while(self._is_far_ahead)
            if self.stop.is_set():
                break
        self._report_committed()

    def _is_far_ahead(self) -> bool:
        max_backlog = _MAX_BACKLOG if self.ledger is not None else _MAX_BACKLOG_WITHOUT_LEDGER
        backlogs = [worker.outbox.backlog() for worker in self.workers if worker.is_delivering]
        return bool(backlogs) and min(backlogs) > max_backlog and not self.stop.is_set()

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        self._report_progress()
        self._raise_worker_error()
        while condition():
            time.sleep(_POLL_INTERVAL_S)
            self._report_progress()
            self._raise_worker_error()

    def _report_committed(self) -> None:
        if self.on_committed is not None:
            self.on_committed(self.report.rows)

    def _report_progress(self, *, is_final: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is not None and (is_final or now - self._progress_at >= _PROGRESS_INTERVAL_S):
            self._progress_at = now
            self.on_progress([worker.progress() for worker in self.workers])

    def _raise_worker_error(self) -> None:
        for worker in self.workers:
            if worker.error is not None:
                raise worker.error


@attrs.define
class Ingest:
    """Read rows, reject invalid ones, and enqueue the rest, each user once all of their rows are merged.

    Attributes:
        workers: The workers to enqueue users for.
        ledger: The ledger to upsert users into, or None.
        report: Counts the rows.
        held: Row ids of the users in the ledger who have rows yet to be read.
    """

    workers: Sequence[BackendWorker]
    ledger: Ledger | None
    report: SyncReport
    held: BitSet
    _repeated: RepeatedUsers | None = attrs.field(default=None, init=False)
    _merger: RowMerger | None = attrs.field(default=None, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False, repr=False)
    # Of the current chunk, which is counted once it is committed.
    _chunk_rows: int = attrs.field(default=0, init=False)
    _bad_rows: list[BadRow] = attrs.field(factory=list[BadRow], init=False, repr=False)

    def look_ahead(self, rows: Rows[Row | BadRow]) -> Iterator[None]:
        """Find the users who have several rows in a source that can be read twice, and yield now and then."""
        counts = IdCounts()
        with suppress(Exception):  # What fails here fails again when the rows are read, and is reported then.
            ids = rows.read_ids()
            while counts.add(islice(ids, _CHUNK_IDS)):
                yield
        self._repeated = counts.repeated()
        if self._repeated is not None and self.ledger is None:
            self._merger = RowMerger(self._repeated)

    def ingest(self, source: Rows[Row | BadRow]) -> Iterator[None]:
        """Ingest the rows of *source* in chunks and yield after each.

        Raises:
            SourceError: The source could not be read at all; if it fails later, the report says so. Any other error
                of the source is raised as it is, once the rows before it are committed.
        """
        self.report.notes = source.notes
        rows, size = source.rows, min(_FIRST_CHUNK_ROWS, _MAX_CHUNK_ROWS)
        while self._ingest_chunk(islice(rows, size)) and self._failure is None:
            size = min(2 * size, _MAX_CHUNK_ROWS)
            yield
        if isinstance(self._failure, SourceError) and self.report.rows:
            self.report.stopped = str(self._failure)
        elif self._failure is not None:
            raise self._failure
        self.held.clear()
        if self._merger is not None:
            self._enqueue_in_memory(self._merger.release())

    def close(self) -> None:
        """Count the rows that were merged in memory, and the users who were not sent, after the workers have ended."""
        if self._merger is not None:
            self._enqueue_in_memory(self._merger.release())
            for worker in self.workers:
                worker.report.upserts.already_pending += self._merger.coalesced

    def _ingest_chunk(self, rows: Iterable[Row | BadRow]) -> bool:
        """Commit and count *rows*; return False if there were none."""
        self._chunk_rows, self._bad_rows = 0, []
        self._enqueue(self._valid_users(rows))
        self.report.rows += self._chunk_rows
        self.report.bad_row_count += len(self._bad_rows)
        self.report.bad_rows.extend(self._bad_rows[: _MAX_BAD_ROWS - len(self.report.bad_rows)])
        return self._chunk_rows > 0

    def _valid_users(self, rows: Iterable[Row | BadRow]) -> Iterator[UserTraits]:
        """Yield the users of *rows* until the source ends or fails."""
        try:
            for row in rows:
                self._chunk_rows += 1
                if isinstance(row, BadRow):
                    self._bad_rows.append(row)
                elif self.ledger is not None and row.user.user_id is None and not row.user.vendor_ids:
                    self._bad_rows.append(BadRow(row.line, row.line, _ANONYMOUS))
                else:
                    yield row.user
        except Exception as error:  # noqa: BLE001  # Raised once the rows before it are committed.
            self._failure = error

    def _enqueue(self, users: Iterable[UserTraits]) -> None:
        if self.ledger is None:
            self._enqueue_in_memory(users if self._merger is None else self._merger.merge(users))
            return
        accounts = [worker.account for worker in self.workers]
        counts = self.ledger.upsert(
            users,
            accounts,
            replace=True,
            on_inserted=self._offer,
            held=None if self._repeated is None else self.held,
            more_follow=None if self._repeated is None else self._repeated.more_follow,
        )
        for worker in self.workers:
            worker.report.upserts.add(counts[worker.report.backend])

    def _enqueue_in_memory(self, users: Iterable[UserTraits]) -> None:
        chunk = list(users)
        for worker in self.workers:
            worker.enqueue(chunk)

    def _offer(self, claims: Sequence[Claim]) -> None:
        for worker in self.workers:
            worker.offer(claims)


_gc_lock: Final = Lock()
# The thresholds from before the first run that is still active, once per active run.
_saved_thresholds: Final[list[tuple[int, int, int]]] = []


@contextmanager
def relaxed_gc() -> Generator[None]:
    """Run the cyclic garbage collector rarely.

    With Python's default thresholds it takes 15 % of the CPU time of a run (Python 3.11, 300,000 users in batches to a
    backend without a network) and frees nothing: users come and go by the million, and none of them is part of a
    reference cycle.
    """
    with _gc_lock:
        _saved_thresholds.append(_saved_thresholds[0] if _saved_thresholds else gc.get_threshold())
        if gc.get_threshold()[0]:  # Zero means that the collector is switched off.
            gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        with _gc_lock:
            saved = _saved_thresholds.pop()
            if not _saved_thresholds:
                gc.set_threshold(*saved)
