"""What every store must keep to: one writer at a time, doubt after a request without an answer, jobs, rejections."""

import threading
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest
from support.ledgers import A, B, changed_fields, claim_one, deliver, settle, settlement
from support.stores import LedgerStore
from support.users import user

from replay_identity import Accepted, Broken, Misconfigured, Outcome, Rejected, Skipped, Unavailable, Unknown
from replay_identity.errors import LedgerError
from replay_identity.ledger import Account, Batch, Claim, JobEntry, Ledger, Settlement, UpsertCounts
from replay_identity.outcomes import SkipReason

REJECTION: Final = Rejected(A, code="400", message="no")
OLD, NEW = Account(A, "shop", "limit 1"), Account(A, "shop", "limit 2")
NO_ANSWER: Final[Sequence[Outcome]] = (Unknown(A, "timeout"), Unavailable(A, "503"), Misconfigured(A, "401"))


def entry(claim: Claim) -> JobEntry:
    """Return the entry of a batch for *claim*."""
    return JobEntry(claim.row_id, claim.version, claim.user.user_id, fields=claim.fields, in_doubt=claim.in_doubt)


def batch(*claims: Claim, key: str = "key", body: bytes = b"body") -> Batch:
    """Return a batch of the users of *claims*."""
    return Batch(key, [entry(claim) for claim in claims], body)


# A request without an answer puts a user in doubt.


@pytest.mark.parametrize("outcome", NO_ANSWER, ids=lambda outcome: type(outcome).__name__)
def test_sends_a_after_b_had_no_answer(ledger: Ledger, outcome: Outcome) -> None:
    """The vendor may have b, although it last confirmed a."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b", seats=1)], [A])
    assert not settle(ledger, claim_one(ledger), outcome)

    ledger.upsert([user(plan="a", seats=1)], [A])

    assert deliver(ledger) == [user(plan="a", seats=1)]
    assert ledger.upsert([user(plan="a", seats=1)], [A])[A] == UpsertCounts(unchanged=1)


def test_a_crash_before_settling_leaves_doubt(store: LedgerStore) -> None:
    """The next process sends the whole user, and after an answer only what changes."""
    with store.open() as crashed:
        crashed.upsert([user(plan="a", seats=1)], [A])
        deliver(crashed)
        crashed.upsert([user(plan="b", seats=1)], [A])
        assert changed_fields(crashed, claim_one(crashed)) == {"traits.plan"}

    with store.open() as ledger:
        assert deliver(ledger) == [user(plan="b", seats=1)]
        ledger.upsert([user(plan="c", seats=1)], [A])
        assert deliver(ledger) == [user(plan="c")]


def test_doubt_ends_with_the_next_answer(ledger: Ledger) -> None:
    """Fields that the answered request did not hold have an unknown value, and are sent when they come again."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    settle(ledger, claim_one(ledger), Unknown(A, "timeout"))
    deliver(ledger)

    ledger.upsert([user(plan="b", seats=1)], [A])

    assert deliver(ledger) == [user(seats=1)]


# One writer at a time.


