"""Bring every vendor to the state that a source of users describes."""

import gc
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Event, Lock
from typing import Final, TypeAlias

import attrs

from ..adapters.protocols import IdentityBackend
from ..errors import SourceError
from ..ledger import Claim, Ledger
from ..router import Route
from ..sources import BadRow, Row
from ..traits import UserTraits
from ..transport import concurrent_sender
from .options import DeliveryOptions
from .report import Progress, SyncReport
from .worker import BackendWorker, MakeSender, make_workers

User: TypeAlias = UserTraits | Row | BadRow

MOST_BAD_ROWS: Final = 20
# Rows taken in at once: few at first, so that sending begins soon, and twice as many each time.
_FIRST_GROUP: Final = 250
_GROUP: Final = 4000
_NO_ID: Final = "is an anonymous user, whom a ledger could not find again"


@attrs.define
class Ingest:
    """Take users in.

    Attributes:
        workers: Whom they are for.
        ledger: Where they are put, or None.
        report: Where rows are counted.
    """

    workers: Sequence[BackendWorker]
    ledger: Ledger | None
    report: SyncReport
    _failure: Exception | None = attrs.field(default=None, init=False, repr=False)
    # Of the rows that are being put, which count once they are.
    _read: int = attrs.field(default=0, init=False)
    _bad: list[BadRow] = attrs.field(factory=list[BadRow], init=False, repr=False)

    def take(self, users: Iterable[User]) -> Iterator[None]:
        """Take *users* in, some at a time, and yield after each time.

        Raises:
            SourceError: Not even the first row can be read; a later end is told in the report. Any other error of
                the source is raised as it is, once the rows before it are taken in.
        """
        rows, size = iter(users), min(_FIRST_GROUP, _GROUP)
        while self._take_some(islice(rows, size)) and self._failure is None:
            size = min(2 * size, _GROUP)
            yield
        if isinstance(self._failure, SourceError) and self.report.rows:
            self.report.stopped = str(self._failure)
        elif self._failure is not None:
            raise self._failure

    def _take_some(self, rows: Iterable[User]) -> bool:
        """Take *rows* in, count them, and tell whether there were any."""
        self._read, self._bad = 0, []
        self._put(self._good(rows))
        self.report.rows += self._read
        self.report.bad_row_count += len(self._bad)
        self.report.bad_rows.extend(self._bad[: MOST_BAD_ROWS - len(self.report.bad_rows)])
        return self._read > 0

    def _good(self, rows: Iterable[User]) -> Iterator[UserTraits]:
        """Yield the users among the *rows* until the source ends or fails."""
        try:
            for row in rows:
                self._read += 1
                user, line = (row.user, row.line) if isinstance(row, Row) else (row, self.report.rows + self._read)
                if isinstance(user, BadRow):
                    self._bad.append(user)
                elif self.ledger is not None and user.user_id is None and not user.vendor_ids:
                    self._bad.append(BadRow(line, line, _NO_ID))
                else:
                    yield user
        except Exception as error:  # noqa: BLE001  # The source's own, which is raised later.
            self._failure = error

    def _put(self, users: Iterable[UserTraits]) -> None:
        if self.ledger is None:
            group = list(users)
            for worker in self.workers:
                worker.put(group)
            return
        names = [worker.report.backend for worker in self.workers]
        counts = self.ledger.upsert(users, names, replace=True, on_inserted=self._hand_over)
        for worker in self.workers:
            worker.report.upserts.add(counts[worker.report.backend])

    def _hand_over(self, claims: Sequence[Claim]) -> None:
        for worker in self.workers:
            worker.offer(claims)


# New objects between two searches, and of how many searches one goes further and one all the way.
_RARELY: Final = (100_000, 20, 50)

_lock: Final = Lock()
# What was set before the first of the runs that are under way, one entry for each run.
_before: Final[list[tuple[int, int, int]]] = []


@contextmanager
def relaxed_gc() -> Generator[None]:
    """Search for garbage rarely: users come and go by the million, and none of them is part of a circle."""
    with _lock:
        _before.append(_before[0] if _before else gc.get_threshold())
        if gc.get_threshold()[0]:  # Else it is switched off.
            gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:
                gc.set_threshold(*before)


OnProgress: TypeAlias = Callable[[Sequence[Progress]], None]
OnCommitted: TypeAlias = Callable[[int], None]

