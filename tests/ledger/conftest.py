"""Ledgers on each store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores import STORES, LedgerStore

from replay_identity.ledger import Ledger


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerStore:
    """Return an empty store."""
    return STORES[request.param](tmp_path)


@pytest.fixture
def ledger(store: LedgerStore) -> Iterator[Ledger]:
    """Yield an empty ledger."""
    with store.open() as ledger:
        yield ledger
