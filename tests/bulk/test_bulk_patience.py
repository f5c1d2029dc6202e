"""Jobs whose vendor gives unusable responses, forgets or is slow: the run ends, and the next one resumes the job."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from support.backends import AcmeBatch, batch_limits
from support.clock import Clock
from support.in_process import FAST, InProcessSender, World, assert_closed
from support.users import user, users

from replay_identity import Accepted, Route, Unavailable, Unknown, UserTraits
from replay_identity.adapters import BatchEntry, JobProgress, Request, Response
from replay_identity.bulk import DurableRouter, SyncReport, sync
from replay_identity.bulk.jobs import ImportJobs
from replay_identity.bulk.worker import account_of
from replay_identity.emulator import Fault, FullstoryEmulator, LogRocketEmulator
from replay_identity.ledger import Batch, JobEntry, Ledger

IMPATIENT = attrs.evolve(FAST, patience=0.03)
GARBAGE = Unknown("acme", "HTTP 200 with an unexpected body")
DAY = 24 * 3600


def run(ledger: Ledger, backend: AcmeBatch, rows: list[UserTraits], **options: Any) -> SyncReport:
    """Sync *rows* to *backend* only."""
    report = sync(rows, [backend], ledger=ledger, options={"acme": IMPATIENT}, **options)
    assert_closed(report)
    return report


def recording(keys: list[str]) -> Callable[[bytes, str], str]:
    """Return a function that accepts every batch and records its key."""

    def create(_body: bytes, key: str) -> str:
        keys.append(key)
        return key

    return create


def returns(result: Any) -> Callable[[Any], Any]:
    """Return a function that always returns *result*."""

    def function(_: object) -> Any:
        return result

    return function


def garbage(*_: Any) -> Unknown:
    """Return the outcome of a captive portal."""
    return GARBAGE


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    """Yield a ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def test_collects_few_jobs_at_once(ledger: Ledger) -> None:
    """Results take memory. The other jobs wait, also when the run is stopped meanwhile."""
    keys: list[str] = []
    ended, read = set[str](), set[str | None]()
    stop = threading.Event()

    def poll(job: str) -> JobProgress:
        ended.add(job)
        return JobProgress(running=False)

    def collect(entries: Sequence[BatchEntry]) -> Any:
        read.add(entries[0].user_id)
        if len(ended) == 6:
            stop.set()
        return Unavailable("acme", "HTTP 503")

    backend = AcmeBatch(create=recording(keys), poll=poll, collect=collect, batch_limits=batch_limits(5))
    stopped = sync(users(30), [backend], ledger=ledger, options={"acme": FAST}, stop=stop)

    assert_closed(stopped)
    assert (len(read), stopped["acme"].pending, len(ledger.jobs("acme"))) == (2, 30, 6)

    failures: list[Any] = [Unavailable("acme", "HTTP 503")] * 2
    backend.collect = lambda entries: failures.pop() if failures else (Accepted("acme"),) * len(entries)
    assert run(ledger, backend, [])["acme"].accepted == 30
    assert len(keys) == 6


def test_a_captive_portal_ends_the_run(world: World) -> None:
    """Over the real adapter, every response is 200 with a login page."""
    world.options = {"fullstory": IMPATIENT}
    world.backends = world.backends[:1]
    world.fullstory.faults.add(Fault(status=200, body=b"<html>Log in</html>", times=None))

    report = world.sync(users(5, plan="pro"))

    assert_closed(report)
    assert GARBAGE.cause in (report["fullstory"].problem or "")
    assert report["fullstory"].pending == 5
    world.fullstory.faults.clear()
    assert world.sync()["fullstory"].accepted == 5
    assert world.fullstory.total_applied == 5


# Expired keys.


def stale_job(ledger: Ledger) -> None:
    """Store a job that may have been sent with an old key."""
    ledger.open_account(account_of(Route(AcmeBatch())))
    ledger.upsert(users(3), ["acme"])
    entries = [JobEntry(claim.row_id, claim.version, claim.user.user_id) for claim in ledger.claim("acme")]
    ledger.start_job("acme", Batch("stale", entries, b"stale"))


