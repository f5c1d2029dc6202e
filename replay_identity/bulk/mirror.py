"""Mirror a complete source: find the users who vanished from it, and delete them at the vendors."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from threading import Event
from typing import Final, Literal, TypeAlias

import attrs

from ..deletion import LEASE_TIMEOUT_S, DeletionReceipt, delete_user, hold_leases
from ..errors import ConfigurationError
from ..ledger import Ledger, MirrorStart, VanishedUser
from ..outcomes import Misconfigured, explain
from ..router import Route
from ..sources import BadRow, Row, Rows
from ..traits import UserTraits
from ..transport import ConcurrentTransport
from .comparison import make_transport
from .options import DeliveryOptions
from .outcome_handler import describe_outage, record_answer
from .report import MirrorReport, MirrorState, SyncReport
from .worker import SenderFactory

MirrorAction: TypeAlias = Literal[
    "report",  # count the users who vanished
    "forget",  # delete them at every vendor and from the ledger
]
OnVanished: TypeAlias = Callable[[str, Sequence[DeletionReceipt]], None]

_ACTIONS: Final = ("report", "forget")
_PERCENTAGE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_MAX_PERCENT: Final = 100
# Users to mark in one transaction, which waits for the disk.
_MARKED_AT_ONCE: Final = 4000
# Users deleted under one lease, whose receipts are stored in one transaction.
_DELETED_AT_ONCE: Final = 100
_POLL_INTERVAL_S: Final = 0.05
_IN_JOB: Final = "a batch in flight contains the user; the next run deletes the user"


def _check_action(_instance: object, _attribute: object, action: object) -> None:
    if action not in _ACTIONS:
        raise ConfigurationError("mirror", f"expected {' or '.join(_ACTIONS)}")


def _check_limit(_instance: object, _attribute: object, limit: object) -> None:
    _parse_limit(limit)


def _parse_limit(limit: object) -> int | Fraction:
    """Return a number of users, or a fraction of them."""
    if type(limit) is int and limit >= 0:
        return limit
    if isinstance(limit, str):
        if limit.strip().isdecimal():
            return int(limit)
        match = _PERCENTAGE.fullmatch(limit)
        if match is not None and Fraction(match[1]) <= _MAX_PERCENT:
            return Fraction(match[1]) / _MAX_PERCENT
    raise ConfigurationError("max_deletions", "expected a number of users, or a percentage of them such as 5%")


@attrs.frozen
class Mirror:
    """A source that is complete: a user who is not in it any more has vanished.

    A ledger mirrors one source, and keeps the ids of all its users.

    Attributes:
        action: What to do about users who vanished; see `MirrorAction`.
        max_deletions: The most users to delete in one run: a number, or a percentage of the users known before. If more
            users vanished, none is deleted.
        on_vanished: Called with the id of each user who vanished, and the receipts of this run.
    """

    action: MirrorAction = attrs.field(validator=_check_action)
    max_deletions: int | str = attrs.field(default="5%", validator=_check_limit)
    on_vanished: OnVanished | None = attrs.field(default=None, repr=False)

    def limit(self, known: int) -> int:
        """Return the most users to delete if *known* users were known before."""
        limit = _parse_limit(self.max_deletions)
        return limit if isinstance(limit, int) else int(known * limit)


@attrs.define
class MirrorRun:
    """One run of a mirror: it marks the users of the source, and then finds those who vanished.

    Attributes:
        mirror: What to do about them.
        ledger: Keeps the ids of the users.
        start: What the ledger knew before.
    """

    mirror: Mirror
    ledger: Ledger
    start: MirrorStart
    _unmarked: list[str] = attrs.field(factory=list[str], init=False, repr=False)
    _marked: int = attrs.field(default=0, init=False)
    _is_read: bool = attrs.field(default=False, init=False)

    @classmethod
    def begin(cls, mirror: Mirror, ledger: Ledger | None) -> "MirrorRun":
        """Begin a run in *ledger*, or raise ConfigurationError if there is none."""
        if ledger is None:
            raise ConfigurationError("mirror", "a mirror needs a ledger, which knows the users of earlier runs")
        return cls(mirror, ledger, ledger.begin_mirror())

    def track(self, rows: Rows[Row | BadRow]) -> Rows[Row | BadRow]:
        """Return *rows*, whose users are marked as they are read.

        Users count as vanished only once the source has been read to its end, and by then all are marked. So it does no
        harm if the process ends between the mark of a user and the upsert.
        """
        return rows.through(self._mark)

    def mark_committed(self, on_committed: Callable[[int], None] | None) -> Callable[[int], None]:
        """Return a callback that marks the users whose rows were committed, and then calls *on_committed*."""

        def mark(rows: int) -> None:
            self.store_marks()
            if on_committed is not None:
                on_committed(rows)

        return mark

    def _mark(self, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
        try:
            for row in rows:
                user = row.user if isinstance(row, Row) else row
                if isinstance(user, UserTraits) and user.user_id is not None:
                    self._unmarked.append(user.user_id)
                if len(self._unmarked) >= _MARKED_AT_ONCE:
                    self.store_marks()
                yield row
        except Exception:
            self.store_marks()
            raise
        self.store_marks()
        self._is_read = True

    def store_marks(self) -> None:
        """Mark the users that were read since the last call."""
        user_ids, self._unmarked = self._unmarked, []
        self.ledger.mark_mirrored(self.start.run, user_ids)
        self._marked += len(user_ids)

    def count(self, run: SyncReport) -> MirrorReport:
        """Add to the report of a *run* that has ended how many users vanished, and whether they may be deleted."""
        report = run.mirror = MirrorReport(self.start.known, self._state(run))
        if not report.is_usable:
            return report
        vanished = self.ledger.end_mirror(self.start.run)
        if report.state is MirrorState.FIRST_RUN:
            return report
        report.vanished = vanished
        if self.mirror.action == "forget":
            report.max_deletions = self.mirror.limit(self.start.known)
            if vanished > report.max_deletions:
                report.state = MirrorState.TOO_MANY
        return report

    def list_vanished(self, report: MirrorReport) -> None:
        """Pass the users who vanished to the callback, without receipts."""
        if self.mirror.on_vanished is not None and report.vanished:
            for page in self._pages():
                for user in page:
                    self.mirror.on_vanished(user.user_id, ())

    def finish(
        self,
        run: SyncReport,
        settings: Sequence[tuple[Route, DeliveryOptions]],
        make_sender: SenderFactory,
        stop: Event,
    ) -> None:
        """Count the users who vanished, and delete them if they are to be deleted."""
        report = self.count(run)
        may_delete = self.mirror.action == "forget" and report.state is MirrorState.COMPLETE
        report.problem = _first_problem(run) if may_delete and report.vanished else None
        try:
            if not may_delete or report.problem is not None:
                report.retryable = report.problem is not None
                self.list_vanished(report)
                return
            self._delete(report, settings, make_sender, stop)
        except KeyboardInterrupt:
            run.stopped = "interrupted"
        if stop.is_set():
            run.stopped = run.stopped or "stopped"

    def _state(self, run: SyncReport) -> MirrorState:
        if run.stopped is not None or not self._is_read:
            return MirrorState.NOT_READ
        if run.bad_row_count:
            return MirrorState.BAD_ROWS
        if run.notes.left_out:
            return MirrorState.LEFT_OUT
        if not self._marked:
            return MirrorState.NO_USERS
        return MirrorState.FIRST_RUN if self.start.is_first else MirrorState.COMPLETE

    def _pages(self) -> Iterator[Sequence[VanishedUser]]:
        after = ""
        while page := self.ledger.vanished(self.start.run, after=after, limit=_DELETED_AT_ONCE):
            yield page
            after = page[-1].user_id

    def _delete(
        self,
        report: MirrorReport,
        settings: Sequence[tuple[Route, DeliveryOptions]],
        make_sender: SenderFactory,
        stop: Event,
    ) -> None:
        """Delete the users who vanished, until a vendor fails for too long."""
        with ExitStack() as senders:
            vendors: list[_Vendor] = []
            for route, options in settings:
                transport = make_transport(make_sender, options)
                senders.callback(transport.close)
                account = self.ledger.stored_name(route.account) or route.name
                vendors.append(_Vendor(route, transport, options.patience, stop, account))
            for page in self._pages():
                if report.problem is not None or stop.is_set():
                    break
                _Deletion(self, report, vendors, page).run()
        self.ledger.purge()


@attrs.define
class _Deletion:
    """Deletes one page of users, under the leases of all backends, so that nobody sends them meanwhile."""

    mirror_run: MirrorRun
    report: MirrorReport
    vendors: "Sequence[_Vendor]"
    users: Sequence[VanishedUser]

    def run(self) -> None:
        ledger = self.mirror_run.ledger
        with hold_leases(ledger, [vendor.route.name for vendor in self.vendors], LEASE_TIMEOUT_S) as busy_backend:
            if busy_backend is not None:
                self._postpone(f"another process delivers to {busy_backend}")
                return
            # The ledger forgets them first, as in `forget`: nothing that is pending may bring them back.
            in_job = ledger.forget_vanished([user.user_id for user in self.users])
            try:
                self._ask_vendors(in_job)
            finally:
                self._settle(in_job)

    def _postpone(self, problem: str) -> None:
        self.report.problem, self.report.retryable = problem, True

    def _ask_vendors(self, in_job: set[str]) -> None:
        for vendor in self.vendors:
            vendor.enqueue(user for user in self.users if user.user_id not in in_job)
        while busy := [vendor for vendor in self.vendors if vendor.submit()]:
            for vendor in busy:
                vendor.transport.poll(_POLL_INTERVAL_S)
        problem = next((vendor.problem for vendor in self.vendors if vendor.problem is not None), None)
        if problem is not None:
            self._postpone(problem)

    def _settle(self, in_job: set[str]) -> None:
        """Store the receipts, count them and pass them on."""
        accounts = {vendor.route.name: vendor.account for vendor in self.vendors}
        receipts = {user.user_id: self._receipts(user.user_id, in_job) for user in self.users}
        settled = [
            VanishedUser(
                user.user_id,
                user.deleted_at.union(accounts[each.backend] for each in receipts[user.user_id] if _is_final(each)),
            )
            for user in self.users
        ]
        self.mirror_run.ledger.settle_vanished(self.mirror_run.start.run, settled, accounts=set(accounts.values()))
        self.report.deleted += sum(user.deleted_at.issuperset(accounts.values()) for user in settled)
        for user_id, given in receipts.items():
            for receipt in given:
                self.report.add(receipt)
            if self.mirror_run.mirror.on_vanished is not None:
                self.mirror_run.mirror.on_vanished(user_id, given)

    def _receipts(self, user_id: str, in_job: set[str]) -> list[DeletionReceipt]:
        if user_id in in_job:
            return [DeletionReceipt(vendor.route.name, "postponed", _IN_JOB) for vendor in self.vendors]
        return [vendor.receipts[user_id] for vendor in self.vendors if user_id in vendor.receipts]


@attrs.define
class _Vendor:
    """Deletes users at one vendor, many at once.

    Attributes:
        route: The backend.
        transport: Sends the requests.
        patience: Seconds of failures after which no more users are deleted.
        stop: Event that ends the run.
        account: The account at the vendor, or the name of a backend that names none.
        receipts: The receipts by id of the user.
        problem: Why no more users are deleted, or None.
    """

    route: Route
    transport: ConcurrentTransport
    patience: float
    stop: Event
    account: str
    receipts: dict[str, DeletionReceipt] = attrs.field(factory=dict[str, DeletionReceipt], init=False, repr=False)
    problem: str | None = attrs.field(default=None, init=False)
    _users: Iterator[VanishedUser] = attrs.field(factory=lambda: iter(()), init=False, repr=False)

    def enqueue(self, users: Iterator[VanishedUser]) -> None:
        """Delete *users* next, except those that the vendor was asked to delete before."""
        self.receipts.clear()
        self._users = (user for user in users if self.account not in user.deleted_at)

    def submit(self) -> bool:
        """Start as many requests as may be in flight; return False once there are no more users and responses."""
        if self.stop.is_set():
            self.transport.stop()
        limiter = self.transport.limiter
        if (outage := describe_outage(limiter, self.patience)) is not None:
            self._give_up(outage)
        while self._may_submit() and (user := next(self._users, None)) is not None:
            receive = partial(self._receive, user.user_id)
            self.transport.submit(delete_user(self.route.backend, user.user_id), receive)
        return self.transport.in_flight > 0

    def _may_submit(self) -> bool:
        is_stopped = self.stop.is_set() or self.problem is not None
        return not is_stopped and self.transport.limiter.allows(self.transport.in_flight)

    def _receive(self, user_id: str, receipt: DeletionReceipt) -> None:
        self.receipts[user_id] = receipt
        if receipt.outcome is not None:
            record_answer(self.transport, (receipt.outcome,))
        if isinstance(receipt.outcome, Misconfigured):
            self._give_up(explain(receipt.outcome))

    def _give_up(self, problem: str) -> None:
        """Start no more requests; responses to those in flight still count."""
        if self.problem is None:
            self.problem = f"{self.route.name}: {problem}"
            self.transport.stop()


def _first_problem(run: SyncReport) -> str | None:
    return next((f"{backend.backend}: {backend.problem}" for backend in run.backends if backend.problem), None)


def _is_final(receipt: DeletionReceipt) -> bool:
    """Return True if the vendor need not be asked again: it has the request, or cannot delete users at all."""
    return receipt.is_done or receipt.status == "unsupported"
