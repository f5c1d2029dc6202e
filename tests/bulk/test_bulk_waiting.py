"""Workers that wait for another process, and outcomes that wait to be written together."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from support.backends import Acme, AcmeBatch
from support.in_process import FAST, World, assert_closed
from support.ledgers import database_of
from support.users import user, users

from replay_identity import Accepted, Misconfigured, Route, Unknown, UserTraits
from replay_identity.adapters import Exchange, Request, Response
from replay_identity.bulk import BackendReport, DurableRouter, Progress, deliver, sync
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger, Settlement

if TYPE_CHECKING:
    from replay_identity.adapters.protocols import IdentityBackend

OPTIONS = {"acme": FAST}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield a ledger."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture
def other(ledger: Ledger) -> Iterator[Ledger]:
    """Yield the same ledger as another process would open it."""
    with Ledger(ledger.path) as other:
        yield other


# Leases.


def test_does_not_wait_without_pending_users(ledger: Ledger, other: Ledger) -> None:
    """Another process keeps the lease."""
    with other.lease("acme") as is_acquired:
        assert is_acquired
        report = sync([], [Acme()], ledger=ledger, options=OPTIONS)

    assert_closed(report)
    assert (report["acme"].given, report["acme"].pending) == (0, 0)


def test_does_not_wait_once_users_are_settled_elsewhere(ledger: Ledger, other: Ledger) -> None:
    """The report counts them as `elsewhere`."""
    with other.lease("acme") as is_acquired:
        assert is_acquired
        ledger.upsert(users(3), ["acme"])
        status_texts: list[str] = []

        def settle(progress: Sequence[Progress]) -> None:
            status_texts.append(progress[0].status_text)
            settlements = [Settlement(claim.row_id, claim.version, Accepted("acme")) for claim in other.claim("acme")]
            other.settle("acme", settlements)

        report = sync([user("u3")], [Acme()], ledger=ledger, options=OPTIONS, on_progress=settle)

    assert_closed(report)
    assert (report["acme"].elsewhere, report["acme"].pending, report["acme"].accepted) == (4, 0, 0)
    assert status_texts[-1] == ""


def test_reading_ignores_waiting_workers(ledger: Ledger, other: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on if all workers wait for another process, or if the others are fast."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_BACKLOG", 100)
    backends: list[IdentityBackend] = [Acme(), Acme("bolt", act=lambda _: Accepted("bolt"))]
    read: list[int] = []

    def source(count: int) -> Iterator[UserTraits]:
        for number, one in enumerate(users(count)):
            read.append(number)
            yield one
        stop.set()

    for names in (["acme", "bolt"], ["acme"]):
        stop = threading.Event()
        read.clear()
        leases = [other.lease(name) for name in names]
        assert all(lease.__enter__() for lease in leases)
        report = sync(source(5000), backends, ledger=ledger, options={"acme": FAST, "bolt": FAST}, stop=stop)
        for lease in leases:
            lease.__exit__(None, None, None)
        assert_closed(report)
        assert len(read) == 5000
        assert report["acme"].pending == 5000


@pytest.mark.slow
def test_a_router_releases_its_lease_to_a_run(ledger: Ledger, other: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so after a while, even if it always has users to send."""
    monkeypatch.setattr("replay_identity.bulk.durable._SLICE_S", 0.05)
    over = threading.Event()

    def identify() -> None:
        number = 0
        while not over.is_set():
            router.identify(user(f"r{number % 200}", number=number))
            number += 1

    monkeypatch.setattr("replay_identity.bulk.durable._OVERTIME_S", 0.05)
    with DurableRouter([Networked()], ledger=other, options=OPTIONS, transport=lambda _: Late()) as router:
        thread = threading.Thread(target=identify)
        thread.start()
        limit = threading.Timer(30, over.set)
        limit.start()
        report = sync(users(50), [Acme()], ledger=ledger, options=OPTIONS)
        in_time = not over.is_set()
        over.set()
        limit.cancel()
        thread.join()
        assert router.flush(60.0)

    assert_closed(report)
    assert in_time


