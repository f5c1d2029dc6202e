"""Both vendors over real HTTP, with faults."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
from support.in_process import QUICK, assert_closed
from support.users import users
from support.vendors import FULLSTORY_KEY, running_vendors

from replay_identity import Fullstory
from replay_identity.adapters import IdentityBackend
from replay_identity.bulk import SyncReport, sync
from replay_identity.emulator import (
    BatchRules,
    Fault,
    FullstoryEmulator,
    JobFault,
    LogRocketEmulator,
    RateLimit,
)
from replay_identity.ledger import Ledger

pytestmark = pytest.mark.slow

BATCH = "/v2/users/batch"
Start: TypeAlias = Callable[..., "Delivery"]


@attrs.define(eq=False)
class Delivery:
    """Both emulators over HTTP, and a ledger to deliver from."""

    fullstory: FullstoryEmulator
    logrocket: LogRocketEmulator
    backends: list[IdentityBackend]
    ledger: Ledger

    def sync(self, count: int, **options: Any) -> SyncReport:
        """Sync *count* users."""
        names = [backend.name for backend in self.backends]
        chosen = {name: attrs.evolve(QUICK, **options.get(name, {})) for name in names}
        report = sync(users(count, plan="pro"), self.backends, ledger=self.ledger, options=chosen)
        assert_closed(report)
        return report

    def assert_stored(self, count: int) -> None:
        """Check that both vendors store exactly the users of `sync(count)`."""
        expected = {f"u{number}": {"plan": "pro"} for number in range(count)}
        assert {user.uid: user.properties for user in self.fullstory.users.values()} == expected
        assert {user.user_id: user.traits for user in self.logrocket.users.values()} == expected


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Yield a function that starts both emulators; those passed, or new ones."""
    with ExitStack() as stack:

        def start_delivery(
            fullstory: FullstoryEmulator | None = None, logrocket: LogRocketEmulator | None = None
        ) -> Delivery:
            vendors = stack.enter_context(running_vendors(fullstory, logrocket))
            ledger = stack.enter_context(Ledger(tmp_path / "ledger.db"))
            return Delivery(vendors.fullstory, vendors.logrocket, list(vendors.backends), ledger)

        yield start_delivery


def test_survives_all_faults_at_once(start: Start) -> None:
    """Both vendors store everyone, and Fullstory applies each user once."""
    delivery = start(FullstoryEmulator(batch=BatchRules(job_polls=2, page_size=100)))
    for emulator in (delivery.fullstory, delivery.logrocket):
        for fault in (
            Fault(status=429, headers={"retry-after": "0.1"}, times=2),
            Fault(status=503, times=2),
            Fault(drop="before", times=2),
            Fault(drop="after", times=2),
            Fault(garbage="html"),
            Fault(garbage="broken"),
        ):
            emulator.faults.add(fault)

    report = delivery.sync(2000, fullstory={"batch_users": 300})

    delivery.assert_stored(2000)
    assert report.pending == 0
    assert set(delivery.fullstory.applied.values()) == {1}


def test_a_dead_vendor_does_not_slow_the_other(start: Start) -> None:
    """One refuses connections; the other is done long before patience ends."""
    delivery = start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    delivery.backends[0] = Fullstory(FULLSTORY_KEY, base_url=f"http://127.0.0.1:{port}")
    done: list[float] = []
    watch = threading.Thread(target=lambda: done.append(until(lambda: len(delivery.logrocket.users) == 1000)))
    watch.start()

    report = delivery.sync(1000, fullstory={"patience": 3.0})

    watch.join()
    assert (report["fullstory"].pending, report["logrocket"].accepted) == (1000, 1000)
    assert "no successful response" in (report["fullstory"].problem or "")
    assert done[0] < 10


def test_a_hanging_vendor_does_not_slow_the_other(start: Start) -> None:
    """The same as for a dead one."""
    delivery = start()
    delivery.logrocket.faults.add(Fault(hang=True, times=None))

    report = delivery.sync(1000, logrocket={"patience": 0.5, "timeout": 0.4})

    assert (report["logrocket"].pending, report["fullstory"].accepted) == (1000, 1000)
    assert "no response in time" in (report["logrocket"].problem or "")


def until(condition: Any, timeout: float = 20.0) -> float:
    """Wait until *condition* holds and return the seconds it took."""
    started = time.monotonic()
    while not condition() and time.monotonic() - started < timeout:
        time.sleep(0.01)
    return time.monotonic() - started


def test_adapts_to_lower_job_limits(start: Start) -> None:
    """If a vendor answers 429 below its published limits, the run waits until a job has ended."""
    delivery = start(FullstoryEmulator(batch=BatchRules(max_jobs=2, max_operations=250, job_seconds=0.1)))

    delivery.sync(1000, fullstory={"batch_users": 100})

    delivery.assert_stored(1000)
    statuses = [request.status for request in delivery.fullstory.requests if request.method == "POST"]
    # Whenever a job has ended, up to three batches may be sent at once; how many of them are refused depends on timing.
    assert statuses.count(429) <= 3 * statuses.count(200)
    assert set(delivery.fullstory.applied.values()) == {1}


