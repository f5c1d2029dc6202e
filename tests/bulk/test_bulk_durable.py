"""A router that stores users on disk and delivers them in the background."""

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.backends import Acme
from support.children import in_children
from support.in_process import FAST, World
from support.users import user, users

from replay_identity import Accepted, ConfigurationError, InvalidTraitsError, Misconfigured, Outcome, UserTraits
from replay_identity.bulk import DurableRouter
from replay_identity.emulator import Fault
from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the delay after an error."""
    monkeypatch.setattr("replay_identity.bulk.durable._ERROR_DELAY_S", 0.05)


def durable(world: World, **options: Any) -> DurableRouter:
    """Return a router to both vendors."""
    defaults: dict[str, Any] = {"ledger": world.ledger, "options": world.options, "transport": world.sender}
    return DurableRouter(world.backends, **{**defaults, **options})


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_delivers_in_the_background(world: World) -> None:
    """Every user reaches both vendors."""
    with durable(world) as router:
        for one in users(50, plan="pro"):
            router.identify(one)
        assert router.flush(60.0)

    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(50)})


def test_identify_returns_during_an_outage(world: World) -> None:
    """`flush` returns False until the vendor is back."""
    world.logrocket.faults.add(Fault(status=503, times=None))

    with durable(world) as router:
        router.identify(user("u0", plan="pro"))
        is_flushed = router.flush(0.05)
        world.logrocket.faults.clear()

        assert (is_flushed, router.flush(60.0)) == (False, True)


def test_waits_as_long_as_the_vendor_asks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the worker is replaced meanwhile."""
    for name in ("_SLICE_S", "_OVERTIME_S"):
        monkeypatch.setattr(f"replay_identity.bulk.durable.{name}", 0.01)
    world.logrocket.faults.add(Fault(status=429, headers={"retry-after": "60"}))

    with durable(world) as router:
        router.identify(user("u0", plan="pro"))
        wait_for(lambda: world.properties("u0"))
        is_flushed = router.flush(1.5)

    assert not is_flushed
    assert len(world.logrocket.requests) == 1


def test_resumes_where_an_earlier_process_ended(world: World) -> None:
    """It delivers before any user is identified."""
    world.ledger.upsert(users(5, plan="pro"), ["fullstory", "logrocket"])

    with durable(world) as router:
        assert router.flush(60.0)


def test_deliver_false_only_stores_users(world: World) -> None:
    """Another process delivers them."""
    with durable(world, deliver=False) as router:
        router.identify(user("u0", plan="pro"))
        assert not router.flush(0.0)

    assert world.sync()["fullstory"].accepted == 1


def test_closes_only_a_ledger_opened_by_path(world: World, tmp_path: Path) -> None:
    """A ledger that was passed stays open."""
    path = tmp_path / "own.db"
    with durable(world, ledger=path) as router:
        router.identify(user("u0", plan="pro"))
        router.flush(60.0)

    with pytest.raises(LedgerError, match="is closed"):
        router.identify(user("u1"))
    with Ledger(path) as ledger:
        assert ledger.pending_count("fullstory") == 0
    with durable(world):
        pass
    assert world.ledger.pending_count("fullstory") == 0


