"""Users without a usable answer: they slow down the account, wait longer each time, and are never forgotten."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support.deliveries import Delivery
from support.in_process import FAST, World
from support.multi_vendor import AcmeMulti, MultiVendor, OneByOne, first_time, in_turn
from support.users import user

from replay_identity.adapters import Response
from replay_identity.bulk import DeliveryOptions
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger

BACKENDS: Final[dict[str, Any]] = {"multi": AcmeMulti(), "single": OneByOne()}
CAUSES: Final = {"lost": ("Unknown", "lost"), "later": ("Unavailable", "busy")}


@pytest.fixture(params=["ledger", "no ledger"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger | None]:
    """Yield a ledger, or None."""
    with Ledger(tmp_path / "ledger.db") if request.param == "ledger" else contextlib.nullcontext() as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def _no_real_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the fake clock pass."""
    monkeypatch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.0)


def always(status: str) -> Callable[[str], str]:
    """Return a function that returns *status* for every user."""
    return lambda _: status


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", CAUSES)
def test_a_success_that_settles_nobody_uses_up_patience(ledger: Ledger | None, backend: str, status: str) -> None:
    """It slows down the account like a failed request, and the report has its cause."""
    vendor = MultiVendor(status_of=always(status))

    report = Delivery(ledger, BACKENDS[backend], vendor).run(300)

    outcome, cause = CAUSES[status]
    assert report.problem == f"no successful response for 300 s; last failure: {cause}"
    assert report.pending == 300
    assert len(vendor.requests) < 100
    (shown,) = report.as_dict()["causes"]
    assert (shown["outcome"], shown["cause"]) == (outcome, cause)
    assert shown["count"] == len({user_id for ids in vendor.requests for user_id in ids})


def test_a_usable_answer_ends_the_backoff(ledger: Ledger | None) -> None:
    """After a login page for a while, everyone is accepted, and no cause is left."""
    vendor = MultiVendor()
    delivery = Delivery(ledger, AcmeMulti(), vendor)
    recovers_at = delivery.clock.now + 60
    vendor.status_of = lambda _: "lost" if delivery.clock.now < recovers_at else "ok"

    report = delivery.run(300)

    assert (report.accepted, report.pending, report.problem, report.as_dict()["causes"]) == (300, 0, None, [])
    assert delivery.clock.now < recovers_at + 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_unanswered_user_delays_no_other(ledger: Ledger | None, backend: str) -> None:
    """The others are accepted; the user waits longer each time."""
    vendor, sent = MultiVendor(), list[float]()
    delivery = Delivery(ledger, BACKENDS[backend], vendor)

    def status_of(user_id: str) -> str:
        if user_id != "u3":
            return "ok"
        sent.append(delivery.clock.now)
        return "lost"

    vendor.status_of = status_of

    report = delivery.run(30)

    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert all(gap >= min(0.5 * 2**number, 30.0) for number, gap in enumerate(gaps))
    assert (report.accepted, report.pending) == (29, 1)
    assert report.as_dict()["causes"] == [{"outcome": "Unknown", "cause": "lost", "count": 1}]
    assert report.problem == "no successful response for 300 s; last failure: lost"


def test_an_abandoned_user_leaves_a_cause(ledger: Ledger | None) -> None:
    """After 20 attempts the run ends without a problem, but not without a reason."""
    vendor = MultiVendor(status_of=lambda user_id: "lost" if user_id == "u3" else "ok")

    report = Delivery(ledger, AcmeMulti(), vendor, DeliveryOptions(wait_initial=1.0, wait_max=1.0)).run(30)

    assert (report.accepted, report.pending, report.problem) == (29, 1, None)
    assert sum("u3" in ids for ids in vendor.requests) == 20
    assert report.as_dict()["causes"] == [{"outcome": "Unknown", "cause": "lost", "count": 1}]


