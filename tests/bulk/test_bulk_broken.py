"""Adapters with bugs: each is recorded for the users it concerns, and delays no other."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.backends import Acme, AcmeBatch, batch_limits
from support.in_process import FAST, World, assert_closed
from support.users import user, users

from replay_identity import (
    Accepted,
    Adjustment,
    Broken,
    Misconfigured,
    Rejected,
    Route,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.adapters import BatchTooLarge, EncodedUser, JobProgress
from replay_identity.bulk import SyncReport, sync
from replay_identity.bulk.worker import make_worker
from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger
from replay_identity.sources import BadRow


def returns(result: Any) -> Callable[..., Any]:
    """Return a function that always returns *result*."""

    def function(*_: Any) -> Any:
        return result

    return function


PATIENT = {"acme": FAST}


def fail(*_: Any) -> Any:
    """Raise an error with a value in its message."""
    raise ValueError("canary")


def run(world: World, backend: Acme, rows: list[UserTraits], **options: Any) -> SyncReport:
    """Sync *rows* to *backend* and to LogRocket."""
    world.backends = [backend, world.backends[1]]
    report = world.sync(rows, **{"options": {"acme": FAST, "logrocket": FAST}, **options})
    assert_closed(report)
    return report


odd: Any = 5
BROKEN: dict[str, Acme] = {
    "identify raises": Acme(act=fail),
    "identify returns None": Acme(act=lambda _: None),
    "identify returns an outcome of another": Acme(act=lambda _: Accepted("logrocket")),
    "encode_for_batch raises": AcmeBatch(encode=fail),
    "encode_for_batch returns None": AcmeBatch(encode=lambda _: None),
    "encode_for_batch returns an outcome of another": AcmeBatch(encode=lambda _: Accepted("logrocket")),
    "encode_for_batch returns no bytes": AcmeBatch(encode=lambda _: EncodedUser("acme", odd)),
    "batch_body raises": AcmeBatch(body=fail),
    "create_job raises": AcmeBatch(create=fail),
    "create_job returns None": AcmeBatch(create=returns(None)),
    "poll_job raises": AcmeBatch(poll=fail),
    "poll_job returns None": AcmeBatch(poll=lambda _: None),
    "collect_job raises": AcmeBatch(collect=fail),
    "collect_job returns None": AcmeBatch(collect=lambda _: None),
    "collect_job returns too few": AcmeBatch(collect=lambda _: (Accepted("acme"),)),
    "collect_job returns strings": AcmeBatch(collect=lambda entries: ("yes",) * len(entries)),
    "batch_contents raises": AcmeBatch(create=returns(Rejected("acme", code="bad")), contents=fail),
}


@pytest.mark.parametrize("what", BROKEN)
def test_records_a_bug_in_an_adapter(world: World, what: str) -> None:
    """All users are recorded as Broken with the error's type, and the other vendor gets everyone."""
    report = run(world, BROKEN[what], users(120, plan="pro"))

    rejected = list(world.ledger.rejected("acme"))
    assert (report["acme"].rejected, report["logrocket"].accepted) == (120, 120)
    assert {type(one.rejection) for one in rejected} == {Broken}
    assert "canary" not in str(rejected) + str(report.as_dict())


def test_a_bug_with_one_user_fails_no_other(world: World) -> None:
    """The other users are accepted."""

    def encode(one: UserTraits) -> EncodedUser:
        return fail() if one.user_id == "u7" else EncodedUser("acme", b"x")

    report = run(world, AcmeBatch(encode=encode), users(120))

    assert (report["acme"].accepted, report["acme"].rejected) == (119, 1)


def test_an_exchange_yielding_no_request_is_broken(world: World) -> None:
    """Only requests and sleeps can be carried out."""

    class Odd(Acme):
        def identify(self, _user: UserTraits, /) -> Any:
            yield "GET /"

    report = run(world, Odd(), users(3))

    assert report["acme"].rejected == 3
    assert {
        one.rejection.error.split()[0] for one in world.ledger.rejected("acme") if isinstance(one.rejection, Broken)
    } == {"TypeError"}


def test_a_raising_route_condition_is_broken(world: World) -> None:
    """The condition is the application's code and may have bugs, too."""
    world.backends = [Route(world.backends[0], when=fail), world.backends[1]]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    report = world.sync(users(3))

    assert_closed(report)
    assert (report["fullstory"].rejected, report["logrocket"].pending) == (3, 0)


def test_abandons_a_user_without_a_response(world: World) -> None:
    """After 20 attempts the run continues without the user."""
    backend = Acme(act=lambda one: Unknown("acme", "lost") if one.user_id == "u0" else Accepted("acme"))

    report = run(world, backend, users(3))

    assert (report["acme"].accepted, report["acme"].pending) == (2, 1)
    assert sum(one.user_id == "u0" for one in backend.identified) == 20


