"""A ledger stores the account of a key under the name of its organisation, once it knows which one that is."""

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final

import pytest
from support.ledgers import A, B, claim_one, deliver, settle
from support.users import user

from replay_identity import Accepted, Unknown
from replay_identity.ledger import Account, Batch, JobEntry, Ledger, UpsertCounts, VanishedUser, database
from replay_identity.ledger.sqlite_store import SqliteStore

KEY_1, KEY_2, KEY_3 = (f"acme.example key {key}" for key in ("3f9a1c2b", "00d1e2f3", "aaaa0000"))
FIRST, SECOND, THIRD = (Account(A, name, "1") for name in (KEY_1, KEY_2, KEY_3))
OTHER_NAME: Final = Account(B, KEY_2, "1")
SHOP, BLOG = "acme.example org SHOP", "acme.example org BLOG"
ROW: Final = user(plan="a", seats=1)


def confirm(ledger: Ledger, account: Account) -> None:
    """Let *account* confirm one user."""
    ledger.open_account(account)
    ledger.upsert([ROW], [account])
    deliver(ledger, account)


def names(ledger: Ledger) -> list[tuple[str, str]]:
    """Return backend and name of each account, the one used last at the end."""
    return [(counts.backend, counts.account) for counts in ledger.counts()]


def test_the_account_of_a_key_is_renamed(ledger: Ledger) -> None:
    """What was confirmed and what is pending stay, under either name."""
    confirm(ledger, FIRST)
    ledger.upsert([user("u2")], [FIRST])

    assert ledger.learn_organisation(KEY_1, SHOP) is None

    assert names(ledger) == [(A, SHOP)]
    assert ledger.stored_name(KEY_1) == SHOP
    assert [ledger.pending_count(account) for account in (FIRST, Account(A, SHOP))] == [1, 1]
    assert ledger.upsert([ROW], [FIRST])[A] == UpsertCounts(unchanged=1)


def test_a_new_key_continues(ledger: Ledger) -> None:
    """Nothing is new to an account that another key of the organisation has used."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)

    assert ledger.learn_organisation(KEY_2, SHOP) is None

    assert not ledger.open_account(SECOND).is_new
    assert ledger.upsert([ROW], [SECOND])[A] == UpsertCounts(unchanged=1)
    assert names(ledger) == [(A, SHOP)]


def test_two_organisations_stay_two(ledger: Ledger) -> None:
    """Even if the ids differ only in case."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.learn_organisation(KEY_2, SHOP.replace("SHOP", "shop"))

    assert ledger.open_account(SECOND).is_new
    assert ledger.upsert([ROW], [SECOND])[A] == UpsertCounts(pending=1)


def test_a_key_may_move(ledger: Ledger) -> None:
    """The former account is told once and keeps its state; the other organisation starts from nothing."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)

    assert [ledger.learn_organisation(KEY_1, BLOG) for _ in range(2)] == [SHOP, None]

    assert ledger.open_account(FIRST).is_new
    assert ledger.upsert([ROW], [FIRST])[A] == UpsertCounts(pending=1)
    assert ledger.upsert([ROW], [Account(A, SHOP, "1")])[A] == UpsertCounts(unchanged=1)


def test_two_accounts_become_one(ledger: Ledger) -> None:
    """A key that was used before anyone knew its organisation brings what it knows along."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.open_account(SECOND)
    ledger.upsert([user("u2", plan="b")], [SECOND])
    deliver(ledger, SECOND)

    ledger.learn_organisation(KEY_2, SHOP)

    assert names(ledger) == [(A, SHOP)]
    assert ledger.upsert([ROW, user("u2", plan="b")], [FIRST])[A] == UpsertCounts(unchanged=2)


