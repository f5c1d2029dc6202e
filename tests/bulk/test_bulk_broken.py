"""Adapters with bugs: who met one is on record, and nobody else is held up."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from bulk.adapters import Acme, AcmeBatch, batch_limits
from bulk.worlds import FAST, World, assert_closed, user, users

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
from replay_identity.adapters.protocols import BatchTooLarge, EncodedUser, JobProgress
from replay_identity.bulk import SyncReport, sync
from replay_identity.bulk.worker import make_worker
from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger
from replay_identity.sources import BadRow


def say(answer: Any) -> Callable[..., Any]:
    """Return what answers this to everything."""

    def answer_it(*_: Any) -> Any:
        return answer

    return answer_it


PATIENT = {"acme": FAST}


def fail(*_: Any) -> Any:
    """Have a bug."""
    raise ValueError("canary")


def run(world: World, backend: Acme, rows: list[UserTraits], **options: Any) -> SyncReport:
    """Deliver to Acme, and to LogRocket beside it."""
    world.backends = [backend, world.backends[1]]
    report = world.sync(rows, **{"options": {"acme": FAST, "logrocket": FAST}, **options})
    assert_closed(report)
    return report


odd: Any = 5
BROKEN: dict[str, Acme] = {
    "identify raises": Acme(act=fail),
    "identify answers nothing": Acme(act=lambda _: None),
    "identify answers for another": Acme(act=lambda _: Accepted("logrocket")),
    "encode_for_batch raises": AcmeBatch(item=fail),
    "encode_for_batch answers nothing": AcmeBatch(item=lambda _: None),
    "encode_for_batch answers an outcome of another": AcmeBatch(item=lambda _: Accepted("logrocket")),
    "encode_for_batch holds no bytes": AcmeBatch(item=lambda _: EncodedUser("acme", odd)),
    "batch_body raises": AcmeBatch(body=fail),
    "create_job raises": AcmeBatch(create=fail),
    "create_job answers nothing": AcmeBatch(create=say(None)),
    "poll_job raises": AcmeBatch(poll=fail),
    "poll_job answers nothing": AcmeBatch(poll=lambda _: None),
    "collect_job raises": AcmeBatch(collect=fail),
    "collect_job answers nothing": AcmeBatch(collect=lambda _: None),
    "collect_job answers too few": AcmeBatch(collect=lambda _: (Accepted("acme"),)),
    "collect_job answers no outcomes": AcmeBatch(collect=lambda entries: ("yes",) * len(entries)),
    "batch_contents raises": AcmeBatch(create=say(Rejected("acme", code="bad")), contents=fail),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bug_of_an_adapter_is_on_record(world: World, what: str) -> None:
    """Everyone it met is refused as Broken, by type and place, and the other vendor has everyone."""
    report = run(world, BROKEN[what], users(120, plan="pro"))

    rejected = list(world.ledger.rejected("acme"))
    assert (report["acme"].rejected, report["logrocket"].accepted) == (120, 120)
    assert {type(one.rejection) for one in rejected} == {Broken}
    assert "canary" not in str(rejected) + str(report.as_dict())


def test_a_bug_met_by_one_user_fails_nobody_else(world: World) -> None:
    """The others are taken, one by one and in batches."""

    def word(one: UserTraits) -> EncodedUser:
        return fail() if one.user_id == "u7" else EncodedUser("acme", b"x")

    report = run(world, AcmeBatch(item=word), users(120))

    assert (report["acme"].accepted, report["acme"].rejected) == (119, 1)


def test_an_exchange_that_yields_no_request_is_broken(world: World) -> None:
    """What is neither a request nor a pause cannot be carried out."""

    class Odd(Acme):
        def identify(self, _user: UserTraits, /) -> Any:
            yield "GET /"

    report = run(world, Odd(), users(3))

    assert report["acme"].rejected == 3
    assert {
        one.rejection.error.split()[0] for one in world.ledger.rejected("acme") if isinstance(one.rejection, Broken)
    } == {"TypeError"}


def test_a_condition_of_a_route_that_raises_is_broken(world: World) -> None:
    """It is the user's own code, and as fallible."""
    world.backends = [Route(world.backends[0], when=fail), world.backends[1]]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    report = world.sync(users(3))

    assert_closed(report)
    assert (report["fullstory"].rejected, report["logrocket"].pending) == (3, 0)


def test_a_user_without_an_answer_is_left_pending(world: World) -> None:
    """After so many times the run goes on without them."""
    backend = Acme(act=lambda one: Unknown("acme", "lost") if one.user_id == "u0" else Accepted("acme"))

    report = run(world, backend, users(3))

    assert (report["acme"].accepted, report["acme"].pending) == (2, 1)
    assert sum(one.user_id == "u0" for one in backend.asked) == 20


