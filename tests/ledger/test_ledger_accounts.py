"""What a vendor confirmed is true of one account only."""

from typing import Final

import pytest
from support.ledgers import A, B, changed_fields, claim_one, deliver, dropped, settle
from support.stores import LedgerStore
from support.users import user

from replay_identity import Accepted, Rejected, Unknown
from replay_identity.ledger import Account, AccountCounts, AccountInfo, Batch, JobEntry, Ledger, UpsertCounts

SHOP, TEST = Account(A, "acme.example/shop", "1"), Account(A, "acme.example/test", "1")
KEY_1, KEY_2, OTHER_KEY = (Account(B, f"bolt.example key {key}", "1") for key in ("3f9a1c2b", "00d1e2f3", "aaaa0000"))
UNNAMED: Final = Account(A, encoding="1")
REJECTION: Final = Rejected(A, code="400", message="no")


def names(ledger: Ledger) -> list[tuple[str, str]]:
    """Return backend and name of each account, the one used last at the end."""
    return [(counts.backend, counts.account) for counts in ledger.counts()]


# Opening.


def test_the_first_account_is_new(ledger: Ledger) -> None:
    """The second call finds it, and the backend has no other account."""
    assert ledger.open_account(SHOP) == AccountInfo(is_new=True)
    assert ledger.open_account(SHOP) == AccountInfo(is_new=False)


def test_another_account_is_told(ledger: Ledger) -> None:
    """The counts say what is confirmed there; another backend's accounts do not matter."""
    ledger.open_account(SHOP)
    ledger.open_account(KEY_1)
    ledger.upsert([user()], [SHOP])
    deliver(ledger, SHOP)

    shop = AccountCounts(A, SHOP.name, pending=0, confirmed=1, rejected=0, lossy=0, jobs=0)
    assert ledger.open_account(TEST) == AccountInfo(is_new=True, others=(shop,))
    assert [each.account for each in ledger.open_account(Account(A, "third")).others] == [TEST.name, SHOP.name]


def test_the_account_used_last_is_last(ledger: Ledger) -> None:
    """A name of a backend means that one."""
    for account in (SHOP, TEST, KEY_1, SHOP):
        ledger.open_account(account)
    assert names(ledger) == [(A, TEST.name), (B, KEY_1.name), (A, SHOP.name)]

    ledger.upsert([user()], [A])

    assert [ledger.pending_count(account) for account in (SHOP, TEST, A)] == [1, 0, 1]


def test_upserting_registers_an_account(ledger: Ledger) -> None:
    """An app may upsert before anyone delivers."""
    ledger.upsert([user()], [SHOP])

    assert names(ledger) == [(A, SHOP.name)]
    assert deliver(ledger, SHOP) == [user()]


def test_starting_a_job_registers_an_account(ledger: Ledger) -> None:
    """The job belongs to it."""
    job = ledger.start_job(SHOP, Batch("key", [JobEntry(1, 1, "u1")], b""))

    assert [ledger.jobs(account) for account in (SHOP, TEST, A)] == [[job], [], [job]]


# Accounts without a name.


@pytest.mark.parametrize("way", ["open", "upsert", "job"])
def test_the_first_real_account_takes_over(ledger: Ledger, way: str) -> None:
    """Users upserted by the name of a backend alone are delivered to its account; what was confirmed stays so."""
    ledger.upsert([user("u1"), user("u2")], [A])
    settle(ledger, ledger.claim(A, limit=1)[0], Accepted(A))

    match way:
        case "open":
            assert ledger.open_account(SHOP) == AccountInfo(is_new=False)
        case "upsert":
            ledger.upsert([], [SHOP])
        case _:
            ledger.end_job(SHOP, ledger.start_job(SHOP, Batch("key", [], b"")))

    assert names(ledger) == [(A, SHOP.name)]
    assert (ledger.counts()[0].confirmed, deliver(ledger, SHOP)) == (1, [user("u2")])
    assert ledger.open_account(TEST).is_new


def test_an_empty_name_means_the_latest_account(ledger: Ledger) -> None:
    """A backend that does not name its account goes on where the named one stopped."""
    ledger.open_account(SHOP)
    ledger.upsert([user()], [SHOP])

    assert ledger.open_account(UNNAMED) == AccountInfo(is_new=False)

    assert names(ledger) == [(A, SHOP.name)]
    assert deliver(ledger, UNNAMED) == [user()]


def test_opening_keeps_the_encoding(ledger: Ledger) -> None:
    """A caller that knows only the name of the backend confirms what the backend would send."""
    ledger.open_account(SHOP)
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger, A)

    assert ledger.upsert([user(plan="a")], [SHOP])[A] == UpsertCounts(unchanged=1)


# Two accounts.


