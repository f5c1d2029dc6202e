"""Ids that many people share, in a bulk run."""

from typing import Any

import attrs
import pytest
from support.in_process import World

from replay_identity import UserTraits

USERS = [UserTraits(user_id, traits={"plan": "pro"}) for user_id in ("null", "u1", "1.23457E+17")]


@pytest.mark.parametrize("ledger", [{}, {"ledger": None}])
def test_such_ids_are_never_sent(world: World, ledger: dict[str, Any]) -> None:
    """Neither in a batch nor in a request of one user."""
    report = world.sync(USERS, **ledger)

    assert [(backend.accepted, backend.rejected) for backend in report.backends] == [(1, 2), (1, 2)]
    world.assert_stored({"u1": {"plan": "pro"}})


def test_allowing_them_sends_the_rejected(world: World) -> None:
    """The next run does, though the rows are the same."""
    world.sync(USERS)
    backends: Any = world.backends
    world.backends = [attrs.evolve(backend, allow_ids={"placeholder-id"}) for backend in backends]

    report = world.sync(USERS)

    assert [(backend.accepted, backend.unchanged, backend.rejected) for backend in report.backends] == [(1, 1, 1)] * 2
    world.assert_stored({"u1": {"plan": "pro"}, "null": {"plan": "pro"}})
