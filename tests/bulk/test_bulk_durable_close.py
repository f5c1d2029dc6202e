"""Closing a durable router takes a bounded time, loses nobody, and says how many users are left."""

import inspect
import logging
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.backends import Acme
from support.in_process import FAST
from support.servers import silent_port
from support.users import user
from support.vendors import LOGROCKET_KEY

from replay_identity import Accepted, ConfigurationError, LogRocket, UserTraits
from replay_identity.adapters import Exchange, Request, Response
from replay_identity.bulk import DeliveryOptions, DurableRouter
from replay_identity.errors import LedgerError
from replay_identity.ledger import Ledger
from replay_identity.transport import ConcurrentSender, concurrent_sender
from replay_identity.transport.thread_sender import ThreadSender

# Far above what any machine needs, far below the timeout of a request.
PATIENT_S = 60.0
SLOW = DeliveryOptions(timeout=300.0)
OPTIONS = {"acme": FAST}


class Networked(Acme):
    """A backend that sends requests."""

    def identify(self, one: UserTraits, /) -> Exchange[Any]:
        """Send a request."""
        yield Request("identify", "GET", f"http://acme.example/{one.user_id}")
        return Accepted("acme")


class Unresponsive:
    """A sender without responses until it is released."""

    def __init__(self) -> None:
        """Start without requests."""
        self.requests: list[int] = []
        self.is_released = False

    def submit(self, request_id: int, request: Request, timeout: float) -> None:
        """Keep the request."""
        assert request.url
        assert timeout > 0
        self.requests.append(request_id)

    def completed(self, timeout: float) -> Sequence[tuple[int, Response]]:
        """Return all responses once released."""
        time.sleep(min(timeout, 0.001))
        return [(request_id, Response(200)) for request_id in self.requests] if self.is_released else []

    def close(self) -> None:
        """Do nothing."""


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def delivery_threads() -> list[threading.Thread]:
    """Return the live delivery threads of this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("replay-identity to ")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def in_flight(path: Path) -> Any:
    """Return a router with one request in flight, and its sender, which is released at the end."""
    sender = Unresponsive()
    router = DurableRouter([Networked()], ledger=path, options=OPTIONS, transport=lambda _: sender)
    router.identify(user("canary-1"))
    wait_for(lambda: sender.requests)
    yield router, sender
    sender.is_released = True
    router.close(PATIENT_S)
    wait_for(lambda: not delivery_threads())


def test_waits_ten_seconds_by_default() -> None:
    """It is well below the grace period of most supervisors."""
    assert inspect.signature(DurableRouter.close).parameters["timeout"].default == 10.0


@pytest.mark.parametrize("transport", [concurrent_sender, ThreadSender])
def test_closes_in_time_without_a_response(
    path: Path, caplog: pytest.LogCaptureFixture, transport: Callable[[int], ConcurrentSender]
) -> None:
    """The vendor accepts the connection and never responds; the next process sends the user again."""
    with silent_port() as port:
        backend = LogRocket(LOGROCKET_KEY, base_url=f"http://127.0.0.1:{port}")
        router = DurableRouter([backend], ledger=path, options={"logrocket": SLOW}, transport=transport)
        router.identify(user("canary-1", plan="canary"))
        time.sleep(0.3)  # Usually the request is in flight by now.
        started = time.monotonic()

        is_drained = router.close(0.2)

        assert time.monotonic() - started < PATIENT_S
    assert not is_drained
    assert [(record.levelname, record.name) for record in caplog.records] == [("WARNING", "replay_identity.durable")]
    assert "logrocket 1" in caplog.text
    assert f"replay-identity deliver --ledger {path}" in caplog.text
    assert "canary" not in caplog.text
    with Ledger(path) as ledger:
        assert ledger.pending_count("logrocket") == 1


def test_sends_and_logs_nothing_afterwards(
    in_flight: tuple[DurableRouter, Unresponsive], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A response that arrives too late finds the ledger closed, and the user is sent again."""
    router, sender = in_flight
    is_drained = router.close(0.0)
    caplog.clear()

    with Ledger(path) as ledger:
        ledger.upsert([user("u2")], ["acme"])
    sender.is_released = True
    wait_for(lambda: not delivery_threads())

    assert (is_drained, len(sender.requests), caplog.text) == (False, 1, "")
    again = Networked()
    other = Unresponsive()
    other.is_released = True
    with DurableRouter([again], ledger=path, options=OPTIONS, transport=lambda _: other) as late:
        assert late.flush(PATIENT_S)
    assert len(other.requests) == 2


