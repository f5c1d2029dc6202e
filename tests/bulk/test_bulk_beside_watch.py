"""A run beside another process that delivers reports what that process rejects."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import pytest
from support.in_process import World, assert_closed
from support.users import user, users

from replay_identity import Rejected, UserTraits
from replay_identity.bulk import DurableRouter, SyncReport, sync
from replay_identity.bulk.worker import LeaseHolder
from replay_identity.cli.exit_codes import ExitCode, sync_exit_code
from replay_identity.emulator import Fault
from replay_identity.ledger import Account, Ledger, Settlement

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


# Another process that holds the leases.


def sync_beside_holder(
    world: World, rows: Sequence[UserTraits], act: Callable[[], bool] | None = None, **options: Any
) -> SyncReport:
    """Sync *rows* while another process holds the leases; it calls *act* until that returns True, and then ends."""
    with ExitStack() as leases, Ledger(world.path) as ledger:
        for name in BACKENDS:
            leases.enter_context(world.ledger.lease(name))

        def on_progress(_progress: object) -> None:
            if act is not None and act():
                leases.close()

        report = world.sync(rows, ledger=ledger, on_progress=on_progress, **options)
    assert_closed(report)
    return report


def reject(world: World, *user_ids: str) -> bool:
    """Let LogRocket reject those of the users who are pending, and return whether there were any."""
    claims = [claim for claim in world.ledger.claim("logrocket") if claim.user.user_id in user_ids]
    rejections = [Settlement(each.row_id, each.version, Rejected("logrocket", code="400")) for each in claims]
    return bool(world.ledger.settle("logrocket", rejections))


def test_pending_users_rejected_elsewhere_are_reported(world: World) -> None:
    """Users who were pending when the run began, and are rejected by another process, are reported."""
    world.ledger.upsert(users(3, note=LONG), BACKENDS)

    report = sync_beside_holder(world, [], lambda: reject(world, "u0", "u1", "u2"))

    assert (report["logrocket"].rejected, report["logrocket"].pending) == (3, 0)
    assert report["fullstory"].accepted == 3
    assert sync_exit_code(report) is ExitCode.REJECTED


@pytest.mark.parametrize("rows", [[], users(1, plan="a")], ids=["deliver", "sync"])
def test_users_changed_and_rejected_elsewhere_are_reported(world: World, rows: Sequence[UserTraits]) -> None:
    """Another process changes a user of this run, and rejects the new state."""
    if not rows:
        world.ledger.upsert(users(1, plan="a"), BACKENDS)

    def act() -> bool:
        if world.ledger.pending_count("logrocket"):
            world.ledger.upsert(users(1, plan="b"), BACKENDS)
        return reject(world, "u0")

    report = sync_beside_holder(world, rows, act)

    assert (report["logrocket"].rejected, report["logrocket"].pending) == (1, 0)
    assert sync_exit_code(report) is ExitCode.REJECTED


def test_users_of_others_rejected_elsewhere_do_not_count(world: World) -> None:
    """Another process upserts and rejects users while this run waits."""
    world.ledger.upsert(users(2, note="x"), BACKENDS)

    def act() -> bool:
        world.ledger.upsert([user("w0", note=LONG)], ["logrocket"])
        return reject(world, "w0")

    report = sync_beside_holder(world, [], act)

    assert (report["logrocket"].rejected, report["logrocket"].accepted) == (0, 2)
    assert sync_exit_code(report) is ExitCode.OK


def test_waits_for_a_stalled_process_only_for_its_patience(world: World) -> None:
    """The process that delivers settles nobody: the users stay pending, and the exit code says to try again."""
    options = {name: attrs.evolve(chosen, patience=0.05) for name, chosen in world.options.items()}

    report = sync_beside_holder(world, users(3), options=options)

    for name in BACKENDS:
        assert report[name].pending == 3
        assert report[name].problem == "another process is delivering, and has settled nobody for 0.05 s"
    assert sync_exit_code(report) is ExitCode.PENDING


def test_a_settled_user_is_progress_of_the_other_process(world: World) -> None:
    """Users who become pending are none, and neither is time."""
    holder = LeaseHolder(world.ledger, Account("logrocket"))

    def idle_seconds(now: float, *, is_known_to_work: bool = False) -> float:
        return holder.idle_seconds(now, is_known_to_work=is_known_to_work)

    world.ledger.upsert(users(2), ["logrocket"])
    assert (idle_seconds(100.0), idle_seconds(130.0)) == (0.0, 30.0)
    reject(world, "u0")
    assert (idle_seconds(140.0), idle_seconds(145.0)) == (0.0, 5.0)
    world.ledger.upsert(users(9), ["logrocket"])
    assert (idle_seconds(150.0), idle_seconds(160.0, is_known_to_work=True)) == (10.0, 0.0)
