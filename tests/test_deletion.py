"""One user is deleted everywhere, with a receipt from each vendor."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from support.backends import Acme
from support.clock import Clock
from support.vendors import Vendors, running_vendors

from replay_identity import (
    Accepted,
    Broken,
    ConfigurationError,
    Fullstory,
    InvalidTraitsError,
    LedgerError,
    LogRocket,
    Misconfigured,
    Rejected,
    RetryPolicy,
    Route,
    Router,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.adapters import Exchange, StoredUser, SupportsDelete, SupportsExclude
from replay_identity.deletion import DeletionReceipt, forget, forget_users
from replay_identity.emulator import Fault, FullstoryEmulator
from replay_identity.ledger import Batch, JobEntry, Ledger
from replay_identity.outcomes import SkipReason

ID: Final = "canary-id"
QUICK: Final = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.01)
EXCLUSION: Final = "/v1/orgs/acme/apps/shop/gdpr/exclusion/"


@pytest.fixture(scope="module")
def clock() -> Clock:
    """Return Fullstory's clock."""
    return Clock()


@pytest.fixture(scope="module")
def _running_vendors(clock: Clock) -> Iterator[Vendors]:
    with running_vendors(FullstoryEmulator(clock=clock)) as vendors:
        yield vendors


@pytest.fixture
def vendors(vendors: Vendors) -> Vendors:
    """Return both vendors, who have the user and another one."""
    with Router(vendors.backends) as router:
        for user in (UserTraits(ID, name="canary-name"), UserTraits("u2", name="other")):
            assert router.identify(user).status == "ok"
    return vendors


def forget_user(vendors: Vendors, **options: Any) -> tuple[DeletionReceipt, DeletionReceipt]:
    """Delete the user at both vendors."""
    fullstory, logrocket = forget(ID, vendors.backends, retry=QUICK, **options)
    return fullstory, logrocket


