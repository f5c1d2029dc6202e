"""A `World`, and shorter waits in all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.in_process import World


@pytest.fixture(autouse=True, scope="module")
def short_waits() -> Iterator[None]:
    """Shorten the waits of a real run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replay_identity.bulk.outbox._FLUSH_IDLE_S", 0.005)
        patch.setattr("replay_identity.bulk.outbox._CLAIM_INTERVAL_S", 0.005)
        patch.setattr("replay_identity.bulk.worker._POLL_INTERVAL_S", 0.005)
        patch.setattr("replay_identity.bulk.run._POLL_INTERVAL_S", 0.002)
        patch.setattr("replay_identity.bulk.dispatch._LINGER_S", 0.02)
        patch.setattr("replay_identity.bulk.worker.LEASE_RETRY_S", 0.005)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Yield both emulators, their backends and a ledger."""
    world = World(tmp_path / "ledger.db")
    yield world
    world.close()
