"""Crashes during a batch: the next process resumes, and no user is applied twice."""

from typing import Any

import pytest
from support.in_process import World, assert_closed
from support.users import user, users

from replay_identity.emulator import Fault

BOTH = ["fullstory", "logrocket"]


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["create", "poll", "imports", "errors"])
def test_a_crash_during_a_batch_duplicates_no_user(world: World, number: int, *, applied: bool) -> None:
    """The crash comes before or after each request: create, poll and collect."""
    crashed = world.crash_at(number, world.fullstory_line, applied=applied, users=users(50, plan="pro"))

    report = world.sync()

    assert crashed
    assert_closed(report)
    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(50)})
    assert (len(world.fullstory.jobs), set(world.fullstory.applied.values())) == (1, {1})


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_upserts_after_a_crash_do_not_overtake(world: World, number: int) -> None:
    """The older batch is completed first."""
    world.crash_at(number, world.fullstory_line, applied=False, users=users(3, plan="free"))
    world.ledger.upsert([user("u0", plan="pro")], BOTH)

    assert_closed(world.sync())

    history: Any = world.fullstory.history("u0")
    assert [item["properties"]["plan"] for item in history] == ["free", "pro"]
    assert world.properties("u0") == {"plan": "pro"}


def test_a_crash_during_a_split_duplicates_no_user(world: World) -> None:
    """The ledger has either the batch or both halves."""
    rejection = Fault(status=400, method="POST", path="/v2/users/batch", times=3)
    for number in range(1, 8):
        world.fullstory.faults.clear()
        world.fullstory.faults.add(rejection)
        world.crash_at(number, world.fullstory_line, applied=True, users=users(16, plan=f"p{number}"))
    world.fullstory.faults.clear()

    report = world.sync(users(16, plan="last"))

    assert_closed(report)
    world.assert_stored({f"u{number}": {"plan": "last"} for number in range(16)})


def test_a_crash_between_single_users_loses_none(world: World) -> None:
    """Users applied without a response are sent again, which changes nothing."""
    for number in range(1, 60, 7):
        world.crash_at(number, world.logrocket_line, applied=bool(number % 2), users=users(60, plan="pro"))

    assert_closed(world.sync())

    world.assert_stored({f"u{number}": {"plan": "pro"} for number in range(60)})
