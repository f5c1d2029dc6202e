"""One worker thread per backend, which delivers the users of its outbox."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from math import inf
from threading import Thread
from time import sleep
from typing import Final, Protocol, TypeAlias

import attrs

from ..adapters.credentials import has_key_fingerprint, organisation_account
from ..adapters.exchange import Exchange
from ..adapters.protocols import IdentityBackend, KeyInfo, SupportsBatch, SupportsMultiIdentify, SupportsVerify
from ..errors import ConfigurationError
from ..ledger import Account, Claim, Ledger
from ..outcomes import Outcome, explain
from ..retry import RetryPolicy
from ..router import Route, as_routes
from ..traits import UserTraits
from ..transport import ConcurrentSender, ConcurrentTransport
from ..transport.rate_limiter import AdaptiveLimiter
from .changes import sent_paths
from .dispatch import BatchDispatcher, Dispatcher, MultiDispatcher, SingleDispatcher
from .jobs import ImportJobs
from .memory_outbox import MemoryOutbox
from .options import DeliveryOptions
from .outbox import BitSet, JobOutbox, LedgerOutbox
from .outcome_handler import OutcomeHandler, describe_deferral, describe_outage
from .report import BackendReport, Progress

# Receives the maximum number of connections.
SenderFactory: TypeAlias = Callable[[int], ConcurrentSender]

# Seconds between two attempts to acquire the lease.
LEASE_RETRY_S: Final = 0.1
# Seconds that a worker with nothing else to do waits for a response.
_POLL_INTERVAL_S: Final = 0.05
# A shorter wait is not worth reporting.
_MIN_REPORTED_WAIT_S: Final = 0.5
# A failed request is not repeated at once: there are other users to send, and the user stays pending.
_SINGLE_ATTEMPT: Final = RetryPolicy(attempts=1, total=1e9)
_MAX_ATTEMPTS: Final = 4
# The run waits for the answer.
_VERIFY_RETRY: Final = RetryPolicy(attempts=2, wait_initial=0.1, wait_max=1.0, total=3.0)
_OTHER_SETTINGS: Final = "another process has begun to deliver with other settings"


class StopSignal(Protocol):
    """Tells a worker when to end."""

    def is_complete(self) -> bool:
        """Return True if no more users will be added, so that the worker ends once its outbox is empty."""
        ...

    def is_stopped(self) -> bool:
        """Return True if the worker should end soon, even if users are pending."""
        ...


@attrs.define
class DeliveryLoop:
    """The loop that delivers to one backend: claim, dispatch, settle.

    Attributes:
        route: The backend, and what it may see.
        outbox: The users to deliver.
        report: Counts outcomes, and says why the backend was given up on.
        options: How fast and how patiently.
        limiter: The rate limiter, which may be that of an earlier loop.
        clock: Returns seconds since some fixed moment.
        now: Returns seconds since 1970.
    """

    route: Route
    outbox: JobOutbox
    report: BackendReport
    options: DeliveryOptions
    limiter: AdaptiveLimiter
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _dispatcher: Dispatcher | None = attrs.field(default=None, init=False)

    def run(self, sender: ConcurrentSender, signal: StopSignal) -> None:
        """Deliver until the outbox is empty and complete, *signal* stops it, or the backend is given up on.

        Requests in flight are always completed. Users who are not settled by then stay pending.
        """
        dispatcher = self._dispatcher = self._make_dispatcher(sender)
        dispatcher.is_stopped = signal.is_stopped
        transport = dispatcher.transport
        while not (signal.is_stopped() or self.report.problem):
            is_complete = signal.is_complete()
            dispatcher.dispatch(is_last=is_complete)
            if not transport.in_flight:
                self.outbox.flush()
                if is_complete and self.outbox.is_empty():
                    break
                if self.outbox.has_other_settings():
                    self.report.problem = _OTHER_SETTINGS
                    break
            self._poll(transport)
            self._check_patience(is_waiting=is_complete and not transport.in_flight)
        transport.stop()
        while transport.in_flight:
            self._poll(transport)
        self.outbox.flush()
        self.outbox.purge()

    def status_text(self) -> str:
        """Return what the loop is waiting for, or an empty string; safe from any thread."""
        wait = self.limiter.resume_at - self.clock()
        failure = self.limiter.failure
        if wait > _MIN_REPORTED_WAIT_S:
            return f"{wait:.0f} s after {failure}" if failure else f"a pause of {wait:.0f} s"
        return self._dispatcher.status_text() if self._dispatcher else ""

    def _poll(self, transport: ConcurrentTransport) -> None:
        """Handle responses; if there are none yet, write outcomes and wait for one."""
        is_idle = not transport.poll(0.0)
        self.outbox.tick(is_idle=is_idle)
        if is_idle:
            transport.poll(_POLL_INTERVAL_S)

    def _check_patience(self, *, is_waiting: bool) -> None:
        problem = describe_outage(self.limiter, self.options.patience)
        if problem is None and is_waiting:
            problem = describe_deferral(self.outbox, self.options.patience)
        # A problem that ends the run already goes first.
        self.report.problem = self.report.problem or problem

    def _make_dispatcher(self, sender: ConcurrentSender) -> Dispatcher:
        route, backend, outbox, options = self.route, self.route.backend, self.outbox, self.options
        if isinstance(backend, SupportsBatch):
            options = options.within_memory() if isinstance(outbox, MemoryOutbox) else options
            # Until the requests about a job succeed, its whole batch waits.
            transport = self._make_transport(sender, make_retry(options))
            return BatchDispatcher(
                route=route,
                outbox=outbox,
                transport=transport,
                max_users=options.max_batch_users(backend.batch_limits),
                backend=backend,
                jobs=ImportJobs(
                    route.name, backend, outbox, transport, self._give_up, options, clock=self.clock, now=self.now
                ),
            )
        transport = self._make_transport(sender, _SINGLE_ATTEMPT)
        handler = OutcomeHandler(outbox, transport, self._give_up, options)
        if isinstance(backend, SupportsMultiIdentify):
            return MultiDispatcher(
                route=route,
                outbox=outbox,
                transport=transport,
                max_users=options.max_users(backend.max_users.maximum),
                backend=backend,
                handler=handler,
            )
        return SingleDispatcher(route, outbox, transport, handler)

    def _make_transport(self, sender: ConcurrentSender, retry: RetryPolicy) -> ConcurrentTransport:
        return ConcurrentTransport(sender, self.limiter, retry=retry, timeout=self.options.timeout, clock=self.clock)

    def _give_up(self, outcome: Outcome) -> None:
        self.report.problem = explain(outcome)
        self.report.add(outcome)


def make_limiter(options: DeliveryOptions) -> AdaptiveLimiter:
    """Return a rate limiter with these options."""
    return AdaptiveLimiter(
        options.connections,
        options.requests_per_minute,
        wait_initial=options.wait_initial,
        wait_max=options.wait_max,
    )


def make_retry(options: DeliveryOptions) -> RetryPolicy:
    """Return a policy for requests that are repeated at once after a failure."""
    return RetryPolicy(_MAX_ATTEMPTS, wait_initial=options.wait_initial, wait_max=options.wait_max, total=1e9)


@attrs.define
class LeaseHolder:
    """What is seen of another process that delivers to an account.

    Attributes:
        ledger: The ledger that it delivers from.
        account: The account.
    """

    ledger: Ledger
    account: Account
    _pending: float = inf
    _progress_at: float = 0.0

    def idle_seconds(self, now: float, *, is_known_to_work: bool) -> float:
        """Return the seconds since the holder was last seen to settle anybody, or since the first look.

        Args:
            now: The time.
            is_known_to_work: True if the holder is in this process, and ends by itself if it makes no progress.
        """
        pending = self.ledger.pending_at_vendor(self.account)
        if is_known_to_work or pending < self._pending:
            self._progress_at = now
        self._pending = pending
        return now - self._progress_at


@attrs.define(eq=False)
class BackendWorker:
    """The delivery to one backend and the thread it runs in.

    Attributes:
        delivery: The loop that runs in the thread.
        report: Counts the backend's users.
        outbox: The users to deliver.
        ledger: The ledger behind the outbox, or None.
        account: The backend's account.
        error: The exception that ended the thread, or None.
        siblings: The other workers of the run that deliver to the same account at the vendor.
    """

    delivery: DeliveryLoop
    report: BackendReport
    outbox: MemoryOutbox | LedgerOutbox
    ledger: Ledger | None
    account: Account
    error: BaseException | None = None
    siblings: Sequence["BackendWorker"] = attrs.field(default=(), repr=False)
    _thread: Thread | None = None
    _is_waiting: bool = False
    _is_delivering: bool = False

    @property
    def is_alive(self) -> bool:
        """Return True while the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_delivering(self) -> bool:
        """Return True while the thread runs and does not wait for another process."""
        return self.is_alive and not self._is_waiting

    def shares_account(self, other: "BackendWorker") -> bool:
        """Return True if the *other* worker delivers to the same account at the vendor."""
        return bool(self.account.name) and self.account.name == other.account.name

    def enqueue(self, users: Sequence[UserTraits]) -> None:
        """Enqueue *users* of a run without a ledger; if the thread has ended, only count them as pending."""
        if isinstance(self.outbox, MemoryOutbox):
            if self.is_alive:
                self.outbox.enqueue(users)
            else:
                self.report.upserts.pending += len(users)

    def offer(self, claims: Sequence[Claim]) -> None:
        """Offer *claims* of users just inserted into the ledger, unless another process may be delivering them."""
        if isinstance(self.outbox, LedgerOutbox) and self._is_delivering:
            self.outbox.offer(claims)

    def start(self, signal: StopSignal, make_sender: SenderFactory) -> None:
        """Start the thread, which runs until *signal* ends it; an exception is kept in `error`."""
        name = f"replay-identity to {self.report.backend}"
        context = copy_context()
        thread = Thread(target=context.run, args=(self._run_in_thread, signal, make_sender), name=name, daemon=True)
        thread.start()
        self._thread = thread

    def run(self, signal: StopSignal, make_sender: SenderFactory) -> None:
        """Acquire the lease and deliver until *signal* ends it."""
        with self._lease(signal) as is_acquired:
            if is_acquired:
                self._deliver(signal, make_sender)

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def close_report(self) -> None:
        """Record the pending users after the run has finished."""
        if isinstance(self.outbox, LedgerOutbox):
            self.report.rejected_elsewhere = self.outbox.rejected_elsewhere()
        self.report.close(self.outbox.pending(), self.outbox.unanswered())

    def progress(self) -> Progress:
        """Return the progress of the backend; safe from any thread."""
        report = self.report
        status_text = "another process that is delivering" if self._is_waiting else self.delivery.status_text()
        return Progress(report.backend, report.given, report.settled, status_text, report.problem)

    def _run_in_thread(self, signal: StopSignal, make_sender: SenderFactory) -> None:
        try:
            self.run(signal, make_sender)
        except BaseException as error:  # noqa: BLE001  # Raised in the thread that started the run.
            self.error = error

    def _deliver(self, signal: StopSignal, make_sender: SenderFactory) -> None:
        sender = make_sender(self.delivery.options.connections)
        self._is_delivering = True
        try:
            self.delivery.run(sender, signal)
        finally:
            self._is_delivering = False
            sender.close()

    @contextmanager
    def _lease(self, signal: StopSignal) -> Generator[bool]:
        """Acquire the lease, waiting for another process if need be.

        Yield False if stopped before, or if the other process has delivered everything or makes no progress.
        """
        if self.ledger is None:
            yield True
            return
        holder = LeaseHolder(self.ledger, self.account)
        while not signal.is_stopped():
            with self.ledger.lease(self.account) as is_acquired:
                self._is_waiting = not is_acquired
                if is_acquired:
                    yield True
                    return
            if signal.is_complete() and (not self.outbox.pending() or self._gives_up_on(holder)):
                break
            sleep(LEASE_RETRY_S)
        self._is_waiting = False
        yield False

    def _gives_up_on(self, holder: LeaseHolder) -> bool:
        """Return True, and say so in the report, if the *holder* of the lease has made no progress for too long."""
        patience = self.delivery.options.patience
        is_sibling = any(sibling.is_delivering for sibling in self.siblings)
        if holder.idle_seconds(self.delivery.clock(), is_known_to_work=is_sibling) <= patience:
            return False
        self.report.problem = f"another process is delivering, and has settled nobody for {patience:g} s"
        return True


