"""Worlds for deliveries, and shorter waits in all tests here."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulk.worlds import World


@pytest.fixture(autouse=True, scope="module")
def short_waits() -> Iterator[None]:
    """Look for new claims more often than a real run does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replay_identity.bulk.outbox._FLUSH_IDLE_S", 0.005)
        patch.setattr("replay_identity.bulk.outbox._CLAIM_INTERVAL_S", 0.005)
        patch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.005)
        # The module has the name of the function that stands in its place.
        patch.setattr(sys.modules["replay_identity.bulk.run"], "_POLL_INTERVAL_S", 0.002)
        patch.setattr("replay_identity.bulk.dispatch._LINGER_S", 0.02)
        patch.setattr("replay_identity.bulk.worker.LEASE_RETRY_S", 0.005)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give both vendors and a ledger."""
    world = World(tmp_path / "ledger.db")
    yield world
    world.close()
