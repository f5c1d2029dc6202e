"""Offered claims, which are not read back from the ledger: no user is lost, duplicated or stale."""

import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock
from support.ledgers import A, B, settle
from support.users import user

from replay_identity import Accepted
from replay_identity.bulk.outbox import LedgerOutbox
from replay_identity.bulk.report import BackendReport
from replay_identity.ledger import Account, Batch, Claim, JobEntry, Ledger

IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
UPSERTS = st.sampled_from(["upsert", "upsert and offer", "upsert and offer late"])
STEPS = st.lists(st.tuples(UPSERTS, IDS) | st.sampled_from(["next", "settle"]))


def outbox_of(ledger: Ledger) -> LedgerOutbox:
    """Return an outbox whose clock advances by ten seconds at each reading."""
    moments = count()
    return LedgerOutbox(ledger, Account(A), BackendReport(A), clock=lambda: next(moments) * 10.0)


@attrs.define
class Delivery:
    """An outbox with the upserted and the sent state: each upsert has a number of its own."""

    ledger: Ledger
    outbox: LedgerOutbox
    numbers: Iterator[int] = attrs.field(factory=count)
    desired: dict[str | None, object] = attrs.field(factory=dict[str | None, object])
    sent: dict[str | None, object] = attrs.field(factory=dict[str | None, object])
    in_flight: list[Claim] = attrs.field(factory=list[Claim])

    def upsert(self, ids: Sequence[str], how: str) -> None:
        """Upsert users, and offer the new ones or not."""
        users = [user(each, number=next(self.numbers)) for each in ids]
        on_inserted = {"upsert": None, "upsert and offer": self.outbox.offer, "upsert and offer late": self.offer}
        self.ledger.upsert(users, [A], on_inserted=on_inserted[how])
        self.desired.update((each.user_id, each.traits["number"]) for each in users)

    def offer(self, claims: Sequence[Claim]) -> None:
        """Offer after another claim, as the worker may claim at any time."""
        self.next()
        self.outbox.offer(claims)

    def next(self) -> None:
        """Send the next user, who must be neither in flight nor confirmed in this state."""
        claim = self.outbox.next()
        if claim is not None:
            assert claim.user.user_id not in [one.user.user_id for one in self.in_flight]
            assert self.sent.get(claim.user.user_id) != claim.user.traits["number"]
            self.in_flight.append(claim)

    def settle(self) -> None:
        """Settle the user that was sent first as accepted."""
        if self.in_flight:
            claim = self.in_flight.pop(0)
            self.sent[claim.user.user_id] = claim.user.traits["number"]
            self.outbox.settle(claim, Accepted(A))
            self.outbox.flush()


@given(STEPS)
def test_every_user_ends_in_the_newest_state(steps: Sequence[str | tuple[str, Sequence[str]]]) -> None:
    """Upserts, offered claims, claims from the ledger and outcomes may interleave in any way."""
    with Ledger(":memory:") as ledger:
        run = Delivery(ledger, outbox_of(ledger))
        for step in steps:
            if isinstance(step, tuple):
                how, ids = step
                run.upsert(ids, how)
            else:
                getattr(run, step)()
        while not run.outbox.is_empty():
            run.next()
            run.settle()

        assert run.sent == run.desired