def test_replaces_its_workers_regularly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new worker sends abandoned users again."""
    monkeypatch.setattr("replay_identity.bulk.durable._SLICE_S", 0.01)
    with durable(world) as router:
        for one in users(5, plan="pro"):
            router.identify(one)
            time.sleep(0.02)
        assert router.flush(60.0)


def test_tries_again_after_wrong_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It logs an error and continues once the settings are right."""
    outcomes = [Misconfigured("acme", "HTTP 401", "Check the API key."), Accepted("acme")]
    backend = Acme(act=lambda _: outcomes.pop(0))

    with DurableRouter([backend], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user("canary", plan="canary"))
        assert router.flush(60.0)

    assert "acme: HTTP 401. Check the API key; trying again every 0.05 s" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [(LedgerError("x.db", "the disk is full"), "x.db: the disk is full"), (ValueError("canary"), "ValueError")],
)
def test_tries_again_after_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, message: str
) -> None:
    """The message of a ledger error is logged, of any other error only the type."""
    caplog.set_level(logging.ERROR)
    claim = Ledger.claim
    errors = [error]

    def fail_once(self: Ledger, *args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return claim(self, *args, **options)

    monkeypatch.setattr(Ledger, "claim", fail_once)
    with durable(world) as router:
        router.identify(user("u0", plan="pro"))
        assert router.flush(60.0)

    assert message in caplog.text
    assert "canary" not in caplog.text


def test_rejects_invalid_arguments(world: World) -> None:
    """The errors are those of a ledger and the other routers."""
    with durable(world) as router, pytest.raises(InvalidTraitsError):
        router.identify(UserTraits(name="Ann"))
    with pytest.raises(ConfigurationError):
        DurableRouter([], ledger=world.ledger)
    with pytest.raises(ConfigurationError):
        durable(world, options={"fullstry": FAST})


def test_identify_is_thread_safe(world: World) -> None:
    """The newest state of each user is delivered."""
    with durable(world) as router:

        def identify(number: str) -> None:
            for one in users(10, number=number):
                router.identify(one)

        threads = [threading.Thread(target=identify, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        router.identify(user("u0", number="last"))
        assert router.flush(60.0)

    assert world.properties("u0") == {"number": "last"}
    assert {one.user_id for one in world.logrocket.users.values()} == {f"u{number}" for number in range(10)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_delivers_in_a_forked_child(tmp_path: Path) -> None:
    """A child starts threads of its own when it identifies; the parent's continue."""
    log = tmp_path / "log"

    def act(one: UserTraits) -> Accepted:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{one.user_id} {os.getpid()}\n")
        return Accepted("acme")

    router = DurableRouter([Acme(act=act)], ledger=tmp_path / "ledger.db", options={"acme": FAST}, deliver=True)
    router.identify(user("before"))
    assert router.flush(60.0)

    def identify_and_close() -> int:
        router.identify(user("child"))
        flushed = router.flush(20.0)
        router.close()
        return int(flushed)

    flushed = in_children(identify_and_close, count=1)
    router.identify(user("after"))
    assert router.flush(60.0)
    router.close()

    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    assert flushed == [1]
    assert [user_id for user_id, _ in lines] == ["before", "child", "after"]


def test_closing_in_a_child_joins_no_threads(tmp_path: Path) -> None:
    """The threads are the parent's."""
    with DurableRouter([Acme()], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user("u0"))
        assert router.flush(60.0)

        def close() -> int:
            router.close()
            return 7

        assert in_children(close, count=1) == [7]


def test_never_gives_up_on_a_backend(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Patience is ignored."""
    world.logrocket.faults.add(Fault(status=503, times=30))

    with durable(world, options={"logrocket": attrs.evolve(FAST, patience=0.001)}) as router:
        router.identify(user("u0", plan="pro"))
        assert router.flush(60.0)

    assert caplog.text == ""


# Problems of the threads.


def test_a_problem_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again often, and logged again when it changes."""
    problems = [*["401"] * 3, *["403"] * 3]

    def act(_: UserTraits) -> Outcome:
        return Misconfigured("acme", f"HTTP {problems.pop(0)}", "Check the key.") if problems else Accepted("acme")

    with DurableRouter([Acme(act=act)], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user())
        assert router.flush(60.0)

    assert [record.getMessage() for record in caplog.records] == [
        "acme: HTTP 401. Check the key; trying again every 0.05 s",
        "acme: HTTP 403. Check the key; trying again every 0.05 s",
    ]


def test_a_lasting_problem_is_logged_hourly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here each hour is over at once."""
    monkeypatch.setattr("replay_identity.bulk.durable._LOG_INTERVAL_S", 0.0)
    outcomes: list[Outcome] = [Misconfigured("acme", "HTTP 401", "Check the key.")] * 3

    with DurableRouter(
        [Acme(act=lambda _: outcomes.pop() if outcomes else Accepted("acme"))],
        ledger=tmp_path / "ledger.db",
        options={"acme": FAST},
    ) as router:
        router.identify(user())
        assert router.flush(60.0)

    assert len(caplog.records) == 3


def test_a_problem_that_returns_is_logged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivery succeeded in between."""
    monkeypatch.setattr("replay_identity.bulk.durable._SLICE_S", 0.0)
    outcomes: list[Outcome] = []

    with DurableRouter(
        [Acme(act=lambda _: outcomes.pop() if outcomes else Accepted("acme"))],
        ledger=tmp_path / "ledger.db",
        options={"acme": FAST},
    ) as router:
        for user_id in ("u1", "u2"):
            outcomes.append(Misconfigured("acme", "HTTP 401", "Check the key."))
            router.identify(user(user_id))
            assert router.flush(60.0)
            time.sleep(0.5)  # The slice ends.

    assert len(caplog.records) == 2


def test_no_exception_ends_a_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even one that would end a process."""
    errors: list[BaseException] = [SystemExit("canary"), KeyboardInterrupt("canary")]

    def act(_: UserTraits) -> Accepted:
        if errors:
            raise errors.pop()
        return Accepted("acme")

    with DurableRouter([Acme(act=act)], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user())
        assert router.flush(60.0)

    assert "KeyboardInterrupt" in caplog.text
    assert "SystemExit" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_replaces_a_thread_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here even logging fails; the next user starts another thread."""

    def fail(*_: object) -> None:
        raise SystemExit

    def misconfigured(_: UserTraits) -> Outcome:
        return Misconfigured("acme", "HTTP 401", "Check the key.") if not is_healed else Accepted("acme")

    is_healed = False
    with DurableRouter([Acme(act=misconfigured)], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        with monkeypatch.context() as patch:
            patch.setattr("replay_identity.bulk.durable._logger.log", fail)
            router.identify(user("u1"))
            wait_for(lambda: not delivery_threads())
        is_healed = True
        router.identify(user("u2"))
        assert router.flush(60.0)


def test_tries_again_without_a_transport(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its factory may fail for a while."""
    failures = [ValueError("canary")] * 4

    def transport(connections: int) -> Any:
        if failures:
            raise failures.pop()
        return world.sender(connections)

    with durable(world, transport=transport) as router:
        router.identify(user("u0", plan="pro"))
        assert router.flush(60.0)

    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


# Forks.


def delivery_threads() -> list[threading.Thread]:
    """Return the live delivery threads of this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("replay-identity to ")]


def run_threads(call: Callable[[], object], *, count: int) -> None:
    """Run *call* in *count* threads at once."""
    barrier = threading.Barrier(count)

    def act() -> None:
        barrier.wait()
        call()

    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture
def slow_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay each start of a thread, so that calls overlap."""
    start = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        time.sleep(0.01)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)


@pytest.fixture
def forked(slow_starts: None, tmp_path: Path) -> Iterator[DurableRouter]:  # noqa: ARG001  # It is used.
    """Return a router with two backends whose threads have started."""
    backends = [Acme(), Acme("bolt", act=lambda _: Accepted("bolt"))]
    with DurableRouter(backends, ledger=tmp_path / "ledger.db", options={"acme": FAST, "bolt": FAST}) as router:
        router.identify(user("u0"))
        yield router


def identify_in_threads(router: DurableRouter) -> int:
    """Identify in eight threads at once, and return the number of delivery threads, or 0 if users are left."""
    run_threads(lambda: router.identify(user(f"u{os.getpid()}-{threading.get_ident()}")), count=8)
    count = len(delivery_threads())
    return count if router.flush(20.0) else 0


@needs_forks
def test_a_child_has_one_thread_per_backend(forked: DurableRouter) -> None:
    """However many threads identify at once."""
    assert in_children(lambda: identify_in_threads(forked), count=5) == [2] * 5
    assert len(delivery_threads()) == 2


@needs_forks
def test_forks_during_any_call(forked: DurableRouter) -> None:
    """Other threads identify, flush and start threads at that moment; nothing blocks the child."""
    is_over = threading.Event()

    def act() -> None:
        while not is_over.is_set():
            forked.identify(user("u1"))
            forked.flush(0.0)

    with DurableRouter([Acme("third")], ledger=":memory:") as other:
        threads = [threading.Thread(target=act) for _ in range(3)]
        for thread in threads:
            thread.start()
        counts = in_children(lambda: identify_in_threads(forked), count=10)
        is_over.set()
        for thread in threads:
            thread.join()
        assert other.flush(60.0)

    assert counts == [2] * 10


@needs_forks
def test_forks_while_another_thread_starts_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork waits until they have started."""
    start, is_starting = threading.Thread.start, threading.Event()

    def slowly(thread: threading.Thread) -> None:
        if thread.name == "replay-identity to acme":
            is_starting.set()
            time.sleep(0.3)
        start(thread)

    with DurableRouter([Acme()], ledger=tmp_path / "ledger.db", options={"acme": FAST}, deliver=False) as router:
        monkeypatch.setattr(router, "_delivers", True)
        monkeypatch.setattr(threading.Thread, "start", slowly)
        identifying = threading.Thread(target=lambda: router.identify(user()))
        identifying.start()
        assert is_starting.wait(10)

        assert in_children(lambda: identify_in_threads(router), count=1) == [1]

        identifying.join()
        assert len(delivery_threads()) == 1


@needs_forks
def test_forks_while_another_thread_closes(tmp_path: Path) -> None:
    """The child's router may be closed then, but it neither hangs nor loses its users."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        for _ in range(5):
            router = DurableRouter([Acme()], ledger=ledger, options={"acme": FAST})
            closing = threading.Thread(target=router.close)
            closing.start()

            def identify_and_close(router: DurableRouter = router) -> int:
                router.identify(user("child"))
                router.close()
                return len(delivery_threads())

            assert in_children(identify_and_close, count=1) == [0]
            closing.join()


@needs_forks
def test_a_grandchild_delivers(forked: DurableRouter) -> None:
    """Its parent's threads are not its own."""

    def fork_again() -> int:
        mine = identify_in_threads(forked)
        return 10 * mine + in_children(lambda: identify_in_threads(forked), count=1)[0]

    assert in_children(fork_again, count=1) == [22]


@needs_forks
def test_a_thread_may_fork(forked: DurableRouter) -> None:
    """That thread is the main thread of the child."""
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.extend(in_children(lambda: identify_in_threads(forked), count=1)))

    thread.start()
    thread.join()

    assert counts == [2]


@needs_forks
def test_multiprocessing_may_fork(forked: DurableRouter) -> None:
    """A pool's worker is a child like any other."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: sys.exit(identify_in_threads(forked)))

    child.start()
    child.join(30)

    assert child.exitcode == 2


@needs_forks
def test_a_closed_router_stays_closed_in_a_child(tmp_path: Path) -> None:
    """A child stores users, and starts no threads for it."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        router = DurableRouter([Acme()], ledger=ledger, options={"acme": FAST})
        router.close()

        def identify() -> int:
            router.identify(user("u1"))
            return len(delivery_threads())

        assert in_children(identify, count=1) == [0]
        assert ledger.pending_count("acme") == 1


@pytest.mark.usefixtures("slow_starts")
def test_threads_start_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads identify at once."""
    with DurableRouter([Acme()], ledger=tmp_path / "ledger.db", deliver=False) as router:
        monkeypatch.setattr(router, "_delivers", True)

        run_threads(lambda: router.identify(user()), count=8)

        assert len(delivery_threads()) == 1