@pytest.mark.parametrize(("hours", "bodies"), [(22, [b"stale"]), (23.1, [b"u0,u1,u2"])])
def test_resends_a_batch_until_its_key_expires(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, hours: float, bodies: list[bytes]
) -> None:
    """After that, its users go into a new batch with their newest state."""
    monkeypatch.setattr("replay_identity.ledger.ledger._now", lambda: int(time.time() - hours * 3600))
    stale_job(ledger)
    sent: list[bytes] = []

    def create(body: bytes, key: str) -> str:
        sent.append(body)
        return key

    report = run(ledger, AcmeBatch(create=create), [])

    assert (sent, report["acme"].accepted) == (bodies, 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give all jobs a clock that the test sets."""
    clock = Clock(time.time())
    original = ImportJobs.__init__

    def init(self: ImportJobs, *given: Any, **options: Any) -> None:
        original(self, *given, **{**options, "now": clock})

    monkeypatch.setattr(ImportJobs, "__init__", init)
    return clock


def test_drops_a_key_that_expires_during_retries(ledger: Ledger, clock: Clock) -> None:
    """The users are sent in the same run."""
    keys: list[str] = []

    def create(_body: bytes, key: str) -> Any:
        keys.append(key)
        clock.now += DAY
        return GARBAGE if len(keys) == 1 else key

    report = run(ledger, AcmeBatch(create=create), users(3))

    assert (report["acme"].accepted, report["acme"].pending, len(set(keys)), len(keys)) == (3, 0, 2, 2)
    assert ledger.jobs("acme") == []


def test_polls_a_created_job_of_any_age(ledger: Ledger, clock: Clock) -> None:
    """Its key is not needed any more."""
    ledger.open_account(account_of(Route(AcmeBatch())))
    ledger.upsert(users(3), ["acme"])
    entries = [JobEntry(claim.row_id, claim.version, claim.user.user_id) for claim in ledger.claim("acme")]
    ledger.name_job(ledger.start_job("acme", Batch("key", entries, b"x")), "7")
    clock.now += 10 * DAY
    polled: list[str] = []

    def poll(job: str) -> JobProgress:
        polled.append(job)
        return JobProgress(running=False)

    report = run(ledger, AcmeBatch(create=garbage, poll=poll), [])

    assert (polled, report["acme"].accepted) == (["7"], 3)


# Rejected and confirmed users.


def test_a_fixed_row_is_accepted(world: World) -> None:
    """Another sync clears the rejection; an event leaves it."""
    world.sync([user("u0", plan="pro", bad="x" * 2000)])
    assert [one.user.user_id for one in world.ledger.rejected("logrocket")] == ["u0"]
    with DurableRouter(world.backends, ledger=world.ledger, options=world.options, transport=world.sender) as router:
        router.identify(user("u0", plan="free"))
        assert router.flush(60.0)
    assert [dict(one.user.traits)["plan"] for one in world.ledger.rejected("logrocket")] == ["free"]

    report = world.sync([user("u0", plan="pro")])

    assert_closed(report)
    assert (report["logrocket"].accepted, list(world.ledger.rejected("logrocket"))) == (1, [])
    assert world.traits("u0") == {"plan": "pro"}


def test_resend_sends_confirmed_users_again(world: World) -> None:
    """With `resend` all users are sent in full; without it none is."""
    rows = [user(f"u{number}", plan="pro", size=str(number)) for number in range(30)]
    world.sync(rows)
    changed = [*rows[1:], user("u0", plan="free", size="0")]
    world.fullstory_line.app = world.fullstory = FullstoryEmulator()
    world.logrocket_line.app = world.logrocket = LogRocketEmulator()
    assert [backend.unchanged for backend in world.sync(changed[:-1]).backends] == [29, 29]
    world.assert_stored({})

    report = world.sync(changed, resend=True)

    assert_closed(report)
    assert [backend.accepted for backend in report.backends] == [30, 30]
    world.assert_stored(
        {one.user_id or "": {name: str(value) for name, value in one.traits.items()} for one in changed}
    )
    assert [backend.unchanged for backend in world.sync(changed).backends] == [30, 30]


def test_resend_has_no_effect_without_a_ledger(world: World) -> None:
    """All users are sent anyway."""
    assert world.sync(users(3, plan="pro"), ledger=None, resend=True)["logrocket"].accepted == 3


# Vendor errors about single users of a batch.


@attrs.define(eq=False)
class FailingOneUser(InProcessSender):
    """A sender that reports vendor errors for one user in the results of *times* jobs."""

    code: str = "server_error"
    times: int = 0

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Send the request at once, and change the results."""
        super().submit(request_id, request, timeout)
        if self.times and request.operation == "collect_job":
            row = {"code": self.code, "message": "canary", "user": {"uid": "u1"}}
            shown = self.responses[-1][1].json_object() or {}
            results = [one for one in shown["results"] if one["uid"] != "u1"] if "/imports" in request.url else [row]
            self.times -= "/errors" in request.url
            self.responses[-1] = request_id, Response(200, body=orjson.dumps({"results": results}))


@pytest.mark.parametrize("code", ["server_error", "too_many_requests"])
@pytest.mark.parametrize(("times", "accepted", "jobs"), [(3, 3, 4), (1000, 2, 20)])
def test_retries_users_with_vendor_errors_in_results(
    world: World, code: str, times: int, accepted: int, jobs: int
) -> None:
    """They are retried soon, and pending after 20 attempts."""
    world.backends, world.options = world.backends[:1], {"fullstory": FAST}
    sender = FailingOneUser({1: world.fullstory_line}, code=code, times=times)

    report = world.sync(users(3, plan="pro"), transport=returns(sender))

    assert_closed(report)
    assert (report["fullstory"].accepted, report["fullstory"].pending) == (accepted, 3 - accepted)
    assert (report["fullstory"].rejected, len(world.fullstory.jobs)) == (0, jobs)
