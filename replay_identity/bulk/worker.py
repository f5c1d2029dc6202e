"""The delivery to each backend in a thread of its own."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from time import sleep
from typing import Final, Protocol, TypeAlias

import attrs

from ..adapters.protocols import IdentityBackend, SupportsBatch, SupportsMultiIdentify
from ..errors import ConfigurationError
from ..ledger import Claim, Ledger
from ..outcomes import Outcome, explain
from ..retry import RetryPolicy
from ..router import Route, as_routes
from ..traits import UserTraits
from ..transport import ConcurrentSender, ConcurrentTransport
from ..transport.rate_limiter import AdaptiveLimiter
from .batches import BatchDispatcher
from .dispatch import MultiDispatcher, OutcomeHandler, SingleDispatcher
from .jobs import ImportJobs
from .memory_outbox import MemoryOutbox
from .options import DeliveryOptions
from .outbox import LedgerOutbox, Outbox
from .report import BackendReport, Progress

# Seconds between two looks at what there is to do, when nothing happens.
_TICK: Final = 0.05
# A wait of fewer seconds is not worth telling.
_WORTH_TELLING: Final = 0.5
# Within a batch's life a failed request is worth another try at once; otherwise there are others to send.
_ONE_TRY: Final = RetryPolicy(attempts=1, total=1e9)
_BATCHES_ATTEMPTS: Final = 4


class StopSignal(Protocol):
    """What the run tells its deliveries."""

    def is_complete(self) -> bool:
        """Tell whether nobody else will be put."""
        ...

    def is_stopped(self) -> bool:
        """Tell whether to come to an end soon."""
        ...


class Dispatcher(Protocol):
    """A way to send users: one by one, several in a request, or in batches."""

    @property
    def transport(self) -> ConcurrentTransport:
        """Return what sends."""
        ...

    def dispatch(self, *, is_last: bool) -> None:
        """Start what may be started now; *is_last* tells that nobody else will be put."""
        ...

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        ...


@attrs.define
class DeliveryLoop:
    """Bring one vendor up to date.

    Attributes:
        route: The backend, and what it may see.
        outbox: Who is to be sent.
        report: What became of them.
        options: How fast, and how patiently.
        clock: Seconds since some fixed moment.
    """

    route: Route
    outbox: Outbox
    report: BackendReport
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    _limiter: AdaptiveLimiter = attrs.field(init=False)
    _dispatcher: Dispatcher | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._limiter = AdaptiveLimiter(
            self.options.connections,
            self.options.requests_per_minute,
            wait_initial=self.options.wait_initial,
            wait_max=self.options.wait_max,
        )

    def run(self, sender: ConcurrentSender, signal: StopSignal) -> None:
        """Deliver until everyone put is settled, the signals say stop, or the backend is given up on.

        Whoever is not settled then is pending. Requests under way are waited for in any case.
        """
        dispatcher = self._dispatcher = self._make_dispatcher(sender)
        transport = dispatcher.transport
        while not (signal.is_stopped() or self.report.problem):
            is_complete = signal.is_complete()
            dispatcher.dispatch(is_last=is_complete)
            if not transport.in_flight:
                self.outbox.flush()
                if is_complete and self.outbox.is_empty():
                    break
            self._advance(transport)
            self._lose_patience()
        transport.stop()
        while transport.in_flight:
            self._advance(transport)
        self.outbox.flush()
        self.outbox.tidy()

    def status_text(self) -> str:
        """Say what is being waited for, if it is worth saying; from any thread."""
        wait = self._limiter.resume_at - self.clock()
        failure = self._limiter.failure
        if wait > _WORTH_TELLING:
            return f"{wait:.0f} s after {failure.cause}" if failure else f"a break of {wait:.0f} s"
        return self._dispatcher.status_text() if self._dispatcher else ""

    def _advance(self, transport: ConcurrentTransport) -> None:
        """Send what was started and take in the answers; outcomes are written down while the vendor is waited for."""
        is_idle = not transport.poll(0.0)
        self.outbox.tick(is_idle=is_idle)
        if is_idle:
            transport.poll(_TICK)

    def _make_dispatcher(self, sender: ConcurrentSender) -> Dispatcher:
        backend, outbox = self.route.backend, self.outbox
        if isinstance(backend, SupportsBatch) and isinstance(outbox, LedgerOutbox):
            first, longest = self.options.wait_initial, self.options.wait_max
            retry = RetryPolicy(_BATCHES_ATTEMPTS, wait_initial=first, wait_max=longest, total=1e9)
            transport = self._transport(sender, retry)
            jobs = ImportJobs(self.route.name, backend, outbox, transport, self._give_up, self.options)
            return BatchDispatcher(self.route, backend, outbox, jobs, self.options)
        handler = OutcomeHandler(outbox, self._transport(sender, _ONE_TRY), self._give_up, self.options.wait_initial)
        if isinstance(backend, SupportsMultiIdentify):
            return MultiDispatcher(self.route, backend, outbox, handler, self.options)
        return SingleDispatcher(self.route, outbox, handler)

    def _transport(self, sender: ConcurrentSender, retry: RetryPolicy) -> ConcurrentTransport:
        return ConcurrentTransport(sender, self._limiter, retry=retry, timeout=self.options.timeout, clock=self.clock)

    def _give_up(self, outcome: Outcome) -> None:
        self.report.problem = explain(outcome)
        self.report.add(outcome)

    def _lose_patience(self) -> None:
        failure = self._limiter.failure
        if failure is not None and self._limiter.failing_for > self.options.patience:
            self.report.problem = f"nothing but failures for {self.options.patience:g} s, the last one {failure.cause}"


# Makes what sends so many requests at once.
MakeSender: TypeAlias = Callable[[int], ConcurrentSender]

# Seconds between two tries to get the right to deliver.
NEXT_TRY: Final = 0.1


@attrs.define(eq=False)
class BackendWorker:
    """The delivery to one backend, and the thread it runs in.

    Attributes:
        delivery: What runs in the thread.
        report: What became of the backend's users.
        outbox: Where the delivery takes them from.
        ledger: The ledger behind the outbox, or None.
        error: What ended the thread, or None.
    """

    delivery: DeliveryLoop
    report: BackendReport
    outbox: MemoryOutbox | LedgerOutbox
    ledger: Ledger | None
    error: BaseException | None = None
    _thread: Thread | None = None
    _is_waiting: bool = False
    _is_delivering: bool = False

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread still runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_delivering(self) -> bool:
        """Tell whether the thread delivers, and neither has ended nor waits for another process."""
        return self.is_alive and not self._is_waiting

    def put(self, users: Sequence[UserTraits]) -> None:
        """Hand *users* over where there is no ledger to take them from; once nobody takes them, count them."""
        if isinstance(self.outbox, MemoryOutbox):
            if self.is_alive:
                self.outbox.put(users)
            else:
                self.report.upserts.pending += len(users)

    def offer(self, claims: Sequence[Claim]) -> None:
        """Hand *claims* to users over who were just put into the ledger, unless another process may deliver them."""
        if isinstance(self.outbox, LedgerOutbox) and self._is_delivering:
            self.outbox.offer(claims)

    def start(self, signal: StopSignal, make_sender: MakeSender) -> None:
        """Deliver in a thread until the *signal* end it; what it raises is kept in `error`."""
        name = f"replay-identity to {self.report.backend}"
        thread = Thread(target=self._run_in_thread, args=(signal, make_sender), name=name, daemon=True)
        thread.start()
        self._thread = thread

    def run(self, signal: StopSignal, make_sender: MakeSender) -> None:
        """Deliver until the *signal* end it, once it is this process's turn."""
        with self._lease(signal) as is_ours:
            if is_ours:
                self._deliver(signal, make_sender)

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def close_report(self) -> None:
        """Take note of who is left, once nobody else will be put and nobody else be delivered."""
        self.report.close(self.outbox.pending())

    def progress(self) -> Progress:
        """Return how far the backend is."""
        status_text = "another process that delivers to it" if self._is_waiting else self.delivery.status_text()
        report = self.report
        return Progress(report.backend, report.given, report.settled, status_text, report.problem)

    def _run_in_thread(self, signal: StopSignal, make_sender: MakeSender) -> None:
        try:
            self.run(signal, make_sender)
        except BaseException as error:  # noqa: BLE001  # Whoever waits for the thread raises it.
            self.error = error

    def _deliver(self, signal: StopSignal, make_sender: MakeSender) -> None:
        sender = make_sender(self.delivery.options.connections)
        self._is_delivering = True
        try:
            self.delivery.run(sender, signal)
        finally:
            self._is_delivering = False
            sender.close()

    @contextmanager
    def _lease(self, signal: StopSignal) -> Generator[bool]:
        """Hold the right to deliver, for which another process may have to be waited for.

        Yield False if stopped before, or if that process has sent everyone.
        """
        if self.ledger is None:
            yield True
            return
        while not signal.is_stopped():
            with self.ledger.lease(self.report.backend) as is_ours:
                self._is_waiting = not is_ours
                if is_ours:
                    yield True
                    return
            if signal.is_complete() and not self.outbox.pending():
                break
            sleep(NEXT_TRY)
        self._is_waiting = False
        yield False


