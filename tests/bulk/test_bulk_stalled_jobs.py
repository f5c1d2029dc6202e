"""Jobs that never end: a run waits for them only so long, and after a day their users are sent again."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import orjson
import pytest
from support.backends import AcmeBatch, batch_limits
from support.clock import Clock
from support.deliveries import Delivery, NoSender
from support.in_process import FAST, World
from support.users import user, users

from replay_identity import Accepted, DurableRouter, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from replay_identity.adapters import BatchEntry, JobProgress
from replay_identity.bulk import BackendReport, DeliveryOptions
from replay_identity.emulator import JobFault
from replay_identity.ledger import Batch, JobEntry, Ledger

DAY: Final = 86_400.0
GARBAGE: Final = Unknown("acme", "HTTP 200 with an unexpected body")
PATIENT: Final = DeliveryOptions(patience=math.inf, job_patience=600.0)


def always(result: object) -> Callable[..., Any]:
    """Return a function that returns *result*."""
    return lambda *_arguments: result


def no_rows(entries: Sequence[BatchEntry]) -> tuple[Outcome, ...]:
    """Return that the results show none of *entries*."""
    return (Unknown("acme", "no row"),) * len(entries)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield a ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def _no_real_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the fake clock pass."""
    monkeypatch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.0)


@attrs.define
class Jobs:
    """A vendor's jobs, with ids like job-1.

    Attributes:
        created: The id of each job by the idempotency key.
        polled: The id of each job that was polled.
    """

    created: dict[str, str] = attrs.field(factory=dict[str, str])
    polled: list[str] = attrs.field(factory=list[str])

    def create(self, _body: bytes, key: str) -> str:
        """Create a job, once for each key."""
        return self.created.setdefault(key, f"job-{len(self.created) + 1}")


def deliver(
    ledger: Ledger, backend: AcmeBatch, count: int = 0, *, later: float = 0.0, **options: Any
) -> tuple[BackendReport, float]:
    """Deliver *count* users, that many seconds later than now; return the report and how long it took."""
    clock = Clock(time.time() + later)
    start = clock.now
    report = Delivery(ledger, backend, NoSender(), DeliveryOptions(**options), clock).run(count)
    return report, clock.now - start


def in_turn(*results: Any) -> Callable[[Any], Any]:
    """Return a function that returns *results* in turn, without end."""
    cycle = itertools.cycle(results)
    return lambda _: next(cycle)


STUCK: Final[dict[str, tuple[Callable[[Any], Any], str]]] = {
    "running": (in_turn(JobProgress(running=True, imported=3)), "still running"),
    "unknown status": (in_turn(JobProgress(running=True, status="FROZEN")), "status FROZEN"),
    "personal status": (in_turn(JobProgress(running=True, status="Jane Doe")), "still running"),
    "counts go backwards": (in_turn(*(JobProgress(running=True, imported=n) for n in (5, 4))), "still running"),
    "counts beyond the size": (lambda _: JobProgress(running=True, imported=30 + time.time_ns()), "still running"),
    "statuses alternate": (in_turn(*(JobProgress(running=True, status=s) for s in ("ON", "OFF"))), "status"),
    "no usable poll": (in_turn(GARBAGE), GARBAGE.cause),
    "polls are refused for now": (in_turn(Unavailable("acme", "HTTP 202")), "HTTP 202"),
}


@pytest.mark.parametrize("case", STUCK)
def test_a_job_without_progress_ends_the_run(ledger: Ledger, case: str) -> None:
    """Its users are pending, and it is named; the next run asks about the same job and settles them."""
    poll, obstacle = STUCK[case]
    jobs = Jobs()

    report, seconds = deliver(ledger, AcmeBatch(create=jobs.create, poll=poll), 30)

    assert report.problem is not None
    assert report.problem.startswith(f"1 job without progress for 300 s: job-1 ({obstacle}")
    assert (report.accepted, report.pending, report.abandoned_jobs) == (0, 30, [])
    assert 300 < seconds < 400
    again, _ = deliver(ledger, AcmeBatch(create=jobs.create, poll=recording(jobs)), later=400)
    assert (again.accepted, again.pending, again.problem, jobs.polled) == (30, 0, None, ["job-1"])
    assert len(jobs.created) == 1


def recording(jobs: Jobs) -> Callable[[str], JobProgress]:
    """Return a poll that shows each job as finished."""

    def poll(job: str) -> JobProgress:
        jobs.polled.append(job)
        return JobProgress(running=False)

    return poll