def later_requests(vendors: Vendors) -> list[tuple[str, str]]:
    """Return the requests that both received after the users were sent."""
    return [(request.method, request.path) for emulator in vendors.emulators for request in emulator.requests[2:]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return a ledger."""
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


# Receipts over HTTP


def test_every_vendor_receives_the_request(vendors: Vendors) -> None:
    """Fullstory shows the deletion, LogRocket shows no users; other users are not affected."""
    assert forget_user(vendors) == (
        DeletionReceipt("fullstory", "requested", "the vendor is deleting the user", Accepted("fullstory")),
        DeletionReceipt("logrocket", "requested", "the vendor accepted the request", Accepted("logrocket")),
    )

    assert vendors.fullstory.by_uid(ID) is None
    assert vendors.fullstory.by_uid("u2") is not None
    assert vendors.logrocket.excluded == {("user_id", ID)}


def test_a_later_call_confirms_the_deletion(vendors: Vendors, clock: Clock) -> None:
    """While Fullstory deletes, it does not find the id and still shows the deletion."""
    forget_user(vendors)

    meanwhile, _ = forget_user(vendors)
    clock.now += 31
    afterwards, _ = forget_user(vendors)

    outcome = Skipped("fullstory", SkipReason.NOT_FOUND)
    assert meanwhile == DeletionReceipt("fullstory", "requested", "the vendor is deleting the user", outcome)
    assert afterwards == DeletionReceipt("fullstory", "confirmed", "the vendor shows no such user", outcome)


def test_an_unknown_user_is_confirmed_at_once(vendors: Vendors) -> None:
    """There is nothing to delete."""
    (receipt,) = forget("nobody", vendors.backends[:1], retry=QUICK)

    assert (receipt.status, receipt.is_done, receipt.retryable) == ("confirmed", True, False)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(drop="after"), Fault(drop="before")])
def test_retries_a_failed_deletion(vendors: Vendors, fault: Fault) -> None:
    """Deleting twice is harmless."""
    vendors.fullstory.faults.add(fault)
    vendors.logrocket.faults.add(fault)

    assert [receipt.status for receipt in forget_user(vendors)] == ["requested", "requested"]


FAILURES: Final[list[tuple[Fault, str, type]]] = [
    (Fault(status=503, times=None), "failed", Unavailable),
    (Fault(status=401, times=None), "failed", Misconfigured),
    (Fault(status=403, times=None), "failed", Misconfigured),
    (Fault(status=404, body=b"<html>", times=None), "failed", Misconfigured),
    (Fault(status=400, times=None), "failed", Rejected),
    (Fault(drop="after", times=None), "unknown", Unknown),
    (Fault(garbage="html", times=None), "unknown", Unknown),
]


@pytest.mark.parametrize(("fault", "status", "outcome"), FAILURES)
@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_hides_no_other_receipt(
    vendors: Vendors, failing: int, fault: Fault, status: str, outcome: type
) -> None:
    """The receipt says whether the user may be deleted, and whether a retry may help."""
    (vendors.fullstory, vendors.logrocket)[failing].faults.add(
        attrs.evolve(fault, method="DELETE" if failing == 0 else "POST")
    )

    receipts = forget_user(vendors)

    receipt = receipts[failing]
    assert (receipt.status, type(receipt.outcome)) == (status, outcome)
    assert (receipt.is_done, receipt.retryable) == (False, outcome in {Unavailable, Unknown})
    assert receipts[1 - failing].status == "requested"


def test_receipts_are_redacted(vendors: Vendors) -> None:
    """A receipt contains no id and no value, and neither does its repr."""
    vendors.fullstory.faults.add(Fault(status=400, body=b'{"code": "bad", "message": "no canary-id"}'))
    vendors.logrocket.faults.add(Fault(status=400, body=b'{"error": "no canary-id"}'))

    receipts = forget_user(vendors)

    assert [receipt.detail for receipt in receipts] == ["bad: no •••", "HTTP 400: no •••"]
    assert "canary" not in repr(receipts)


def test_a_deletion_not_read_back_is_requested(vendors: Vendors) -> None:
    """The vendor has the request, whether it shows it or not."""
    vendors.fullstory.faults.add(Fault(status=503, method="GET", times=None))

    (receipt, _) = forget_user(vendors)

    assert receipt.status == "requested"
    assert receipt.detail == "the vendor accepted the request; not read back: HTTP 503 server_error"
    assert receipt.is_done


# Adapters of all kinds


@attrs.define
class Deleting(Acme):
    """A vendor that deletes and shows users as the test wants."""

    on_delete: Callable[[], Any] = lambda: Accepted("acme")
    on_get: Callable[[], Any] = lambda: None

    def delete(self, _user_id: str, /) -> Exchange[Any]:
        """Return what the test wants."""
        yield from ()
        return self.on_delete()

    def get(self, _user_id: str, /) -> Exchange[Any]:
        """Return what the test wants."""
        yield from ()
        return self.on_get()

    def pages(self, *, page_token: str | None = None) -> Iterator[Any]:
        """Return no pages."""
        del page_token
        return iter(())


@attrs.define
class OnlyDeleting(Acme):
    """A vendor that deletes users and shows none; its adapter is not a generator and raises."""

    def delete(self, _user_id: str, /) -> Exchange[Any]:
        """Raise an exception."""
        raise RuntimeError("canary")


@attrs.define
class OnlyDeletingWell(Acme):
    """A vendor that deletes users and shows none."""

    def delete(self, _user_id: str, /) -> Exchange[Any]:
        """Find no such user."""
        yield from ()
        return Skipped(self.name, SkipReason.NOTHING_TO_SEND)


def failing() -> Any:
    """Raise an exception."""
    raise RuntimeError("canary")


def stored(*, being_deleted: bool = False) -> StoredUser:
    """Return the user as a vendor shows them."""
    return StoredUser(backend="acme", vendor_id="1", user_id=ID, being_deleted=being_deleted)


def receipt_from(backend: Acme) -> DeletionReceipt:
    """Return the receipt of one backend."""
    (receipt,) = forget(ID, [backend])
    return receipt


def test_vendors_delete_or_exclude_or_neither() -> None:
    """Fullstory deletes, LogRocket excludes."""
    fullstory, logrocket = Fullstory("na1.key"), LogRocket("org:app:key")

    assert [isinstance(backend, SupportsDelete) for backend in (fullstory, logrocket, Acme())] == [True, False, False]
    assert [isinstance(backend, SupportsExclude) for backend in (fullstory, logrocket, Acme())] == [False, True, False]


def test_a_vendor_without_deletion_is_unsupported() -> None:
    """Nothing is sent, and a retry would not help."""
    receipt = receipt_from(Acme())

    assert receipt == DeletionReceipt("acme", "unsupported", "the vendor cannot delete users")
    assert (receipt.is_done, receipt.retryable) == (False, False)


def test_a_user_still_shown_is_requested() -> None:
    """The vendor's response to the deletion does not matter."""
    receipt = receipt_from(Deleting(on_get=stored))

    assert (receipt.status, receipt.detail) == ("requested", "the vendor still shows the user")


def test_without_reading_the_outcome_decides() -> None:
    """There is nothing else to go by."""
    receipt = receipt_from(OnlyDeletingWell())

    assert (receipt.status, receipt.detail) == ("confirmed", "nothing to send")


@pytest.mark.parametrize(
    "backend",
    [Deleting(on_delete=failing), Deleting(on_delete=lambda: "canary"), OnlyDeleting()],
    ids=["raises", "returns no outcome", "returns none"],
)
def test_an_adapters_bug_hides_no_other_receipt(backend: Acme) -> None:
    """The user may be deleted or not, and the exception's text may quote them."""
    broken, fine = forget(ID, [backend, Deleting("fine", on_delete=lambda: Accepted("fine"))])

    assert (broken.status, type(broken.outcome), broken.retryable) == ("unknown", Broken, False)
    assert "canary" not in repr(broken)
    assert fine.status == "confirmed"


@pytest.mark.parametrize("on_get", [failing, lambda: "canary"])
def test_a_bug_in_reading_back_keeps_requested(on_get: Callable[[], Any]) -> None:
    """The vendor accepted the request."""
    receipt = receipt_from(Deleting(on_get=on_get))

    assert (receipt.status, receipt.outcome) == ("requested", Accepted("acme"))
    assert receipt.detail.startswith("the vendor accepted the request; not read back: the adapter failed: ")
    assert "canary" not in receipt.detail


def test_ignores_routes(vendors: Vendors) -> None:
    """The vendor may have stored the user before the route existed."""
    routes = [Route(backend, when=lambda _: False, only=set()) for backend in vendors.backends]

    receipts = forget(ID, routes)

    assert [receipt.status for receipt in receipts] == ["requested", "requested"]


def test_invalid_arguments_raise_before_sending(vendors: Vendors) -> None:
    """An invalid id, and no backend."""
    with pytest.raises(InvalidTraitsError):
        forget("", vendors.backends)
    with pytest.raises(ConfigurationError):
        forget(ID, [])

    assert later_requests(vendors) == []


# The ledger


def test_the_ledger_forgets_first_under_all_leases(ledger: Ledger) -> None:
    """Nothing pending brings the user back, from this process or another."""
    ledger.upsert([UserTraits(ID), UserTraits("u2")], ["acme", "bolt"])
    seen: list[Any] = []

    def look() -> Accepted:
        for name in ("acme", "bolt"):
            with ledger.lease(name) as is_held_here:
                seen.append((ledger.pending_count(name), is_held_here))
        return Accepted("acme")

    forget(ID, [Deleting(on_delete=look)], ledger=ledger)

    assert seen == [(1, False), (1, False)]
    with ledger.lease("acme") as is_held_here:
        assert is_held_here


def test_a_forgotten_user_is_not_delivered(vendors: Vendors, ledger: Ledger) -> None:
    """Other users are."""
    ledger.upsert([UserTraits(ID, name="again"), UserTraits("u2", name="newer")], ["fullstory", "logrocket"])

    forget_user(vendors, ledger=ledger)

    assert [claim.user.user_id for claim in ledger.claim("fullstory")] == ["u2"]


def test_a_broken_ledger_raises_before_sending(vendors: Vendors, ledger: Ledger) -> None:
    """Its pending users would bring the user back."""
    ledger.close()

    with pytest.raises(LedgerError):
        forget_user(vendors, ledger=ledger)

    assert later_requests(vendors) == []


@pytest.mark.parametrize("holder", ["fullstory", "acme"])
def test_a_batch_in_flight_postpones_the_deletion(vendors: Vendors, ledger: Ledger, holder: str) -> None:
    """The batch may be at any backend; nothing is sent and nothing deleted."""
    ledger.upsert([UserTraits(ID)], ["fullstory"])
    job = ledger.start_job(holder, Batch("key", [JobEntry(1, 1, ID)], b"body"))

    receipts = forget_user(vendors, ledger=ledger)

    detail = "a batch in flight contains the user; deliver it first, then forget the user"
    assert receipts == (
        DeletionReceipt("fullstory", "postponed", detail),
        DeletionReceipt("logrocket", "postponed", detail),
    )
    assert all(receipt.retryable and not receipt.is_done for receipt in receipts)
    assert later_requests(vendors) == []
    assert ledger.pending_count("fullstory") == 1
    ledger.end_job(holder, job)
    assert forget_user(vendors, ledger=ledger)[0].status == "requested"


@pytest.mark.parametrize("busy", ["fullstory", "logrocket", "acme"])
def test_a_lease_kept_too_long_postpones_the_deletion(vendors: Vendors, ledger: Ledger, busy: str) -> None:
    """Nothing is sent, whichever backend the other process delivers to."""
    ledger.upsert([UserTraits(ID)], ["acme"])
    waited: list[str] = []

    with ledger.lease(busy):
        receipts = forget_user(vendors, ledger=ledger, lease_timeout=0.15, on_wait=waited.append)

    assert [receipt.status for receipt in receipts] == ["postponed", "postponed"]
    assert receipts[0].detail == f"another process delivers to {busy}; try again later"
    assert waited == [busy]
    assert later_requests(vendors) == []
    assert ledger.pending_count("acme") == 1
    with ledger.lease("acme" if busy != "acme" else "fullstory") as is_held_here:
        assert is_held_here


def test_continues_when_the_lease_is_free(vendors: Vendors, ledger: Ledger) -> None:
    """A `DurableRouter` gives its lease up regularly; on_wait is optional."""
    is_held, may_end = threading.Event(), threading.Event()

    def deliver() -> None:
        with ledger.lease("fullstory"):
            is_held.set()
            may_end.wait()

    other = threading.Thread(target=deliver)
    other.start()
    is_held.wait()
    threading.Timer(0.05, may_end.set).start()
    receipts = forget_user(vendors, ledger=ledger)
    other.join()

    assert [receipt.status for receipt in receipts] == ["requested", "requested"]


# Several users


@attrs.define
class Recording(Acme):
    """A vendor that excludes users, and returns what the test wants for each."""

    outcomes: list[Any] = attrs.field(factory=list[Any])
    asked: list[tuple[str | None, str | None]] = attrs.field(factory=list[tuple[str | None, str | None]])

    def exclude(self, *, user_id: str | None = None, email: str | None = None) -> Exchange[Any]:
        """Return the next outcome, or accept."""
        self.asked.append((user_id, email))
        outcome = self.outcomes.pop(0) if self.outcomes else Accepted(self.name)
        if isinstance(outcome, Exception):
            raise outcome
        return returning(outcome)


def returning(outcome: Any) -> Exchange[Any]:
    """Return *outcome* without a request."""
    yield from ()
    return outcome


def statuses(receipts: Iterable[tuple[DeletionReceipt, ...]]) -> list[list[str]]:
    """Return the statuses of the receipts of each user."""
    return [[receipt.status for receipt in given] for given in receipts]


def test_receipts_are_in_the_order_of_the_users(vendors: Vendors) -> None:
    """Ids first, then e-mail addresses; each is passed on as soon as it is known."""
    seen: list[Any] = []

    receipts = forget_users([ID, "u2"], vendors.backends, emails=["a@b.c"], retry=QUICK, on_receipts=seen.append)

    assert statuses(receipts) == [["requested", "requested"], ["requested", "requested"], ["unsupported", "requested"]]
    assert list(receipts) == seen
    assert vendors.logrocket.excluded == {("user_id", ID), ("user_id", "u2"), ("email", "a@b.c")}


def test_no_users_need_no_lease(ledger: Ledger) -> None:
    """There is nothing to do."""
    assert forget_users([], [Acme()], ledger=ledger) == ()


@pytest.mark.parametrize(
    ("user_ids", "emails"),
    [(["u1", ""], []), (["u1"], [""]), (["u1"], ["ada"]), (["u1"], [" a@b.c"]), (["u1"], ["@b"]), (["u1"], ["a@"])],
)
def test_an_invalid_name_deletes_nobody(user_ids: list[str], emails: list[str]) -> None:
    """Not even those before it."""
    backend = Recording()

    with pytest.raises(InvalidTraitsError) as caught:
        forget_users(user_ids, [backend], emails=emails)

    assert "ada" not in str(caught.value)
    assert backend.asked == []


def test_the_ledger_keeps_users_of_an_address(ledger: Ledger) -> None:
    """It finds users by their ids only."""
    ledger.upsert([UserTraits(ID, email="a@b.c")], ["acme"])

    forget_users([], [Recording()], emails=["a@b.c"], ledger=ledger)

    assert ledger.pending_count("acme") == 1


def test_a_bug_with_an_address_is_unknown() -> None:
    """As with an id."""
    ((receipt,),) = forget_users([], [Recording(outcomes=[RuntimeError("canary")])], emails=["a@b.c"])

    assert (receipt.status, type(receipt.outcome)) == ("unknown", Broken)
    assert "canary" not in repr(receipt)


def test_wrong_settings_are_not_tried_again() -> None:
    """The other vendor is asked for everybody."""
    wrong, fine = Recording("wrong", outcomes=[Misconfigured("wrong", "no key")]), Recording("fine")

    receipts = forget_users(["u1", "u2", "u3"], [wrong, fine])

    assert statuses(receipts) == [["failed", "requested"]] * 3
    assert [given[0].detail for given in receipts] == ["no key", *["not asked again: no key"] * 2]
    assert (len(wrong.asked), len(fine.asked)) == (1, 3)


def test_an_unavailable_vendor_is_given_up() -> None:
    """After three users in a row, since each takes all the retries."""
    down = Unavailable("acme", "HTTP 503")
    backend = Recording(outcomes=[down, down, Accepted("acme"), down, down, down])

    receipts = forget_users([f"u{number}" for number in range(8)], [backend])

    assert [given[0].retryable for given in receipts] == [True, True, False, True, True, True, True, True]
    assert len(backend.asked) == 6


def test_one_lease_is_held_for_all_users(ledger: Ledger) -> None:
    """Nobody delivers between two users."""
    is_free: list[bool] = []

    def look(_: object) -> None:
        with ledger.lease("acme") as is_held_here:
            is_free.append(is_held_here)

    forget_users(["u1", "u2"], [Recording()], ledger=ledger, on_receipts=look)

    assert is_free == [False, False]
