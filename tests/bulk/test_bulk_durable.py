"""A router that stores users on disk and delivers them in the background."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.backends import Acme
from support.children import in_children
from support.in_process import FAST, World
from support.users import user, users

from replay_identity import Accepted, ConfigurationError, InvalidTraitsError, Misconfigured, UserTraits
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
        assert router.flush(10.0)

    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(50)})


def test_identify_returns_during_an_outage(world: World) -> None:
    """`flush` returns False until the vendor is back."""
    world.logrocket.faults.add(Fault(status=503, times=None))

    with durable(world) as router:
        router.identify(user("u0", plan="pro"))
        is_flushed = router.flush(0.05)
        world.logrocket.faults.clear()

        assert (is_flushed, router.flush(10.0)) == (False, True)


def test_resumes_where_an_earlier_process_ended(world: World) -> None:
    """It delivers before any user is identified."""
    world.ledger.upsert(users(5, plan="pro"), ["fullstory", "logrocket"])

    with durable(world) as router:
        assert router.flush(10.0)


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
        router.flush(10.0)

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
        assert router.flush(10.0)


def test_tries_again_after_wrong_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It logs an error and continues once the settings are right."""
    outcomes = [Misconfigured("acme", "HTTP 401", "Check the API key."), Accepted("acme")]
    backend = Acme(act=lambda _: outcomes.pop(0))

    with DurableRouter([backend], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user("canary", plan="canary"))
        assert router.flush(10.0)

    assert "acme: HTTP 401. Check the API key; trying again in 0.05 s" in caplog.text
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
        assert router.flush(10.0)

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
        assert router.flush(10.0)

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
    assert router.flush(10.0)

    def identify_and_close() -> int:
        router.identify(user("child"))
        flushed = router.flush(8.0)
        router.close()
        return int(flushed)

    flushed = in_children(identify_and_close, count=1)
    router.identify(user("after"))
    assert router.flush(10.0)
    router.close()

    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    assert flushed == [1]
    assert [user_id for user_id, _ in lines] == ["before", "child", "after"]


def test_closing_in_a_child_joins_no_threads(tmp_path: Path) -> None:
    """The threads are the parent's."""
    with DurableRouter([Acme()], ledger=tmp_path / "ledger.db", options={"acme": FAST}) as router:
        router.identify(user("u0"))
        assert router.flush(10.0)

        def close() -> int:
            router.close()
            return 7

        assert in_children(close, count=1) == [7]


def test_never_gives_up_on_a_backend(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Patience is ignored."""
    world.logrocket.faults.add(Fault(status=503, times=30))

    with durable(world, options={"logrocket": attrs.evolve(FAST, patience=0.001)}) as router:
        router.identify(user("u0", plan="pro"))
        assert router.flush(10.0)

    assert caplog.text == ""


def test_a_forked_child_starts_its_own_threads(world: World) -> None:
    """What stops its parent's threads does not stop those of the child."""
    with durable(world) as router:
        router.identify(user("u0", plan="pro"))
        assert router.flush(10.0)
        parents_event = router._closing  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        router.after_fork(in_child=True)
        router.identify(user("u1", plan="pro"))
        parents_event.set()
        assert router.flush(10.0)


def test_a_fork_leaves_the_parent_as_it_is(world: World) -> None:
    """The parent keeps its threads, and they still deliver."""
    with durable(world) as router:
        threads = router._threads  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        router.before_fork()
        router.after_fork(in_child=False)
        router.identify(user("u0", plan="pro"))

        assert router.flush(10.0)
        assert router._threads is threads  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def test_a_closed_router_stays_closed_in_a_child(world: World) -> None:
    """A child starts no threads for it."""
    router = durable(world)
    router.close()

    router.after_fork(in_child=True)

    assert router._closing.is_set()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def test_concurrent_calls_start_threads_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that waited for the lock starts nothing."""
    router = durable(world, deliver=False)
    started = [threading.Thread()]

    class Overtaken:
        """A lock during whose acquisition another call has started the threads."""

        def __enter__(self) -> None:
            monkeypatch.setattr(router, "_threads", started)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(router, "_lock", Overtaken())
    monkeypatch.setattr(router, "_delivers", True)
    router.identify(user("u0"))

    assert router._threads is started  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