def test_a_new_account_gets_everything(ledger: Ledger) -> None:
    """What another account confirmed counts for nothing; going back, it still counts there."""
    ledger.open_account(SHOP)
    ledger.upsert([user(plan="a", seats=1)], [SHOP])
    deliver(ledger, SHOP)

    ledger.open_account(TEST)
    assert ledger.upsert([user(plan="a", seats=1)], [TEST])[A] == UpsertCounts(pending=1)
    assert deliver(ledger, TEST) == [user(plan="a", seats=1)]

    ledger.open_account(SHOP)
    assert ledger.upsert([user(plan="a", seats=1)], [SHOP])[A] == UpsertCounts(unchanged=1)
    assert ledger.upsert([user(plan="a", seats=2)], [SHOP])[A] == UpsertCounts(pending=1)
    assert deliver(ledger, SHOP) == [user(seats=2)]


def test_a_user_may_be_pending_at_one_account(ledger: Ledger) -> None:
    """They are delivered there when it is used again, in their newest state."""
    ledger.upsert([user(plan="a")], [SHOP])
    ledger.upsert([user(plan="b")], [TEST])
    deliver(ledger, TEST)

    assert [ledger.pending_count(account) for account in (SHOP, TEST)] == [1, 0]
    assert deliver(ledger, SHOP) == [user(plan="b")]


def test_doubt_concerns_one_account(ledger: Ledger) -> None:
    """A request to the other account had its answer."""
    for account in (SHOP, TEST):
        ledger.upsert([user(plan="a", seats=1)], [account])
        deliver(ledger, account)
        ledger.upsert([user(plan="b", seats=1)], [account])
    settle(ledger, claim_one(ledger, SHOP), Unknown(A, "timeout"), SHOP)

    assert [changed_fields(ledger, claim_one(ledger, each)) for each in (SHOP, TEST)] == [None, {"traits.plan"}]


def test_rejections_and_losses_concern_one_account(ledger: Ledger) -> None:
    """The other account's counts, requeueing and invalidation leave them alone."""
    for account in (SHOP, TEST):
        ledger.upsert([user("u1"), user("u2")], [account])
        lossy, rejected = ledger.claim(account)
        settle(ledger, lossy, Accepted(A, adjustments=(dropped("name"),)), account)
        settle(ledger, rejected, REJECTION, account)

    ledger.invalidate(TEST)

    assert ledger.requeue_rejected(TEST) == 1
    shop, test = ledger.counts()
    assert (shop.pending, shop.confirmed, shop.rejected, shop.lossy) == (0, 1, 1, 1)
    assert (test.pending, test.confirmed, test.rejected, test.lossy) == (1, 1, 0, 1)
    assert ledger.upsert([user("u1")], [SHOP])[A] == UpsertCounts(unchanged=1)


# Adopting the state of an account whose key was rotated.


def test_adopts_the_account_used_before(store: LedgerStore) -> None:
    """Nothing is sent again, and the older name is gone."""
    with store.open() as ledger:
        ledger.open_account(KEY_1)
        ledger.upsert([user("u1", plan="a"), user("u2", plan="a")], [KEY_1])
        settle(ledger, ledger.claim(KEY_1, limit=1)[0], Accepted(B), KEY_1)

        assert ledger.adopt_account(KEY_2)

        assert ledger.open_account(KEY_2) == AccountInfo(is_new=False)
        assert names(ledger) == [(B, KEY_2.name)]
        assert ledger.upsert([user("u1", plan="a")], [KEY_2])[B] == UpsertCounts(unchanged=1)
        assert deliver(ledger, KEY_2) == [user("u2", plan="a")]


def test_there_may_be_nothing_to_adopt(ledger: Ledger) -> None:
    """It is the first account of that backend."""
    ledger.open_account(SHOP)

    assert [ledger.adopt_account(account) for account in (KEY_1, SHOP)] == [False, False]
    assert names(ledger) == [(A, SHOP.name)]


def test_an_unnamed_account_adopts_nothing(ledger: Ledger) -> None:
    """It stands for the account used last, whose name stays."""
    ledger.open_account(SHOP)

    assert not ledger.adopt_account(UNNAMED)
    assert names(ledger) == [(A, SHOP.name)]


def test_adopts_the_account_of_another_key(ledger: Ledger) -> None:
    """Of several accounts, it is the one whose name differs in the key alone."""
    elsewhere = Account(B, "eu.bolt.example key 00000000", "1")
    for account in (KEY_1, elsewhere):
        ledger.open_account(account)

    assert ledger.adopt_account(KEY_2)

    assert names(ledger) == [(B, KEY_2.name), (B, elsewhere.name)]


def test_adopts_into_an_account_that_was_used(ledger: Ledger) -> None:
    """The rotated key was used before anyone said that it was rotated; users that only the older one knows move."""
    ledger.open_account(KEY_1)
    ledger.upsert([user(f"u{number}", plan="a") for number in range(3)], [KEY_1])
    settle(ledger, ledger.claim(KEY_1)[0], Accepted(B, adjustments=(dropped("name"),)), KEY_1)
    settle(ledger, ledger.claim(KEY_1)[0], REJECTION, KEY_1)
    job = ledger.start_job(KEY_1, Batch("key", [JobEntry(3, 1, "u2")], b"body"))
    ledger.open_account(KEY_2)
    ledger.upsert([user("u3", plan="a")], [KEY_2])

    assert ledger.adopt_account(KEY_2)

    assert ledger.counts() == [AccountCounts(B, KEY_2.name, pending=2, confirmed=1, rejected=1, lossy=1, jobs=1)]
    assert ledger.jobs(KEY_2) == [job]
    assert ledger.upsert([user("u0", plan="a"), user("u1", plan="a")], [KEY_2])[B] == UpsertCounts(
        unchanged=1, rejected=1
    )
    assert [sent.user_id for sent in deliver(ledger, KEY_2)] == ["u2", "u3"]