def routes_with_options(
    backends: Iterable[IdentityBackend | Route], options: Mapping[str, DeliveryOptions] | None
) -> list[tuple[Route, DeliveryOptions]]:
    """Return the route to each of *backends* with its options.

    Raises:
        ConfigurationError: There is no backend, two have the same name, or *options* names an unknown one.
    """
    routes, given = as_routes(backends), options or {}
    names = [route.name for route in routes]
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ConfigurationError("options", f"no backend is named {', '.join(unknown)}", f"use {', '.join(names)}")
    return [(route, given.get(route.name, DeliveryOptions())) for route in routes]


def make_worker(
    route: Route,
    ledger: Ledger | None,
    options: DeliveryOptions,
    *,
    held: BitSet | None = None,
    same_account: bool = False,
    limiter: AdaptiveLimiter | None = None,
) -> BackendWorker:
    """Return the worker for one backend.

    Args:
        route: The backend, and what it may see.
        ledger: The ledger to deliver from, or None.
        options: How fast and how patiently.
        held: Row ids of users who must not be delivered yet.
        same_account: True if the account is the one used before, with another key.
        limiter: The rate limiter of an earlier worker for the same account.
    """
    account = account_of(route)
    report = BackendReport(route.name, account.name)
    outbox: MemoryOutbox | LedgerOutbox
    if ledger is None:
        outbox = MemoryOutbox(report)
    else:
        if same_account:
            ledger.adopt_account(account)
        # A key that turns out to belong to another organisation does not move what this worker sends.
        account = attrs.evolve(account, name=ledger.stored_name(account.name))
        info = ledger.open_account(account)
        report.account = account.name
        report.open(info)
        report.carried = ledger.pending_count(account)
        outbox = LedgerOutbox(
            ledger, account, report, BitSet() if held is None else held, info.version, partial(sent_paths, route)
        )
    loop = DeliveryLoop(route, outbox, report, options, limiter or make_limiter(options))
    return BackendWorker(loop, report, outbox, ledger, account)


