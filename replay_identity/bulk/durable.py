"""Deliver users to every backend at least once, through a durable outbox."""

import atexit
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from threading import RLock, Thread, current_thread
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

import attrs

from .._forks import register_fork_hooks
from ..adapters.credentials import of_two_organisations
from ..adapters.protocols import IdentityBackend
from ..errors import ConfigurationError, LedgerError
from ..ledger import Account, Ledger
from ..router import Route
from ..traits import UserTraits
from ..transport import concurrent_sender
from ..transport.rate_limiter import AdaptiveLimiter
from .options import DeliveryOptions
from .report import BackendReport
from .worker import (
    LEASE_RETRY_S,
    SenderFactory,
    account_of,
    ask_organisations,
    make_limiter,
    make_worker,
    routes_with_options,
)

_logger = logging.getLogger("replay_identity.durable")

# Seconds after which a worker is replaced once it is idle, so that users it has abandoned are sent again.
_SLICE_S: Final = 60.0
# Seconds after that when it is replaced even if it is busy.
_OVERTIME_S: Final = 60.0
# Seconds to wait after wrong settings or an error of the ledger.
_ERROR_DELAY_S: Final = 30.0
# Seconds after which a problem that persists is logged again.
_LOG_INTERVAL_S: Final = 3600.0
# Seconds that the interpreter waits at its exit for threads of routers that were not closed.
_EXIT_TIMEOUT_S: Final = 2.0
_POLL_S: Final = 0.02


@attrs.frozen
class _Slice:
    """The stop signal of one worker of a `DurableRouter`.

    Attributes:
        is_closing: Returns True once the router is being closed.
        is_shared: Returns True if another backend of the router waits for the lease.
        ends_at: When the worker should end once its outbox is empty.
    """

    is_closing: Callable[[], bool]
    is_shared: Callable[[], bool]
    ends_at: float

    def is_complete(self) -> bool:
        """Return True if the worker should end once its outbox is empty."""
        return self.is_stopped() or self.is_shared() or time.monotonic() >= self.ends_at

    def is_stopped(self) -> bool:
        """Return True if the worker should end soon."""
        return self.is_closing() or time.monotonic() >= self.ends_at + _OVERTIME_S


@attrs.define
class _ProblemLog:
    """Logs a problem when it starts or changes, and once an hour while it persists."""

    _problem: str = ""
    _log_again_at: float = 0.0

    def log(self, level: int, problem: str) -> None:
        """Log *problem* unless it was logged within the last hour."""
        now = time.monotonic()
        if problem != self._problem or now >= self._log_again_at:
            self._problem, self._log_again_at = problem, now + _LOG_INTERVAL_S
            _logger.log(level, "%s", problem)

    def clear(self) -> None:
        """Log the problem again if it returns."""
        self._problem = ""


def _warn_of_other_accounts(ledger: Ledger, accounts: Iterable[Account]) -> None:
    """Log a warning for each other account of the same backends at which users are pending."""
    current = {account.backend: ledger.stored_name(account.name) for account in accounts}
    for other in ledger.counts():
        account = current.get(other.backend, other.account)
        if other.pending and other.account and account != other.account:
            is_other = of_two_organisations(account, other.account)
            advice = "" if is_other else f"; pass same_account=True to deliver them to {account}"
            _logger.warning("%s: users are pending at another account, %s%s", other.backend, other.account, advice)


