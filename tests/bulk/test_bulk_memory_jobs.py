"""Batches of runs without a ledger."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from support.backends import AcmeBatch, batch_limits
from support.clock import Clock
from support.deliveries import Delivery, NoSender
from support.users import user

from replay_identity import Accepted, Adjustment, Outcome, Rejected, Route, Unavailable, Unknown, UserTraits
from replay_identity.adapters import BatchEntry, BatchTooLarge, EncodedUser, JobProgress
from replay_identity.bulk import DeliveryOptions
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.bulk.report import BackendReport
from replay_identity.bulk.worker import DeliveryLoop, make_limiter


@pytest.fixture(autouse=True)
def _no_real_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the fake clock pass."""
    monkeypatch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.0)


def deliver(backend: AcmeBatch, count: int, **options: Any) -> BackendReport:
    """Deliver *count* users without a ledger, and return the closed report."""
    return Delivery(None, backend, NoSender(), DeliveryOptions(**options)).run(count)


def test_users_go_into_batches() -> None:
    """Of the vendor's size."""
    bodies = list[bytes]()

    def create(body: bytes, key: str) -> str:
        bodies.append(body)
        return key

    report = deliver(AcmeBatch(create=create, batch_limits=batch_limits(10)), 25)

    assert report.accepted == 25
    assert sorted(len(body.split(b",")) for body in bodies) == [5, 10, 10]


def test_few_users_are_in_memory() -> None:
    """However many the vendor and the options allow."""
    sizes = list[int]()

    def create(body: bytes, key: str) -> str:
        sizes.append(body.count(b",") + 1)
        return key

    stuck = AcmeBatch(
        create=create, poll=lambda _: JobProgress(running=True), batch_limits=batch_limits(50_000, 100, 500_000)
    )
    report = deliver(stuck, 70_000)

    assert sizes == [10_000] * 5
    assert (report.accepted, report.pending) == (0, 70_000)


def test_users_of_a_lost_job_are_sent_again() -> None:
    """In a new job."""
    created = itertools.count()
    poll = {"0": Rejected("acme", code="HTTP 404")}
    backend = AcmeBatch(
        create=lambda _body, _key: str(next(created)), poll=lambda job: poll.get(job, JobProgress(running=False))
    )

    report = deliver(backend, 20)

    assert (report.accepted, report.pending, next(created)) == (20, 0, 2)


def test_users_of_a_refused_batch_are_sent_again() -> None:
    """Once there is room for them."""
    answers = iter([Unavailable("acme", "HTTP 429"), "job"])

    report = deliver(AcmeBatch(create=lambda _body, _key: next(answers)), 20)

    assert (report.accepted, report.pending) == (20, 0)


def test_each_user_gets_their_outcome() -> None:
    """Those without a usable answer are sent again, and given up on after 20 attempts."""
    attempts = list[int]()

    def outcome(entry: BatchEntry) -> Outcome:
        if entry.user_id == "u0":
            return Rejected("acme", code="bad")
        return Unknown("acme", "no row") if entry.user_id == "u1" else Accepted("acme")

    def collect(entries: Sequence[BatchEntry]) -> tuple[Outcome, ...]:
        attempts.append(len(entries))
        return tuple(map(outcome, entries))

    report = deliver(AcmeBatch(collect=collect), 30)

    assert (report.accepted, report.rejected, report.pending) == (28, 1, 1)
    assert attempts == [30] + [1] * 19


def test_a_batch_that_is_too_large_is_split() -> None:
    """Anonymous users keep what they are matched by."""
    seen = list[bytes | None]()

    def create(body: bytes, key: str) -> Any:
        return BatchTooLarge("acme") if b"," in body else key

    def collect(entries: Sequence[BatchEntry]) -> tuple[Outcome, ...]:
        seen.extend(entry.content for entry in entries)
        return (Accepted("acme"),) * len(entries)

    backend = AcmeBatch(
        create=create, collect=collect, encode=lambda each: EncodedUser("acme", (each.user_id or "nobody").encode())
    )
    report = deliver_users(backend, [user("u1"), UserTraits(name="Ann"), UserTraits(vendor_ids={"acme": "7"})])

    assert report.accepted == 3
    assert sorted(seen, key=repr) == [None, None, b"nobody"]


def test_a_later_update_is_sent_after_the_job() -> None:
    """The job has the older state."""
    bodies = list[bytes]()
    outbox = MemoryOutbox(BackendReport("acme"), clock=Clock())

    def create(body: bytes, key: str) -> str:
        bodies.append(body)
        if len(bodies) == 1:
            outbox.enqueue([user("u1", plan="b")])
        return key

    backend = AcmeBatch(create=create, encode=lambda each: EncodedUser("acme", str(each.traits["plan"]).encode()))
    report = deliver_users(backend, [user("u1", plan="a")], outbox=outbox)

    assert (bodies, report.accepted) == ([b"a", b"b"], 2)


def test_losses_of_accepted_users_are_counted() -> None:
    """As with a ledger."""
    truncated = Adjustment("traits.plan", "truncated", "length")

    report = deliver(AcmeBatch(encode=lambda _: EncodedUser("acme", b"x", (truncated,))), 3)

    assert (report.accepted, report.stats.lossy) == (3, 3)


def test_a_body_that_cannot_be_built_is_broken() -> None:
    """The users are settled."""

    def body(_contents: object) -> bytes:
        raise RuntimeError

    report = deliver(AcmeBatch(body=body), 3)

    assert (report.rejected, report.pending) == (3, 0)


def deliver_users(
    backend: AcmeBatch, users_to_send: Sequence[UserTraits], *, outbox: MemoryOutbox | None = None
) -> BackendReport:
    """Deliver those users without a ledger, and return the closed report."""
    delivery = Delivery(None, backend, NoSender())
    outbox = outbox or MemoryOutbox(BackendReport("acme"), clock=delivery.clock)
    outbox.clock = outbox.now = delivery.clock
    outbox.enqueue(users_to_send)
    loop = DeliveryLoop(
        Route(backend),
        outbox,
        outbox.report,
        delivery.options,
        make_limiter(delivery.options),
        clock=delivery.clock,
        now=delivery.clock,
    )
    loop.run(delivery.sender, delivery.turns)
    outbox.report.close(outbox.pending(), outbox.unanswered())
    assert outbox.report.is_closed
    return outbox.report