@pytest.mark.parametrize("outcome", [Accepted(A), REJECTION, Skipped(A, SkipReason.NOTHING_TO_SEND)])
def test_an_upsert_during_settle_stays_pending(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """It comes between the moment at which `settle` looks at the version and the one at which it writes."""
    # Set when the upsert waits for the settlement, or, on a store without locks, when it has not.
    has_tried = threading.Event()
    with store.open() as ledger, store.open() as other:
        ledger.upsert([user(plan="older")], [A])
        claim = claim_one(ledger)

        def upsert() -> None:
            other.upsert([user(plan="newer")], [A])
            has_tried.set()

        def start_upsert() -> None:
            upserting.start()
            has_tried.wait(60)

        upserting = threading.Thread(target=upsert)
        with monkeypatch.context() as patch:
            store.on_waiting(patch, has_tried)
            store.on_settling(patch, start_upsert)
            settle(ledger, claim, outcome)
            upserting.join(60)

        assert [claim.user for claim in ledger.claim(A)] == [user(plan="newer")]
        assert list(ledger.rejected(A)) == []


def test_two_writers_lose_no_user(store: LedgerStore) -> None:
    """One upserts newer states while the other delivers, until both are done."""
    with store.open() as ledger, store.open() as other:
        newest: dict[str | None, Any] = {}

        def deliver_all() -> None:
            for sent in deliver(ledger):
                newest[sent.user_id] = sent.traits["n"]

        def upsert_all() -> None:
            for number in range(60):
                other.upsert([user(f"u{number % 3}", n=number)], [A])

        upserting = threading.Thread(target=upsert_all)
        upserting.start()
        while upserting.is_alive():
            deliver_all()
        deliver_all()

        assert newest == {"u0": 57, "u1": 58, "u2": 59}
        assert ledger.pending_count(A) == 0


def test_upserting_needs_no_lease(store: LedgerStore) -> None:
    """One process delivers at a time; any may upsert."""
    with store.open() as ledger, store.open() as other, ledger.lease(A) as mine:
        other.upsert([user(plan="a")], [A])

        with other.lease(A) as theirs, other.lease(B) as free:
            assert (mine, theirs, free) == (True, False, True)
        assert deliver(ledger) == [user(plan="a")]


# Backends whose accounts have the same name deliver to one account at the vendor.


SHOP_A, SHOP_B = Account(A, "shop", "1"), Account(B, "shop", "1")


def test_names_of_one_account_share_what_is_confirmed(ledger: Ledger) -> None:
    """Each is compared with what any of them sent last; users are pending at each name."""
    for account, plan in ((SHOP_A, "a"), (SHOP_B, "b")):
        ledger.upsert([user(plan=plan)], [account])
        assert deliver(ledger, account) == [user(plan=plan)]

    assert ledger.upsert([user(plan="b")], [SHOP_A])[A] == UpsertCounts(unchanged=1)
    assert ledger.upsert([user(plan="a")], [SHOP_A])[A] == UpsertCounts(pending=1)
    assert [ledger.pending_count(account) for account in (SHOP_A, SHOP_B)] == [1, 0]
    assert [ledger.pending_at_vendor(account) for account in (SHOP_A, SHOP_B)] == [1, 1]
    assert ledger.pending_at_vendor(Account(B, "blog")) == 0


def test_a_claim_by_one_name_is_a_doubt_for_the_other(ledger: Ledger) -> None:
    """The request may have arrived."""
    ledger.upsert([user(plan="a")], [SHOP_A, SHOP_B])
    deliver(ledger, SHOP_A)
    deliver(ledger, SHOP_B)
    ledger.upsert([user(plan="b")], [SHOP_A])
    settle(ledger, claim_one(ledger, SHOP_A), Unknown(A, "timeout"), SHOP_A)

    ledger.upsert([user(plan="a")], [SHOP_B])

    assert deliver(ledger, SHOP_B) == [user(plan="a")]


def test_names_of_one_account_take_turns(store: LedgerStore) -> None:
    """A lease belongs to the account, and another account has its own."""
    blog = Account(A, "blog")
    with store.open() as ledger, store.open() as other:
        for account in (SHOP_A, SHOP_B, blog):
            ledger.open_account(account)
        with ledger.lease(SHOP_A) as mine, other.lease(SHOP_B) as theirs, other.lease(blog) as free:
            assert (mine, theirs, free) == (True, False, True)
        assert other.vendor_accounts(["acorn"]) == [Account(A, "shop"), Account(A, "blog"), Account("acorn")]


def test_names_of_one_account_share_its_jobs(ledger: Ledger) -> None:
    """A renamed backend goes on with them."""
    ledger.upsert([user(plan="a")], [SHOP_A, SHOP_B])
    job = ledger.start_job(SHOP_A, batch(claim_one(ledger, SHOP_A)))

    assert ledger.jobs(SHOP_B) == [job]
    ledger.end_job(SHOP_B, job, [settlement_of(each, Accepted(B)) for each in ledger.entries(job)])

    assert ledger.jobs(SHOP_A) == []
    assert deliver(ledger, SHOP_A) == []
    assert [ledger.pending_count(account) for account in (SHOP_A, SHOP_B)] == [0, 0]


def test_other_settings_leave_users_pending(ledger: Ledger) -> None:
    """What the process with the older settings has sent is known, and compared with the newer ones."""
    ledger.open_account(OLD)
    ledger.upsert([user(plan="a")], [OLD])
    claim = claim_one(ledger, OLD)
    ledger.open_account(NEW)

    assert [ledger.has_other_settings(account) for account in (OLD, NEW)] == [True, False]
    assert not settle(ledger, claim, Accepted(A), OLD)
    assert not settle(ledger, claim_one(ledger, OLD), REJECTION, OLD)
    assert (ledger.pending_count(NEW), [*ledger.rejected(NEW)]) == (1, [])


def test_outcomes_of_older_versions_change_nothing(store: LedgerStore) -> None:
    """The newer state stays pending and in doubt."""
    with store.open() as ledger, store.open() as other:
        ledger.upsert([user(plan="a")], [A])
        deliver(ledger)
        ledger.upsert([user(plan="b")], [A])
        older = claim_one(ledger)
        other.upsert([user(plan="a")], [A])

        assert not settle(other, older, Accepted(A))

        assert deliver(other) == [user(plan="a")]


# Jobs.


def test_a_job_without_id_is_sent_again(store: LedgerStore) -> None:
    """After a crash it has the same key and the same bytes."""
    with store.open() as crashed:
        crashed.upsert([user(plan="a")], [A])
        started = crashed.start_job(A, batch(claim_one(crashed), key="key-7", body=b"the same bytes"))

    with store.open() as ledger:
        (job,) = ledger.jobs(A)
        assert job == started
        assert (job.idempotency_key, ledger.body(job), job.vendor_job) == ("key-7", b"the same bytes", None)
        ledger.end_job(A, job, [settlement_of(each, Accepted(A)) for each in ledger.entries(job)])
        assert (ledger.pending_count(A), ledger.upsert([user(plan="a")], [A])[A].unchanged) == (0, 1)


def settlement_of(each: JobEntry, outcome: Outcome) -> Settlement:
    """Return the settlement of an entry."""
    return Settlement(each.row_id, each.version, outcome, each.fields, each.in_doubt)


def test_a_job_settles_no_newer_state(ledger: Ledger) -> None:
    """Who changed while the job ran stays pending and is sent whole."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    job = ledger.start_job(A, batch(claim_one(ledger)))
    ledger.upsert([user(plan="b")], [A])

    assert ledger.end_job(A, job, [settlement_of(each, Accepted(A)) for each in ledger.entries(job)]) == set()

    assert deliver(ledger) == [user(plan="b", seats=1)]


def test_a_job_keeps_fields_and_doubt(ledger: Ledger) -> None:
    """They are stored with its entries, so that another process can settle it."""
    ledger.upsert([user("u1", plan="a"), user("u2", plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user("u1", plan="b"), user("u2", seats=2)], [A])
    ledger.claim(A, limit=1)
    claims = [ledger.compare(claim, {"traits.plan": "b"})[0] for claim in ledger.claim(A)]

    job = ledger.start_job(A, batch(*claims))

    assert [claim.in_doubt for claim in claims] == [True, False]
    assert list(ledger.entries(job)) == [entry(claim) for claim in claims]


def test_a_job_of_other_settings_is_compared(ledger: Ledger) -> None:
    """What was encoded with older settings is confirmed field by field, and compared with what these would send."""
    ledger.open_account(OLD)
    ledger.upsert([user(plan="a")], [OLD])
    job = ledger.start_job(OLD, batch(claim_one(ledger, OLD)))
    ledger.open_account(NEW)

    settled = ledger.end_job(NEW, job, [settlement_of(each, Accepted(A)) for each in ledger.entries(job)])

    assert settled == set()
    assert deliver(ledger, NEW) == []
    assert ledger.pending_count(NEW) == 0
    assert ledger.upsert([user(plan="a")], [NEW])[A] == UpsertCounts(unchanged=1)


def test_a_job_of_the_same_settings_confirms(ledger: Ledger) -> None:
    """The same row again is recognised without being encoded."""
    ledger.upsert([user(plan="a")], [NEW])
    job = ledger.start_job(NEW, batch(claim_one(ledger, NEW)))

    ledger.end_job(NEW, job, [settlement_of(each, Accepted(A)) for each in ledger.entries(job)])

    assert ledger.upsert([user(plan="a")], [NEW])[A] == UpsertCounts(unchanged=1)


def test_a_rejection_by_an_older_job_may_end(ledger: Ledger) -> None:
    """The user stays pending, since the new settings may let them pass."""
    ledger.open_account(OLD)
    ledger.upsert([user(plan="a")], [OLD])
    job = ledger.start_job(OLD, batch(claim_one(ledger, OLD)))

    ledger.end_job(NEW, job, [settlement_of(each, REJECTION) for each in ledger.entries(job)])

    assert claim_one(ledger, NEW).rejection is None
    assert ledger.upsert([user(plan="a")], [NEW])[A] == UpsertCounts(already_pending=1)


# Rejections.


@pytest.mark.parametrize("rejection", [REJECTION, Broken(A, "KeyError at wire.py:3")])
def test_a_rejected_user_is_not_sent_again(ledger: Ledger, rejection: Outcome) -> None:
    """The same row with the same settings is told as rejected, however often it comes."""
    ledger.upsert([user(plan="a")], [NEW])
    settle(ledger, claim_one(ledger, NEW), rejection, NEW)

    counts = [ledger.upsert([user(plan="a")], [NEW])[A] for _ in range(2)]

    assert counts == [UpsertCounts(rejected=1)] * 2
    assert ledger.claim(NEW) == []
    assert [each.rejection for each in ledger.rejected(NEW)] == [rejection]


def test_a_change_undone_is_still_rejected(ledger: Ledger) -> None:
    """The claim says so, and until then the newer state is pending alone."""
    ledger.upsert([user(plan="a", seats=1)], [NEW])
    settle(ledger, claim_one(ledger, NEW), REJECTION, NEW)
    ledger.upsert([user(plan="b")], [NEW])
    assert (claim_one(ledger, NEW).rejection, [*ledger.rejected(NEW)]) == (None, [])

    ledger.upsert([user(plan="a")], [NEW])

    claim = claim_one(ledger, NEW)
    assert claim.rejection == REJECTION
    assert ledger.claim(attrs.evolve(NEW, encoding="limit 3"))[0].rejection is None
    assert settle(ledger, claim, REJECTION, NEW)
    assert len([*ledger.rejected(NEW)]) == 1


def test_requeueing_counts_only_rejected_users(ledger: Ledger) -> None:
    """A user whose newer state is pending is not rejected, and what they were rejected for is sent again."""
    ledger.upsert([user("u1", plan="a"), user("u2", plan="a")], [NEW])
    deliver(ledger, NEW, lambda _: REJECTION)
    ledger.upsert([user("u1", plan="b")], [NEW])

    assert ledger.requeue_rejected(NEW) == 1

    ledger.upsert([user("u1", plan="a")], [NEW])
    assert [claim.rejection for claim in ledger.claim(NEW)] == [None, None]


@pytest.mark.parametrize("change", ["settings", "user"])
def test_a_change_makes_a_rejected_user_pending(ledger: Ledger, change: str) -> None:
    """A raised limit or a corrected row may have fixed it."""
    ledger.upsert([user(plan="a")], [OLD])
    settle(ledger, claim_one(ledger, OLD), REJECTION, OLD)

    account, row = (NEW, user(plan="a")) if change == "settings" else (OLD, user(plan="b"))

    assert ledger.upsert([row], [account])[A] == UpsertCounts(pending=1)
    assert list(ledger.rejected(A)) == []
    assert deliver(ledger, account) == [row]


def test_a_rejection_forgets_what_was_sent(ledger: Ledger) -> None:
    """A vendor may have applied a part of the request; fields that the request did not hold stay confirmed."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="a", seats=1)], [A], replace=True)

    assert deliver(ledger) == [user(plan="a")]


def test_a_rejection_in_doubt_forgets_all(ledger: Ledger) -> None:
    """The request without an answer may have changed any field."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    settle(ledger, claim_one(ledger), Unknown(A, "timeout"))
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="a", seats=1)], [A], replace=True)

    assert deliver(ledger) == [user(plan="a", seats=1)]


def test_tells_who_was_rejected_since_a_version(ledger: Ledger) -> None:
    """A run counts those that another process rejected; a newer state that is pending is not rejected."""
    ledger.upsert([user("u0")], [A])
    deliver(ledger, A, lambda _: REJECTION)
    opened_at = ledger.open_account(Account(A)).version
    counts = [ledger.upsert([user(f"u{number}")], [A, B])[A] for number in range(1, 5)]
    deliver(ledger, A, lambda claim: Accepted(A) if claim.user.user_id == "u2" else REJECTION)
    ledger.upsert([user("u4", plan="pro")], [A])

    rejected = ledger.rejected_since(A, opened_at)
    versions = [counts[0].versions.start, counts[2].versions.start]
    assert [(each.version, each.since) for each in rejected] == [(version, version) for version in versions]
    assert len(ledger.rejected_since(A, 0)) == 3
    assert ledger.rejected_since(A, ledger.open_account(Account(A)).version) == []
    assert ledger.rejected_since("acmee", 0) == ledger.rejected_since(B, 0) == []


def test_adds_versions_of_upserts() -> None:
    """Those of other processes in between are included."""
    counts = UpsertCounts()

    for versions in (range(3, 4), range(7, 8)):
        counts.add(UpsertCounts(versions=versions))

    assert counts.versions == range(3, 8)


# Forgetting.


def test_a_user_is_forgotten_while_in_flight(ledger: Ledger) -> None:
    """The late outcome stores nothing."""
    ledger.upsert([user(plan="a")], [A])
    claim = claim_one(ledger)

    assert ledger.forget("u1")

    assert not settle(ledger, claim, Accepted(A))
    assert (ledger.status_of("u1"), ledger.counts()[0].confirmed) == (None, 0)


def test_refuses_to_forget_a_user_in_a_job(ledger: Ledger) -> None:
    """Its results would store the user again."""
    ledger.upsert([user(plan="a")], [A])
    job = ledger.start_job(A, batch(claim_one(ledger)))

    with pytest.raises(LedgerError, match="deliver first"):
        ledger.forget("u1")

    ledger.end_job(A, job)
    assert ledger.forget("u1")


def test_a_rejected_user_is_forgotten(ledger: Ledger) -> None:
    """Nothing of the rejection is left, at no account."""
    accounts = [OLD, attrs.evolve(OLD, name="other")]
    for account in accounts:
        ledger.upsert([user(plan="a")], [account])
        settle(ledger, claim_one(ledger, account), REJECTION, account)

    assert ledger.forget("u1")

    assert [list(ledger.rejected(account)) for account in accounts] == [[], []]
    assert ledger.upsert([user(plan="a")], [OLD])[A] == UpsertCounts(pending=1)


def test_settles_whole_groups(ledger: Ledger) -> None:
    """More users than one statement takes, each with an outcome of their own."""
    everyone = [user(f"u{number}", n=number) for number in range(1203)]
    ledger.upsert(everyone, [A])
    claims = [ledger.compare(claim, {"n": claim.user.traits["n"]})[0] for claim in ledger.claim(A, limit=2000)]
    outcomes: list[Outcome] = [(Accepted(A), REJECTION, Unknown(A, "timeout"))[number % 3] for number in range(1203)]

    settled = ledger.settle(A, [settlement(*pair) for pair in zip(claims, outcomes, strict=True)])

    assert settled == {claim.row_id for number, claim in enumerate(claims) if number % 3 != 2}
    (counts,) = ledger.counts()
    assert (counts.pending, counts.confirmed, counts.rejected) == (401, 401, 401)


def test_a_rejected_state_that_returns_is_not_sent(ledger: Ledger) -> None:
    """A state between the two, which was never sent, does not make it a new one."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="b")], [A])
    (counts,) = ledger.counts()
    assert (counts.pending, counts.rejected, list(ledger.rejected(A))) == (1, 0, [])
    assert claim_one(ledger).rejection is None
    ledger.upsert([user(plan="a")], [A])
    claim = claim_one(ledger)
    settle(ledger, claim, REJECTION)

    assert claim.rejection == REJECTION
    assert [each.rejection for each in ledger.rejected(A)] == [REJECTION]


def test_an_accepted_state_ends_the_rejection(ledger: Ledger) -> None:
    """The reason is erased with it."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), REJECTION)
    ledger.upsert([user(plan="b")], [A])
    deliver(ledger)

    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(pending=1)
    assert claim_one(ledger).rejection is None
    assert ledger.counts()[0].rejected == 0
