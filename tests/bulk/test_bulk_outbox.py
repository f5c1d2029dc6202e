"""Claims that are handed over instead of being taken out of the ledger: nobody is lost, doubled or left stale."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger.delivering import A, user

from replay_identity import Accepted
from replay_identity.bulk.books import Books
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.ledger import Claim, Ledger

IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
PUTS = st.sampled_from(["put", "put and hand over", "put and hand over late"])
STEPS = st.lists(st.tuples(PUTS, IDS) | st.sampled_from(["next", "settle"]))


def outbox_of(ledger: Ledger) -> LedgerOutbox:
    """Return an outbox for whom every look is far from the one before."""
    moments = count()
    return LedgerOutbox(ledger, A, Books(A), clock=lambda: next(moments) * 10.0)


@given(STEPS)
def test_everyone_is_sent_once_and_ends_up_as_put_last(steps: Sequence[str | tuple[str, Sequence[str]]]) -> None:
    """However puts, claims handed over, claims out of the ledger and answers follow each other."""
    wanted: dict[str | None, object] = {}
    sent: dict[str | None, object] = {}
    under_way: list[Claim] = []
    numbers = count()

    def take_next() -> bool:
        claim = outbox.next()
        if claim is not None:
            assert claim.user.user_id not in [one.user.user_id for one in under_way]
            assert sent.get(claim.user.user_id) != claim.user.traits["number"]  # Else it is sent twice.
            under_way.append(claim)
        return claim is not None

    def settle() -> None:
        claim = under_way.pop(0)
        sent[claim.user.user_id] = claim.user.traits["number"]
        outbox.settle(claim, Accepted(A))
        outbox.flush()

    def hand_over_late(claims: Sequence[Claim]) -> None:
        take_next()  # As the thread that delivers may do just then.
        outbox.hand_over(claims)

    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        on_new = {"put": None, "put and hand over": outbox.hand_over, "put and hand over late": hand_over_late}
        for step in steps:
            if step == "next":
                take_next()
            elif step != "settle":
                users = [user(each, number=next(numbers)) for each in step[1]]
                ledger.put(users, [A], on_new=on_new[step[0]])
                wanted.update((each.user_id, each.traits["number"]) for each in users)
            elif under_way:
                settle()
        while not outbox.is_empty():
            take_next()
            if under_way:
                settle()

        assert sent == wanted


def test_claims_handed_over_are_not_read_out_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what they are for."""
    read: list[Claim] = []
    claim_from = Ledger.claim

    def claim(*args: Any, **options: Any) -> list[Claim]:
        claims = claim_from(*args, **options)
        read.extend(claims)
        return claims

    monkeypatch.setattr(Ledger, "claim", claim)
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        ledger.put([user("a")], [A])
        ledger.put([user("b"), user("c")], [A], on_new=outbox.hand_over)

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id if claim else None for claim in claims] == ["a", "b", "c", None]
        assert [claim.user.user_id for claim in read] == ["a"]


def test_of_many_claims_handed_over_only_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are found in the ledger, after those."""
    monkeypatch.setattr("replay_identity.bulk.outbox._MOST_HANDED_OVER", 2)
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        for name in "abcd":
            ledger.put([user(name)], [A], on_new=outbox.hand_over)
        assert len(outbox._handed_over) == 2  # noqa: SLF001  # Memory is what this is about.

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id for claim in claims if claim] == ["a", "b", "c", "d"]
        assert outbox.next() is None