def make_workers(
    backends: Iterable[IdentityBackend | Route],
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None,
) -> list[BackendWorker]:
    """Return one lane for each of the *backends*.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
    """
    routes = as_routes(backends)
    by_name = options_by_name([route.name for route in routes], options)
    return [make_worker(route, ledger, by_name[route.name]) for route in routes]


def options_by_name(
    names: Sequence[str], options: Mapping[str, DeliveryOptions] | None
) -> Mapping[str, DeliveryOptions]:
    """Return the options of each of the backends of these *names*, which are all that *options* may name."""
    given = options or {}
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ConfigurationError("options", f"no backend is named {', '.join(unknown)}")
    return {name: given.get(name, DeliveryOptions()) for name in names}


def make_worker(route: Route, ledger: Ledger | None, options: DeliveryOptions) -> BackendWorker:
    """Return the lane to one backend."""
    report = BackendReport(route.name)
    if ledger is None:
        outbox: MemoryOutbox | LedgerOutbox = MemoryOutbox(report)
    else:
        report.carried = ledger.pending_count(route.name)
        # What was put last is what a route judges by, so it has to be whole.
        outbox = LedgerOutbox(ledger, route.name, report, full_state=route.when is not None)
    return BackendWorker(DeliveryLoop(route, outbox, report, options), report, outbox, ledger)