@pytest.fixture
def claimed_ids(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return a list that records the user ids claimed from a ledger."""
    claimed_ids: list[str | None] = []
    original = Ledger.claim

    def claim(*args: Any, **options: Any) -> list[Claim]:
        claims = original(*args, **options)
        claimed_ids.extend(claim.user.user_id for claim in claims)
        return claims

    monkeypatch.setattr(Ledger, "claim", claim)
    return claimed_ids


def test_offered_claims_are_not_read_back(claimed_ids: Sequence[str | None]) -> None:
    """That is what they are for."""
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        ledger.upsert([user("a")], [A])
        ledger.upsert([user("b"), user("c")], [A], on_inserted=outbox.offer)

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id if claim else None for claim in claims] == ["a", "b", "c", None]
        assert claimed_ids == ["a"]


def test_an_outdated_offered_claim_is_not_sent(claimed_ids: Sequence[str | None]) -> None:
    """The newest state is claimed from the ledger."""
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        ledger.upsert([user("a", plan="old"), user("b")], [A], on_inserted=outbox.offer)
        ledger.upsert([user("a", plan="new")], [A])

        claims = [outbox.next() for _ in range(3)]

        assert [claim.user for claim in claims if claim] == [user("b"), user("a", plan="new")]
        assert claimed_ids == ["a"]


def test_an_offered_claim_settled_elsewhere_is_not_sent() -> None:
    """The ledger may still have the user, who is pending at another backend."""
    with Ledger(":memory:") as ledger:
        claims: list[Claim] = []
        ledger.upsert([user("a"), user("b")], [A, B], on_inserted=claims.extend)
        settle(ledger, claims[0], Accepted(A))
        outbox = LedgerOutbox(ledger, Account(A), BackendReport(A), clock=lambda: 0.0)
        outbox.offer(claims)

        assert [claim.user.user_id for claim in (outbox.next(), outbox.next()) if claim] == ["b"]


def test_an_offered_claim_in_flight_is_not_sent() -> None:
    """The user may be in a job of an earlier run."""
    with Ledger(":memory:") as ledger:
        claims: list[Claim] = []
        ledger.upsert([user("a"), user("b")], [A], on_inserted=claims.extend)
        ledger.start_job(A, Batch("key", [JobEntry(claims[0].row_id, claims[0].version, "a")], b""))
        outbox = outbox_of(ledger)
        outbox.jobs()
        outbox.offer(claims)

        assert [claim.user.user_id for claim in (outbox.next(), outbox.next()) if claim] == ["b"]


def test_keeps_only_some_offered_claims(claimed_ids: Sequence[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are claimed from the ledger later."""
    monkeypatch.setattr("replay_identity.bulk.outbox._MAX_OFFERED", 2)
    with Ledger(":memory:") as ledger:
        outbox = outbox_of(ledger)
        for name in "abcd":
            ledger.upsert([user(name)], [A], on_inserted=outbox.offer)

        claims = [outbox.next() for _ in range(4)]

        assert [claim.user.user_id for claim in claims if claim] == ["a", "b", "c", "d"]
        assert claimed_ids == ["c", "d"]


def test_a_count_that_waits_for_others_does_not_delay_the_next_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may hold the ledger meanwhile; only what the count itself costs makes searches rare."""
    pending_count, clock = Ledger.pending_count, Clock()

    def after_waiting(*args: Any, **options: Any) -> int:
        time.sleep(0.5)
        return pending_count(*args, **options)

    monkeypatch.setattr(Ledger, "pending_count", after_waiting)
    with Ledger(":memory:") as ledger:
        outbox = LedgerOutbox(ledger, Account(A), BackendReport(A), clock=clock)
        assert outbox.next() is None
        ledger.upsert([user("a")], [A])
        clock.now += 10.0

        assert outbox.next() is not None


def test_writes_outcomes_together_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sooner when idle, but late enough to share one transaction."""
    monkeypatch.setattr("replay_identity.bulk.outbox._FLUSH_IDLE_S", 0.2)
    moment = 0.0
    with Ledger(":memory:") as ledger:
        outbox = LedgerOutbox(ledger, Account(A), BackendReport(A), clock=lambda: moment)
        ledger.upsert([user("a"), user("b"), user("c")], [A])

        def accepted_after(seconds: float, *, is_idle: bool) -> int:
            nonlocal moment
            outbox.settle(outbox.next() or pytest.fail("nobody is pending"), Accepted(A))
            moment += seconds
            outbox.tick(is_idle=is_idle)
            return outbox.report.accepted

        assert accepted_after(0.1, is_idle=True) == 0
        assert accepted_after(0.15, is_idle=False) == 0
        outbox.tick(is_idle=True)
        assert outbox.report.accepted == 2
        assert accepted_after(1.1, is_idle=False) == 3