@pytest.mark.parametrize("part", ["create", "collect"])
def test_unusable_responses_end_the_run(ledger: Ledger, part: str) -> None:
    """A batch that is not accepted, or whose results cannot be read, is a job without progress as well."""
    jobs = Jobs()
    name = {"create": "a new batch", "collect": "job-1"}[part]
    broken: dict[str, Any] = {"create": jobs.create, part: always(GARBAGE)}

    report, seconds = deliver(ledger, AcmeBatch(**broken), 30)

    assert report.problem == f"1 job without progress for 300 s: {name} ({GARBAGE.cause})"
    assert (report.pending, 300 < seconds < 400) == (30, True)
    assert deliver(ledger, AcmeBatch(create=jobs.create))[0].accepted == 30


def test_a_batch_deferred_by_a_success_ends_the_run(ledger: Ledger) -> None:
    """Nothing is in doubt, so no job is left; the cause is in the problem."""
    report, seconds = deliver(ledger, AcmeBatch(create=always(Unavailable("acme", "HTTP 202"))), 30)

    assert report.problem == "no successful response for 300 s; last failure: HTTP 202"
    assert (report.pending, ledger.jobs("acme"), 300 < seconds < 400) == (30, [], True)


def test_names_a_few_jobs(ledger: Ledger) -> None:
    """The problem has their number."""
    jobs = Jobs()
    backend = AcmeBatch(create=jobs.create, poll=in_turn(JobProgress(running=True)), batch_limits=batch_limits(5))

    report, _ = deliver(ledger, backend, 30)

    states = ", ".join(f"job-{number} (still running)" for number in (1, 2, 3))
    assert report.problem == f"6 jobs without progress for 300 s: {states} and 3 more"
    assert report.as_dict()["causes"] == [{"outcome": "Unknown", "cause": report.problem, "count": 1}]


def test_results_in_a_queue_are_no_progress(ledger: Ledger) -> None:
    """The results of two jobs are read at once; the others wait for them."""
    backend = AcmeBatch(create=Jobs().create, collect=lambda _: GARBAGE, batch_limits=batch_limits(5))

    report, seconds = deliver(ledger, backend, 30)

    assert (report.problem or "").startswith("6 jobs without progress")
    assert seconds < 400


def test_a_job_with_progress_may_take_its_time(ledger: Ledger) -> None:
    """Each user who is imported counts, and so does a new status."""
    clock = Clock(time.time())
    start = clock.now

    def poll(_: str) -> JobProgress:
        steps = int((clock.now - start) / 240)
        status = "WAITING" if steps < 1 else None
        return JobProgress(running=steps < 12, imported=max(0, steps - 1), status=status)

    report = Delivery(ledger, AcmeBatch(poll=poll), NoSender(), DeliveryOptions(), clock).run(30)

    assert (report.accepted, report.problem) == (30, None)
    assert clock.now - start > 2800


def test_one_job_with_progress_is_enough(ledger: Ledger) -> None:
    """While another job goes on, a stuck one does not end the run."""
    clock, jobs = Clock(time.time()), Jobs()
    start = clock.now

    def poll(job: str) -> JobProgress:
        steps = int((clock.now - start) / 240)
        return JobProgress(running=job == "job-1" or steps < 5, imported=0 if job == "job-1" else steps)

    backend = AcmeBatch(create=jobs.create, poll=poll, batch_limits=batch_limits(10))
    report = Delivery(ledger, backend, NoSender(), DeliveryOptions(), clock).run(20)

    assert (report.accepted, report.pending) == (10, 10)
    assert (report.problem or "").startswith("1 job without progress for 300 s: job-1")
    assert 1500 < clock.now - start < 1700


def test_a_job_that_was_not_polled_is_not_stalled(ledger: Ledger) -> None:
    """The first poll of a large job may come later than the patience with a small one."""
    ledger.upsert(users(1), ["acme"])
    for name, size in (("small", 1), ("large", 50_000)):
        entries = [JobEntry(number, 1, f"u{number}") for number in range(1, size + 1)]
        ledger.name_job(ledger.start_job("acme", Batch(name, entries, b"x")), name)
    polled: list[str] = []

    def poll(job: str) -> JobProgress:
        polled.append(job)
        return JobProgress(running=True)

    report, _ = deliver(ledger, AcmeBatch(poll=poll), patience=5.0)

    assert "large" in polled
    assert report.problem is not None


# A source that has not ended.


@pytest.mark.parametrize(("jobs", "is_stalled"), [(1, True), (100, False)])
def test_a_run_that_may_send_more_is_not_stalled(ledger: Ledger, jobs: int, *, is_stalled: bool) -> None:
    """Unless the stuck job leaves no room for another one."""
    backend = AcmeBatch(poll=in_turn(JobProgress(running=True)), batch_limits=batch_limits(10, jobs=jobs))
    delivery = Delivery(ledger, backend, NoSender(), clock=Clock(time.time()))
    delivery.turns.has_ended, delivery.turns.left = False, 2000

    report = delivery.run(15)

    assert (report.problem is not None) == is_stalled


