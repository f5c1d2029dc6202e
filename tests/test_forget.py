"""One user is forgotten everywhere, with a receipt from each vendor."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from bulk.adapters import Acme

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
from replay_identity.adapters.exchange import Exchange
from replay_identity.adapters.protocols import StoredUser, SupportsDelete, SupportsExclude
from replay_identity.deletion import DeletionReceipt, forget
from replay_identity.emulator import Fault, FullstoryEmulator, LogRocketEmulator, running
from replay_identity.ledger import Batch, JobEntry, Ledger
from replay_identity.outcomes import SkipReason

ID: Final = "canary-id"
QUICK: Final = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.01)
EXCLUSION: Final = "/v1/orgs/acme/apps/shop/gdpr/exclusion/"


@attrs.define
class Vendors:
    """Both vendors, and how late it is at Fullstory."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    backends: tuple[Fullstory, LogRocket]
    now: list[float]

    def forget(self, **options: Any) -> tuple[DeletionReceipt, DeletionReceipt]:
        """Have both forget the user."""
        one, other = forget(ID, self.backends, retry=QUICK, **options)
        return one, other

    def asked(self) -> list[tuple[str, str]]:
        """Return what both were asked since they came to know the user."""
        return [
            (request.method, request.path)
            for emulator in (self.fullstory, self.logrocket)
            for request in emulator.requests[2:]
        ]


@pytest.fixture(scope="module")
def _served() -> Iterator[Vendors]:
    now = [0.0]
    fullstory, logrocket = FullstoryEmulator(clock=lambda: now[0]), LogRocketEmulator()
    with running(fullstory) as one, running(logrocket) as other:
        backends = (
            Fullstory("na1.emulator", base_url=one.url),
            LogRocket("acme:shop:emulator", base_url=other.url),
        )
        yield Vendors(fullstory, logrocket, backends, now)


