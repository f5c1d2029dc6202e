"""Both vendors over real HTTP, with faults."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.fakes import FULLSTORY_KEY, LOGROCKET_KEY, QUICK, assert_closed, users

from replay_identity import Fullstory, LogRocket
from replay_identity.adapters.protocols import IdentityBackend
from replay_identity.bulk import SyncReport, sync
from replay_identity.emulator import (
    BatchRules,
    Fault,
    FullstoryEmulator,
    JobFault,
    LogRocketEmulator,
    RateLimit,
    running,
)
from replay_identity.ledger import Ledger

pytestmark = pytest.mark.slow

BATCH = "/v2/users/batch"


@attrs.define(eq=False)
class Vendors:
    """Both emulators, running, and a ledger."""

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
def make(tmp_path: Path) -> Iterator[Any]:
    """Yield a function that starts both emulators."""
    contexts: list[Any] = []

    def make_vendors(fullstory: FullstoryEmulator | None = None, logrocket: LogRocketEmulator | None = None) -> Vendors:
        emulators = fullstory or FullstoryEmulator(), logrocket or LogRocketEmulator()
        contexts.extend((running(emulators[0]), running(emulators[1])))
        one, other = (context.__enter__() for context in contexts)
        ledger = Ledger(tmp_path / "ledger.db")
        contexts.append(ledger)
        backends: list[IdentityBackend] = [
            Fullstory(FULLSTORY_KEY, base_url=one.url),
            LogRocket(LOGROCKET_KEY, base_url=other.url),
        ]
        return Vendors(*emulators, backends, ledger)

    yield make_vendors
    for context in contexts:
        context.__exit__(None, None, None)


def test_survives_all_faults_at_once(make: Any) -> None:
    """Both vendors store everyone, and Fullstory applies each user once."""
    vendors = make(FullstoryEmulator(batch=BatchRules(job_polls=2, page_size=100)))
    for emulator in (vendors.fullstory, vendors.logrocket):
        for fault in (
            Fault(status=429, headers={"retry-after": "0.1"}, times=2),
            Fault(status=503, times=2),
            Fault(drop="before", times=2),
            Fault(drop="after", times=2),
            Fault(garbage="html"),
            Fault(garbage="broken"),
        ):
            emulator.faults.add(fault)

    report = vendors.sync(2000, fullstory={"batch_users": 300})

    vendors.assert_stored(2000)
    assert report.pending == 0
    assert set(vendors.fullstory.applied.values()) == {1}


def test_a_dead_vendor_does_not_slow_the_other(make: Any) -> None:
    """One refuses connections; the other is done long before patience ends."""
    vendors = make()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    vendors.backends[0] = Fullstory(FULLSTORY_KEY, base_url=f"http://127.0.0.1:{port}")
    done: list[float] = []
    watch = threading.Thread(target=lambda: done.append(until(lambda: len(vendors.logrocket.users) == 1000)))
    watch.start()

    report = vendors.sync(1000, fullstory={"patience": 3.0})

    watch.join()
    assert (report["fullstory"].pending, report["logrocket"].accepted) == (1000, 1000)
    assert "no successful response" in (report["fullstory"].problem or "")
    assert done[0] < 10


def test_a_hanging_vendor_does_not_slow_the_other(make: Any) -> None:
    """The same as for a dead one."""
    vendors = make()
    vendors.logrocket.faults.add(Fault(hang=True, times=None))

    report = vendors.sync(1000, logrocket={"patience": 0.5, "timeout": 0.4})

    assert (report["logrocket"].pending, report["fullstory"].accepted) == (1000, 1000)
    assert "no response in time" in (report["logrocket"].problem or "")


def until(condition: Any, timeout: float = 20.0) -> float:
    """Wait until *condition* holds and return the seconds it took."""
    started = time.monotonic()
    while not condition() and time.monotonic() - started < timeout:
        time.sleep(0.01)
    return time.monotonic() - started


def test_adapts_to_lower_job_limits(make: Any) -> None:
    """If a vendor answers 429 below its published limits, the run waits until a job has ended."""
    vendors = make(FullstoryEmulator(batch=BatchRules(max_jobs=2, max_operations=250, job_seconds=0.1)))

    vendors.sync(1000, fullstory={"batch_users": 100})

    vendors.assert_stored(1000)
    statuses = [request.status for request in vendors.fullstory.requests if request.method == "POST"]
    assert statuses.count(429) < statuses.count(200)
    assert set(vendors.fullstory.applied.values()) == {1}


@pytest.mark.parametrize("quota", [200, 600])
def test_stays_within_requests_per_minute(make: Any, quota: int) -> None:
    """The vendor never counts more, and most of the quota is used."""
    # The vendor counts per 6 seconds, so that the test takes less than a minute.
    vendors = make(logrocket=LogRocketEmulator(rate_limit=RateLimit(requests=quota // 10, seconds=6.0)))
    count = int(quota / 60 * 3)
    started = time.monotonic()

    vendors.sync(count, logrocket={"requests_per_minute": quota})

    took = time.monotonic() - started
    assert {request.status for request in vendors.logrocket.requests} == {200}
    assert 2.0 < took < 8.0


def test_waits_as_long_as_the_vendor_asks(make: Any) -> None:
    """Retry-After is a minimum for all requests to that vendor."""
    vendors = make()
    vendors.fullstory.faults.add(Fault(status=503, headers={"retry-after": "0.5"}, path=BATCH))
    started = time.monotonic()

    vendors.sync(10)

    assert time.monotonic() - started >= 0.5
    vendors.assert_stored(10)


def test_sends_rows_with_vendor_errors_again(make: Any) -> None:
    """In the same run, and without the other rows."""
    vendors = make()
    vendors.fullstory.job_faults.add(JobFault(max_applied=30, lists_unapplied=True))

    report = vendors.sync(50)

    assert (report["fullstory"].accepted, report["fullstory"].rejected) == (50, 0)
    vendors.assert_stored(50)
    assert set(vendors.fullstory.applied.values()) == {1}


def test_halves_a_rejected_batch(make: Any) -> None:
    """No user is applied twice."""
    vendors = make(FullstoryEmulator(batch=BatchRules(max_items=1)))

    report = vendors.sync(60, fullstory={"batch_users": 60})

    vendors.assert_stored(60)
    assert report["fullstory"].accepted == 60
    assert set(vendors.fullstory.applied.values()) == {1}


def test_halves_a_batch_that_is_too_large(make: Any) -> None:
    """Later batches are as small."""
    vendors = make(FullstoryEmulator(batch=BatchRules(max_bytes=20_000)))

    vendors.backends = vendors.backends[:1]

    report = vendors.sync(6000, fullstory={"batch_users": 600})

    assert report["fullstory"].accepted == 6000
    sizes = [(request.status, request.body_size) for request in vendors.fullstory.requests if request.method == "POST"]
    assert 0 < sum(status == 413 for status, _ in sizes) <= 4
    assert set(vendors.fullstory.applied.values()) == {1}


def test_an_outage_after_a_lost_response_creates_one_job(make: Any) -> None:
    """The batch is sent with its first key as long as the vendor gives no answer."""
    vendors = make()
    vendors.fullstory.faults.add(Fault(drop="after", method="POST", path=BATCH))
    vendors.fullstory.faults.add(Fault(status=503, times=40, method="POST", path=BATCH))

    vendors.sync(50)

    vendors.assert_stored(50)
    assert (len(vendors.fullstory.jobs), set(vendors.fullstory.applied.values())) == (1, {1})


def test_abandons_a_spent_idempotency_key(make: Any) -> None:
    """Fullstory repeats a 500 for a day, so after a while the batch gets another key."""
    vendors = make(FullstoryEmulator(replays_faults=True))
    vendors.fullstory.faults.add(Fault(drop="before", method="POST", path=BATCH))
    vendors.fullstory.faults.add(Fault(status=500, method="POST", path=BATCH))

    vendors.sync(50)

    vendors.assert_stored(50)
    keys = {request.idempotency_key for request in vendors.fullstory.requests if request.method == "POST"}
    assert len(keys) == 2


def test_does_not_resend_under_an_expired_key(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes could create a second job, so the newest state is sent in a new batch."""
    vendors = make()
    with monkeypatch.context() as patch:
        patch.setattr("replay_identity.ledger.ledger._now", lambda: 1)
        vendors.fullstory.faults.add(Fault(drop="before", times=None, method="POST", path=BATCH))
        vendors.sync(50, fullstory={"patience": 0.05})
    vendors.fullstory.faults.clear()
    before = {request.idempotency_key for request in vendors.fullstory.requests}

    vendors.sync(0)

    after = {request.idempotency_key for request in vendors.fullstory.requests if request.status == 200}
    vendors.assert_stored(50)
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
def test_a_failed_job_loses_no_user(make: Any, fault: JobFault, max_applied: int) -> None:
    """Users who are not in its results are sent again."""
    vendors = make()
    vendors.fullstory.job_faults.add(fault)

    report = vendors.sync(50)

    vendors.assert_stored(50)
    assert report["fullstory"].accepted == 50
    assert max(vendors.fullstory.applied.values()) <= max_applied


def test_failing_polls_and_results_are_retried(make: Any) -> None:
    """They create no second job."""
    vendors = make()
    for route in ("/v2/users/batch/*", "/v2/users/batch/*/imports", "/v2/users/batch/*/errors"):
        for fault in (Fault(status=503, times=6), Fault(drop="after"), Fault(hang=True), Fault(garbage="html")):
            vendors.fullstory.faults.add(attrs.evolve(fault, route=route))

    vendors.sync(50, fullstory={"timeout": 0.3})

    vendors.assert_stored(50)
    assert len(vendors.fullstory.jobs) == 1
