"""Where a long reading goes on is kept beside the users it has read."""

from pathlib import Path

from replay_identity.ledger import Checkpoint, Ledger


def test_a_bookmark_outlives_the_process(tmp_path: Path) -> None:
    """The newest is the one that counts, for each reading apart."""
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.set_checkpoint("a to b", Checkpoint("first", 1, b"{}"))
        ledger.set_checkpoint("a to b", Checkpoint("second", 2, b"[]"))
        ledger.set_checkpoint("a to c", Checkpoint("other", 3, b""))

    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.checkpoint("a to b") == Checkpoint("second", 2, b"[]")
        assert ledger.checkpoint("a to c") == Checkpoint("other", 3, b"")


def test_a_finished_reading_has_none() -> None:
    """The next one begins at the beginning."""
    with Ledger(":memory:") as ledger:
        ledger.set_checkpoint("a to b", Checkpoint("first", 1, b"{}"))
        ledger.set_checkpoint("a to b", None)

        assert ledger.checkpoint("a to b") is None
        assert ledger.checkpoint("never begun") is None


def test_a_bookmark_shows_neither_token_nor_record() -> None:
    """Both are the vendor's and the user's affair."""
    assert repr(Checkpoint("tok", 1, b"names")) == "Checkpoint(stored_at=1)"