# Abandoned jobs.


@pytest.mark.parametrize("case", STUCK)
def test_abandons_a_job_after_a_day(ledger: Ledger, case: str) -> None:
    """Its users are sent again at once, in a new job; the report names the old one."""
    jobs = Jobs()
    deliver(ledger, AcmeBatch(create=jobs.create, poll=STUCK[case][0]), 30)

    def poll(job: str) -> Any:
        return STUCK[case][0](job) if job == "job-1" else JobProgress(running=False)

    early, _ = deliver(ledger, AcmeBatch(create=jobs.create, poll=poll), later=DAY - 1000)
    late, _ = deliver(ledger, AcmeBatch(create=jobs.create, poll=poll), later=DAY + 1000)

    assert (early.pending, early.abandoned_jobs) == (30, [])
    assert (late.accepted, late.pending, late.abandoned_jobs, late.problem) == (30, 0, ["job-1"], None)
    assert late.as_dict()["abandoned_jobs"] == ["job-1"]
    assert ledger.jobs("acme") == []


def test_asks_once_before_abandoning(ledger: Ledger) -> None:
    """A job that has ended in the meantime is not abandoned, however old it is."""
    jobs = Jobs()
    deliver(ledger, AcmeBatch(create=jobs.create, poll=in_turn(JobProgress(running=True))), 30)

    report, _ = deliver(ledger, AcmeBatch(create=jobs.create), later=10 * DAY)

    assert (report.accepted, report.abandoned_jobs, len(jobs.created)) == (30, [], 1)


def test_abandons_unreadable_results(ledger: Ledger) -> None:
    """A page token that repeats, for example, never gets better."""
    jobs, repeated = Jobs(), Unknown("acme", "the vendor names the same page as the next one")
    results: list[Any] = [repeated] * 1000

    def collect(entries: Sequence[BatchEntry]) -> Any:
        return results.pop() if len(jobs.created) < 2 else (Accepted("acme"),) * len(entries)

    backend = AcmeBatch(create=jobs.create, collect=collect)
    report = Delivery(ledger, backend, NoSender(), PATIENT, Clock(time.time())).run(30)

    assert (report.accepted, report.abandoned_jobs) == (30, ["job-1"])


@pytest.mark.parametrize("part", ["poll", "collect"])
def test_abandons_a_job_that_the_key_may_not_see(ledger: Ledger, part: str) -> None:
    """The settings are wrong, and the run says so; its users can be forgotten, or sent with another key."""
    jobs, forbidden = Jobs(), Misconfigured("acme", "HTTP 403")
    backend = AcmeBatch(create=jobs.create)
    setattr(backend, part, always(forbidden))

    early, _ = deliver(ledger, backend, 2)
    is_kept = ledger.is_in_flight("u0")
    late, _ = deliver(ledger, backend, later=2 * DAY)

    assert (early.pending, is_kept, early.abandoned_jobs) == (2, True, [])
    assert (late.pending, ledger.is_in_flight("u0"), late.abandoned_jobs) == (2, False, ["job-1"])
    assert "HTTP 403" in (late.problem or "")
    assert deliver(ledger, AcmeBatch(create=jobs.create), later=3 * DAY)[0].accepted == 2


def test_other_users_do_not_wait_for_a_stuck_job(ledger: Ledger) -> None:
    """With endless patience, as in a `DurableRouter`, the job is abandoned and its users follow."""
    jobs, collected = Jobs(), list[str | None]()

    def collect(entries: Sequence[BatchEntry]) -> Any:
        collected.extend(entry.user_id for entry in entries)
        return (Accepted("acme"),) * len(entries)

    def poll(job: str) -> JobProgress:
        return JobProgress(running=job == "job-1")

    backend = AcmeBatch(create=jobs.create, poll=poll, collect=collect, batch_limits=batch_limits(10))
    clock = Clock(time.time())
    start = clock.now
    report = Delivery(ledger, backend, NoSender(), PATIENT, clock).run(30)

    assert collected == [one.user_id for one in [*users(30)[10:], *users(10)]]
    assert (report.accepted, report.abandoned_jobs, report.problem) == (30, ["job-1"], None)
    assert 600 < clock.now - start < 700


