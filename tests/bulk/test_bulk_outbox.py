"""Claims that are handed over instead of being taken out of the ledger: nobody is lost, doubled or left stale."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger.delivering import A, B, settle, user

from replay_identity import Accepted
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.bulk.report import BackendReport
from replay_identity.ledger import Batch, Claim, JobEntry, Ledger

IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
PUTS = st.sampled_from(["put", "put and hand over", "put and hand over late"])
STEPS = st.lists(st.tuples(PUTS, IDS) | st.sampled_from(["next", "settle"]))


def outbox_of(ledger: Ledger) -> LedgerOutbox:
    """Return an outbox for whom every look is far from the one before."""
    moments = count()
    return LedgerOutbox(ledger, A, BackendReport(A), clock=lambda: next(moments) * 10.0)


@attrs.define
class Delivering:
    """An outbox, and what was put and sent: each user has a number, which is never the same twice."""

    ledger: Ledger
    outbox: LedgerOutbox
    numbers: Iterator[int] = attrs.field(factory=count)
    wanted: dict[str | None, object] = attrs.field(factory=dict[str | None, object])
    sent: dict[str | None, object] = attrs.field(factory=dict[str | None, object])
    under_way: list[Claim] = attrs.field(factory=list[Claim])

    def put(self, ids: Sequence[str], how: str) -> None:
        """Put users, and hand over who is new, or not."""
        users = [user(each, number=next(self.numbers)) for each in ids]
        on_inserted = {"put": None, "put and hand over": self.outbox.offer, "put and hand over late": self.offer}
        self.ledger.upsert(users, [A], on_inserted=on_inserted[how])
        self.wanted.update((each.user_id, each.traits["number"]) for each in users)

    def offer(self, claims: Sequence[Claim]) -> None:
        """Hand over after another claim, as the thread that delivers may take one just then."""
        self.next()
        self.outbox.offer(claims)

    def next(self) -> None:
        """Send somebody who is neither under way nor at the vendor as they are."""
        claim = self.outbox.next()
        if claim is not None:
            assert claim.user.user_id not in [one.user.user_id for one in self.under_way]
            assert self.sent.get(claim.user.user_id) != claim.user.traits["number"]
            self.under_way.append(claim)

    def settle(self) -> None:
        """Have the vendor take whoever was sent first."""
        if self.under_way:
            claim = self.under_way.pop(0)
            self.sent[claim.user.user_id] = claim.user.traits["number"]
            self.outbox.settle(claim, Accepted(A))
            self.outbox.flush()


@given(STEPS)
def test_every_user_ends_in_the_newest_state(steps: Sequence[str | tuple[str, Sequence[str]]]) -> None:
    """However upserts, offered claims, claims from the ledger and outcomes interleave."""
    with Ledger(":memory:") as ledger:
        run = Delivering(ledger, outbox_of(ledger))
        for step in steps:
            if isinstance(step, tuple):
                how, ids = step
                run.put(ids, how)
            else:
                getattr(run, step)()
        while not run.outbox.is_empty():
            run.next()
            run.settle()

        assert run.sent == run.wanted


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return a list of the users whom claims out of a ledger were to, as it grows."""
    read: list[str | None] = []
    claim_from = Ledger.claim

    def claim(*args: Any, **options: Any) -> list[Claim]:
        claims = claim_from(*args, **options)
        read.extend(claim.user.user_id for claim in claims)
        return claims

    monkeypatch.setattr(Ledger, "claim", claim)
    return read


def test_offered_claims_are_not_read_back(read: Sequence[str | None]) -> None:
    """That is what they are for."""
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        ledger.upsert([user("a")], [A])
        ledger.upsert([user("b"), user("c")], [A], on_inserted=outbox.offer)

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id if claim else None for claim in claims] == ["a", "b", "c", None]
        assert read == ["a"]


def test_an_outdated_offered_claim_is_not_sent(read: Sequence[str | None]) -> None:
    """The newest state is claimed from the ledger."""
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        ledger.upsert([user("a", plan="old"), user("b")], [A], on_inserted=outbox.offer)
        ledger.upsert([user("a", plan="new")], [A])

        claims = [outbox.next() for _ in range(3)]

        assert [claim.user for claim in claims if claim] == [user("b"), user("a", plan="new")]
        assert read == ["a"]


def test_an_offered_claim_settled_elsewhere_is_not_sent() -> None:
    """Even if the user is pending at another backend, so that the ledger still has them."""
    with Ledger(":memory:") as ledger:
        claims: list[Claim] = []
        ledger.upsert([user("a"), user("b")], [A, B], on_inserted=claims.extend)
        settle(ledger, claims[0], Accepted(A))
        outbox = LedgerOutbox(ledger, A, BackendReport(A), clock=lambda: 0.0)
        outbox.offer(claims)

        assert [claim.user.user_id for claim in (outbox.next(), outbox.next()) if claim] == ["b"]


def test_an_offered_claim_in_flight_is_not_sent() -> None:
    """For example in a job of an earlier run."""
    with Ledger(":memory:") as ledger:
        claims: list[Claim] = []
        ledger.upsert([user("a"), user("b")], [A], on_inserted=claims.extend)
        ledger.start_job(A, Batch("key", [JobEntry(claims[0].row_id, claims[0].version, "a")], b""))
        outbox = outbox_of(ledger)
        outbox.jobs()
        outbox.offer(claims)

        assert [claim.user.user_id for claim in (outbox.next(), outbox.next()) if claim] == ["b"]


def test_keeps_only_some_offered_claims(read: Sequence[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are claimed from the ledger later."""
    monkeypatch.setattr("replay_identity.bulk.outbox._MAX_OFFERED", 2)
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        for name in "abcd":
            ledger.upsert([user(name)], [A], on_inserted=outbox.offer)

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id for claim in claims if claim] == ["a", "b", "c", "d"]
        assert read == ["c", "d"]


def test_writes_outcomes_together_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sooner when idle, but late enough to share one transaction."""
    monkeypatch.setattr("replay_identity.bulk.outbox._FLUSH_IDLE_S", 0.2)
    moment = 0.0
    with Ledger(":memory:") as ledger:
        outbox = LedgerOutbox(ledger, A, BackendReport(A), clock=lambda: moment)
        ledger.upsert([user("a"), user("b"), user("c")], [A])

        def accepted_after(seconds: float, *, is_idle: bool) -> int:
            nonlocal moment
            outbox.settle(outbox.next() or pytest.fail("nobody is due"), Accepted(A))
            moment += seconds
            outbox.tick(is_idle=is_idle)
            return outbox.report.accepted

        assert accepted_after(0.1, is_idle=True) == 0
        assert accepted_after(0.15, is_idle=False) == 0
        outbox.tick(is_idle=True)
        assert outbox.report.accepted == 2
        assert accepted_after(1.1, is_idle=False) == 3
