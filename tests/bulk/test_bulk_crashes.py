"""A batch whose process dies: the next one goes on where it ended, and nobody is applied twice."""

from typing import Any

import pytest
from bulk.worlds import World, assert_closed, user, users

from replay_identity.emulator import Fault

BOTH = ["fullstory", "logrocket"]


@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["create", "poll", "imports", "errors"])
def test_a_crash_at_any_request_of_a_batch_doubles_nobody(world: World, number: int, *, acted: bool) -> None:
    """Between storing and sending, between sending and storing the job's id, while polling, while collecting."""
    crashed = world.crash_at(number, world.fullstory_line, acted=acted, users=users(50, plan="pro"))

    report = world.sync()

    assert crashed
    assert_closed(report)
    world.hold({f"u{number}": {"plan": "pro"} for number in range(50)})
    assert (len(world.fullstory.jobs), set(world.fullstory.applied.values())) == (1, {1})


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_what_is_put_after_a_crash_does_not_overtake_the_batch_under_way(world: World, number: int) -> None:
    """The older batch is seen through first."""
    world.crash_at(number, world.fullstory_line, acted=False, users=users(3, plan="free"))
    world.ledger.upsert([user("u0", plan="pro")], BOTH)

    assert_closed(world.sync())

    said: Any = world.fullstory.history("u0")
    assert [item["properties"]["plan"] for item in said] == ["free", "pro"]
    assert world.properties("u0") == {"plan": "pro"}


def test_a_crash_while_a_batch_is_taken_apart_doubles_nobody(world: World) -> None:
    """The halves stand in place of the whole, or the whole does."""
    refuse = Fault(status=400, method="POST", path="/v2/users/batch", times=3)
    for number in range(1, 8):
        world.fullstory.faults.clear()
        world.fullstory.faults.add(refuse)
        world.crash_at(number, world.fullstory_line, acted=True, users=users(16, plan=f"p{number}"))
    world.fullstory.faults.clear()

    report = world.sync(users(16, plan="last"))

    assert_closed(report)
    world.hold({f"u{number}": {"plan": "last"} for number in range(16)})


def test_a_crash_among_single_users_loses_nobody(world: World) -> None:
    """Who was applied without an answer is applied again, which changes nothing."""
    for number in range(1, 60, 7):
        world.crash_at(number, world.logrocket_line, acted=bool(number % 2), users=users(60, plan="pro"))

    assert_closed(world.sync())

    world.hold({f"u{number}": {"plan": "pro"} for number in range(60)})