class Late:
    """A sender that responds to each request only once the next one is in flight."""

    def __init__(self) -> None:
        """Start without requests."""
        self.waiting: list[int] = []
        self.since = 0.0

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Let the request wait."""
        assert request.url
        assert timeout > 0
        self.waiting.append(request_id)

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return all responses except the last one, unless nothing follows for a while."""
        time.sleep(min(timeout, 0.001))
        if len(self.waiting) > 1:
            self.since = time.monotonic()
            answered, self.waiting = self.waiting[:-1], self.waiting[-1:]
        elif time.monotonic() - self.since > 1.0:
            answered, self.waiting = self.waiting, []
        else:
            answered = []
        return [(request_id, Response(200)) for request_id in answered]

    def close(self) -> None:
        """Do nothing."""


# Outcomes.


class Hanging:
    """A sender that responds at once, except for one user."""

    def __init__(self, until: threading.Event, started: Callable[[], None]) -> None:
        """Respond for that user once *until* is set; call *started* when all requests are in flight."""
        self.until = until
        self.started = started
        self.responses: list[tuple[int, Response]] = []
        self.held_back: list[int] = []

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Respond, or hold the response back."""
        assert timeout > 0
        if request.url.endswith("u0"):
            self.held_back.append(request_id)
        else:
            if request.url.endswith("u4"):
                self.started()
            self.responses.append((request_id, Response(200)))

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return the responses."""
        if self.until.is_set():
            self.responses += [(request_id, Response(200)) for request_id in self.held_back]
            self.held_back = []
        if not self.responses:
            time.sleep(min(timeout, 0.001))
        responses, self.responses = self.responses, []
        return responses

    def close(self) -> None:
        """Do nothing."""


class Networked(Acme):
    """A backend that sends requests."""

    def identify(self, one: UserTraits, /) -> Exchange[Any]:
        """Send a request."""
        yield Request("identify", "GET", f"http://acme.example/{one.user_id}")
        return Accepted("acme")


@pytest.mark.parametrize("stopped", [False, True])
def test_writes_outcomes_while_a_request_hangs(ledger: Ledger, *, stopped: bool) -> None:
    """A killed process need not send them again; this also holds while a run ends."""
    until, stop = threading.Event(), threading.Event()
    pending: list[int] = []

    def on_progress(_: object) -> None:
        pending.append(ledger.pending_count("acme"))
        if pending[-1] == 1:
            until.set()

    limit = threading.Timer(30, until.set)
    limit.daemon = True
    limit.start()
    options = {"acme": attrs.evolve(FAST, timeout=60.0)}
    sender = Hanging(until, stop.set if stopped else lambda: None)
    report = sync(
        users(5),
        [Networked()],
        ledger=ledger,
        options=options,
        on_progress=on_progress,
        stop=stop,
        transport=lambda _: sender,
    )

    assert_closed(report)
    assert 1 in pending


def on_disk(ledger: Ledger) -> bytes:
    """Return the bytes of the database file and its WAL."""
    return Path(ledger.path).read_bytes() + Path(f"{ledger.path}-wal").read_bytes()


CANARIES = [UserTraits(f"canary-{number}", traits={"plan": f"canary-{number}"}) for number in range(700)]


@pytest.mark.parametrize("backend", [Acme(), AcmeBatch()], ids=["single", "batch"])
def test_purges_the_wal_after_a_run(ledger: Ledger, backend: Acme) -> None:
    """The process lives on, and the ledger stays open."""
    ledger.upsert(CANARIES, ["acme"])
    assert b"canary" in on_disk(ledger)

    assert_closed(sync([], [backend], ledger=ledger, options=OPTIONS))

    assert b"canary" not in on_disk(ledger)


def test_a_router_purges_the_wal_when_idle(ledger: Ledger) -> None:
    """It does so once all users are settled, without being closed."""
    with DurableRouter([Acme()], ledger=ledger, options=OPTIONS) as router:
        for one in CANARIES[:50]:
            router.identify(one)
        assert router.flush(60.0)
        until = time.monotonic() + 30
        while b"canary" in on_disk(ledger) and time.monotonic() < until:
            time.sleep(0.005)
        assert b"canary" not in on_disk(ledger)


