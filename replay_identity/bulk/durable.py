"""A router that returns once a user is on disk, and delivers in the background for as long as it takes."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final, Self

import attrs

from ..adapters.protocols import IdentityBackend
from ..errors import LedgerError
from ..ledger import Ledger
from ..router import Route, as_routes
from ..traits import UserTraits
from ..transport import concurrent_sender
from .options import DeliveryOptions
from .worker import NEXT_TRY, MakeSender, make_worker, options_by_name

_logger = logging.getLogger("replay_identity.durable")

# Seconds after which a delivery starts over, and with it the count of users whom it could not settle.
_SLICE: Final = 60.0
# Seconds after which it starts over even if there was always somebody else to send.
_OVERTIME: Final = 60.0
# Seconds before a backend with wrong settings, or a ledger that cannot be written, is tried again.
_AFTER_TROUBLE: Final = 30.0
_TICK: Final = 0.02


@attrs.frozen
class _Slice:
    """The signals of one stretch of delivery."""

    closing: Event
    until: float

    def is_complete(self) -> bool:
        """Tell whether to end as soon as there is nothing to do."""
        return self.is_stopped() or time.monotonic() >= self.until

    def is_stopped(self) -> bool:
        """Tell whether to come to an end soon."""
        return self.closing.is_set() or time.monotonic() >= self.until + _OVERTIME


class DurableRouter:
    """Tell every backend who a user is, at latest when it can be reached again. Safe under threads and after a fork.

    `identify` returns once the user is on disk; one thread for each backend delivers.
    Several updates of one user may become one request. Whatever ends the process, the next one goes on; so does
    ``replay-identity deliver``.

    Args:
        backends: Backends, or routes to them; their names must differ.
        ledger: The ledger, or the path of its file.
        options: How fast each backend is delivered to, by its name; patience does not end here.
        deliver: Whether to deliver in this process, or only to take users in for another one.
        transport: Makes what sends so many requests at once.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
        LedgerError: The ledger cannot be opened.
    """

    def __init__(
        self,
        backends: Iterable[IdentityBackend | Route],
        *,
        ledger: Ledger | str | Path,
        options: Mapping[str, DeliveryOptions] | None = None,
        deliver: bool = True,
        transport: MakeSender = concurrent_sender,
    ) -> None:
        self._routes = as_routes(backends)
        self._names = [route.name for route in self._routes]
        by_name = options_by_name(self._names, options)
        self._options = {name: attrs.evolve(chosen, patience=float("inf")) for name, chosen in by_name.items()}
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        self._owns_ledger = not isinstance(ledger, Ledger)
        self._transport = transport
        self._delivers = deliver
        self._lock = Lock()
        self._closing = Event()
        self._threads: list[Thread] = []
        self._pid = 0
        self._ensure_delivery()

    def identify(self, user: UserTraits) -> None:
        """Take in what *user* should be at every backend; it is on disk when this returns.

        Raises:
            InvalidTraitsError: The user has no id at all.
            LedgerError: The disk is full, or the ledger cannot be written.
        """
        self._ledger.upsert([user], self._names)
        self._ensure_delivery()

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until every user is settled, and tell whether they are."""
        until = time.monotonic() + timeout
        while any(self._ledger.pending_count(name) for name in self._names):
            if time.monotonic() >= until:
                return False
            time.sleep(_TICK)
        return True

    def close(self) -> None:
        """End the threads; requests under way are waited for, and whoever is not settled stays in the ledger."""
        self._closing.set()
        if self._pid == os.getpid():
            for thread in self._threads:
                thread.join()
        if self._owns_ledger:
            self._ledger.close()

    def _ensure_delivery(self) -> None:
        """Start the threads, unless this process has them; they do not come along in a fork."""
        if not self._delivers or self._pid == os.getpid() or self._closing.is_set():
            return
        if self._pid:
            self._lock, self._closing = Lock(), Event()  # The parent's may have been held in the moment of the fork.
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._threads = [
                Thread(target=self._deliver, args=(route,), name=f"replay-identity to {route.name}", daemon=True)
                for route in self._routes
            ]
            for thread in self._threads:
                thread.start()

    def _deliver(self, route: Route) -> None:
        """Be the thread of one backend."""
        while not self._closing.is_set():
            try:
                problem = self._deliver_for_a_while(route)
            except LedgerError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001  # Its text may quote a value.
                problem = type(error).__name__
            if problem is not None:
                _logger.error("%s: %s; trying again in %g s", route.name, problem.rstrip("."), _AFTER_TROUBLE)
                self._closing.wait(_AFTER_TROUBLE)

    def _deliver_for_a_while(self, route: Route) -> str | None:
        """Deliver until there is nothing to do after a while; return what is wrong, if anything is."""
        worker = make_worker(route, self._ledger, self._options[route.name])
        worker.run(_Slice(self._closing, time.monotonic() + _SLICE), self._transport)
        # Another process that has rows of its own to deliver gets its turn.
        self._closing.wait(3 * NEXT_TRY)
        return worker.report.problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