def test_abandons_a_user_without_ledger_and_response() -> None:
    """The limit of 20 attempts also holds without a ledger."""
    backend = Acme(act=lambda _: Unknown("acme", "lost"))

    report = sync(users(2), [backend], ledger=None, options=PATIENT)

    assert_closed(report)
    assert (report["acme"].pending, len(backend.identified)) == (2, 40)


def test_sends_an_anonymous_user_only_once() -> None:
    """A repeated request could create a second user."""
    backend = Acme(act=lambda _: Unknown("acme", "lost", retryable=False))

    report = sync([UserTraits(name="Ann")], [backend], ledger=None, options=PATIENT)

    assert_closed(report)
    assert (report["acme"].pending, len(backend.identified)) == (1, 1)


def test_rejects_users_without_a_usable_id(world: World) -> None:
    """The id of another vendor does not identify a user at this one."""
    backend = AcmeBatch()

    report = run(world, backend, [UserTraits(vendor_ids={"other": "7"}), UserTraits(vendor_ids={"acme": "8"})])

    (rejected,) = world.ledger.rejected("acme")
    assert isinstance(rejected.rejection, Rejected)
    assert [violation.rule for violation in rejected.rejection.violations] == ["anonymous-user"]
    assert report["acme"].accepted == 1


@pytest.mark.parametrize(
    "backend",
    [
        Acme(act=lambda _: Misconfigured("acme", "HTTP 401", "Check the key.")),
        AcmeBatch(create=returns(Misconfigured("acme", "HTTP 401", "Check the key."))),
        AcmeBatch(poll=lambda _: Misconfigured("acme", "HTTP 401", "Check the key.")),
        AcmeBatch(collect=lambda _: Misconfigured("acme", "HTTP 401", "Check the key.")),
    ],
    ids=["identify", "create", "poll", "collect"],
)
def test_wrong_settings_abort_a_backend(world: World, backend: Acme) -> None:
    """Its users stay pending and are accepted once the settings are right."""
    report = run(world, backend, users(120, plan="pro"))

    assert (report["acme"].pending, report["logrocket"].accepted) == (120, 120)
    assert report["acme"].problem == "HTTP 401. Check the key."
    good = AcmeBatch() if isinstance(backend, AcmeBatch) else Acme()
    again = run(world, good, [])
    assert (again["acme"].carried, again["acme"].accepted) == (120, 120)


def test_sends_users_of_a_forgotten_job_again(world: World) -> None:
    """They go into a new job."""
    polled: list[str] = []
    results: list[Any] = [Rejected("acme", code="HTTP 404"), Unavailable("acme", "HTTP 503"), Unknown("acme", "lost")]

    def poll(job: str) -> Any:
        polled.append(job)
        return results.pop(0) if results else JobProgress(running=False)

    report = run(world, AcmeBatch(poll=poll), users(20))

    assert (report["acme"].accepted, len(polled), len(set(polled))) == (20, 4, 2)


def test_collects_again_or_sends_users_again(world: World) -> None:
    """A lost response is requested again; if the results are refused, the users are sent again."""
    results: list[Any] = [Unavailable("acme", "HTTP 503"), Unknown("acme", "lost"), Rejected("acme", code="HTTP 404")]
    backend = AcmeBatch(collect=lambda entries: results.pop(0) if results else (Accepted("acme"),) * len(entries))

    report = run(world, backend, users(20))

    assert report["acme"].accepted == 20


def test_a_ledger_error_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised unchanged, nothing is lost, and the next run resumes."""

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError(str(world.path), "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "name_job", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            world.sync(users(300, plan="pro"))

    report = world.sync()
    assert_closed(report)
    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(300)})
    assert set(world.fullstory.applied.values()) == {1}


def test_a_ledger_error_while_settling_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes that were not written are sent again."""

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError(str(world.path), "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            world.sync(users(30, plan="pro"))

    assert_closed(world.sync())
    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(30)})


def test_raises_a_worker_error(world: World) -> None:
    """It is not swallowed with its thread."""
    with pytest.raises(ValueError, match="canary"):
        world.sync(users(3), transport=fail)


def test_raises_a_source_error_unchanged(world: World) -> None:
    """No user read before is lost."""

    def source() -> Any:
        yield from users(250, plan="pro")
        raise ValueError("the source is broken")

    with pytest.raises(ValueError, match="the source is broken"):
        world.sync(source())

    report = world.sync()
    assert_closed(report)
    assert len(world.logrocket.users) == 250


def test_raises_a_source_error_of_a_stopped_run(world: World) -> None:
    """It is raised at once, however far the vendors lag behind."""
    stop = threading.Event()

    def source() -> Any:
        yield from users(3)
        stop.set()
        raise ValueError("the source is broken")

    with pytest.raises(ValueError, match="the source is broken"):
        world.sync(source(), stop=stop)