def test_a_user_only_upserted_is_not_in_doubt(ledger: Ledger) -> None:
    """Nobody can have sent them under the key alone."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.upsert([ROW], [SECOND])

    ledger.learn_organisation(KEY_2, SHOP)

    assert ledger.pending_count(FIRST) == 1
    assert not claim_one(ledger, FIRST).in_doubt


@pytest.mark.parametrize("way", ["open", "claim"])
def test_a_user_who_may_be_sent_is_in_doubt(ledger: Ledger, way: str) -> None:
    """An older state may have reached the vendor under the other key."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.upsert([user(plan="b")], [SECOND])
    if way == "open":
        ledger.open_account(SECOND)
    else:
        settle(ledger, claim_one(ledger, SECOND), Unknown(A, "timeout"), SECOND)

    ledger.learn_organisation(KEY_2, SHOP)

    assert claim_one(ledger, FIRST).in_doubt


def test_a_merged_account_counts_as_used(ledger: Ledger) -> None:
    """One of the two had been opened, so the next merge waits for the lease."""
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.upsert([ROW], [FIRST])
    ledger.open_account(SECOND)
    ledger.learn_organisation(KEY_2, SHOP)
    ledger.open_account(THIRD)

    with ledger.lease(FIRST):
        ledger.learn_organisation(KEY_3, SHOP)

    assert sorted(names(ledger)) == [(A, THIRD.name), (A, SHOP)]


@pytest.mark.parametrize("held", [FIRST, SECOND], ids=["the organisation's", "the key's"])
def test_accounts_in_use_stay_two(ledger: Ledger, held: Account) -> None:
    """Two processes would deliver to one account; as soon as neither does, the two become one."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    confirm(ledger, SECOND)

    with ledger.lease(held) as is_ours:
        assert is_ours
        ledger.learn_organisation(KEY_2, SHOP)
        assert sorted(names(ledger)) == [(A, KEY_2), (A, SHOP)]
        assert ledger.stored_name(KEY_2) == KEY_2
    ledger.learn_organisation(KEY_2, SHOP)

    assert names(ledger) == [(A, SHOP)]


def test_accounts_in_use_may_be_renamed(ledger: Ledger) -> None:
    """The lease goes on under the new name, also of a key that nobody has used."""
    confirm(ledger, FIRST)

    with ledger.lease(FIRST):
        ledger.learn_organisation(KEY_1, SHOP)
        ledger.learn_organisation(KEY_2, SHOP)

        for account in (FIRST, SECOND, Account(A, SHOP)):
            with ledger.lease(account) as is_ours:
                assert not is_ours
    assert names(ledger) == [(A, SHOP)]


def test_an_account_opened_meanwhile_waits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have begun to deliver before the leases were taken."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)

    def opened(*_: object) -> set[int]:
        return {1}

    monkeypatch.setattr(SqliteStore, "_opened", opened)
    confirm(ledger, SECOND)

    ledger.learn_organisation(KEY_2, SHOP)

    assert sorted(names(ledger)) == [(A, KEY_2), (A, SHOP)]


def test_two_backends_of_one_organisation(ledger: Ledger) -> None:
    """They share what the vendor confirmed, and a lease."""
    confirm(ledger, FIRST)
    ledger.open_account(OTHER_NAME)
    ledger.learn_organisation(KEY_1, SHOP)
    ledger.learn_organisation(KEY_2, SHOP)

    assert ledger.upsert([ROW], [OTHER_NAME])[B] == UpsertCounts(unchanged=1)
    with ledger.lease(FIRST), ledger.lease(OTHER_NAME) as is_ours:
        assert not is_ours


def test_all_backends_with_the_key_are_renamed(ledger: Ledger) -> None:
    """One answer of the vendor is enough."""
    for backend in (A, B):
        ledger.open_account(Account(backend, KEY_1, "1"))

    ledger.learn_organisation(KEY_1, SHOP)

    assert names(ledger) == [(A, SHOP), (B, SHOP)]


def test_a_job_is_found_after_the_renaming(ledger: Ledger) -> None:
    """It settles the users under the new name."""
    ledger.open_account(FIRST)
    ledger.upsert([ROW], [FIRST])
    claim = claim_one(ledger, FIRST)
    entry = JobEntry(claim.row_id, claim.version, "u1", fields=claim.fields)
    started = ledger.start_job(FIRST, Batch("key", [entry], b""))

    ledger.learn_organisation(KEY_1, SHOP)
    (job,) = ledger.jobs(FIRST)

    assert job == started
    assert ledger.jobs(Account(A, SHOP)) == [job]
    ledger.end_job(FIRST, job)
    assert settle(ledger, claim, Accepted(A), FIRST)
    assert ledger.upsert([ROW], [SECOND])[A] == UpsertCounts(pending=1)


def test_deletions_are_renamed(ledger: Ledger) -> None:
    """A user who was deleted under the key is not deleted again."""
    ledger.open_account(FIRST)
    (run, later) = (ledger.begin_mirror().run for _ in range(2))
    ledger.mark_mirrored(run, ["u1"])
    ledger.settle_vanished(later, [VanishedUser("u1", frozenset({KEY_1, KEY_2}))], accounts={KEY_3})

    ledger.learn_organisation(KEY_1, SHOP)

    assert ledger.vanished(later) == [VanishedUser("u1", frozenset({SHOP, KEY_2}))]


# With --same-account.


def test_adopting_tells_whose_key_it_is(ledger: Ledger) -> None:
    """A key whose vendor does not answer continues with the organisation, whose name stays."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)

    assert [ledger.adopt_account(SECOND) for _ in range(2)] == [True, False]

    assert names(ledger) == [(A, SHOP)]
    assert ledger.upsert([ROW], [FIRST, SECOND])[A] == UpsertCounts(unchanged=1)