def test_a_user_without_an_answer_is_left_pending_without_a_ledger() -> None:
    """As with one."""
    backend = Acme(act=lambda _: Unknown("acme", "lost"))

    report = sync(users(2), [backend], ledger=None, options=PATIENT)

    assert_closed(report)
    assert (report["acme"].pending, len(backend.asked)) == (2, 40)


def test_an_anonymous_user_is_not_sent_again_without_an_answer() -> None:
    """They could become two."""
    backend = Acme(act=lambda _: Unknown("acme", "lost", retryable=False))

    report = sync([UserTraits(name="Ann")], [backend], ledger=None, options=PATIENT)

    assert_closed(report)
    assert (report["acme"].pending, len(backend.asked)) == (1, 1)


def test_who_cannot_be_found_again_is_refused(world: World) -> None:
    """An id that another vendor gave makes no user of this one's."""
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
        AcmeBatch(create=say(Misconfigured("acme", "HTTP 401", "Check the key."))),
        AcmeBatch(poll=lambda _: Misconfigured("acme", "HTTP 401", "Check the key.")),
        AcmeBatch(collect=lambda _: Misconfigured("acme", "HTTP 401", "Check the key.")),
    ],
    ids=["identify", "create", "poll", "collect"],
)
def test_wrong_settings_stop_a_backend_and_lose_nobody(world: World, backend: Acme) -> None:
    """Its users stay due, and are taken as soon as the settings are right."""
    report = run(world, backend, users(120, plan="pro"))

    assert (report["acme"].pending, report["logrocket"].accepted) == (120, 120)
    assert report["acme"].problem == "HTTP 401. Check the key."
    good = AcmeBatch() if isinstance(backend, AcmeBatch) else Acme()
    again = run(world, good, [])
    assert (again["acme"].carried, again["acme"].accepted) == (120, 120)


def test_an_answer_that_is_lost_for_good_has_the_users_sent_again(world: World) -> None:
    """A vendor that forgets a job is sent its users in another one."""
    asked: list[str] = []
    answers: list[Any] = [Rejected("acme", code="HTTP 404"), Unavailable("acme", "HTTP 503"), Unknown("acme", "lost")]

    def poll(job: str) -> Any:
        asked.append(job)
        return answers.pop(0) if answers else JobProgress(running=False)

    report = run(world, AcmeBatch(poll=poll), users(20))

    assert (report["acme"].accepted, len(asked), len(set(asked))) == (20, 4, 2)


def test_results_that_cannot_be_had_are_asked_for_again_or_sent_again(world: World) -> None:
    """An answer that was lost is asked for again; one that is refused has the users sent again."""
    answers: list[Any] = [Unavailable("acme", "HTTP 503"), Unknown("acme", "lost"), Rejected("acme", code="HTTP 404")]
    backend = AcmeBatch(collect=lambda entries: answers.pop(0) if answers else (Accepted("acme"),) * len(entries))

    report = run(world, backend, users(20))

    assert report["acme"].accepted == 20


