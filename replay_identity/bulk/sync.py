"""Bring every vendor to the state that a source of users describes."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event
from typing import Final, TypeAlias

import attrs

from ..backend import IdentityBackend
from ..delivery_options import DeliveryOptions
from ..ledger import Ledger
from ..route import Route
from ..transport import many_sender
from .collecting import rare_collections
from .intake import Intake, User
from .lanes import Lane, MakeSender, lanes_to
from .report import Progress, SyncReport

OnProgress: TypeAlias = Callable[[Sequence[Progress]], None]
OnTaken: TypeAlias = Callable[[int], None]

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
    on_taken: OnTaken | None = None,
    resend: bool = False,
    stop: Event | None = None,
    sender: MakeSender = many_sender,
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
        on_taken: Is told how many rows are taken in, now and then and at the end: with a ledger they are on disk, so
            that a source need not give them again.
        resend: Whether to send also what the vendors confirmed before, for when they no longer hold it: another
            account, a route that shows more, other limits.
        stop: Set it to have the run come to an end: nothing more is sent, requests under way are waited for.
        sender: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be read or written.
        SourceError: Not even the first row can be read.
    """
    lanes = lanes_to(backends, ledger, options)
    if resend and ledger is not None:
        for lane in lanes:
            ledger.distrust(lane.books.backend)
    run = _Run(lanes, ledger, sender, on_progress, on_taken, stop or Event())
    with rare_collections():
        return run.run(users)


def deliver(
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: Ledger,
    options: Mapping[str, DeliveryOptions] | None = None,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
    sender: MakeSender = many_sender,
) -> SyncReport:
    """Send what is due in *ledger* and return the closed books; as `sync` without any users."""
    return sync((), backends, ledger=ledger, options=options, on_progress=on_progress, stop=stop, sender=sender)


@attrs.define(eq=False)
class _Run:
    """One run: the thread that reads, and one thread for each backend."""

    lanes: Sequence[Lane]
    ledger: Ledger | None
    sender: MakeSender
    on_progress: OnProgress | None
    on_taken: OnTaken | None
    stop: Event
    report: SyncReport = attrs.field(factory=SyncReport)
    _is_complete: Event = attrs.field(factory=Event)
    _is_over: Event = attrs.field(factory=Event)
    _told_at: float = 0.0

    def run(self, users: Iterable[User]) -> SyncReport:
        """Read, deliver, and close the books."""
        self.report.books = tuple(lane.books for lane in self.lanes)
        try:
            for lane in self.lanes:
                lane.start(self, self.sender)
            self._read(users)
            self._is_complete.set()
            self._wait_while(lambda: any(lane.is_alive for lane in self.lanes))
            if self.stop.is_set():
                self.report.stopped = self.report.stopped or "stopped"
        except KeyboardInterrupt:
            self.report.stopped = "interrupted"
        finally:
            self._is_over.set()
            for lane in self.lanes:
                lane.join()
        self._raise_error()
        for lane in self.lanes:
            lane.close_books()
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
        for _ in Intake(self.lanes, self.ledger, self.report).take(users):
            self._tell_taken()
            self._wait_while(self._is_far_ahead)
            if self.stop.is_set():
                break
        self._tell_taken()

    def _tell_taken(self) -> None:
        if self.on_taken is not None:
            self.on_taken(self.report.rows)

    def _is_far_ahead(self) -> bool:
        most = _MOST_AHEAD if self.ledger is not None else _MOST_AHEAD_WITHOUT_LEDGER
        behind = [lane.outbox.backlog() for lane in self.lanes if lane.is_keeping_up]
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
            self.on_progress([lane.progress() for lane in self.lanes])

    def _raise_error(self) -> None:
        for lane in self.lanes:
            if lane.error is not None:
                raise lane.error
