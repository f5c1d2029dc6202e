"""Records are values, though they are quick to make."""

from replay_identity.adapters.exchange import Reply
from replay_identity.adapters.protocols import BatchItem, Member, Plan


def test_records_are_values() -> None:
    """Two of the same are equal, and one in a set."""
    assert {Plan("a", None), Plan("a", None)} == {Plan("a", None)}
    assert {BatchItem("a", b"1"), BatchItem("a", b"2")} != {BatchItem("a", b"1")}
    assert hash(Member(user_id="u1")) == hash(Member(user_id="u1"))
    assert Reply(200) == Reply(200)