@pytest.fixture
def vendors(_served: Vendors) -> Vendors:
    """Give both vendors, who know the user and another one."""
    _served.fullstory.reset()
    _served.logrocket.reset()
    with Router(_served.backends) as router:
        for user in (UserTraits(ID, name="canary-name"), UserTraits("u2", name="other")):
            assert router.identify(user).status == "ok"
    return _served


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give a ledger."""
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


# Receipts over HTTP


def test_every_vendor_is_asked_and_says_that_it_took_the_request(vendors: Vendors) -> None:
    """Fullstory shows the deletion under way, LogRocket shows nobody; nobody else is touched."""
    assert vendors.forget() == (
        DeletionReceipt("fullstory", "requested", "the vendor is deleting the user", Accepted("fullstory")),
        DeletionReceipt("logrocket", "requested", "the vendor accepted the request", Accepted("logrocket")),
    )

    assert vendors.fullstory.by_uid(ID) is None
    assert vendors.fullstory.by_uid("u2") is not None
    assert vendors.logrocket.excluded == {("user_id", ID)}


def test_the_same_call_later_tells_that_it_is_done(vendors: Vendors) -> None:
    """While Fullstory deletes it knows nobody of that id, and yet shows that it is at it."""
    vendors.forget()

    meanwhile, _ = vendors.forget()
    vendors.now[0] += 31
    afterwards, _ = vendors.forget()

    outcome = Skipped("fullstory", SkipReason.NOT_FOUND)
    assert meanwhile == DeletionReceipt("fullstory", "requested", "the vendor is deleting the user", outcome)
    assert afterwards == DeletionReceipt("fullstory", "confirmed", "the vendor shows no such user", outcome)


def test_whom_a_vendor_never_had_is_confirmed_at_once(vendors: Vendors) -> None:
    """There is nothing to delete."""
    (receipt,) = forget("nobody", vendors.backends[:1], retry=QUICK)

    assert (receipt.status, receipt.is_done, receipt.retryable) == ("confirmed", True, False)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(drop="after"), Fault(drop="before")])
def test_what_fails_once_is_tried_again(vendors: Vendors, fault: Fault) -> None:
    """Asking twice for one deletion is harmless."""
    vendors.fullstory.faults.add(fault)
    vendors.logrocket.faults.add(fault)

    assert [receipt.status for receipt in vendors.forget()] == ["requested", "requested"]


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
def test_what_fails_at_one_vendor_is_told_and_hides_no_other(
    vendors: Vendors, failing: int, fault: Fault, status: str, outcome: type
) -> None:
    """Whether it was surely not done, and whether the same call may do more later."""
    (vendors.fullstory, vendors.logrocket)[failing].faults.add(
        attrs.evolve(fault, method="DELETE" if failing == 0 else "POST")
    )

    receipts = vendors.forget()

    receipt = receipts[failing]
    assert (receipt.status, type(receipt.outcome)) == (status, outcome)
    assert (receipt.is_done, receipt.retryable) == (False, outcome in {Unavailable, Unknown})
    assert receipts[1 - failing].status == "requested"


def test_a_vendor_that_quotes_the_id_is_masked(vendors: Vendors) -> None:
    """A receipt holds no id and no value, and its repr neither."""
    vendors.fullstory.faults.add(Fault(status=400, body=b'{"code": "bad", "message": "no canary-id"}'))
    vendors.logrocket.faults.add(Fault(status=400, body=b'{"error": "no canary-id"}'))

    receipts = vendors.forget()

    assert [receipt.detail for receipt in receipts] == ["bad: no •••", "HTTP 400: no •••"]
    assert "canary" not in repr(receipts)


def test_what_cannot_be_read_back_is_requested_all_the_same(vendors: Vendors) -> None:
    """The deletion is under way, whether it is shown or not."""
    vendors.fullstory.faults.add(Fault(status=503, method="GET", times=None))

    (receipt, _) = vendors.forget()

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
        """Do what the test wants."""
        yield from ()
        return self.on_delete()

    def get(self, _user_id: str, /) -> Exchange[Any]:
        """Do what the test wants."""
        yield from ()
        return self.on_get()

    def pages(self, *, page_token: str | None = None) -> Iterator[Any]:
        """Show nobody."""
        del page_token
        return iter(())


@attrs.define
class OnlyDeleting(Acme):
    """A vendor that deletes users and shows none; nor is its adapter a generator."""

    def delete(self, _user_id: str, /) -> Exchange[Any]:
        """Have a bug."""
        raise RuntimeError("canary")


@attrs.define
class OnlyDeletingWell(Acme):
    """A vendor that deletes users and shows none."""

    def delete(self, _user_id: str, /) -> Exchange[Any]:
        """Know nobody."""
        yield from ()
        return Skipped(self.name, SkipReason.NOTHING_TO_SEND)


def failing() -> Any:
    """Have a bug."""
    raise RuntimeError("canary")


def stored(*, being_deleted: bool = False) -> StoredUser:
    """Return a user as a vendor shows them."""
    return StoredUser(backend="acme", vendor_id="1", user_id=ID, being_deleted=being_deleted)


def receipt_from(backend: Acme) -> DeletionReceipt:
    """Return what one made-up vendor answers."""
    (receipt,) = forget(ID, [backend])
    return receipt


def test_the_vendors_of_ours_are_told_apart_by_what_they_can() -> None:
    """One deletes, one excludes, and many do neither."""
    fullstory, logrocket = Fullstory("na1.key"), LogRocket("org:app:key")

    assert [isinstance(backend, SupportsDelete) for backend in (fullstory, logrocket, Acme())] == [True, False, False]
    assert [isinstance(backend, SupportsExclude) for backend in (fullstory, logrocket, Acme())] == [False, True, False]


def test_a_vendor_that_deletes_nobody_is_told() -> None:
    """It is not asked, and asking later would not help."""
    receipt = receipt_from(Acme())

    assert receipt == DeletionReceipt("acme", "unsupported", "the vendor cannot delete users")
    assert (receipt.is_done, receipt.retryable) == (False, False)


def test_who_is_shown_still_is_requested() -> None:
    """Whatever else the vendor said."""
    receipt = receipt_from(Deleting(on_get=stored))

    assert (receipt.status, receipt.detail) == ("requested", "the vendor still shows the user")


def test_a_vendor_that_shows_nobody_is_taken_by_its_word() -> None:
    """There is nothing else to go by."""
    receipt = receipt_from(OnlyDeletingWell())

    assert (receipt.status, receipt.detail) == ("confirmed", "nothing to send")


@pytest.mark.parametrize(
    "backend",
    [Deleting(on_delete=failing), Deleting(on_delete=lambda: "canary"), OnlyDeleting()],
    ids=["raises", "returns no outcome", "returns none"],
)
def test_a_bug_of_an_adapter_is_a_receipt_and_hides_no_other(backend: Acme) -> None:
    """What it did before it failed nobody knows, and what its exception says may quote the user."""
    broken, fine = forget(ID, [backend, Deleting("fine", on_delete=lambda: Accepted("fine"))])

    assert (broken.status, type(broken.outcome), broken.retryable) == ("unknown", Broken, False)
    assert "canary" not in repr(broken)
    assert fine.status == "confirmed"


@pytest.mark.parametrize("on_get", [failing, lambda: "canary"])
def test_a_bug_in_reading_back_leaves_the_request_as_it_is(on_get: Callable[[], Any]) -> None:
    """The vendor took it."""
    receipt = receipt_from(Deleting(on_get=on_get))

    assert (receipt.status, receipt.outcome) == ("requested", Accepted("acme"))
    assert receipt.detail.startswith("the vendor accepted the request; not read back: the adapter failed: ")
    assert "canary" not in receipt.detail


def test_what_a_route_keeps_from_a_vendor_is_of_no_concern(vendors: Vendors) -> None:
    """It may know the user from before."""
    routes = [Route(backend, when=lambda _: False, only=set()) for backend in vendors.backends]

    receipts = forget(ID, routes)

    assert [receipt.status for receipt in receipts] == ["requested", "requested"]


def test_what_cannot_be_asked_for_is_told_before_anybody_is_asked(vendors: Vendors) -> None:
    """An id that cannot be one, and no vendor at all."""
    with pytest.raises(InvalidTraitsError):
        forget("", vendors.backends)
    with pytest.raises(ConfigurationError):
        forget(ID, [])

    assert vendors.asked() == []


# The ledger


def test_the_ledger_forgets_first_and_nobody_delivers_meanwhile(ledger: Ledger) -> None:
    """So nothing that is due brings the user back, from this process or another."""
    ledger.upsert([UserTraits(ID), UserTraits("u2")], ["acme", "bolt"])
    seen: list[Any] = []

    def look() -> Accepted:
        for name in ("acme", "bolt"):
            with ledger.lease(name) as is_ours:
                seen.append((ledger.pending_count(name), is_ours))
        return Accepted("acme")

    forget(ID, [Deleting(on_delete=look)], ledger=ledger)

    assert seen == [(1, False), (1, False)]
    with ledger.lease("acme") as is_ours:
        assert is_ours


def test_who_is_forgotten_is_not_delivered_afterwards(vendors: Vendors, ledger: Ledger) -> None:
    """Everyone else is."""
    ledger.upsert([UserTraits(ID, name="again"), UserTraits("u2", name="newer")], ["fullstory", "logrocket"])

    vendors.forget(ledger=ledger)

    assert [claim.user.user_id for claim in ledger.claim("fullstory")] == ["u2"]


def test_a_ledger_that_cannot_be_written_ends_it_before_anybody_is_asked(vendors: Vendors, ledger: Ledger) -> None:
    """Or what is due there would bring the user back."""
    ledger.close()

    with pytest.raises(LedgerError):
        vendors.forget(ledger=ledger)

    assert vendors.asked() == []


@pytest.mark.parametrize("holder", ["fullstory", "acme"])
def test_a_batch_under_way_is_to_be_delivered_first(vendors: Vendors, ledger: Ledger, holder: str) -> None:
    """At any vendor; nothing is sent and nothing forgotten."""
    ledger.upsert([UserTraits(ID)], ["fullstory"])
    job = ledger.start_job(holder, Batch("key", [JobEntry(1, 1, ID)], b"body"))

    receipts = vendors.forget(ledger=ledger)

    detail = "a batch in flight contains the user; deliver it first, then forget the user"
    assert receipts == (
        DeletionReceipt("fullstory", "postponed", detail),
        DeletionReceipt("logrocket", "postponed", detail),
    )
    assert all(receipt.retryable and not receipt.is_done for receipt in receipts)
    assert vendors.asked() == []
    assert ledger.pending_count("fullstory") == 1
    ledger.end_job(holder, job)
    assert vendors.forget(ledger=ledger)[0].status == "requested"


@pytest.mark.parametrize("busy", ["fullstory", "logrocket", "acme"])
def test_another_process_that_delivers_is_waited_for_only_so_long(vendors: Vendors, ledger: Ledger, busy: str) -> None:
    """Then nothing is sent, whichever backend it delivers to."""
    ledger.upsert([UserTraits(ID)], ["acme"])
    waited: list[str] = []

    with ledger.lease(busy):
        receipts = vendors.forget(ledger=ledger, lease_timeout=0.15, on_wait=waited.append)

    assert [receipt.status for receipt in receipts] == ["postponed", "postponed"]
    assert receipts[0].detail == f"another process delivers to {busy}; try again later"
    assert waited == [busy]
    assert vendors.asked() == []
    assert ledger.pending_count("acme") == 1
    with ledger.lease("acme" if busy != "acme" else "fullstory") as is_ours:
        assert is_ours


def test_another_process_that_ends_its_turn_lets_us_go_on(vendors: Vendors, ledger: Ledger) -> None:
    """As a `DurableRouter` does from time to time; one need not be told."""
    is_held, may_end = threading.Event(), threading.Event()

    def deliver() -> None:
        with ledger.lease("fullstory"):
            is_held.set()
            may_end.wait()

    other = threading.Thread(target=deliver)
    other.start()
    is_held.wait()
    threading.Timer(0.05, may_end.set).start()
    receipts = vendors.forget(ledger=ledger)
    other.join()

    assert [receipt.status for receipt in receipts] == ["requested", "requested"]