def test_users_of_an_abandoned_job_can_be_forgotten(ledger: Ledger) -> None:
    """No job includes them any more, even if the run ends before they are sent again."""
    backend = AcmeBatch(create=Jobs().create, poll=in_turn(JobProgress(running=True)))
    deliver(ledger, backend, 1)
    assert ledger.is_in_flight("u0")
    backend.create = always(Unavailable("acme", "HTTP 202"))

    report, _ = deliver(ledger, backend, later=2 * DAY)

    assert (report.pending, report.abandoned_jobs, ledger.is_in_flight("u0")) == (1, ["job-1"], False)
    assert report.as_dict()["causes"] == [
        {"outcome": "Unknown", "cause": "the job with this user has not ended within 86400 s", "count": 1}
    ]
    assert ledger.forget("u0")


def test_users_without_a_result_wait_longer_each_time(ledger: Ledger) -> None:
    """A vendor whose jobs settle nobody is not sent one job after the other."""
    results: list[Any] = [no_rows] * 4
    created: list[float] = []

    def create(_body: bytes, key: str) -> str:
        created.append(delivery.clock.now)
        return f"job-{key}"

    def collect(entries: Sequence[BatchEntry]) -> Any:
        return results.pop()(entries) if results else (Accepted("acme"),) * len(entries)

    delivery = Delivery(ledger, AcmeBatch(create=create, collect=collect), NoSender(), DeliveryOptions(wait_initial=2))
    report = delivery.run(3)

    assert (report.accepted, report.pending) == (3, 0)
    waits = [later - earlier for earlier, later in itertools.pairwise(created)]
    assert all(wait >= least for wait, least in zip(waits, (2, 4, 8, 16), strict=True)), waits


def test_the_next_run_waits_for_users_without_a_result(ledger: Ledger) -> None:
    """The others are settled; the deferral is stored, and the run says so."""

    def collect(entries: Sequence[BatchEntry]) -> Any:
        later = Unavailable("acme", "HTTP 429", retry_after=4000.0)
        return tuple(later if entry.user_id == "u3" else Accepted("acme") for entry in entries)

    first, _ = deliver(ledger, AcmeBatch(collect=collect), 30)
    second, seconds = deliver(ledger, AcmeBatch())
    third, _ = deliver(ledger, AcmeBatch(), later=5000)

    assert (first.accepted, first.pending, (first.problem or "").startswith("1 user deferred")) == (29, 1, True)
    assert (second.accepted, second.pending, (second.problem or "").startswith("1 user deferred")) == (0, 1, True)
    assert seconds < 10
    assert (third.accepted, third.pending, third.problem) == (1, 0, None)


def test_a_durable_router_abandons_a_job(ledger: Ledger) -> None:
    """Its users arrive in the end."""
    jobs = Jobs()
    backend = AcmeBatch(create=jobs.create, poll=lambda job: JobProgress(running=job == "job-1"))
    options = {"acme": attrs.evolve(FAST, job_patience=0.01)}

    with DurableRouter([backend], ledger=ledger, options=options) as router:
        router.identify(user("u0"))
        is_delivered = router.flush(30.0)

    assert is_delivered
    assert len(jobs.created) == 2


# Jobs that end without an answer.


@pytest.mark.parametrize(
    ("broken", "jobs"),
    [
        ({"poll": always(Rejected("acme", code="HTTP 404"))}, 20),
        ({"collect": always(Rejected("acme", code="HTTP 404"))}, 20),
        ({"collect": no_rows}, 20),
        ({"poll": in_turn(JobProgress(running=True))}, 20),
    ],
    ids=["lost", "no results", "no rows", "never ends"],
)
def test_no_job_is_sent_again_without_end(ledger: Ledger, broken: dict[str, Any], jobs: int) -> None:
    """After 20 jobs the run ends with its users pending and a cause."""
    created = Jobs()
    backend = AcmeBatch(create=created.create, **broken)

    report = Delivery(ledger, backend, NoSender(), PATIENT, Clock(time.time())).run(3)

    assert (report.pending, len(created.created)) == (3, jobs)
    assert [(cause["outcome"], cause["count"]) for cause in report.as_dict()["causes"]] == [("Unknown", 3)]


# Polls.


def first_poll(ledger: Ledger, size: int, options: DeliveryOptions, *, has_ended: bool) -> float:
    """Return the seconds until a job of that *size* is polled, while a user waits to be sent unless all are."""
    ledger.upsert(users(1), ["acme"])
    entries = [JobEntry(number, 1, f"u{number}") for number in range(1, size + 1)]
    ledger.name_job(ledger.start_job("acme", Batch("key", entries, b"x")), "7")
    clock, polled = Clock(time.time()), list[float]()
    start = clock.now

    def poll(_: str) -> Rejected:
        polled.append(clock.now - start)
        return Rejected("acme", code="HTTP 404")

    delivery = Delivery(ledger, AcmeBatch(poll=poll), NoSender(), options, clock)
    delivery.turns.has_ended, delivery.turns.left = has_ended, 300
    delivery.run()
    return polled[0]