def test_drain_waits_for_pending_users(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are delivered, and nothing is logged."""
    backend = Acme()
    router = DurableRouter([backend], ledger=path, options=OPTIONS)
    for number in range(20):
        router.identify(user(f"u{number}"))

    assert router.close(PATIENT_S, drain=True)

    assert len(backend.identified) == 20
    assert caplog.text == ""


def test_drain_and_close_share_the_timeout(in_flight: tuple[DurableRouter, Unresponsive]) -> None:
    """An outage delays neither for longer."""
    started = time.monotonic()

    assert not in_flight[0].close(0.1, drain=True)

    assert time.monotonic() - started < PATIENT_S


def test_further_calls_wait_no_longer(
    in_flight: tuple[DurableRouter, Unresponsive], caplog: pytest.LogCaptureFixture
) -> None:
    """A `with` block and an atexit callback may close it again; it is logged once."""
    router, _ = in_flight
    assert not router.close(0.0)
    started = time.monotonic()

    assert not router.close(300.0, drain=True)
    with router:
        pass

    assert time.monotonic() - started < PATIENT_S
    assert len(caplog.records) == 1


def test_threads_may_close_it_at_once(path: Path) -> None:
    """Each call returns the same."""
    router = DurableRouter([Acme()], ledger=path, options=OPTIONS)
    router.identify(user())
    assert router.flush(PATIENT_S)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(router.close())) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [True] * 8


def test_a_delivery_thread_may_close_it(path: Path) -> None:
    """It does not wait for itself."""
    results: list[bool] = []

    def close(_: UserTraits) -> Accepted:
        results.append(router.close(PATIENT_S))
        return Accepted("acme")

    with Ledger(path) as ledger:
        router = DurableRouter([Acme(act=close)], ledger=ledger, options=OPTIONS)
        router.identify(user())
        wait_for(lambda: not delivery_threads())

        assert results == [False]
        assert ledger.pending_count("acme") == 0


def test_a_signal_handler_may_close_it(
    in_flight: tuple[DurableRouter, Unresponsive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it interrupts `flush`, which then ends, and an upsert, which is not stored and says so."""
    router, _ = in_flight
    upsert = Ledger.upsert

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return upsert(*arguments, **options)

    def on_signal(_number: int, _frame: object) -> None:
        router.close(0.0)

    previous = signal.signal(signal.SIGTERM, on_signal)
    try:
        threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGTERM)).start()
        assert not router.flush(300.0)
        monkeypatch.setattr(Ledger, "upsert", interrupted)
        with pytest.raises(LedgerError, match="is closed"):
            router.identify(user("u2"))
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_closes_while_another_process_locks_the_file(path: Path) -> None:
    """The thread that waits for the lock ends."""
    Ledger(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        router = DurableRouter([Acme()], ledger=path, options=OPTIONS)
        time.sleep(0.1)
        started = time.monotonic()

        assert router.close(0.1)

        assert time.monotonic() - started < PATIENT_S / 2  # A transaction waits for 60 s.
        wait_for(lambda: not delivery_threads())


def test_users_of_another_process_are_no_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `deliver=False` pending users are normal."""
    caplog.set_level(logging.DEBUG)
    router = DurableRouter([Acme()], ledger=path, deliver=False)
    router.identify(user())

    assert not router.close()

    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_closes_after_its_ledger(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is left cannot be counted, which is logged instead of raised."""
    ledger = Ledger(path)
    router = DurableRouter([Acme()], ledger=ledger, deliver=False)
    ledger.close()

    assert not router.close(0.1, drain=True)

    assert "the ledger is closed" in caplog.text


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", None])
def test_rejects_an_invalid_timeout(path: Path, timeout: Any) -> None:
    """The router stays open."""
    with DurableRouter([Acme()], ledger=path, options=OPTIONS) as router:
        for call in (router.close, router.flush):
            with pytest.raises(ConfigurationError, match="timeout"):
                call(timeout)
        router.identify(user())
        assert router.flush(PATIENT_S)


# The exit of the interpreter.

PROGRAM = """
import atexit, builtins, faulthandler, sys, threading, time
from replay_identity import DurableRouter, LogRocket, UserTraits
from replay_identity.bulk import DeliveryOptions
from contextlib import contextmanager
from replay_identity.ledger.database import Database

faulthandler.dump_traceback_later(50, exit=True)
port, path = sys.argv[1:]

def router():
    backend = LogRocket("acme:app:key", base_url=f"http://127.0.0.1:{port}")
    return DurableRouter([backend], ledger=path, options={"logrocket": DeliveryOptions(timeout=300)})
"""


def exit_of(program: str, path: Path) -> "subprocess.CompletedProcess[str]":
    """Run *program* against a vendor that never responds."""
    with silent_port() as port:
        code = PROGRAM + textwrap.dedent(program)
        return subprocess.run(
            [sys.executable, "-c", code, str(port), str(path)],
            capture_output=True,
            text=True,
            timeout=PATIENT_S,
            check=False,
        )


AT_EXIT = """
    @atexit.register
    def late():
        late = router()
        late.identify(UserTraits("canary-1", traits={"plan": "pro"}))
        print(late.close(0.1))
"""
IN_A_THREAD = """
    def late():
        threading.main_thread().join()
        late = router()
        late.identify(UserTraits("canary-1", traits={"plan": "pro"}))
        print(late.close(0.1))

    threading.Thread(target=late).start()
"""
IN_A_FINALIZER = """
    class Late:
        def __init__(self):
            self.router = router()
        def __del__(self, UserTraits=UserTraits, print=print):
            self.router.identify(UserTraits("canary-1", traits={"plan": "pro"}))
            print(self.router.close())

    builtins.late = Late()
"""
# Delivery is nearly always in a transaction; if the interpreter stopped it there, nothing could use the ledger.
IN_A_FINALIZER_WITH_SLOW_TRANSACTIONS = (
    """
    transaction = Database.transaction

    @contextmanager
    def slow(self):
        with transaction(self) as connection:
            yield connection
            time.sleep(0.5)

    Database.transaction = slow
"""
    + IN_A_FINALIZER
    + """
    time.sleep(0.7)
"""
)


@pytest.mark.parametrize("program", [AT_EXIT, IN_A_THREAD, IN_A_FINALIZER, IN_A_FINALIZER_WITH_SLOW_TRANSACTIONS])
def test_stores_users_while_the_interpreter_exits(program: str, path: Path) -> None:
    """Threads cannot be started then, and are not needed."""
    result = exit_of(program, path)

    assert (result.returncode, result.stdout) == (0, "False\n")
    assert "Error" not in result.stderr
    assert "canary" not in result.stderr
    with Ledger(path) as ledger:
        assert ledger.pending_count("logrocket") == 1


def test_an_open_router_does_not_delay_the_exit(path: Path) -> None:
    """Its request in flight is abandoned after two seconds."""
    started = time.monotonic()

    result = exit_of("router().identify(UserTraits('canary-1', name='canary')); time.sleep(0.5)", path)

    assert time.monotonic() - started < PATIENT_S
    assert (result.returncode, result.stderr) == (0, "")


def test_a_thread_that_cannot_start_costs_no_user(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and tried again with the next user."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        router = DurableRouter([Acme()], ledger=path, options=OPTIONS)
        router.identify(user("canary-1"))
        router.identify(user("canary-2"))
    assert caplog.text.count("no thread can be started") == 1
    assert "canary" not in caplog.text

    router.identify(user("u3"))

    assert router.close(PATIENT_S, drain=True)


def test_does_not_wait_while_the_interpreter_ends(
    in_flight: tuple[DurableRouter, Unresponsive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads have been stopped for good."""
    router, _ = in_flight
    started = time.monotonic()

    with monkeypatch.context() as patch:
        patch.setattr("replay_identity.bulk.durable.sys", SimpleNamespace(is_finalizing=lambda: True))
        router.identify(user("u2"))
        assert not router.close(300.0)

    assert time.monotonic() - started < PATIENT_S
