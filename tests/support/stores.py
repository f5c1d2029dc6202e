"""The stores that keep a ledger: every test of the contract runs on each."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
import pytest
from support.ledgers import bytes_on_disk

from replay_identity.ledger import Ledger, Settlement, database, settlements


class LedgerStore(Protocol):
    """One place that keeps a ledger, which may be opened more than once."""

    def open(self) -> Ledger:
        """Open the ledger; each call opens another connection, as another process would."""
        ...

    def contains(self, text: bytes) -> bool:
        """Return True if *text* is anywhere in the store."""
        ...

    def on_settling(self, patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
        """Call *act* once, inside the next `settle`: after it has read the users' versions, and before it writes."""
        ...

    def on_waiting(self, patch: pytest.MonkeyPatch, is_waiting: threading.Event) -> None:
        """Set *is_waiting* once a transaction waits for another one."""
        ...


@attrs.frozen
class SqliteFile:
    """A ledger in one SQLite file."""

    folder: Path

    def open(self) -> Ledger:
        """Open the file."""
        return Ledger(self.folder / "ledger.db")

    def contains(self, text: bytes) -> bool:
        """Return True if *text* is in the file or beside it."""
        return text in bytes_on_disk(self.folder / "ledger.db")

    def on_settling(self, patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
        """Call *act* when the first outcome is looked at."""
        confirms = settlements._confirms  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        def confirms_after_act(settlement: Settlement) -> bool:
            patch.setattr(settlements, "_confirms", confirms)
            act()
            return confirms(settlement)

        patch.setattr(settlements, "_confirms", confirms_after_act)

    def on_waiting(self, patch: pytest.MonkeyPatch, is_waiting: threading.Event) -> None:
        """Set *is_waiting* when the file is found locked."""
        patch.setattr(database, "_sleep_briefly", is_waiting.set)


STORES = {"sqlite": SqliteFile}
