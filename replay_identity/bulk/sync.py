"""Bring every vendor to the state that a source of users describes."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from threading import Event, Thread
from typing import Final, TypeAlias

import attrs

from ..backend import IdentityBackend
from ..delivery_options import DeliveryOptions
from ..errors import ConfigurationError, SourceError
from ..ledger import Ledger
from ..model import UserTraits
from ..route import Route, routes_to
from ..sources import BadRow, Row
from ..transport import ManySender, many_sender
from .books import Books
from .delivery import Delivery
from .outbox import DirectOutbox, LedgerOutbox
from .report import Progress, SyncReport

User: TypeAlias = UserTraits | Row | BadRow
OnProgress: TypeAlias = Callable[[Sequence[Progress]], None]

MOST_BAD_ROWS: Final = 20
_NO_ID: Final = "is an anonymous user, whom a ledger could not find again"
# Rows taken in at once.
_GROUP: Final = 1000
# Reading pauses while even the fastest vendor is so many users behind.
_MOST_AHEAD: Final = 100_000
_MOST_AHEAD_WITHOUT_LEDGER: Final = 5_000
# Seconds between two looks at the deliveries, and two tellings of how far they are.
_TICK: Final = 0.02
_TELLING: Final = 0.2


def sync(
    users: Iterable[User],
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
    sender: Callable[[int], ManySender] = many_sender,
) -> SyncReport:
    """Bring the vendors to the state that *users* describe, and return the closed books.

    Can be ended at any moment, by Ctrl-C, *stop* or a crash: with a ledger, the next run goes on from there.

    Args:
        users: Users, or rows as `read_users` yields them. Of a row that is no user, only the report tells.
        backends: Backends, or routes to them; their names must differ.
        ledger: Where the desired state is kept; without one (None) every user is sent one by one, and what is not
            settled when the run ends is lost to later ones.
        options: How fast and how patiently, by name of the backend.
        on_progress: Is told a few times a second how far each backend is.
        stop: Set it to have the run come to an end: nothing more is sent, requests under way are waited for.
        sender: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read or written.
        SourceError: Not even the first row can be read.
    """
    run = _Run(_lanes(routes_to(backends), ledger, options or {}), ledger, on_progress, stop or Event(), sender)
    return run.run(users)


def deliver(
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
    sender: Callable[[int], ManySender] = many_sender,
) -> SyncReport:
    """Send what is due in *ledger* and return the closed books; as `sync` without any users."""
    return sync((), backends, ledger=ledger, options=options, on_progress=on_progress, stop=stop, sender=sender)


@attrs.define(eq=False)
class _Lane:
    """The delivery to one backend, and the thread it runs in."""

    delivery: Delivery
    turn: Callable[[], AbstractContextManager[bool]]
    thread: Thread | None = None
    error: BaseException | None = None
    is_waiting: bool = False

    @property
    def books(self) -> Books:
        return self.delivery.books

    @property
    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def progress(self) -> Progress:
        waits_for = "another process that delivers to it" if self.is_waiting else self.delivery.waits_for()
        books = self.books
        return Progress(books.backend, books.given, books.settled, waits_for, books.problem)


def _lanes(routes: Sequence[Route], ledger: Ledger | None, options: Mapping[str, DeliveryOptions]) -> list[_Lane]:
    unknown = sorted(options.keys() - {route.name for route in routes})
    if unknown:
        raise ConfigurationError("options", f"no backend is named {', '.join(unknown)}")
    return [_lane(route, ledger, options.get(route.name, DeliveryOptions())) for route in routes]


def _lane(route: Route, ledger: Ledger | None, options: DeliveryOptions) -> _Lane:
    name, books = route.name, Books(route.name)
    if ledger is None:
        return _Lane(Delivery(route, DirectOutbox(books), books, options), lambda: nullcontext(enter_result=True))
    books.carried = ledger.due(name)
    outbox = LedgerOutbox(ledger, name, books)
    return _Lane(Delivery(route, outbox, books, options), lambda: ledger.turn(name))


@attrs.define(eq=False)
class _Run:
    """One run: the thread that reads, and one thread for each backend."""

    lanes: Sequence[_Lane]
    ledger: Ledger | None
    on_progress: OnProgress | None
    stop: Event
    sender: Callable[[int], ManySender]
    report: SyncReport = attrs.field(factory=SyncReport)
    _is_complete: Event = attrs.field(factory=Event)
    _told_at: float = 0.0

    def run(self, users: Iterable[User]) -> SyncReport:
        """Read, deliver, and close the books."""
        self.report.books = tuple(lane.books for lane in self.lanes)
        for lane in self.lanes:
            lane.thread = Thread(target=self._deliver, args=(lane,), name=f"deliver {lane.books.backend}", daemon=True)
            lane.thread.start()
        try:
            self._read(users)
            self._is_complete.set()
            self._wait_while(lambda: any(lane.is_alive for lane in self.lanes))
        except KeyboardInterrupt:
            self.report.stopped = "interrupted"
        finally:
            self.stop.set()
            for lane in self.lanes:
                if lane.thread is not None:
                    lane.thread.join()
        self._raise_error()
        self._tell(at_once=True)
        return self.report

    def is_complete(self) -> bool:
        """Tell whether nobody else will be put."""
        return self._is_complete.is_set()

    def is_stopped(self) -> bool:
        """Tell whether to come to an end soon."""
        return self.stop.is_set()

    def _read(self, users: Iterable[User]) -> None:
        """Put *users*, some at a time, as long as somebody keeps up with them."""
        rows = iter(users)
        try:
            while not self.stop.is_set() and (group := list(islice(rows, _GROUP))):
                self._put(self._good(group))
                self._wait_while(self._is_far_ahead)
        except SourceError as error:
            if not self.report.rows:
                raise
            self.report.stopped = str(error)

    def _good(self, group: Sequence[User]) -> list[UserTraits]:
        """Return the users among the rows, and count the others."""
        users: list[UserTraits] = []
        for number, row in enumerate(group, self.report.rows + 1):
            user = row.user if isinstance(row, Row) else row
            if isinstance(user, BadRow):
                self._count_bad(user)
            elif self.ledger is not None and user.user_id is None and not user.vendor_ids:
                self._count_bad(BadRow(number, number, _NO_ID))
            else:
                users.append(user)
        self.report.rows += len(group)
        return users

    def _count_bad(self, row: BadRow) -> None:
        self.report.bad_row_count += 1
        if len(self.report.bad_rows) < MOST_BAD_ROWS:
            self.report.bad_rows.append(row)

    def _put(self, users: Sequence[UserTraits]) -> None:
        if self.ledger is not None:
            counts = self.ledger.put(users, [lane.books.backend for lane in self.lanes])
            for lane in self.lanes:
                lane.books.put.add(counts[lane.books.backend])
            return
        for lane in self.lanes:
            if isinstance(lane.delivery.outbox, DirectOutbox):
                lane.delivery.outbox.put(users)

    def _is_far_ahead(self) -> bool:
        most = _MOST_AHEAD if self.ledger is not None else _MOST_AHEAD_WITHOUT_LEDGER
        behind = [lane.books.given - lane.books.settled for lane in self.lanes if lane.is_alive]
        return bool(behind) and min(behind) > most and not self.stop.is_set()

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        self._tell()
        while condition():
            self._raise_error()
            time.sleep(_TICK)
            self._tell()

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is not None and (at_once or now - self._told_at >= _TELLING):
            self._told_at = now
            self.on_progress([lane.progress() for lane in self.lanes])

    def _raise_error(self) -> None:
        for lane in self.lanes:
            if lane.error is not None:
                raise lane.error

    def _deliver(self, lane: _Lane) -> None:
        """Be the thread of one lane."""
        try:
            with self._turn(lane) as is_ours:
                if is_ours:
                    sender = self.sender(lane.delivery.options.connections)
                    try:
                        lane.delivery.run(sender, self)
                    finally:
                        sender.close()
                else:
                    lane.books.close(lane.delivery.outbox.pending())
        except BaseException as error:  # noqa: BLE001  # The thread that reads raises it.
            lane.error = error

    @contextmanager
    def _turn(self, lane: _Lane) -> Generator[bool]:
        """Hold the lane's turn, for which another process may have to be waited for; yield False if stopped before."""
        while not self.stop.is_set():
            with lane.turn() as is_ours:
                if is_ours:
                    lane.is_waiting = False
                    yield True
                    return
            lane.is_waiting = True
            self.stop.wait(_TELLING)
        yield False
