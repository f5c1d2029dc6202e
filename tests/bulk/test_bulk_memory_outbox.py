"""The in-memory outbox: updates of one user are merged, and never two are sent at once."""

from collections import defaultdict
from itertools import count
from random import Random
from typing import Final

import attrs
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock
from support.users import user

from replay_identity import REMOVE, Accepted, Broken, Outcome, Rejected, Skipped, Unavailable, Unknown, UserTraits
from replay_identity.bulk import BackendReport
from replay_identity.bulk.memory_outbox import MemoryOutbox
from replay_identity.bulk.repeated import id_of
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
KEYS: Final = [UserTraits("u0"), UserTraits("u1"), UserTraits(vendor_ids={"acme": "7"}), ANN]
PROBABILITY: Final = 0.6
MAX_STEPS: Final = 400


def outbox_of(*users: UserTraits) -> MemoryOutbox:
    """Return an outbox of these users."""
    outbox = MemoryOutbox(BackendReport("acme"))
    outbox.enqueue(users)
    return outbox


def take(outbox: MemoryOutbox) -> Claim:
    """Return the next claim."""
    claim = outbox.next()
    assert claim is not None
    return claim


def row_ids(outbox: MemoryOutbox) -> list[int]:
    """Return the row ids of all claims that are ready."""
    ready: list[int] = []
    while (claim := outbox.next()) is not None:
        ready.append(claim.row_id)
    return ready


def test_an_update_waits_for_the_one_before() -> None:
    """Otherwise the vendor could end with the older one."""
    outbox = outbox_of(UserTraits("u0"), UserTraits("u1"))
    assert row_ids(outbox) == [0, 1]
    outbox.enqueue([UserTraits("u0")])

    outbox.settle(Claim(1, 0, UserTraits("u1")), Accepted("acme"))
    assert row_ids(outbox) == []
    outbox.settle(Claim(0, 0, UserTraits("u0")), Accepted("acme"))
    assert row_ids(outbox) == [2]


def test_anonymous_users_do_not_wait() -> None:
    """Each is another person."""
    assert row_ids(outbox_of(UserTraits(name="Ann"), UserTraits(name="Ann"))) == [0, 1]


def test_users_with_foreign_ids_do_not_wait() -> None:
    """This vendor cannot recognise them as the same user."""
    other = UserTraits(vendor_ids={"other": "7"})

    assert row_ids(outbox_of(other, other)) == [0, 1]


def test_merges_updates_of_a_user_who_waits() -> None:
    """They make one request, as newly queued and while deferred."""
    clock = Clock()
    outbox = MemoryOutbox(BackendReport("acme"), clock)
    outbox.enqueue([user("u0", a=1), user("u0", b=2)])
    outbox.enqueue([user("u0", a=3)])
    claim = take(outbox)
    assert claim.user == user("u0", a=3, b=2)

    outbox.defer(claim, Unavailable("acme", "HTTP 429"), 5.0)
    outbox.enqueue([user("u0", b=4)])
    assert outbox.next() is None
    clock.now += 5.0
    assert take(outbox).user == user("u0", a=3, b=4)
    assert (outbox.report.upserts.pending, outbox.report.upserts.already_pending) == (1, 3)


def test_a_removal_is_kept_when_the_trait_is_set_again() -> None:
    """The vendor may have other values below it."""
    outbox = MemoryOutbox(BackendReport("acme"))
    outbox.enqueue([user("u1", a=REMOVE), user("u2"), user("u1", a={"x": "1"})])

    claims = [outbox.next(), outbox.next()]

    assert [claim.removed for claim in claims if claim is not None] == [("a",), ()]


def test_a_failed_user_is_sent_with_the_update() -> None:
    """The older state is not sent again."""
    outbox = outbox_of(user("u0", a=1))
    claim = take(outbox)
    outbox.enqueue([user("u0", b=2)])
    assert outbox.next() is None

    outbox.settle(claim, Unavailable("acme", "HTTP 503"))

    assert take(outbox).user == user("u0", a=1, b=2)
    assert outbox.pending() == 1


def test_an_id_of_the_vendor_is_no_user_id() -> None:
    """Two users with equal ids of different kinds stay two."""
    assert row_ids(outbox_of(UserTraits("7"), UserTraits(vendor_ids={"acme": "7"}))) == [0, 1]


@given(rows=st.lists(st.lists(st.sampled_from(KEYS), max_size=6), max_size=3), seed=st.integers(0, 2**32))
def test_sends_the_newest_state_of_each_user(rows: list[list[UserTraits]], seed: int) -> None:
    """One request at a time, none without an update, and every update is part of one that got an answer."""
    rng, clock = Random(seed), Clock()  # noqa: S311  # Not for security.
    outbox = MemoryOutbox(BackendReport("acme"), clock)
    numbers = count()
    incoming = [[attrs.evolve(each, traits={str(next(numbers)): "x"}) for each in chunk] for chunk in rows]
    answered: dict[str, int] = defaultdict(int)
    in_flight: list[Claim] = []
    given = [each for chunk in incoming for each in chunk]
    for _ in range(MAX_STEPS):
        clock.now += 1.0
        if incoming and rng.random() < PROBABILITY:
            outbox.enqueue(incoming.pop(0))
        if rng.random() < PROBABILITY and (claim := outbox.next()) is not None:
            assert id_of(claim.user) is None or id_of(claim.user) not in [id_of(other.user) for other in in_flight]
            in_flight.append(claim)
        elif in_flight:
            claim, outcome = in_flight.pop(rng.randrange(len(in_flight))), rng.choice(OUTCOMES)
            if outcome in RETRIED and rng.random() < PROBABILITY:
                assert isinstance(outcome, Unavailable | Unknown)
                outbox.defer(claim, outcome, 1.5)
            else:
                outbox.settle(claim, outcome)
            for name in claim.user.traits if outcome not in RETRIED else ():
                answered[name] += 1

    assert outbox.is_empty()
    assert outbox.next() is None
    assert set(answered) == {name for each in given for name in each.traits}
    upserts = outbox.report.upserts
    assert upserts.pending + upserts.already_pending == len(given)


def test_knows_nothing_of_earlier_runs() -> None:
    """Nothing is confirmed, and no field is known to be stored."""
    outbox, claim = MemoryOutbox(BackendReport("acme")), Claim(1, 1, user("u1"))

    assert (outbox.has_confirmed_state, outbox.compare(claim, {}), outbox.stored_names(claim)) == (
        False,
        (claim, None),
        (),
    )