# Reading pauses while even the fastest vendor is so many users behind.
_MOST_AHEAD: Final = 10_000
_MOST_AHEAD_WITHOUT_LEDGER: Final = 5_000
# Seconds between two looks at the deliveries, and two tellings of how far they are.
_TICK: Final = 0.02
_TELLING: Final = 0.2


def sync(  # noqa: PLR0913  # Two to give, and one for each thing that may be set or listened to.
    users: Iterable[User],
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    on_committed: OnCommitted | None = None,
    resend: bool = False,
    stop: Event | None = None,
    transport: MakeSender = concurrent_sender,
) -> SyncReport:
    """Bring the vendors to the state that *users* describe, and return the closed books.

    Can be ended at any moment, by Ctrl-C, *stop* or a crash: with a ledger, the next run goes on from there.

    Args:
        users: Users, or rows as `read_users` yields them. Of a row that is no user, only the report tells.
        backends: Backends, or routes to them; their names must differ.
        ledger: Where the desired state is kept; without one (None) there are no batches, and what is not settled
            when the run ends is lost to later ones.
        options: How fast and how patiently, by name of the backend.
        on_progress: Is told a few times a second how far each backend is.
        on_committed: Called with the number of rows committed so far. With a ledger they are durable, so the source
            need not replay them.
        resend: Whether to send also what the vendors confirmed before, for when they no longer hold it: another
            account, a route that shows more, other limits.
        stop: Set it to have the run come to an end: nothing more is sent, requests under way are waited for.
        transport: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read or written.
        SourceError: Not even the first row can be read.
    """
    workers = make_workers(backends, ledger, options)
    if resend and ledger is not None:
        for worker in workers:
            ledger.invalidate(worker.report.backend)
    run = _Run(workers, ledger, transport, on_progress, on_committed, stop or Event())
    with relaxed_gc():
        return run.run(users)


def deliver(
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
    transport: MakeSender = concurrent_sender,
) -> SyncReport:
    """Send what is due in *ledger* and return the closed books; as `sync` without any users."""
    return sync((), backends, ledger=ledger, options=options, on_progress=on_progress, stop=stop, transport=transport)


@attrs.define(eq=False)
class _Run:
    """One run: the thread that reads, and one thread for each backend."""

    workers: Sequence[BackendWorker]
    ledger: Ledger | None
    transport: MakeSender
    on_progress: OnProgress | None
    on_committed: OnCommitted | None
    stop: Event
    report: SyncReport = attrs.field(factory=SyncReport)
    _is_complete: Event = attrs.field(factory=Event)
    _is_over: Event = attrs.field(factory=Event)
    _told_at: float = 0.0

    def run(self, users: Iterable[User]) -> SyncReport:
        """Read, deliver, and close the books."""
        self.report.backends = tuple(worker.report for worker in self.workers)
        try:
            for worker in self.workers:
                worker.start(self, self.transport)
            self._read(users)
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
        self._raise_error()
        for worker in self.workers:
            worker.close_report()
        self._tell(at_once=True)
        return self.report

    def is_complete(self) -> bool:
        """Tell whether nobody else will be put."""
        return self._is_complete.is_set()

    def is_stopped(self) -> bool:
        """Tell whether to come to an end soon."""
        return self.stop.is_set() or self._is_over.is_set()

    def _read(self, users: Iterable[User]) -> None:
        """Take *users* in as long as somebody keeps up with them."""
        for _ in Ingest(self.workers, self.ledger, self.report).take(users):
            self._tell_taken()
            self._wait_while(self._is_far_ahead)
            if self.stop.is_set():
                break
        self._tell_taken()

    def _tell_taken(self) -> None:
        if self.on_committed is not None:
            self.on_committed(self.report.rows)

    def _is_far_ahead(self) -> bool:
        most = _MOST_AHEAD if self.ledger is not None else _MOST_AHEAD_WITHOUT_LEDGER
        behind = [worker.outbox.backlog() for worker in self.workers if worker.is_delivering]
        return bool(behind) and min(behind) > most and not self.stop.is_set()

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        self._tell()
        self._raise_error()
        while condition():
            time.sleep(_TICK)
            self._tell()
            self._raise_error()

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is not None and (at_once or now - self._told_at >= _TELLING):
            self._told_at = now
            self.on_progress([worker.progress() for worker in self.workers])

    def _raise_error(self) -> None:
        for worker in self.workers:
            if worker.error is not None:
                raise worker.error
