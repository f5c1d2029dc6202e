"""The loop that brings one vendor up to date, in a thread of its own, so that no vendor waits for another."""

import time
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from ..backend import SupportsBatch, SupportsMany
from ..delivery_options import DeliveryOptions
from ..outcome import Outcome, explain
from ..pacing import Pace
from ..retry import RetryPolicy
from ..route import Route
from ..transport import ManySender, ManyTransport
from .batches import Batches
from .books import Books
from .groups import Groups
from .jobs import Jobs
from .landing import Landing
from .outbox import LedgerOutbox, Outbox
from .singles import Singles

# Seconds between two looks at what there is to do, when nothing happens.
_TICK: Final = 0.05
# A wait of fewer seconds is not worth telling.
_WORTH_TELLING: Final = 0.5
# Within a batch's life a failed request is worth another try at once; otherwise there are others to send.
_ONE_TRY: Final = RetryPolicy(attempts=1, total=1e9)
_BATCHES_ATTEMPTS: Final = 4


class Signals(Protocol):
    """What the run tells its deliveries."""

    def is_complete(self) -> bool:
        """Tell whether nobody else will be put."""
        ...

    def is_stopped(self) -> bool:
        """Tell whether to come to an end soon."""
        ...


class Launcher(Protocol):
    """A way to send users: one by one, several in a request, or in batches."""

    @property
    def transport(self) -> ManyTransport:
        """Return what sends."""
        ...

    def launch(self, *, is_last: bool) -> None:
        """Start what may be started now; *is_last* tells that nobody else will be put."""
        ...

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying."""
        ...


@attrs.define
class Delivery:
    """Bring one vendor up to date.

    Attributes:
        route: The backend, and what it may see.
        outbox: Who is to be sent.
        books: What became of them.
        options: How fast, and how patiently.
        clock: Seconds since some fixed moment.
    """

    route: Route
    outbox: Outbox
    books: Books
    options: DeliveryOptions
    clock: Callable[[], float] = time.monotonic
    _pace: Pace = attrs.field(init=False)
    _launcher: Launcher | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(
            self.options.connections,
            self.options.requests_per_minute,
            wait_initial=self.options.wait_initial,
            wait_max=self.options.wait_max,
        )

    def run(self, sender: ManySender, signals: Signals) -> None:
        """Deliver until everyone put is settled, the signals say stop, or the backend is given up on.

        Whoever is not settled then is pending. Requests under way are waited for in any case.
        """
        launcher = self._launcher = self._make_launcher(sender)
        transport = launcher.transport
        while not (signals.is_stopped() or self.books.problem):
            is_complete = signals.is_complete()
            launcher.launch(is_last=is_complete)
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

    def waits_for(self) -> str:
        """Say what is being waited for, if it is worth saying; from any thread."""
        wait = self._pace.resume_at - self.clock()
        failure = self._pace.failure
        if wait > _WORTH_TELLING:
            return f"{wait:.0f} s after {failure.cause}" if failure else f"a break of {wait:.0f} s"
        return self._launcher.waits_for() if self._launcher else ""

    def _advance(self, transport: ManyTransport) -> None:
        """Send what was started and take in the answers; outcomes are written down while the vendor is waited for."""
        is_idle = not transport.advance(0.0)
        self.outbox.tick(is_idle=is_idle)
        if is_idle:
            transport.advance(_TICK)

    def _make_launcher(self, sender: ManySender) -> Launcher:
        backend, outbox = self.route.backend, self.outbox
        if isinstance(backend, SupportsBatch) and isinstance(outbox, LedgerOutbox):
            first, longest = self.options.wait_initial, self.options.wait_max
            retry = RetryPolicy(_BATCHES_ATTEMPTS, wait_initial=first, wait_max=longest, total=1e9)
            transport = self._transport(sender, retry)
            jobs = Jobs(self.route.name, backend, outbox, transport, self._give_up, self.options)
            return Batches(self.route, backend, outbox, jobs, self.options)
        landing = Landing(outbox, self._transport(sender, _ONE_TRY), self._give_up, self.options.wait_initial)
        if isinstance(backend, SupportsMany):
            return Groups(self.route, backend, outbox, landing, self.options)
        return Singles(self.route, outbox, landing)

    def _transport(self, sender: ManySender, retry: RetryPolicy) -> ManyTransport:
        return ManyTransport(sender, self._pace, retry=retry, timeout=self.options.timeout, clock=self.clock)

    def _give_up(self, outcome: Outcome) -> None:
        self.books.problem = explain(outcome)
        self.books.add(outcome)

    def _lose_patience(self) -> None:
        failure = self._pace.failure
        if failure is not None and self._pace.failing_for > self.options.patience:
            self.books.problem = f"nothing but failures for {self.options.patience:g} s, the last one {failure.cause}"