def test_does_not_count_uncommitted_rows(world: World) -> None:
    """An interrupt while reading drops them, and the next run reads them again."""

    def source() -> Any:
        yield from users(10)
        yield BadRow(11, 11, "not a user")
        raise KeyboardInterrupt

    report = world.sync(source())

    assert (report.stopped, report.rows, report.bad_row_count, report.bad_rows) == ("interrupted", 0, 0, [])
    assert_closed(report)


def test_counts_only_lossy_adjustments(world: World) -> None:
    """Nearly every user has lossless adjustments."""
    truncated, coerced = (
        Adjustment("traits.long", "truncated", "too-long"),
        Adjustment("traits.n", "coerced", "strings-only"),
    )
    single = Acme(act=lambda _: Accepted("acme", adjustments=(truncated, coerced)))
    batch = AcmeBatch(encode=lambda _: EncodedUser("acme", b"x", (truncated, coerced)))

    for backend in (single, batch):
        report = run(world, backend, users(2, kind=type(backend).__name__))

        assert (report["acme"].accepted, report["acme"].stats.lossy, report["acme"].stats.adjusted) == (2, 2, 2)
        assert [one["path"] for one in report["acme"].as_dict()["adjustments"]] == ["traits.long"]
        assert list(world.ledger.losses("acme")) == [(truncated,), (truncated,)]


def test_a_ledger_worker_ignores_enqueued_users(world: World) -> None:
    """A worker that was never started can be joined."""
    worker = make_worker(Route(Acme()), world.ledger, FAST)

    worker.enqueue(users(3))
    worker.join()

    assert (worker.report.given, worker.is_alive) == (0, False)


def test_respects_limits_on_open_jobs_and_users(tmp_path: Path) -> None:
    """Neither the number of jobs nor that of their users exceeds the limits."""
    running: set[str] = set()
    open_counts: list[tuple[int, int]] = []
    sizes: dict[str, int] = {}

    def create(body: bytes, key: str) -> str:
        running.add(key)
        sizes[key] = body.count(b",") + 1
        open_counts.append((len(running), sum(sizes[one] for one in running)))
        return key

    def poll(job: str) -> JobProgress:
        sizes[f"{job} polls"] = sizes.get(f"{job} polls", 0) + 1
        if sizes[f"{job} polls"] < 3:
            return JobProgress(running=True)
        running.discard(job)
        return JobProgress(running=False)

    for limits, jobs, open_users in ((batch_limits(10, 2, 1000), 2, 20), (batch_limits(10, 9, 30), 3, 30)):
        open_counts.clear()
        backend = AcmeBatch(create=create, poll=poll, batch_limits=limits)
        with Ledger(tmp_path / f"{jobs}.db") as ledger:
            report = sync(users(200), [backend], ledger=ledger, options={"acme": attrs.evolve(FAST)})
        assert report["acme"].accepted == 200
        assert (max(count for count, _ in open_counts), max(count for _, count in open_counts)) == (jobs, open_users)


def test_finds_an_invalid_user_by_halving(world: World) -> None:
    """If the vendor rejects a batch because of one user, the others are accepted."""
    backend = AcmeBatch(create=lambda body, key: Rejected("acme", code="bad") if b"u77" in body else key)

    report = run(world, backend, users(120))

    (rejected,) = world.ledger.rejected("acme")
    assert rejected.user == user("u77")
    assert (report["acme"].accepted, report["acme"].rejected) == (119, 1)


def test_halves_batches_after_a_too_large_one(world: World) -> None:
    """A single user that is too large is rejected."""
    sent: list[int] = []

    def create(body: bytes, key: str) -> Any:
        sent.append(len(body))
        return key if len(body) <= 100 else BatchTooLarge("acme")

    def encode(one: UserTraits) -> EncodedUser:
        return EncodedUser("acme", b"x" * (101 if one.user_id == "u499" else 9))

    report = run(world, AcmeBatch(create=create, encode=encode, batch_limits=batch_limits(40)), users(500))

    assert (report["acme"].accepted, report["acme"].rejected) == (499, 1)
    (rejected,) = world.ledger.rejected("acme")
    assert isinstance(rejected.rejection, Rejected)
    assert rejected.rejection.code == "HTTP 413"
    too_large = [size for size in sent if size > 100]
    assert len(too_large) <= 16
    assert max(sent[len(sent) // 2 : -16]) <= 110


def test_content_that_is_not_bytes_is_broken(tmp_path: Path) -> None:
    """An adapter that names its fields may still return something else."""
    encoded: Any = "text"
    backend = AcmeBatch(encode=lambda _: EncodedUser("acme", encoded, fields={}))

    report = sync(users(3), [backend], ledger=tmp_path / "ledger.db", options={"acme": FAST})

    assert_closed(report)
    assert report.rejected == 3
