"""Deliver users to every backend at least once, through a durable outbox."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final, Self

import attrs

from .._forks import register_fork_hooks
from ..adapters.protocols import IdentityBackend
from ..errors import LedgerError
from ..ledger import Ledger
from ..router import Route
from ..traits import UserTraits
from ..transport import concurrent_sender
from .options import DeliveryOptions
from .worker import LEASE_RETRY_S, SenderFactory, make_worker, routes_with_options

_logger = logging.getLogger("replay_identity.durable")

# Seconds after which a worker is replaced once it is idle, so that users it has abandoned are sent again.
_SLICE_S: Final = 60.0
# Seconds after that when it is replaced even if it is busy.
_OVERTIME_S: Final = 60.0
# Seconds to wait after wrong settings or an error of the ledger.
_ERROR_DELAY_S: Final = 30.0
_FLUSH_POLL_S: Final = 0.02


@attrs.frozen
class _Slice:
    """The stop signal of one worker of a `DurableRouter`."""

    closing: Event
    ends_at: float

    def is_complete(self) -> bool:
        """Return True if the worker should end once its outbox is empty."""
        return self.is_stopped() or time.monotonic() >= self.ends_at

    def is_stopped(self) -> bool:
        """Return True if the worker should end soon."""
        return self.closing.is_set() or time.monotonic() >= self.ends_at + _OVERTIME_S


class DurableRouter:
    """Deliver users to every backend at least once, through a durable outbox. Thread- and fork-safe.

    `identify` returns once the user is on disk; one thread per backend delivers. Several updates of one user may
    become one request. After a crash the next process resumes, or ``replay-identity deliver`` does.

    Args:
        backends: Backends, or routes to them, with distinct names.
        ledger: A ledger, or the path of its file, which is created if missing.
        options: Delivery options by name of the backend; *patience* is ignored, since no backend is given up on.
        deliver: Deliver in this process; if False, only store users for another process to deliver.
        transport: Factory for the concurrent sender; receives the maximum number of connections.

    Raises:
        ConfigurationError: There is no backend, two have the same name, or *options* names an unknown one.
        LedgerError: The ledger cannot be opened.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        ledger: Ledger | str | Path,
        options: Mapping[str, DeliveryOptions] | None = None,
        deliver: bool = True,
        transport: SenderFactory = concurrent_sender,
    ) -> None:
        self._settings = [
            (route, attrs.evolve(chosen, patience=float("inf")))
            for route, chosen in routes_with_options(backends, options)
        ]
        self._names = [route.name for route, _ in self._settings]
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        self._owns_ledger = not isinstance(ledger, Ledger)
        self._transport = transport
        self._delivers = deliver
        self._lock = Lock()
        self._closing = Event()
        self._threads: list[Thread] = []
        register_fork_hooks(self)
        self._ensure_threads()

    def identify(self, user: UserTraits) -> None:
        """Store the desired state of *user* for every backend; it is on disk when this returns.

        Raises:
            InvalidTraitsError: The user has no id.
            LedgerError: The ledger cannot be written, for example because the disk is full.
        """
        self._ledger.upsert([user], self._names)
        self._ensure_threads()

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until no user is pending; return False if some still are."""
        deadline = time.monotonic() + timeout
        while any(self._ledger.pending_count(name) for name in self._names):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FLUSH_POLL_S)
        return True

    def close(self) -> None:
        """End the threads once requests in flight are completed; pending users stay in the ledger."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if self._owns_ledger:
            self._ledger.close()

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its threads."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child, without its parent's threads; the next user starts new ones."""
        if in_child:
            self._lock, self._threads = Lock(), []
            if not self._closing.is_set():
                self._closing = Event()  # The parent's event may have been locked at the moment of the fork.

    def _ensure_threads(self) -> None:
        """Start the threads unless this process has them; a forked child does not."""
        if not self._delivers or self._threads or self._closing.is_set():
            return
        with self._lock:
            if self._threads:
                return
            self._threads = [
                Thread(
                    target=self._deliver, args=(route, options), name=f"replay-identity to {route.name}", daemon=True
                )
                for route, options in self._settings
            ]
            for thread in self._threads:
                thread.start()

    def _deliver(self, route: Route, options: DeliveryOptions) -> None:
        while not self._closing.is_set():
            try:
                problem = self._deliver_slice(route, options)
            except LedgerError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001  # Its message may quote a value.
                problem = type(error).__name__
            if problem is not None:
                _logger.error("%s: %s; trying again in %g s", route.name, problem.rstrip("."), _ERROR_DELAY_S)
                self._closing.wait(_ERROR_DELAY_S)

    def _deliver_slice(self, route: Route, options: DeliveryOptions) -> str | None:
        """Deliver with a new worker until its slice has ended; return what went wrong, or None."""
        worker = make_worker(route, self._ledger, options)
        worker.run(_Slice(self._closing, time.monotonic() + _SLICE_S), self._transport)
        # Give the lease to another process that waits for it.
        self._closing.wait(3 * LEASE_RETRY_S)
        return worker.report.problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
