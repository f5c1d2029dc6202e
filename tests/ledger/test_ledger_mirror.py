"""A mirror keeps the ids of all users of one source, and knows who vanished from it."""

from support.ledgers import A, B, deliver
from support.users import user

from replay_identity.ledger import Batch, JobEntry, Ledger, MirrorStart, VanishedUser


def run(ledger: Ledger, *user_ids: str) -> int:
    """Read a source that has these users to its end, and return the run."""
    number = ledger.begin_mirror().run
    ledger.mark_mirrored(number, user_ids)
    ledger.end_mirror(number)
    return number


def test_a_mirror_counts_its_users(ledger: Ledger) -> None:
    """A run is the first one until one has read its whole source."""
    assert ledger.begin_mirror() == MirrorStart(1, 0, is_first=True)
    ledger.mark_mirrored(1, ["u1", "u2"])

    assert ledger.begin_mirror() == MirrorStart(2, 2, is_first=True)
    assert ledger.end_mirror(2) == 2
    assert ledger.begin_mirror() == MirrorStart(3, 2, is_first=False)


def test_users_vanish_in_order_of_ids(ledger: Ledger) -> None:
    """They can be read page by page; who is in the source has not vanished."""
    run(ledger, "u3", "u1", "u2", "u4")
    latest = run(ledger, "u2")

    assert ledger.vanished(latest, limit=2) == [VanishedUser("u1"), VanishedUser("u3")]
    assert ledger.vanished(latest, after="u3") == [VanishedUser("u4")]


def test_a_user_who_came_back_has_not_vanished(ledger: Ledger) -> None:
    """Nor have deletions at vendors happened to the one who came back; of two runs that overlap the newer one wins."""
    run(ledger, "u1", "u2")
    second = run(ledger, "u2")
    ledger.settle_vanished(second, [VanishedUser("u1", frozenset({A}))], accounts={A, B})
    assert ledger.vanished(second) == [VanishedUser("u1", frozenset({A}))]

    third = run(ledger, "u1", "u2")
    ledger.mark_mirrored(second, ["u1"])

    assert ledger.vanished(third) == []
    assert ledger.vanished(third + 1) == [VanishedUser("u1"), VanishedUser("u2")]


def test_a_settled_user_is_erased(ledger: Ledger) -> None:
    """As soon as they are deleted everywhere, and only if they have not come back."""
    run(ledger, "u1", "u2", "u3")
    second = run(ledger)
    ledger.mark_mirrored(second, ["u3"])
    everywhere = frozenset({A, B})

    ledger.settle_vanished(
        second,
        [VanishedUser("u1", everywhere), VanishedUser("u2", frozenset({B})), VanishedUser("u3", everywhere)],
        accounts=everywhere,
    )

    assert ledger.vanished(second + 1) == [VanishedUser("u2", frozenset({B})), VanishedUser("u3")]


def test_forgets_vanished_users(ledger: Ledger) -> None:
    """Those in a job are told instead; the mirror still knows that they vanished."""
    ledger.upsert([user("u1"), user("u2"), user("u3")], [A])
    run(ledger, "u1", "u2")
    ledger.start_job(A, Batch("key", [JobEntry(2, 1, "u2")], b""))

    assert ledger.forget_vanished(["u1", "u2"]) == {"u2"}

    assert [ledger.status_of(user_id) is None for user_id in ("u1", "u2", "u3")] == [True, False, False]
    assert [each.user_id for each in ledger.vanished(2)] == ["u1", "u2"]


def test_forgetting_erases_a_mirrored_user(ledger: Ledger) -> None:
    """A person's request to be forgotten includes the mirror."""
    ledger.upsert([user("u1")], [A])
    deliver(ledger)
    run(ledger, "u1", "u2")

    ledger.forget("u1")

    assert [each.user_id for each in ledger.vanished(2)] == ["u2"]
