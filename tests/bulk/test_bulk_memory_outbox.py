"""The in-memory outbox: updates of one user are sent in order, and never two at once."""

from collections import defaultdict
from random import Random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from replay_identity import Accepted, Broken, Outcome, Rejected, Skipped, Unavailable, Unknown, UserTraits
from replay_identity.bulk import BackendReport
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.ledger import Claim
from replay_identity.outcomes import SkipReason

RETRIED: Final[list[Outcome]] = [Unavailable("acme", "HTTP 503"), Unknown("acme", "lost")]
OUTCOMES: Final[list[Outcome]] = [
    *RETRIED,
    Accepted("acme"),
    Skipped("acme", SkipReason.NOTHING_TO_SEND),
    Rejected("acme", code="HTTP 400"),
    Broken("acme", "ValueError"),
    Unknown("acme", "lost", retryable=False),
]
ANN: Final = UserTraits(name="Ann")
USERS: Final = [UserTraits("u0"), UserTraits("u1"), UserTraits(vendor_ids={"acme": "7"}), ANN]
PROBABILITY: Final = 0.6
MAX_STEPS: Final = 400


def outbox_of(*users: UserTraits) -> MemoryOutbox:
    """Return an outbox of these users."""
    outbox = MemoryOutbox(BackendReport("acme"))
    outbox.enqueue(users)
    return outbox


def row_ids(outbox: MemoryOutbox) -> list[int]:
    """Return the row ids of all claims that are ready."""
    ready: list[int] = []
    while (claim := outbox.next()) is not None:
        ready.append(claim.row_id)
    return ready


def test_an_update_waits_for_the_one_before() -> None:
    """Otherwise the vendor could end with the older one."""
    outbox = outbox_of(UserTraits("u0"), UserTraits("u0"), UserTraits("u1"))

    assert row_ids(outbox) == [0, 2]
    outbox.settle(Claim(2, 0, UserTraits("u1")), Accepted("acme"))
    assert row_ids(outbox) == []
    outbox.settle(Claim(0, 0, UserTraits("u0")), Accepted("acme"))
    assert row_ids(outbox) == [1]


def test_anonymous_users_do_not_wait() -> None:
    """Each is another person."""
    assert row_ids(outbox_of(UserTraits(name="Ann"), UserTraits(name="Ann"))) == [0, 1]


def test_users_with_foreign_ids_do_not_wait() -> None:
    """This vendor cannot recognise them as the same user."""
    other = UserTraits(vendor_ids={"other": "7"})

    assert row_ids(outbox_of(other, other)) == [0, 1]


@given(rows=st.lists(st.lists(st.sampled_from(USERS), max_size=6), max_size=3), seed=st.integers(0, 2**32))
def test_sends_updates_of_one_user_in_order(rows: list[list[UserTraits]], seed: int) -> None:
    """One at a time; a failed update is sent again before later ones, and all are sent."""
    rng = Random(seed)  # noqa: S311  # Not for security.
    outbox = MemoryOutbox(BackendReport("acme"))
    done: dict[UserTraits, list[int]] = defaultdict(list)
    in_flight: list[Claim] = []
    incoming = list(rows)
    for _ in range(MAX_STEPS):
        if incoming and rng.random() < PROBABILITY:
            outbox.enqueue(incoming.pop(0))
        if rng.random() < PROBABILITY and (claim := outbox.next()) is not None:
            assert claim.user is ANN or all(other.user is not claim.user for other in in_flight)
            in_flight.append(claim)
        elif in_flight:
            claim = in_flight.pop(rng.randrange(len(in_flight)))
            outcome = rng.choice(OUTCOMES)
            if outcome not in RETRIED:
                done[claim.user].append(claim.row_id)
            outbox.settle(claim, outcome)

    assert outbox.is_empty()
    assert sorted(row_id for sent in done.values() for row_id in sent) == list(range(sum(map(len, rows))))
    assert all(sent == sorted(sent) for user, sent in done.items() if user is not ANN)
    assert outbox._queued_updates == {}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