@pytest.mark.parametrize("quota", [200, 600])
def test_stays_within_requests_per_minute(start: Start, quota: int) -> None:
    """The vendor never counts more, and most of the quota is used."""
    # The vendor counts per 6 seconds, so that the test takes less than a minute.
    delivery = start(logrocket=LogRocketEmulator(rate_limit=RateLimit(requests=quota // 10, seconds=6.0)))
    count = int(quota / 60 * 3)
    started = time.monotonic()

    delivery.sync(count, logrocket={"requests_per_minute": quota})

    took = time.monotonic() - started
    assert {request.status for request in delivery.logrocket.requests} == {200}
    assert 2.0 < took < 8.0


def test_waits_as_long_as_the_vendor_asks(start: Start) -> None:
    """Retry-After is a minimum for all requests to that vendor."""
    delivery = start()
    delivery.fullstory.faults.add(Fault(status=503, headers={"retry-after": "0.5"}, path=BATCH))
    started = time.monotonic()

    delivery.sync(10)

    assert time.monotonic() - started >= 0.5
    delivery.assert_stored(10)


def test_sends_rows_with_vendor_errors_again(start: Start) -> None:
    """They are sent in the same run, without the other rows."""
    delivery = start()
    delivery.fullstory.job_faults.add(JobFault(max_applied=30, lists_unapplied=True))

    report = delivery.sync(50)

    assert (report["fullstory"].accepted, report["fullstory"].rejected) == (50, 0)
    delivery.assert_stored(50)
    assert set(delivery.fullstory.applied.values()) == {1}


def test_halves_a_rejected_batch(start: Start) -> None:
    """No user is applied twice."""
    delivery = start(FullstoryEmulator(batch=BatchRules(max_items=1)))

    report = delivery.sync(60, fullstory={"batch_users": 60})

    delivery.assert_stored(60)
    assert report["fullstory"].accepted == 60
    assert set(delivery.fullstory.applied.values()) == {1}


def test_halves_a_batch_that_is_too_large(start: Start) -> None:
    """Later batches are as small."""
    delivery = start(FullstoryEmulator(batch=BatchRules(max_bytes=20_000)))

    delivery.backends = delivery.backends[:1]

    report = delivery.sync(6000, fullstory={"batch_users": 600})

    assert report["fullstory"].accepted == 6000
    sizes = [(request.status, request.body_size) for request in delivery.fullstory.requests if request.method == "POST"]
    assert 0 < sum(status == 413 for status, _ in sizes) <= 4
    assert set(delivery.fullstory.applied.values()) == {1}


def test_an_outage_after_a_lost_response_creates_one_job(start: Start) -> None:
    """The batch is sent with its first key as long as the vendor gives no answer."""
    delivery = start()
    delivery.fullstory.faults.add(Fault(drop="after", method="POST", path=BATCH))
    delivery.fullstory.faults.add(Fault(status=503, times=40, method="POST", path=BATCH))

    delivery.sync(50)

    delivery.assert_stored(50)
    assert (len(delivery.fullstory.jobs), set(delivery.fullstory.applied.values())) == (1, {1})


def test_abandons_a_spent_idempotency_key(start: Start) -> None:
    """Fullstory repeats a 500 for a day, so after a while the batch gets another key."""
    delivery = start(FullstoryEmulator(replays_faults=True))
    delivery.fullstory.faults.add(Fault(drop="before", method="POST", path=BATCH))
    delivery.fullstory.faults.add(Fault(status=500, method="POST", path=BATCH))

    delivery.sync(50)

    delivery.assert_stored(50)
    keys = {request.idempotency_key for request in delivery.fullstory.requests if request.method == "POST"}
    assert len(keys) == 2


def test_does_not_resend_under_an_expired_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes could create a second job, so the newest state is sent in a new batch."""
    delivery = start()
    with monkeypatch.context() as patch:
        patch.setattr("replay_identity.ledger.ledger._now", lambda: 1)
        delivery.fullstory.faults.add(Fault(drop="before", times=None, method="POST", path=BATCH))
        delivery.sync(50, fullstory={"patience": 0.05})
    delivery.fullstory.faults.clear()
    before = {request.idempotency_key for request in delivery.fullstory.requests}

    delivery.sync(0)

    after = {request.idempotency_key for request in delivery.fullstory.requests if request.status == 200}
    delivery.assert_stored(50)
    assert not before & after - {None}


@pytest.mark.parametrize(
    ("fault", "max_applied"),
    [
        (JobFault(hidden=True), 2),
        (JobFault(max_applied=0), 2),
        (JobFault(max_applied=7), 2),
        (JobFault(reported_status="UNKNOWN", reported_polls=3), 1),
        (JobFault(seconds=0.5), 1),
    ],
    ids=["vanishes", "fails", "fails in part", "is unknown", "is slow"],
)
def test_a_failed_job_loses_no_user(start: Start, fault: JobFault, max_applied: int) -> None:
    """Users who are not in its results are sent again."""
    delivery = start()
    delivery.fullstory.job_faults.add(fault)

    report = delivery.sync(50)

    delivery.assert_stored(50)
    assert report["fullstory"].accepted == 50
    assert max(delivery.fullstory.applied.values()) <= max_applied


def test_failing_polls_and_results_are_retried(start: Start) -> None:
    """They create no second job."""
    delivery = start()
    for route in ("/v2/users/batch/*", "/v2/users/batch/*/imports", "/v2/users/batch/*/errors"):
        for fault in (Fault(status=503, times=6), Fault(drop="after"), Fault(hang=True), Fault(garbage="html")):
            delivery.fullstory.faults.add(attrs.evolve(fault, route=route))

    delivery.sync(50, fullstory={"timeout": 0.3})

    delivery.assert_stored(50)
    assert len(delivery.fullstory.jobs) == 1
