"""Have every vendor delete one user, and the ledger forget them."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

import attrs

from ._values import checked_id
from .adapters.exchange import Exchange
from .adapters.protocols import IdentityBackend, StoredUser, SupportsDelete, SupportsExclude, SupportsRead
from .adapters.responses import adapter_error, checked_outcome, isolate_errors
from .outcomes import Accepted, Broken, Misconfigured, Outcome, Rejected, Skipped, Unavailable, Unknown, explain
from .retry import RetryPolicy
from .router import Route, as_routes
from .transport import Sender, Transport

if TYPE_CHECKING:
    import httpx

    from .ledger import Ledger

DeletionStatus: TypeAlias = Literal[
    "requested",  # the vendor took the request, and deletes later or does not say when it is done
    "confirmed",  # the vendor shows that it has no such user
    "unsupported",  # the vendor has no way to delete anybody
    "postponed",  # nothing was sent: what is under way would bring the user back
    "unknown",  # whether the vendor has heard it, nobody knows
    "failed",  # surely not done
]

# Seconds to wait for another process that delivers: a DurableRouter gives its turn up after 120 at the latest.
PATIENCE: Final = 150.0
_NEXT_TRY: Final = 0.1

_NO_WAY: Final = "the vendor has no way to delete a user"
_BATCH: Final = "a batch under way holds the user: deliver first, then forget"


@attrs.frozen
class DeletionReceipt:
    """What became of one user's deletion at one backend.

    Attributes:
        backend: Name of the backend.
        status: How far it is; see `DeletionStatus`.
        detail: Why, in a sentence without values.
        outcome: What the vendor answered, or None if it was not asked.
    """

    backend: str
    status: DeletionStatus
    detail: str
    outcome: Outcome | None = None

    @property
    def is_done(self) -> bool:
        """Tell whether nothing is left to do: the vendor has the request, or has no such user."""
        return self.status in {"requested", "confirmed"}

    @property
    def is_worth_repeating(self) -> bool:
        """Tell whether the same call may do more later."""
        return self.status == "postponed" or (not self.is_done and self.outcome is not None and self.outcome.retryable)


def forget(
    user_id: str,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: "Ledger | None" = None,
    transport: "httpx.Client | Sender | None" = None,
    retry: RetryPolicy | None = None,
    timeout: float = 30.0,
    patience: float = PATIENCE,
    on_wait: Callable[[str], None] | None = None,
) -> tuple[DeletionReceipt, ...]:
    """Have the *ledger* forget one user, then ask every backend to delete them; return one receipt each, in order.

    Calling it again is safe, and tells how far each vendor is. What a route keeps from a backend is of no concern: the
    vendor may know the user from before.

    Args:
        user_id: The application's id of the user.
        backends: Backends, or routes to them; their names must differ.
        ledger: The ledger that may know the user; nobody delivers out of it meanwhile.
        transport: An `httpx.Client` or another `Sender` that all backends share; by default each has one of ours.
        retry: How often and how soon each backend is asked again.
        timeout: Seconds that one attempt may take.
        patience: Seconds to wait for other processes that deliver out of the ledger.
        on_wait: Is given the name of each backend that another process has to be waited for.

    Raises:
        InvalidTraitsError: The id cannot be one.
        ConfigurationError: There is no backend, or two have one name.
        LedgerError: The ledger cannot be read or written; then no vendor was asked.
    """
    user_id, routes = checked_id(user_id), as_routes(backends)
    names = [route.name for route in routes]
    with _turns(ledger, names, patience, on_wait) as busy:
        problem = busy or _forget_in(ledger, user_id)
        if problem is not None:
            return tuple(DeletionReceipt(name, "postponed", problem) for name in names)
        return tuple(
            _ask(route.backend, user_id, Transport(transport, retry=retry, timeout=timeout)) for route in routes
        )


@contextmanager
def _turns(
    ledger: "Ledger | None", names: Iterable[str], patience: float, on_wait: Callable[[str], None] | None
) -> Generator[str | None]:
    """Hold the right to deliver to all backends; yield why it is not to be had, or None."""
    until = time.monotonic() + patience
    with ExitStack() as turns:
        if ledger is not None:
            # In one order, so that two processes that forget do not wait for each other.
            for name in sorted({*names, *(standing.backend for standing in ledger.counts())}):
                if not _take_turn(turns, ledger, name, until, on_wait):
                    yield f"another process delivers to {name}: try again later"
                    return
        yield None


def _take_turn(
    turns: ExitStack, ledger: "Ledger", name: str, until: float, on_wait: Callable[[str], None] | None
) -> bool:
    """Add the turn at the backend of that *name* to *turns*; return False if another process keeps it too long."""
    is_told = False
    while True:
        with ExitStack() as turn:
            if turn.enter_context(ledger.lease(name)):
                turns.push(turn.pop_all())
                return True
        if time.monotonic() >= until:
            return False
        if on_wait is not None and not is_told:
            on_wait(name)
            is_told = True
        time.sleep(_NEXT_TRY)


def _forget_in(ledger: "Ledger | None", user_id: str) -> str | None:
    """Have the *ledger* forget the user, before any vendor is asked; return why it must not, or None."""
    if ledger is None:
        return None
    if ledger.is_in_flight(user_id):
        return _BATCH
    ledger.forget(user_id)
    return None


def _ask(backend: IdentityBackend, user_id: str, transport: Transport) -> DeletionReceipt:
    """Ask one vendor to delete the user; a bug of its adapter is a receipt, too."""
    with transport:
        try:
            return transport.run(_deleted(backend, user_id))
        except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's receipt.
            return _receipt(adapter_error(backend.name, error))


def _deleted(backend: IdentityBackend, user_id: str) -> Exchange[DeletionReceipt]:
    if isinstance(backend, SupportsDelete):
        receipt = _receipt((yield from isolate_errors(backend.name, backend.delete(user_id))))
        if receipt.is_done and isinstance(backend, SupportsRead):
            # The vendor may know nobody of that id any more, and yet be at the deletion.
            return (yield from _read_back(backend, user_id, receipt))
        return receipt
    if isinstance(backend, SupportsExclude):
        return _receipt((yield from isolate_errors(backend.name, backend.exclude(user_id=user_id))))
    return DeletionReceipt(backend.name, "unsupported", _NO_WAY)


def _receipt(outcome: Outcome) -> DeletionReceipt:
    """Return the receipt for what a vendor answered."""
    match outcome:
        case Accepted():
            return DeletionReceipt(outcome.backend, "requested", "the vendor took the request", outcome)
        case Skipped():
            return DeletionReceipt(outcome.backend, "confirmed", explain(outcome), outcome)
        case Unknown() | Broken():
            return DeletionReceipt(outcome.backend, "unknown", explain(outcome), outcome)
        case Rejected() | Misconfigured() | Unavailable():
            return DeletionReceipt(outcome.backend, "failed", explain(outcome), outcome)
        case _:
            assert_never(outcome)


def _read_back(backend: SupportsRead, user_id: str, receipt: DeletionReceipt) -> Exchange[DeletionReceipt]:
    """Return *receipt* as it is once the vendor was asked whether it still shows the user."""
    shown = yield from _shown(backend, user_id, name=receipt.backend)
    match shown:
        case None:
            return attrs.evolve(receipt, status="confirmed", detail="the vendor shows no such user")
        case StoredUser(being_deleted=True):
            return attrs.evolve(receipt, status="requested", detail="the vendor is deleting the user")
        case StoredUser():
            return attrs.evolve(receipt, status="requested", detail="the vendor still shows the user")
        case failure:
            return attrs.evolve(receipt, detail=f"{receipt.detail}; not read back: {explain(failure)}")


def _shown(backend: SupportsRead, user_id: str, *, name: str) -> Exchange[StoredUser | Outcome | None]:
    try:
        shown = yield from backend.get(user_id)
    except Exception as error:  # noqa: BLE001  # What the deletion came to stands.
        return adapter_error(name, error)
    return shown if shown is None or isinstance(shown, StoredUser) else checked_outcome(name, shown)
