"""The accounts of a ledger: find them, register them, name them after an organisation, and merge two of them.

Users are pending and rejected at an account, which is a backend's. What a vendor confirmed, what it did not get, and
the jobs that run there belong to the vendor's own account: backends whose accounts have the same name share them.

Callers may name an account by a fingerprint of the key. If the organisation of that key is known, the account is stored
under the name of the organisation, which all of its keys have in common.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import attrs
import orjson

from ..adapters.credentials import at_one_place, has_key_fingerprint, of_two_organisations, organisation_of
from .codec import add_names
from .store import Account

# The name under which an account is stored.
SELECT_NAME: Final = (
    "WITH given (name) AS (VALUES (?)) SELECT coalesce(organisations.name, given.name) AS name"
    " FROM given LEFT JOIN organisations ON organisations.key_account = given.name"
)
# An account without a name is the one used last under the backend's name.
SELECT_ACCOUNT: Final = (
    "WITH given (name, backend) AS (VALUES (?, ?)) SELECT id, vendor_account, encoding"
    " FROM given JOIN accounts ON accounts.backend = given.backend"
    " LEFT JOIN organisations ON organisations.key_account = given.name"
    " WHERE given.name = '' OR accounts.name = coalesce(organisations.name, given.name)"
    " ORDER BY used DESC, id DESC LIMIT 1"
)
# The accounts at vendors, under either of two names, to which users may have been sent.
SELECT_OPENED: Final = "SELECT DISTINCT vendor_account FROM accounts WHERE name IN (?, ?) AND opened"
# Keyed by account and row id, and by the vendor's account and row id.
TABLES_BY_ACCOUNT: Final = ("pending", "rejections")
TABLES_BY_VENDOR_ACCOUNT: Final = ("confirmed", "losses")


@attrs.frozen
class StoredAccount:
    """An account as the ledger knows it.

    Attributes:
        id: The account's key in the ledger; 0, which no account has, if the ledger was never used for it.
        vendor_account: Key of the vendor's own account.
        encoding: Everything besides the user that decides what the backend sends, as the caller has it.
        has_other_settings: True if the account was opened with another encoding than the caller's since.
    """

    id: int = 0
    vendor_account: int = 0
    encoding: str = attrs.field(default="", repr=False)
    has_other_settings: bool = False


def resolve(db: sqlite3.Connection, account: Account) -> StoredAccount:
    """Return an account as it is stored."""
    return stored_account(account, db.execute(SELECT_ACCOUNT, [account.name, account.backend]).fetchall())


def with_stored_name(db: sqlite3.Connection, account: Account) -> Account:
    """Return *account* with the name under which it is stored."""
    (name,) = db.execute(SELECT_NAME, [account.name]).fetchone()
    return attrs.evolve(account, name=name)


def stored_account(account: Account, rows: Sequence[tuple[int, int, str]]) -> StoredAccount:
    """Return *account* as it is stored in *rows*, which `SELECT_ACCOUNT` has selected."""
    if not rows:
        return StoredAccount(encoding=account.encoding)
    account_id, vendor_account, encoding = rows[0]
    is_other = bool(account.encoding and encoding) and account.encoding != encoding
    return StoredAccount(account_id, vendor_account, account.encoding or encoding, is_other)


def registered(db: sqlite3.Connection, account: Account) -> StoredAccount:
    """Return an account as it is stored; it is registered if it is new."""
    if not resolve(db, account).id:
        bind_account(db, with_stored_name(db, account))
    return resolve(db, account)


def has_account(db: sqlite3.Connection, account: Account) -> bool:
    """Return True if the ledger was used for an account of exactly that name."""
    sql = "SELECT 1 FROM accounts WHERE backend = ? AND name = ?"
    return db.execute(sql, [account.backend, account.name]).fetchone() is not None


def bind_account(db: sqlite3.Connection, account: Account) -> bool:
    """Register *account*; return True if the state of users upserted before any account was known becomes its state."""
    renamed = db.execute(
        "UPDATE accounts SET name = ? WHERE backend = ? AND name = '' RETURNING id", [account.name, account.backend]
    ).fetchall()
    if not renamed:
        db.execute(
            "INSERT INTO accounts (backend, name, vendor_account, encoding, used, opened)"
            " VALUES (?, ?, 0, ?, (SELECT 1 + coalesce(max(used), 0) FROM accounts), 0)",
            [account.backend, account.name, account.encoding],
        )
        db.execute("UPDATE accounts SET vendor_account = id WHERE vendor_account = 0")
    _share_vendor_account(db, account.name)
    return bool(renamed)


def bind_key(db: sqlite3.Connection, key_account: str, name: str) -> None:
    """Store the account *key_account*, whose name has a fingerprint of the key, as *name* from now on."""
    db.execute(
        "INSERT INTO organisations (key_account, name) VALUES (?, ?)"
        " ON CONFLICT (key_account) DO UPDATE SET name = excluded.name",
        [key_account, name],
    )
    stored = db.execute("SELECT id, backend FROM accounts WHERE name = ?", [key_account]).fetchall()
    if stored:
        before, after = (orjson.dumps(each).decode() for each in (key_account, name))
        db.execute(
            "UPDATE mirrored SET deleted_at = replace(deleted_at, ?, ?) WHERE instr(deleted_at, ?)",
            [before, after, before],
        )
    for account_id, backend in stored:
        known = resolve(db, Account(backend, name)).id
        if known:
            merge_accounts(db, account_id, known)
        else:
            rename_account(db, account_id, name)


def adopt(db: sqlite3.Connection, account: Account) -> bool:
    """Give *account*, once, the state of the account used before it; return False if there is none."""
    account = with_stored_name(db, account)
    older = _find_adopted(db, account)
    if older is None or not account.name or _has_adopted(db, account):
        return False
    older_id, older_name = older
    name = account.name
    if has_key_fingerprint(name) and organisation_of(older_name) is not None:
        # The caller says which organisation the key belongs to.
        bind_key(db, name, older_name)
        name = older_name
    elif has_key_fingerprint(older_name) and organisation_of(name) is not None:
        bind_key(db, older_name, name)
    elif has_account(db, account):
        merge_accounts(db, older_id, resolve(db, account).id)
    else:
        rename_account(db, older_id, name)
    db.execute("UPDATE accounts SET has_adopted = 1 WHERE backend = ? AND name = ?", [account.backend, name])
    return True


def _has_adopted(db: sqlite3.Connection, account: Account) -> bool:
    """Return True if *account* has taken over another one before: the next one may be a different account indeed."""
    sql = "SELECT 1 FROM accounts WHERE backend = ? AND name = ? AND has_adopted"
    return db.execute(sql, [account.backend, account.name]).fetchone() is not None


def _find_adopted(db: sqlite3.Connection, account: Account) -> tuple[int, str] | None:
    """Return id and name of the account used before *account*, whose key was rotated; None if there is none.

    If two accounts at one place differ only in the key, they are the ones. Any other account counts only if the ledger
    was never used for *account*: a backend whose key was not rotated keeps its own. Two organisations stay two.
    """
    rows = db.execute(
        "SELECT id, name FROM accounts WHERE backend = ? AND name <> ? ORDER BY used DESC, id DESC",
        [account.backend, account.name],
    ).fetchall()
    others = [(older, name) for older, name in rows if not of_two_organisations(name, account.name)]
    same_place = [other for other in others if at_one_place(other[1], account.name)]
    if same_place or has_account(db, account):
        return same_place[0] if same_place else None
    return others[0] if others else None


def rename_account(db: sqlite3.Connection, account_id: int, name: str) -> None:
    """Give an account another *name*, which no account of its backend has."""
    db.execute("UPDATE accounts SET name = ? WHERE id = ?", [name, account_id])
    _share_vendor_account(db, name)


def merge_accounts(db: sqlite3.Connection, older: int, newer: int) -> None:
    """Give *newer* what *older*, of the same backend, knows of users that *newer* knows nothing of; remove *older*."""
    db.execute(
        "DELETE FROM rejections WHERE account = ? AND row_id IN (SELECT row_id FROM pending WHERE account = ?)",
        [older, newer],
    )
    db.execute(
        "DELETE FROM pending WHERE account = ? AND row_id IN (SELECT row_id FROM rejections WHERE account = ?)",
        [older, newer],
    )
    vendor_accounts = dict(db.execute("SELECT id, vendor_account FROM accounts WHERE id IN (?, ?)", [older, newer]))
    _merge_vendor_accounts(db, vendor_accounts[older], vendor_accounts[newer])
    for table in TABLES_BY_ACCOUNT:
        db.execute(f"UPDATE OR IGNORE {table} SET account = ? WHERE account = ?", [newer, older])
        db.execute(f"DELETE FROM {table} WHERE account = ?", [older])
    db.execute(
        "UPDATE accounts SET opened = max(opened, (SELECT max(opened) FROM accounts WHERE id = ?)) WHERE id = ?",
        [older, newer],
    )
    db.execute("DELETE FROM accounts WHERE id = ?", [older])
    _count_reasons(db)


def _share_vendor_account(db: sqlite3.Connection, name: str) -> None:
    """Make all accounts of that *name* share what the vendor confirmed; those without a name may all be different."""
    if not name:
        return
    rows = db.execute("SELECT DISTINCT vendor_account FROM accounts WHERE name = ? ORDER BY vendor_account", [name])
    (first,), *others = rows.fetchall()
    for (other,) in others:
        _merge_vendor_accounts(db, other, first)


def _merge_vendor_accounts(db: sqlite3.Connection, older: int, newer: int) -> None:
    """Give *newer* what *older* knows: they are the same account, and either one may have been used last."""
    if older == newer:
        return
    for one, other in ((older, newer), (newer, older)):
        # Users of the other one may have been sent without an answer, once it was opened.
        for table in ("pending", "rejections"):
            db.execute(
                "UPDATE confirmed SET in_doubt = 1 WHERE vendor_account = ? AND row_id IN (SELECT row_id"
                f" FROM accounts JOIN {table} ON account = id WHERE accounts.vendor_account = ? AND opened)",
                [one, other],
            )
    # Where they differ, nothing counts as confirmed; a removal must reach the fields that either one knows.
    db.create_function("with_names_of", 2, add_names, deterministic=True)
    db.execute(
        "UPDATE confirmed SET in_doubt = 1, fields = with_names_of(confirmed.fields, known.fields)"
        " FROM confirmed AS known WHERE confirmed.vendor_account = ? AND known.vendor_account = ?"
        " AND known.row_id = confirmed.row_id AND (known.in_doubt OR known.fields <> confirmed.fields)",
        [newer, older],
    )
    for table in TABLES_BY_VENDOR_ACCOUNT:
        db.execute(f"UPDATE OR IGNORE {table} SET vendor_account = ? WHERE vendor_account = ?", [newer, older])
        db.execute(f"DELETE FROM {table} WHERE vendor_account = ?", [older])
    for table in ("jobs", "accounts"):
        db.execute(f"UPDATE {table} SET vendor_account = ? WHERE vendor_account = ?", [newer, older])
    _count_reasons(db)


def _count_reasons(db: sqlite3.Connection) -> None:
    db.execute(
        "UPDATE reasons SET users = (SELECT count(*) FROM rejections WHERE reason = id)"
        " + (SELECT count(*) FROM losses WHERE reason = id)"
    )
    db.execute("DELETE FROM reasons WHERE users = 0")