@pytest.mark.parametrize("was_used", [False, True])
def test_an_organisation_adopts_a_key(ledger: Ledger, *, was_used: bool) -> None:
    """The account of the old key, whose vendor never answered, becomes the organisation's."""
    confirm(ledger, FIRST)
    if was_used:
        ledger.open_account(SECOND)
    ledger.learn_organisation(KEY_2, SHOP)

    assert ledger.adopt_account(SECOND)

    assert names(ledger) == [(A, SHOP)]
    assert ledger.stored_name(KEY_1) == SHOP
    assert ledger.upsert([ROW], [SECOND])[A] == UpsertCounts(unchanged=1)


@pytest.mark.parametrize("place", ["acme.example", "eu.acme.example"])
def test_another_organisation_is_never_adopted(ledger: Ledger, place: str) -> None:
    """The vendor knows better than the caller."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    moved = Account(A, KEY_2.replace("acme.example", place), "1")
    ledger.learn_organisation(moved.name, BLOG.replace("acme.example", place))

    assert not ledger.adopt_account(moved)

    assert ledger.open_account(moved).is_new


def test_an_organisation_may_move_to_another_host(ledger: Ledger) -> None:
    """Such as behind a proxy; without the flag it would be another account."""
    confirm(ledger, FIRST)
    ledger.learn_organisation(KEY_1, SHOP)
    moved = Account(A, f"proxy.example/{KEY_1}", "1")
    ledger.learn_organisation(moved.name, f"proxy.example/{SHOP}")

    assert ledger.adopt_account(moved)

    assert ledger.upsert([ROW], [moved])[A] == UpsertCounts(unchanged=1)


# Files.


def test_an_older_ledger_learns_organisations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its accounts may have been used, and are renamed."""
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:1])
        database.Database(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO accounts (backend, name, vendor_account, encoding, used) VALUES (?, ?, ?, '1', 1)",
            [(A, KEY_1, 1), (A, KEY_2, 2)],
        )

    with Ledger(path) as ledger, ledger.lease(FIRST):
        ledger.learn_organisation(KEY_1, SHOP)
        ledger.learn_organisation(KEY_2, SHOP)

        assert sorted(names(ledger)) == [(A, KEY_2), (A, SHOP)]


def test_a_lease_on_a_merged_account_is_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have merged it between the two steps of taking the lease."""
    ledger.open_account(FIRST)
    ledger.open_account(SECOND)
    original = SqliteStore._lease  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def merge_first(store: SqliteStore, vendor_account: int) -> AbstractContextManager[bool]:
        monkeypatch.setattr(SqliteStore, "_lease", original)
        ledger.learn_organisation(KEY_1, SHOP)
        ledger.learn_organisation(KEY_2, SHOP)
        return original(store, vendor_account)

    monkeypatch.setattr(SqliteStore, "_lease", merge_first)

    with ledger.lease(SECOND) as is_ours:
        assert not is_ours