def test_an_error_of_the_ledger_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised as it is, nothing is lost, and the next run goes on."""

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError(str(world.path), "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "name_job", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            world.sync(users(300, plan="pro"))

    report = world.sync()
    assert_closed(report)
    world.hold({f"u{number}": {"plan": "pro"} for number in range(300)})
    assert set(world.fullstory.applied.values()) == {1}


def test_an_error_of_the_ledger_while_settling_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not written down is sent again."""

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError(str(world.path), "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            world.sync(users(30, plan="pro"))

    assert_closed(world.sync())
    world.hold({f"u{number}": {"plan": "pro"} for number in range(30)})


def test_a_bug_of_ours_ends_the_run_with_it(world: World) -> None:
    """It is not swallowed with its thread."""
    with pytest.raises(ValueError, match="canary"):
        world.sync(users(3), transport=fail)


def test_an_error_of_the_source_is_raised_as_it_is(world: World) -> None:
    """It is no matter of ours, and nobody read before is lost."""

    def source() -> Any:
        yield from users(250, plan="pro")
        raise ValueError("not ours")

    with pytest.raises(ValueError, match="not ours"):
        world.sync(source())

    report = world.sync()
    assert_closed(report)
    assert len(world.logrocket.users) == 250


def test_an_error_of_the_source_is_raised_though_the_run_is_stopped(world: World) -> None:
    """At once, however far the vendors are behind."""
    stop = threading.Event()

    def source() -> Any:
        yield from users(3)
        stop.set()
        raise ValueError("not ours")

    with pytest.raises(ValueError, match="not ours"):
        world.sync(source(), stop=stop)


def test_rows_that_were_read_and_not_put_are_not_counted(world: World) -> None:
    """An interruption while the source is read loses them, and the next run reads them again."""

    def source() -> Any:
        yield from users(10)
        yield BadRow(11, 11, "is no user")
        raise KeyboardInterrupt

    report = world.sync(source())

    assert (report.stopped, report.rows, report.bad_row_count, report.bad_rows) == ("interrupted", 0, 0, [])
    assert_closed(report)


def test_only_what_is_lost_is_counted_of_what_is_adjusted(world: World) -> None:
    """Nearly every user is adjusted without a loss."""
    cut, turned = Adjustment("traits.long", "truncated", "too-long"), Adjustment("traits.n", "coerced", "strings-only")
    single = Acme(act=lambda _: Accepted("acme", adjustments=(cut, turned)))
    batch = AcmeBatch(item=lambda _: EncodedUser("acme", b"x", (cut, turned)))

    for backend in (single, batch):
        report = run(world, backend, users(2, kind=type(backend).__name__))

        assert (report["acme"].accepted, report["acme"].stats.lossy, report["acme"].stats.adjusted) == (2, 2, 2)
        assert [one["path"] for one in report["acme"].as_dict()["adjustments"]] == ["traits.long"]
        assert list(world.ledger.losses("acme")) == [(cut,), (cut,)]


def test_a_lane_of_a_ledger_takes_users_from_it_alone(world: World) -> None:
    """And one that was never started need not be waited for."""
    worker = make_worker(Route(Acme()), world.ledger, FAST)

    worker.enqueue(users(3))
    worker.join()

    assert (worker.report.given, worker.is_alive) == (0, False)


def test_gives_the_quota_of_users_its_due(tmp_path: Path) -> None:
    """So many users are open at most, and so many jobs."""
    running: set[str] = set()
    most: list[tuple[int, int]] = []
    sizes: dict[str, int] = {}

    def create(body: bytes, key: str) -> str:
        running.add(key)
        sizes[key] = body.count(b",") + 1
        most.append((len(running), sum(sizes[one] for one in running)))
        return key

    def poll(job: str) -> JobProgress:
        sizes[f"{job} polls"] = sizes.get(f"{job} polls", 0) + 1
        if sizes[f"{job} polls"] < 3:
            return JobProgress(running=True)
        running.discard(job)
        return JobProgress(running=False)

    for limits, jobs, open_users in ((batch_limits(10, 2, 1000), 2, 20), (batch_limits(10, 9, 30), 3, 30)):
        most.clear()
        backend = AcmeBatch(create=create, poll=poll, batch_limits=limits)
        with Ledger(tmp_path / f"{jobs}.db") as ledger:
            report = sync(users(200), [backend], ledger=ledger, options={"acme": attrs.evolve(FAST)})
        assert report["acme"].accepted == 200
        assert (max(each for each, _ in most), max(each for _, each in most)) == (jobs, open_users)


def test_one_odd_user_is_found_by_halving(world: World) -> None:
    """A vendor that refuses a whole batch for one user gets the halves, and takes everybody else."""
    backend = AcmeBatch(create=lambda body, key: Rejected("acme", code="bad") if b"u77" in body else key)

    report = run(world, backend, users(120))

    (rejected,) = world.ledger.rejected("acme")
    assert rejected.user == user("u77")
    assert (report["acme"].accepted, report["acme"].rejected) == (119, 1)


def test_a_batch_that_is_too_large_is_halved_and_so_are_later_ones(world: World) -> None:
    """One user who is too large alone is refused."""
    sent: list[int] = []

    def create(body: bytes, key: str) -> Any:
        sent.append(len(body))
        return key if len(body) <= 100 else BatchTooLarge("acme")

    def item(one: UserTraits) -> EncodedUser:
        return EncodedUser("acme", b"x" * (101 if one.user_id == "u499" else 9))

    report = run(world, AcmeBatch(create=create, item=item, batch_limits=batch_limits(40)), users(500))

    assert (report["acme"].accepted, report["acme"].rejected) == (499, 1)
    (rejected,) = world.ledger.rejected("acme")
    assert isinstance(rejected.rejection, Rejected)
    assert rejected.rejection.code == "HTTP 413"
    too_large = [size for size in sent if size > 100]
    assert len(too_large) <= 16
    assert max(sent[len(sent) // 2 : -16]) <= 110