@pytest.mark.parametrize("first", ["pending", "rejected"])
def test_a_merged_user_has_one_state(ledger: Ledger, first: str) -> None:
    """What the newer account knows of a user wins."""
    ledger.upsert([user(plan="a")], [KEY_1])
    if first == "rejected":
        settle(ledger, claim_one(ledger, KEY_1), REJECTION, KEY_1)
    ledger.upsert([user(plan="a")], [KEY_2])
    if first == "pending":
        settle(ledger, claim_one(ledger, KEY_2), REJECTION, KEY_2)

    ledger.adopt_account(KEY_2)

    (counts,) = ledger.counts()
    assert (counts.pending, counts.rejected) == ((0, 1) if first == "pending" else (1, 0))
    assert len([*ledger.rejected(KEY_2)]) == counts.rejected


def test_merging_erases_reasons_without_users(store: LedgerStore) -> None:
    """A vendor's message may quote the user."""
    with store.open() as ledger:
        for account, message in ((KEY_1, "older words"), (KEY_2, "newer words")):
            ledger.upsert([user(plan="a")], [account])
            settle(ledger, claim_one(ledger, account), Rejected(B, code="400", message=message), account)

        ledger.adopt_account(KEY_2)

        assert [str(each.rejection).count("newer words") for each in ledger.rejected(KEY_2)] == [1]
        ledger.purge()
        assert store.contains(b"newer words")
        assert not store.contains(b"older words")


def test_merging_keeps_doubt_of_the_newer_account(ledger: Ledger) -> None:
    """What was sent with the new key without an answer may have changed what was confirmed with the old one."""
    ledger.open_account(KEY_1)
    ledger.upsert([user(plan="a")], [KEY_1])
    deliver(ledger, KEY_1)
    ledger.open_account(KEY_2)
    ledger.upsert([user(plan="b")], [KEY_2])
    settle(ledger, claim_one(ledger, KEY_2), Unknown(B, "timeout"), KEY_2)
    ledger.upsert([user(plan="a")], [KEY_2])

    ledger.adopt_account(KEY_2)

    assert deliver(ledger, KEY_2) == [user(plan="a")]


def test_merging_knows_the_older_names(ledger: Ledger) -> None:
    """A removal must reach what the vendor got with the old key."""
    ledger.upsert([user(plan="a", seats=1)], [KEY_1])
    deliver(ledger, KEY_1)
    ledger.upsert([user(plan="b")], [KEY_2])
    deliver(ledger, KEY_2)

    ledger.adopt_account(KEY_2)
    ledger.upsert([user(plan="c")], [KEY_2])

    assert {*ledger.stored_names(claim_one(ledger, KEY_2))} == {"traits.plan", "traits.seats"}


def test_an_account_takes_over_another_one_once(ledger: Ledger) -> None:
    """A repeated call leaves the state of accounts that are really different alone."""
    staging, old, new = Account(A, "api key aa"), Account(A, "api key bb"), Account(A, "api key cc")
    for account in (staging, old, new):
        ledger.open_account(account)

    assert [ledger.adopt_account(new) for _ in range(3)] == [True, False, False]
    assert [each.account for each in ledger.counts()] == [staging.name, new.name]


def test_two_names_learn_of_a_rotated_key_in_turn(ledger: Ledger) -> None:
    """They share the account by then, and each keeps what is pending at its own name."""
    ours, theirs = (Account(name, KEY_1.name, "1") for name in (A, B))
    ledger.upsert([user(plan="a")], [ours, theirs])
    deliver(ledger, ours)
    rotated = [Account(account.backend, KEY_2.name, "1") for account in (ours, theirs)]
    assert ledger.adopt_account(rotated[0])
    ledger.open_account(rotated[1])

    assert ledger.adopt_account(rotated[1])

    assert [(each.backend, each.account, each.pending, each.confirmed) for each in ledger.counts()] == [
        (A, KEY_2.name, 0, 1),
        (B, KEY_2.name, 1, 1),
    ]


def test_a_ledger_in_memory_has_leases() -> None:
    """Two threads of the process take turns at an account."""
    with Ledger(":memory:") as ledger:
        for account in (SHOP, TEST):
            ledger.open_account(account)
        with ledger.lease(SHOP) as first, ledger.lease(SHOP) as second, ledger.lease(TEST) as other:
            assert (first, second, other) == (True, False, True)
        with ledger.lease(SHOP) as again:
            assert again
