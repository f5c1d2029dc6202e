"""A run beside another process that delivers reports what that process rejects."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import pytest
from support.in_process import World, assert_closed
from support.users import user, users

from replay_identity import UserTraits
from replay_identity.bulk import DurableRouter, SyncReport, sync
from replay_identity.cli.exit_codes import ExitCode, sync_exit_code
from replay_identity.emulator import Fault
from replay_identity.ledger import Ledger

# Longer than the values that LogRocket accepts.
LONG = "l" * 2000
BACKENDS = ("fullstory", "logrocket")


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@contextmanager
def watching(world: World) -> Generator[DurableRouter, None, None]:
    """Let a router deliver, and hold the leases of both backends."""
    with DurableRouter(world.backends, ledger=world.ledger, options=world.options, transport=world.sender) as router:
        wait_for(lambda: not any(is_free(world, name) for name in BACKENDS))
        yield router


def is_free(world: World, name: str) -> bool:
    """Return True if nobody holds the lease on a backend."""
    with world.ledger.lease(name) as is_ours:
        return is_ours


def sync_beside(world: World, rows: Sequence[UserTraits]) -> SyncReport:
    """Sync *rows* with a connection of its own to the ledger, as another process does."""
    with Ledger(world.path) as ledger:
        report = sync(rows, world.backends, ledger=ledger, options=world.options, transport=world.sender)
    assert_closed(report)
    return report


def test_rejected_by_the_watcher_are_rejected(world: World) -> None:
    """Users that the other process rejects are counted as rejected, and the exit code is 1."""
    with watching(world):
        report = sync_beside(world, [*users(5, note=LONG), *[user(f"v{number}", note="x") for number in range(3)]])

    assert (report["logrocket"].rejected, report["logrocket"].pending) == (5, 0)
    assert (report["fullstory"].rejected, report["fullstory"].pending) == (0, 0)
    assert sync_exit_code(report) is ExitCode.REJECTED


def test_refused_by_the_vendor_are_rejected(world: World) -> None:
    """The same when the vendor refuses, and not a limit."""
    world.logrocket.faults.add(Fault(status=400, times=2))

    with watching(world):
        report = sync_beside(world, users(5, note="x"))

    assert (report["logrocket"].rejected, report["logrocket"].pending) == (2, 0)
    assert sync_exit_code(report) is ExitCode.REJECTED


def test_rejected_in_a_job_are_rejected(world: World) -> None:
    """The same for an item of a batch that the watcher imports."""
    rows = [*users(3, note="x"), UserTraits("x" * 300, traits={"note": "x"})]

    with watching(world):
        report = sync_beside(world, rows)

    assert (report["fullstory"].rejected, report["fullstory"].pending) == (1, 0)
    assert sync_exit_code(report) is ExitCode.REJECTED


def test_everything_accepted_exits_with_0(world: World) -> None:
    """Nobody is called rejected when the watcher delivers everything."""
    with watching(world):
        report = sync_beside(world, users(50, note="x"))

    assert (report.rejected, report.pending) == (0, 0)
    assert sync_exit_code(report) is ExitCode.OK


def test_same_rows_again_are_still_rejected(world: World) -> None:
    """A later run, alone, reports the users that the watcher rejected, and sends nothing."""
    rows = users(4, note=LONG)
    with watching(world):
        sync_beside(world, rows)
    before = len(world.logrocket.requests)

    report = world.sync(rows)

    assert report["logrocket"].rejected == 4
    assert len(world.logrocket.requests) == before


def test_corrected_rows_are_not_rejected(world: World) -> None:
    """Users who were rejected before and are accepted now are not counted as rejected."""
    world.sync(users(4, note=LONG))

    with watching(world):
        report = sync_beside(world, users(4, note="x"))

    assert (report.rejected, report.pending) == (0, 0)
    assert world.traits("u0") == {"note": "x"}


def test_users_of_others_are_not_reported(world: World) -> None:
    """Users that another process upserts and the watcher rejects during the run do not make this run fail."""
    with watching(world) as router:
        router.identify(user("other", note=LONG))
        wait_for(lambda: [*world.ledger.rejected("logrocket")])
        report = sync_beside(world, users(5, note="x"))

    assert report.rejected == 0


@pytest.mark.parametrize("count", [1, 700])
def test_many_rejected_beside_a_watcher(world: World, count: int) -> None:
    """The number is exact, however many rows and chunks there are."""
    rows = [user(f"u{number}", note=LONG if number % 2 == 0 else "x") for number in range(2 * count)]

    with watching(world):
        report = sync_beside(world, rows)

    assert report["logrocket"].rejected == count
