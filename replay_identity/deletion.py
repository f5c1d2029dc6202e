"""Delete users at every vendor and from the ledger."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

import attrs

from ._values import checked_id, checked_string
from .adapters.exchange import Exchange
from .adapters.protocols import IdentityBackend, StoredUser, SupportsDelete, SupportsExclude, SupportsRead
from .adapters.responses import adapter_error, checked_outcome, isolate_errors
from .errors import InvalidTraitsError
from .outcomes import Accepted, Broken, Misconfigured, Outcome, Rejected, Skipped, Unavailable, Unknown, explain
from .retry import RetryPolicy
from .router import Route, as_routes
from .transport import Sender, Transport

if TYPE_CHECKING:
    import httpx

    from .ledger import Account, Ledger

DeletionStatus: TypeAlias = Literal[
    "requested",  # the vendor accepted the request; it deletes later, or does not report when it is done
    "confirmed",  # the vendor shows that it has no such user
    "unsupported",  # the vendor cannot delete users
    "postponed",  # nothing was sent, because users in flight would recreate the user
    "unknown",  # the vendor may or may not have received the request
    "failed",  # certainly not deleted
]

# A DurableRouter holds its lease for at most 120 seconds, so waiting a little longer is enough.
LEASE_TIMEOUT_S: Final = 150.0
_LEASE_POLL_S: Final = 0.1
# Each user takes all retries while a vendor is not available, so it is given up after this number of users in a row.
_MAX_UNAVAILABLE: Final = 3


@attrs.frozen
class DeletionReceipt:
    """The result of deleting one user at one backend.

    Attributes:
        backend: Name of the backend.
        status: How far the deletion has got; see `DeletionStatus`.
        detail: Why, in a sentence without values.
        outcome: The vendor's outcome, or None if nothing was sent.
    """

    backend: str
    status: DeletionStatus
    detail: str
    outcome: Outcome | None = None

    @property
    def is_done(self) -> bool:
        """Return True if nothing is left to do: the vendor has the request, or has no such user."""
        return self.status in {"requested", "confirmed"}

    @property
    def retryable(self) -> bool:
        """Return True if the same call may succeed later."""
        return self.status == "postponed" or (not self.is_done and self.outcome is not None and self.outcome.retryable)


def forget(
    user_id: str,
    backends: Iterable[IdentityBackend | Route],
    *,
    ledger: "Ledger | None" = None,
    transport: "httpx.Client | Sender | None" = None,
    retry: RetryPolicy | None = None,
    timeout: float = 30.0,
    lease_timeout: float = LEASE_TIMEOUT_S,
    on_wait: Callable[[str], None] | None = None,
) -> tuple[DeletionReceipt, ...]:
    """Delete one user from the *ledger*, then at every backend; return one receipt each, in order.

    Calling it again is safe and reports how far each vendor has got. Routes are ignored: the vendor may have stored the
    user before the route existed.

    Args:
        user_id: Your own id of the user.
        backends: Backends or routes; their names must differ.
        ledger: The ledger that may contain the user; nothing is delivered from it meanwhile.
        transport: An `httpx.Client` or another `Sender` shared by all backends; by default each has its own.
        retry: How often, and how soon, a request is retried.
        timeout: Seconds that one attempt may take.
        lease_timeout: Seconds to wait for other processes that deliver from the ledger.
        on_wait: Called with the name of each backend to which another process delivers.

    Raises:
        InvalidTraitsError: The id is invalid.
        ConfigurationError: There is no backend, or two have the same name.
        LedgerError: The ledger cannot be read or written; nothing was sent.
    """
    (receipts,) = forget_users(
        [user_id],
        backends,
        ledger=ledger,
        transport=transport,
        retry=retry,
        timeout=timeout,
        lease_timeout=lease_timeout,
        on_wait=on_wait,
    )
    return receipts


def forget_users(  # noqa: PLR0913  # Two kinds of names, and one parameter for each setting and callback.
    user_ids: Iterable[str],
    backends: Iterable[IdentityBackend | Route],
    *,
    emails: Iterable[str] = (),
    ledger: "Ledger | None" = None,
    transport: "httpx.Client | Sender | None" = None,
    retry: RetryPolicy | None = None,
    timeout: float = 30.0,
    lease_timeout: float = LEASE_TIMEOUT_S,
    on_wait: Callable[[str], None] | None = None,
    on_receipts: Callable[[tuple[DeletionReceipt, ...]], None] | None = None,
) -> tuple[tuple[DeletionReceipt, ...], ...]:
    """Delete several users as `forget` does; return the receipts of each: the ids in their order, then the addresses.

    No user is deleted before all ids and addresses are known to be valid. One failure does not stop the rest, except
    that a vendor is not asked again once its settings are wrong or it was unavailable for three users in a row.

    Args:
        user_ids: Your own ids of the users.
        backends: Backends or routes; their names must differ.
        emails: E-mail addresses of more users, for vendors that exclude users by their address. The ledger finds users
            by their ids only.
        ledger: The ledger that may contain the users; nothing is delivered from it meanwhile.
        transport: An `httpx.Client` or another `Sender` shared by all backends; by default each has its own.
        retry: How often, and how soon, a request is retried.
        timeout: Seconds that one attempt may take.
        lease_timeout: Seconds to wait for other processes that deliver from the ledger.
        on_wait: Called with the name of each backend to which another process delivers.
        on_receipts: Called with the receipts of each user, as soon as every vendor was asked.

    Raises:
        InvalidTraitsError: An id or an address is invalid; nothing was deleted.
        ConfigurationError: There is no backend, or two have the same name.
        LedgerError: The ledger cannot be read or written. Users whose receipts were passed on are deleted.
    """
    people = [
        *(_Person(user_id=checked_id(user_id)) for user_id in user_ids),
        *(_Person(email=_checked_email(email)) for email in emails),
    ]
    routes, receipts = as_routes(backends), list[tuple[DeletionReceipt, ...]]()
    with (
        hold_leases(ledger, [route.name for route in routes], lease_timeout, on_wait) as busy_backend,
        ExitStack() as transports,
    ):
        vendors = [
            _Vendor(route.backend, transports.enter_context(Transport(transport, retry=retry, timeout=timeout)))
            for route in routes
        ]
        for person in people:
            receipts.append(_forget_person(person, vendors, ledger, busy_backend))
            if on_receipts is not None:
                on_receipts(receipts[-1])
    return tuple(receipts)


@attrs.frozen
class _Person:
    """A user to delete, by their id, or everybody with an e-mail address."""

    user_id: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)


@attrs.define
class _Vendor:
    """A backend that is asked to delete one user after the other.

    Attributes:
        backend: The backend.
        transport: Sends the requests.
        unavailable: Number of users in a row during which the vendor was not available.
        given_up: The receipt of all further users, or None.
    """

    backend: IdentityBackend
    transport: Transport
    unavailable: int = 0
    given_up: DeletionReceipt | None = None

    def delete(self, person: _Person) -> DeletionReceipt:
        """Return the receipt of one user."""
        if self.given_up is not None:
            return self.given_up
        if person.user_id is not None:
            receipt = self.transport.run(delete_user(self.backend, person.user_id))
        else:
            receipt = self.transport.run(_exclude_email(self.backend, person.email))
        self.unavailable = self.unavailable + 1 if isinstance(receipt.outcome, Unavailable) else 0
        if self.unavailable >= _MAX_UNAVAILABLE or isinstance(receipt.outcome, Misconfigured):
            self.given_up = attrs.evolve(receipt, detail=f"not asked again: {receipt.detail}")
        return receipt


def _forget_person(
    person: _Person, vendors: Iterable[_Vendor], ledger: "Ledger | None", busy_backend: str | None
) -> tuple[DeletionReceipt, ...]:
    problem = _obstacle(ledger, person.user_id, busy_backend)
    if problem is not None:
        return tuple(DeletionReceipt(vendor.backend.name, "postponed", problem) for vendor in vendors)
    if ledger is not None and person.user_id is not None:
        ledger.forget(person.user_id)
    return tuple(vendor.delete(person) for vendor in vendors)


def _obstacle(ledger: "Ledger | None", user_id: str | None, busy_backend: str | None) -> str | None:
    """Return why the user must not be deleted now, or None."""
    if busy_backend is not None:
        return f"another process delivers to {busy_backend}; try again later"
    if ledger is not None and user_id is not None and ledger.is_in_flight(user_id):
        return "a batch in flight contains the user; deliver it first, then forget the user"
    return None


def _checked_email(email: object) -> str:
    if not is_email(checked := checked_string(email, "email")):
        raise InvalidTraitsError("email", "expected an e-mail address without blanks around it")
    return checked


def is_email(text: str) -> bool:
    """Return True if *text* has the form of an e-mail address, with a name and a host."""
    name, _, host = text.rpartition("@")
    return bool(name and host) and text == text.strip() and text.isprintable()


@contextmanager
def hold_leases(
    ledger: "Ledger | None",
    names: Iterable[str],
    lease_timeout: float,
    on_wait: Callable[[str], None] | None = None,
) -> Generator[str | None]:
    """Hold the leases on all accounts; yield the backend of one whose lease another process holds, or None."""
    deadline = time.monotonic() + lease_timeout
    with ExitStack() as leases:
        if ledger is not None:
            # In the same order everywhere, so that two processes that forget users do not wait for each other.
            for account in ledger.vendor_accounts(names):
                if not _take_lease(leases, ledger, account, deadline, on_wait):
                    yield account.backend
                    return
        yield None


def _take_lease(
    leases: ExitStack, ledger: "Ledger", account: "Account", deadline: float, on_wait: Callable[[str], None] | None
) -> bool:
    """Add the lease on *account* to *leases*; return False if another process holds it too long."""
    has_reported = False
    while True:
        with ExitStack() as attempt:
            if attempt.enter_context(ledger.lease(account)):
                leases.push(attempt.pop_all())
                return True
        if time.monotonic() >= deadline:
            return False
        if on_wait is not None and not has_reported:
            on_wait(account.backend)
            has_reported = True
        time.sleep(_LEASE_POLL_S)


def delete_user(backend: IdentityBackend, user_id: str) -> Exchange[DeletionReceipt]:
    """Delete one user at the vendor, and read back whether it still shows the user."""
    try:
        return (yield from _delete(backend, user_id))
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's receipt.
        return _receipt(adapter_error(backend.name, error))


def _delete(backend: IdentityBackend, user_id: str) -> Exchange[DeletionReceipt]:
    if isinstance(backend, SupportsDelete):
        receipt = _receipt((yield from isolate_errors(backend.name, backend.delete(user_id))))
        if receipt.is_done and isinstance(backend, SupportsRead):
            # Even "no such user" is read back: the vendor may not find the user and still be deleting them.
            return (yield from _read_back(backend, user_id, receipt))
        return receipt
    if isinstance(backend, SupportsExclude):
        return _receipt((yield from isolate_errors(backend.name, backend.exclude(user_id=user_id))))
    return DeletionReceipt(backend.name, "unsupported", "the vendor cannot delete users")


def _exclude_email(backend: IdentityBackend, email: str | None) -> Exchange[DeletionReceipt]:
    """Exclude all users with an e-mail address at the vendor."""
    if not isinstance(backend, SupportsExclude):
        detail = "the vendor cannot delete users by their e-mail address"
        return DeletionReceipt(backend.name, "unsupported", detail)
    try:
        exchange = backend.exclude(email=email)
    except Exception as error:  # noqa: BLE001  # As in `delete_user`.
        return _receipt(adapter_error(backend.name, error))
    return _receipt((yield from isolate_errors(backend.name, exchange)))


def _receipt(outcome: Outcome) -> DeletionReceipt:
    match outcome:
        case Accepted():
            return DeletionReceipt(outcome.backend, "requested", "the vendor accepted the request", outcome)
        case Skipped():
            return DeletionReceipt(outcome.backend, "confirmed", explain(outcome), outcome)
        case Unknown() | Broken():
            return DeletionReceipt(outcome.backend, "unknown", explain(outcome), outcome)
        case Rejected() | Misconfigured() | Unavailable():
            return DeletionReceipt(outcome.backend, "failed", explain(outcome), outcome)
        case _:
            assert_never(outcome)


def _read_back(backend: SupportsRead, user_id: str, receipt: DeletionReceipt) -> Exchange[DeletionReceipt]:
    """Ask whether the vendor still shows the user, and return *receipt* updated accordingly."""
    stored = yield from _get(backend, user_id, name=receipt.backend)
    match stored:
        case None:
            return attrs.evolve(receipt, status="confirmed", detail="the vendor shows no such user")
        case StoredUser(being_deleted=True):
            return attrs.evolve(receipt, status="requested", detail="the vendor is deleting the user")
        case StoredUser():
            return attrs.evolve(receipt, status="requested", detail="the vendor still shows the user")
        case failure:
            return attrs.evolve(receipt, detail=f"{receipt.detail}; not read back: {explain(failure)}")


def _get(backend: SupportsRead, user_id: str, *, name: str) -> Exchange[StoredUser | Outcome | None]:
    try:
        stored = yield from backend.get(user_id)
    except Exception as error:  # noqa: BLE001  # A bug in reading must not hide the deletion's receipt.
        return adapter_error(name, error)
    return stored if stored is None or isinstance(stored, StoredUser) else checked_outcome(name, stored)
