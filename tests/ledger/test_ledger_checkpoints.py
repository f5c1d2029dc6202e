"""Checkpoints of unfinished reads are stored in the ledger."""

from pathlib import Path

from replay_identity.ledger import Checkpoint, Ledger


def test_a_checkpoint_outlives_the_process(tmp_path: Path) -> None:
    """The newest one counts, for each name apart."""
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.set_checkpoint("a to b", Checkpoint("first", 1, b"{}"))
        ledger.set_checkpoint("a to b", Checkpoint("second", 2, b"[]"))
        ledger.set_checkpoint("a to c", Checkpoint("other", 3, b""))

    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.checkpoint("a to b") == Checkpoint("second", 2, b"[]")
        assert ledger.checkpoint("a to c") == Checkpoint("other", 3, b"")


def test_a_finished_read_has_no_checkpoint() -> None:
    """The next read starts at the beginning."""
    with Ledger(":memory:") as ledger:
        ledger.set_checkpoint("a to b", Checkpoint("first", 1, b"{}"))
        ledger.set_checkpoint("a to b", None)

        assert ledger.checkpoint("a to b") is None
        assert ledger.checkpoint("never started") is None


def test_a_checkpoint_hides_token_and_stats() -> None:
    """Its repr has neither."""
    assert repr(Checkpoint("tok", 1, b"names")) == "Checkpoint(stored_at=1)"