def test_purges_the_wal_after_a_concurrent_reader(ledger: Ledger, other: Ledger) -> None:
    """While another process reads, the WAL cannot be truncated; it is tried again."""
    reading = database_of(other)._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert reading is not None
    with DurableRouter([Acme()], ledger=ledger, options=OPTIONS) as router:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM users").fetchall()
        router.identify(CANARIES[0])
        assert router.flush(60.0)
        time.sleep(0.1)
        assert b"canary" in on_disk(ledger)
        reading.execute("COMMIT")
        until = time.monotonic() + 30
        while b"canary" in on_disk(ledger) and time.monotonic() < until:
            time.sleep(0.005)

        assert b"canary" not in on_disk(ledger)


def test_enqueues_nothing_for_an_aborted_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a ledger, the rest of the source is not kept in memory for it."""
    monkeypatch.setattr("replay_identity.bulk.run._MAX_CHUNK_ROWS", 10)
    enqueued: list[int] = []
    enqueue = MemoryOutbox.enqueue

    def record_size(outbox: MemoryOutbox, rows: Sequence[UserTraits]) -> None:
        enqueued.append(len(rows))
        enqueue(outbox, rows)

    monkeypatch.setattr(MemoryOutbox, "enqueue", record_size)

    def source() -> Iterator[UserTraits]:
        for number, one in enumerate(users(1000)):
            if number == 100:
                assert is_rejected.wait(30)
                time.sleep(0.5)
            yield one

    def reject(_: object) -> Misconfigured:
        is_rejected.set()
        return Misconfigured("acme", "HTTP 401")

    is_rejected = threading.Event()
    backend = Acme(act=reject)
    report = sync(source(), [backend], ledger=None, options=OPTIONS)

    assert_closed(report)
    assert (report["acme"].pending, sum(enqueued) <= 110) == (1000, True)


def test_joins_threads_if_another_cannot_start(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the error, and so do the threads that did start."""
    start = threading.Thread.start

    def start_all_but_bolt(self: threading.Thread) -> None:
        if "bolt" in self.name:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_all_but_bolt)
    with pytest.raises(RuntimeError):
        sync(users(3), [Acme(), Acme("bolt")], ledger=ledger, options=OPTIONS)

    assert [thread for thread in threading.enumerate() if "acme" in thread.name] == []


def test_forgets_lost_responses_of_settled_users() -> None:
    """Nothing is kept of users who were settled in the end."""
    outbox = MemoryOutbox(BackendReport("acme"))
    outbox.enqueue(users(100))
    while (claim := outbox.next()) is not None:
        outbox.settle(claim, Unknown("acme", "lost"))
        again = outbox.next()
        while again is not None and again.row_id != claim.row_id:
            outbox.settle(again, Accepted("acme"))
            again = outbox.next()
        if again is not None:
            outbox.settle(again, Accepted("acme"))

    assert list(outbox.unanswered()) == []
    assert outbox.is_empty()


def test_stops_among_users_who_need_no_request(ledger: Ledger) -> None:
    """However many users are settled without a request, a stop ends the run soon."""
    stop, seen = threading.Event(), list[UserTraits]()

    def is_wanted(one: UserTraits) -> bool:
        seen.append(one)
        stop.set()
        return False

    ledger.upsert(users(5000), ["acme"])
    report = deliver([Route(Acme(), when=is_wanted)], ledger=ledger, options=OPTIONS, stop=stop)

    assert len(seen) == 1
    assert (report["acme"].unchanged, report["acme"].pending) == (1, 4999)


# Waits of random length.


def test_random_waits_leave_the_shared_generator_alone(world: World) -> None:
    """An application may have seeded it."""
    for emulator in (world.fullstory, world.logrocket):
        emulator.faults.add(Fault(status=503, times=3, probability=0.9))
    before = random.getstate()

    report = world.sync(users(5))

    assert report.pending == 0
    assert random.getstate() == before
