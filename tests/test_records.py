"""Records are values, although they are fast to create."""

from replay_identity.adapters import BatchEntry, EncodedUser, Plan, Response


def test_records_are_values() -> None:
    """Equal records have equal hashes."""
    assert {Plan("a", None), Plan("a", None)} == {Plan("a", None)}
    assert {EncodedUser("a", b"1"), EncodedUser("a", b"2")} != {EncodedUser("a", b"1")}
    assert hash(BatchEntry(user_id="u1")) == hash(BatchEntry(user_id="u1"))
    assert Response(200) == Response(200)
