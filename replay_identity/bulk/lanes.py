"""The delivery to each backend in a thread of its own."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from time import sleep
from typing import Final, TypeAlias

import attrs

from ..backend import IdentityBackend
from ..delivery_options import DeliveryOptions
from ..errors import ConfigurationError
from ..ledger import Claim, Ledger
from ..model import UserTraits
from ..route import Route, routes_to
from ..transport import ManySender
from .books import Books
from .delivery import Delivery, Signals
from .direct_outbox import DirectOutbox
from .outbox import LedgerOutbox
from .report import Progress

# Makes what sends so many requests at once.
MakeSender: TypeAlias = Callable[[int], ManySender]

# Seconds between two tries to get the right to deliver.
NEXT_TRY: Final = 0.1


@attrs.define(eq=False)
class Lane:
    """The delivery to one backend, and the thread it runs in.

    Attributes:
        delivery: What runs in the thread.
        books: What became of the backend's users.
        outbox: Where the delivery takes them from.
        ledger: The ledger behind the outbox, or None.
        error: What ended the thread, or None.
    """

    delivery: Delivery
    books: Books
    outbox: DirectOutbox | LedgerOutbox
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
    def is_keeping_up(self) -> bool:
        """Tell whether the thread delivers, and neither has ended nor waits for another process."""
        return self.is_alive and not self._is_waiting

    def put(self, users: Sequence[UserTraits]) -> None:
        """Hand *users* over where there is no ledger to take them from; once nobody takes them, count them."""
        if isinstance(self.outbox, DirectOutbox):
            if self.is_alive:
                self.outbox.put(users)
            else:
                self.books.put.due += len(users)

    def hand_over(self, claims: Sequence[Claim]) -> None:
        """Hand *claims* to users over who were just put into the ledger, unless another process may deliver them."""
        if isinstance(self.outbox, LedgerOutbox) and self._is_delivering:
            self.outbox.hand_over(claims)

    def start(self, signals: Signals, make_sender: MakeSender) -> None:
        """Deliver in a thread until the *signals* end it; what it raises is kept in `error`."""
        name = f"replay-identity to {self.books.backend}"
        thread = Thread(target=self._run_in_thread, args=(signals, make_sender), name=name, daemon=True)
        thread.start()
        self._thread = thread

    def run(self, signals: Signals, make_sender: MakeSender) -> None:
        """Deliver until the *signals* end it, once it is this process's turn."""
        with self._turn(signals) as is_ours:
            if is_ours:
                self._deliver(signals, make_sender)

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def close_books(self) -> None:
        """Take note of who is left, once nobody else will be put and nobody else be delivered."""
        self.books.close(self.outbox.pending())

    def progress(self) -> Progress:
        """Return how far the backend is."""
        waits_for = "another process that delivers to it" if self._is_waiting else self.delivery.waits_for()
        books = self.books
        return Progress(books.backend, books.given, books.settled, waits_for, books.problem)

    def _run_in_thread(self, signals: Signals, make_sender: MakeSender) -> None:
        try:
            self.run(signals, make_sender)
        except BaseException as error:  # noqa: BLE001  # Whoever waits for the thread raises it.
            self.error = error

    def _deliver(self, signals: Signals, make_sender: MakeSender) -> None:
        sender = make_sender(self.delivery.options.connections)
        self._is_delivering = True
        try:
            self.delivery.run(sender, signals)
        finally:
            self._is_delivering = False
            sender.close()

    @contextmanager
    def _turn(self, signals: Signals) -> Generator[bool]:
        """Hold the right to deliver, for which another process may have to be waited for.

        Yield False if stopped before, or if that process has sent everyone.
        """
        if self.ledger is None:
            yield True
            return
        while not signals.is_stopped():
            with self.ledger.turn(self.books.backend) as is_ours:
                self._is_waiting = not is_ours
                if is_ours:
                    yield True
                    return
            if signals.is_complete() and not self.outbox.pending():
                break
            sleep(NEXT_TRY)
        self._is_waiting = False
        yield False


def lanes_to(
    backends: Iterable[IdentityBackend | Route],
    ledger: Ledger | None,
    options: Mapping[str, DeliveryOptions] | None,
) -> list[Lane]:
    """Return one lane for each of the *backends*.

    Raises:
        ConfigurationError: There is no backend, two have one name, or *options* names another.
    """
    routes = routes_to(backends)
    by_name = options_by_name([route.name for route in routes], options)
    return [lane_to(route, ledger, by_name[route.name]) for route in routes]


def options_by_name(
    names: Sequence[str], options: Mapping[str, DeliveryOptions] | None
) -> Mapping[str, DeliveryOptions]:
    """Return the options of each of the backends of these *names*, which are all that *options* may name."""
    given = options or {}
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ConfigurationError("options", f"no backend is named {', '.join(unknown)}")
    return {name: given.get(name, DeliveryOptions()) for name in names}


def lane_to(route: Route, ledger: Ledger | None, options: DeliveryOptions) -> Lane:
    """Return the lane to one backend."""
    books = Books(route.name)
    if ledger is None:
        outbox: DirectOutbox | LedgerOutbox = DirectOutbox(books)
    else:
        books.carried = ledger.due(route.name)
        # What was put last is what a route judges by, so it has to be whole.
        outbox = LedgerOutbox(ledger, route.name, books, whole=route.when is not None)
    return Lane(Delivery(route, outbox, books, options), books, outbox, ledger)