def ask_organisations(
    routes: Iterable[Route], make_sender: SenderFactory, is_stopped: Callable[[], bool]
) -> Mapping[str, str]:
    """Ask each vendor that can tell which organisation its key belongs to.

    Return the name of the organisation's account by the account of the key. A vendor without a usable answer within a
    few seconds is left out.
    """
    exchanges = {
        route.account: _organisation_account(route.account, route.backend)
        for route in routes
        if has_key_fingerprint(route.account) and isinstance(route.backend, SupportsVerify)
    }
    names: dict[str, str | None] = {}
    if exchanges and not is_stopped():
        # Without an answer, the run goes on as before; whatever is wrong with the sender, it meets again.
        with suppress(Exception), closing(make_sender(len(exchanges))) as sender:
            transport = ConcurrentTransport(sender, make_limiter(DeliveryOptions()), retry=_VERIFY_RETRY)
            for account, exchange in exchanges.items():
                transport.submit(exchange, partial(names.__setitem__, account))
            until = time.monotonic() + _VERIFY_RETRY.total
            while transport.in_flight and not is_stopped() and time.monotonic() < until:
                transport.poll(_POLL_INTERVAL_S)
    return {account: name for account, name in names.items() if name is not None}


def _organisation_account(account: str, backend: SupportsVerify) -> Exchange[str | None]:
    try:
        answer = yield from backend.verify()
        return organisation_account(account, answer.organisation) if isinstance(answer, KeyInfo) else None
    except Exception:  # noqa: BLE001  # An adapter's mistake does not stop the run.
        return None


def account_of(route: Route) -> Account:
    """Return the account that the confirmed state of *route* belongs to."""
    return Account(route.name, route.account, route.encoding)