@pytest.mark.parametrize(
    ("size", "has_ended", "min_delay"),
    [(1, True, 0.1), (50_000, True, 0.1), (1_000, False, 0.1), (1_001, False, 15.0)],
)
def test_large_jobs_wait_for_users_to_send(ledger: Ledger, size: int, min_delay: float, *, has_ended: bool) -> None:
    """Once there are none, and for small jobs, the first poll comes soon."""
    seconds = first_poll(ledger, size, DeliveryOptions(), has_ended=has_ended)

    assert min_delay <= seconds <= min_delay + 1.0


def test_a_full_vendor_is_polled_soon(ledger: Ledger) -> None:
    """Without room for more users, waiting for them would only lose time."""
    assert first_poll(ledger, 2_000, DeliveryOptions(max_jobs=1), has_ended=False) <= 1.0


# Limits of one's own.


@pytest.mark.parametrize(
    ("options", "jobs", "open_users"),
    [
        ({"max_jobs": 2}, 2, 20),
        ({"max_open_users": 25}, 2, 20),
        ({"max_open_users": 7}, 1, 7),
        ({"max_jobs": 1000, "max_open_users": 10**9}, 4, 40),
    ],
)
def test_own_limits_on_jobs_are_kept(ledger: Ledger, options: dict[str, int], jobs: int, open_users: int) -> None:
    """The vendor's limits hold as well; a batch is never larger than the users that may be in jobs."""
    running: dict[str, int] = {}
    most: list[tuple[int, int]] = []

    def create(body: bytes, key: str) -> str:
        running[key] = body.count(b",") + 1
        most.append((len(running), sum(running.values())))
        return key

    polls: dict[str, int] = {}

    def poll(job: str) -> JobProgress:
        polls[job] = polls.get(job, 0) + 1
        return JobProgress(running=polls[job] < 3)

    def collect(entries: Sequence[BatchEntry]) -> Any:
        running.pop(next(job for job, count in running.items() if count == len(entries)))
        return (Accepted("acme"),) * len(entries)

    backend = AcmeBatch(create=create, poll=poll, collect=collect, batch_limits=batch_limits(10, 4, 1000))

    report, _ = deliver(ledger, backend, 100, **options)

    assert report.accepted == 100
    assert (max(count for count, _ in most), max(count for _, count in most)) == (jobs, open_users)


# Over the real adapter.


@pytest.mark.parametrize(
    ("fault", "obstacle"),
    [
        (JobFault(seconds=math.inf), "still running"),
        (JobFault(reported_status="FROZEN", reported_polls=None), "status FROZEN"),
    ],
    ids=["never ends", "unknown status"],
)
def test_fullstory_jobs_that_never_end(world: World, fault: JobFault, obstacle: str) -> None:
    """Both the run that waits and the one that abandons the job account for all users."""
    world.fullstory.job_faults.add(fault)
    world.ledger.upsert([user(f"u{number}", plan="pro") for number in range(5)], ["fullstory"])
    backend, clock = world.backends[0], Clock(time.time())

    waiting = Delivery(world.ledger, backend, world.sender(1), clock=clock).run()
    clock.now += DAY
    abandoning = Delivery(world.ledger, backend, world.sender(1), clock=clock).run()

    assert (waiting.problem or "").endswith(f"({obstacle})")
    assert (waiting.pending, waiting.problem is None) == (5, False)
    assert (abandoning.accepted, abandoning.pending, abandoning.problem) == (5, 0, None)
    assert abandoning.abandoned_jobs == [world.fullstory.jobs[0].id]


def test_users_of_an_abandoned_job_are_sent_whole(world: World) -> None:
    """What the vendor has of them is in doubt."""
    clock = Clock(time.time())
    for seats in (1, 2):
        world.ledger.upsert([user("u0", plan="pro", seats=seats)], ["fullstory"])
        Delivery(world.ledger, world.backends[0], world.sender(1), PATIENT, clock).run()
        world.fullstory.job_faults.add(JobFault(seconds=math.inf))
    bodies = [request.body for request in world.fullstory.requests if request.method == "POST"]
    sent = [orjson.loads(body)["requests"][0]["properties"] for body in bodies]

    assert sent == [{"plan": "pro", "seats": 1}, {"seats": 2}, {"plan": "pro", "seats": 2}]