@pytest.mark.parametrize(("seconds", "pending"), [(200, 0), (4000, 2)])
def test_does_not_wait_beyond_patience(ledger: Ledger | None, seconds: int, pending: int) -> None:
    """If only deferred users are left and the vendor asks for an hour, the run ends and says so."""
    vendor = MultiVendor(headers={"retry-after": str(seconds)}, status_of=first_time("later", "u3", "u14"))
    delivery = Delivery(ledger, AcmeMulti(), vendor)
    start = delivery.clock.now

    report = delivery.run(30)

    assert (report.accepted, report.pending) == (30 - pending, pending)
    assert delivery.clock.now < start + 300
    assert (report.problem is None) == (pending == 0)
    if report.problem is not None:
        assert report.problem.startswith("2 users deferred")
        assert report.problem.endswith("last failure: busy")


def test_a_stop_leaves_a_cause(ledger: Ledger | None) -> None:
    """The report says why the deferred user is pending."""
    vendor = MultiVendor(headers={"retry-after": "100"}, status_of=first_time("later", "u3"))
    delivery = Delivery(ledger, AcmeMulti(), vendor)
    delivery.turns.left = 40

    report = delivery.run(30)

    assert (report.accepted, report.pending, report.problem) == (29, 1, None)
    assert report.as_dict()["causes"] == [{"outcome": "Unavailable", "cause": "busy", "count": 1}]


def test_a_login_page_among_failures_is_one_outage(ledger: Ledger | None) -> None:
    """A 503 between login pages does not start patience again."""
    vendor = MultiVendor(status_of=always("lost"), respond=in_turn([None, Response(503)] * 500))
    delivery = Delivery(ledger, AcmeMulti(), vendor)
    start = delivery.clock.now

    report = delivery.run(30)

    assert (report.pending, report.problem is None) == (30, False)
    assert 300 < delivery.clock.now - start < 400


def test_the_next_run_does_not_wait_either(tmp_path: Path) -> None:
    """A deferral is stored: the user is not sent before, and the run says so instead of waiting."""
    vendor = MultiVendor(headers={"retry-after": "4000"}, status_of=first_time("later", "u3", "u14"))
    with Ledger(tmp_path / "ledger.db") as ledger:
        first = Delivery(ledger, AcmeMulti(), vendor)
        first.run(30)
        requests, start = len(vendor.requests), first.clock.now
        second = Delivery(ledger, AcmeMulti(), vendor, clock=first.clock).run()
        in_between = first.clock.now - start
        first.clock.now += 4000
        third = Delivery(ledger, AcmeMulti(), vendor, clock=first.clock).run()

    assert (second.pending, (second.problem or "").startswith("2 users deferred")) == (2, True)
    assert in_between < 10
    assert len(vendor.requests) == requests + 1
    assert (third.accepted, third.problem) == (2, None)


def test_a_settled_user_starts_with_a_short_wait(tmp_path: Path) -> None:
    """A later change of the user does not inherit the waits before."""
    statuses = ["lost"] * 4 + ["ok", "lost", "ok"]
    sent: list[float] = []
    with Ledger(tmp_path / "ledger.db") as ledger:

        def change(number: int) -> None:
            if number == 5:
                ledger.upsert([user("u0", plan="pro")], ["acme"])

        vendor = MultiVendor(status_of=lambda _: statuses.pop(0), after=change)
        delivery = Delivery(ledger, AcmeMulti(), vendor)
        vendor.respond = lambda _: sent.append(delivery.clock.now)
        report = delivery.run(1)

    assert (report.accepted, report.pending, statuses) == (1, 0, [])
    assert sent[4] - sent[3] >= 4.0
    assert sent[6] - sent[5] < 2.0


def test_lost_responses_leave_a_user_for_the_next_run(world: World) -> None:
    """A user is sent 20 times, while nothing but failures comes."""
    world.backends, world.options = world.backends[1:], {"logrocket": FAST}
    world.logrocket.faults.add(Fault(drop="after", times=None))

    report = world.sync([user("u0", plan="pro")])["logrocket"]

    assert len(world.logrocket.requests) == 20
    assert (report.pending, report.problem) == (1, None)
    assert [cause["outcome"] for cause in report.as_dict()["causes"]] == ["Unknown"]