class DurableRouter:
    """Deliver users to every backend at least once, through a durable outbox. Thread- and fork-safe.

    `identify` returns once the user is on disk; one thread per backend delivers. Several updates of one user may
    become one request. After a crash the next process resumes, or ``replay-identity deliver`` does.

    Args:
        backends: Backends, or routes to them, with distinct names.
        ledger: A ledger, or the path of its file, which is created if missing.
        options: Delivery options by name of the backend; *patience* is ignored, since no backend is given up on.
        deliver: Deliver in this process; if False, only store users for another process to deliver.
        same_account: True if the account of each backend is the one that the ledger was used for before, although its
            name differs, because the key was rotated.
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
        same_account: bool = False,
        transport: SenderFactory = concurrent_sender,
    ) -> None:
        self._settings = [
            (route, attrs.evolve(chosen, patience=float("inf")))
            for route, chosen in routes_with_options(backends, options)
        ]
        self._accounts = [account_of(route) for route, _ in self._settings]
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        self._owns_ledger = not isinstance(ledger, Ledger)
        if same_account:
            for account in self._accounts:
                self._ledger.adopt_account(account)
        _warn_of_other_accounts(self._ledger, self._accounts)
        self._stored_names = {account.name: self._ledger.stored_name(account.name) for account in self._accounts}
        self._transport = transport
        self._delivers = deliver
        self._start_problems = _ProblemLog()
        # The names of organisations by the accounts of keys, by the name of each backend that was asked.
        self._organisations: dict[str, Mapping[str, str]] = {}
        # Plain attributes instead of events, whose locks a signal handler or a forked child may find locked.
        self._is_closing = False
        self._close_by = float("inf")
        self._is_drained: bool | None = None
        # Guards the threads. Forks and signal handlers wait for it, so nothing that may block happens under it.
        self._lock = RLock()
        self._threads: dict[str, Thread] = {}
        register_fork_hooks(self)
        _routers.add(self)
        self._ensure_threads()

    def identify(self, user: UserTraits) -> None:
        """Store the desired state of *user* for every backend; it is on disk when this returns.

        Raises:
            InvalidTraitsError: The user has no id.
            LedgerError: The ledger cannot be written, for example because the disk is full.
        """
        self._ledger.upsert([user], self._accounts)
        self._ensure_threads()

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until no user is pending, or until the router is closed.

        Returns:
            True if no user is pending.

        Raises:
            ConfigurationError: *timeout* is negative, infinite or not a number.
            LedgerError: The ledger cannot be read.
        """
        deadline = _deadline(timeout)
        self._ensure_threads()
        try:
            while any(self._ledger.pending_count(account) for account in self._accounts):
                if self._is_closing or time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_S)
        except LedgerError:
            if not self._is_closing:
                raise
            return bool(self._is_drained)  # Another thread has closed the ledger meanwhile.
        return True

    def close(self, timeout: float = 10.0, *, drain: bool = False) -> bool:
        """End the threads, and wait at most *timeout* seconds for them; pending users stay in the ledger.

        Nothing more is sent. A request in flight that has no response by then is sent again by a later process. What is
        left is logged, as numbers only. Further calls wait no longer than the first one, and any thread may call it.

        Args:
            timeout: Maximum seconds to wait.
            drain: First wait until no user is pending, within the same time.

        Returns:
            True if no user is pending.

        Raises:
            ConfigurationError: *timeout* is negative, infinite or not a number.
        """
        deadline = _deadline(timeout)
        if drain and not self._is_closing:
            with suppress(LedgerError):
                self.flush(timeout)
        self._is_closing = True
        if not self._wait_for_threads(deadline) and sys.is_finalizing():
            return False  # The threads are gone, perhaps in the middle of a transaction, with the ledger's lock.
        is_drained = self._check_drained()
        if self._owns_ledger:
            self._ledger.close()
        return is_drained

    def before_fork(self) -> None:
        """Let no thread be started until `after_fork`."""
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:  # noqa: ARG002  # A child sees its parent's threads as ended.
        """Continue; in a child, the next user starts threads."""
        self._lock.release()

    def _ensure_threads(self) -> None:
        """Start the thread of each backend that has none: in a forked child, or after a thread has died."""
        if not self._delivers or sys.is_finalizing():
            return
        try:
            with self._lock:
                for route, options in self._settings:
                    thread = self._threads.get(route.name)
                    if not self._is_closing and (thread is None or not thread.is_alive()):
                        self._threads[route.name] = self._start(route, options)
        except RuntimeError:
            # Too many threads; or the interpreter exits, and since Python 3.12 starts none.
            self._start_problems.log(logging.WARNING, "no thread can be started; users are stored, and delivered later")

    def _start(self, route: Route, options: DeliveryOptions) -> Thread:
        name = f"replay-identity to {route.name}"
        thread = Thread(target=copy_context().run, args=(self._deliver, route, options), name=name, daemon=True)
        thread.start()
        return thread

    def _deliver(self, route: Route, options: DeliveryOptions) -> None:
        # Kept from slice to slice, since a vendor may ask to wait for longer.
        limiter, problems = make_limiter(options), _ProblemLog()
        while not self._is_closing:
            try:
                report = self._deliver_slice(route, options, limiter)
                problem = report.problem
                if report.settled and problem is None:
                    problems.clear()
            except LedgerError as error:
                problem = str(error)
            except BaseException as error:  # noqa: BLE001  # Its message may quote a value.
                problem = type(error).__name__
            # After a close the ledger may be closed too, and what could not be recorded is still pending.
            if problem is not None and not self._is_closing:
                text = f"{route.name}: {problem.rstrip('.')}; trying again every {_ERROR_DELAY_S:g} s"
                problems.log(logging.ERROR, text)
                self._pause(_ERROR_DELAY_S)

    def _deliver_slice(self, route: Route, options: DeliveryOptions, limiter: AdaptiveLimiter) -> BackendReport:
        """Deliver with a new worker until its slice has ended, and return its report."""
        self._learn_organisation(route)
        is_shared = partial(self._shares_account, route)
        if is_shared():
            # Another backend waits for the lease, so each delivers only the users that it has.
            self._wait_for_users(account_of(route))
        worker = make_worker(route, self._ledger, options, limiter=limiter)
        worker.run(_Slice(lambda: self._is_closing, is_shared, time.monotonic() + _SLICE_S), self._transport)
        # Give the lease to another process that waits for it.
        self._pause(3 * LEASE_RETRY_S)
        return worker.report

    def _learn_organisation(self, route: Route) -> None:
        """Ask once which organisation the key of *route* belongs to, and tell the ledger until it can store it."""
        if route.name not in self._organisations:
            self._organisations[route.name] = ask_organisations([route], self._transport, lambda: self._is_closing)
        for account, name in self._organisations[route.name].items():
            former = self._ledger.learn_organisation(account, name)
            self._stored_names[account] = self._ledger.stored_name(account)
            if former is not None:
                _logger.warning(
                    "%s: the key belonged to the account %s, and now to %s, which gets everything from nothing",
                    route.name,
                    former,
                    name,
                )
                _warn_of_other_accounts(self._ledger, [account_of(route)])

    def _shares_account(self, route: Route) -> bool:
        """Return True if another backend of this router has the same account."""
        names = [self._stored_names[account.name] for account in self._accounts if account.name]
        return names.count(self._stored_names[route.account]) > 1

    def _wait_for_users(self, account: Account) -> None:
        """Wait until users are pending at *account*, or the router is closed."""
        while not (self._is_closing or self._ledger.pending_count(account)):
            self._pause(_POLL_S)

    def _wait_for_threads(self, deadline: float) -> bool:
        """Return True once all other threads have ended, or False at the earliest *deadline* of all calls."""
        with self._lock:
            self._close_by = min(self._close_by, deadline)
            threads = [thread for thread in self._threads.values() if thread is not current_thread()]
        while any(thread.is_alive() for thread in threads):
            if sys.is_finalizing() or time.monotonic() >= self._close_by:
                return False
            time.sleep(_POLL_S)
        return True

    def _pause(self, seconds: float) -> None:
        """Sleep until *seconds* have passed or the router is closed."""
        until = time.monotonic() + seconds
        while not self._is_closing and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _check_drained(self) -> bool:
        """Return True if no user is pending; log the numbers once."""
        try:
            pending = {account.backend: self._ledger.pending_count(account) for account in self._accounts}
        except LedgerError as error:
            # Another call may have closed the ledger.
            if self._is_drained is None:
                _logger.warning("closed; the pending users cannot be counted: %s", error)
            return bool(self._is_drained)
        is_first, self._is_drained = self._is_drained is None, not any(pending.values())
        if is_first and not self._is_drained:
            counts = ", ".join(f"{name} {count:,}" for name, count in pending.items() if count)
            command = shlex.join(["replay-identity", "deliver", "--ledger", self._ledger.path])
            # Without delivery here, pending users are nothing unusual.
            level = logging.WARNING if self._delivers else logging.DEBUG
            _logger.log(level, "closed with users pending: %s; a later process delivers them, or: %s", counts, command)
        return self._is_drained

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# Routers whose threads end before the interpreter does.
_routers: Final[WeakSet[DurableRouter]] = WeakSet()


@atexit.register
def _stop_routers() -> None:
    """End all threads: the interpreter would stop them in a transaction, and `identify` in a finalizer would hang."""
    deadline = time.monotonic() + _EXIT_TIMEOUT_S
    routers = list(_routers)
    for router in routers:
        router._is_closing = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for router in routers:
        router._wait_for_threads(deadline)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _deadline(timeout: object) -> float:
    """Return the moment *timeout* seconds from now."""
    if not (isinstance(timeout, int | float) and 0 <= timeout < float("inf")):  # Written so that NaN fails too.
        raise ConfigurationError("timeout", "expected a number of seconds, 0 or more")
    return time.monotonic() + timeout
