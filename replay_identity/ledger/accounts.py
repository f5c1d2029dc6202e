"""The accounts of a ledger: find them, register them, and merge two of them.

Users are pending and rejected at an account, which is a backend's. What a vendor confirmed, and the jobs that run
there, belong to the vendor's own account: backends whose accounts have the same name share them.
"""

import sqlite3
from typing import Final

import attrs

from .codec import add_names
from .store import Account

# An account without a name is the one used last under the backend's name.
SELECT_ACCOUNT: Final = (
    "SELECT id, vendor_account, encoding FROM accounts WHERE backend = ? AND (name = ? OR ? = '')"
    " ORDER BY used DESC, id DESC LIMIT 1"
)
# Keyed by account and row id.
TABLES_BY_ACCOUNT: Final = ("pending", "rejections", "losses")


@attrs.frozen
class StoredAccount:
    """An account as the ledger knows it.

    Attributes:
        id: The account's key in the ledger; 0, which no account has, if the ledger was never used for it.
        vendor_account: Key of the vendor's own account.
        encoding: Everything besides the user that decides what the backend sends.
    """

    id: int = 0
    vendor_account: int = 0
    encoding: str = attrs.field(default="", repr=False)


def resolve(db: sqlite3.Connection, account: Account) -> StoredAccount:
    """Return an account as it is stored, with the encoding that it has now."""
    row = db.execute(SELECT_ACCOUNT, [account.backend, account.name, account.name]).fetchone()
    stored = StoredAccount(*row) if row else StoredAccount()
    return attrs.evolve(stored, encoding=account.encoding or stored.encoding)


def registered(db: sqlite3.Connection, account: Account) -> StoredAccount:
    """Return an account as it is stored; it is registered if it is new."""
    if not resolve(db, account).id:
        bind_account(db, account)
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
            "INSERT INTO accounts (backend, name, vendor_account, encoding, used)"
            " VALUES (?, ?, 0, ?, (SELECT 1 + coalesce(max(used), 0) FROM accounts))",
            [account.backend, account.name, account.encoding],
        )
        db.execute("UPDATE accounts SET vendor_account = id WHERE vendor_account = 0")
    _share_vendor_account(db, account.name)
    return bool(renamed)


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
    # What was sent to the newer one without an answer may have changed what the older one confirmed.
    db.execute(
        "UPDATE confirmed SET in_doubt = 1 WHERE vendor_account = ? AND (row_id IN (SELECT row_id FROM pending WHERE"
        " account = ?) OR row_id IN (SELECT row_id FROM rejections WHERE account = ?))",
        [vendor_accounts[older], newer, newer],
    )
    for table in TABLES_BY_ACCOUNT:
        db.execute(f"UPDATE OR IGNORE {table} SET account = ? WHERE account = ?", [newer, older])
        db.execute(f"DELETE FROM {table} WHERE account = ?", [older])
    _merge_vendor_accounts(db, vendor_accounts[older], vendor_accounts[newer])
    db.execute("DELETE FROM accounts WHERE id = ?", [older])
    db.execute(
        "UPDATE reasons SET users = (SELECT count(*) FROM rejections WHERE reason = id)"
        " + (SELECT count(*) FROM losses WHERE reason = id)"
    )
    db.execute("DELETE FROM reasons WHERE users = 0")


def _share_vendor_account(db: sqlite3.Connection, name: str) -> None:
    """Make all accounts of that *name* share what the vendor confirmed; those without a name may all be different."""
    if not name:
        return
    rows = db.execute("SELECT DISTINCT vendor_account FROM accounts WHERE name = ? ORDER BY vendor_account", [name])
    (first,), *others = rows.fetchall()
    for (other,) in others:
        # Either one may have been used last.
        db.execute(
            "UPDATE confirmed SET in_doubt = 1 WHERE vendor_account = ? AND row_id IN"
            " (SELECT row_id FROM confirmed WHERE vendor_account = ?)",
            [first, other],
        )
        _merge_vendor_accounts(db, other, first)


def _merge_vendor_accounts(db: sqlite3.Connection, older: int, newer: int) -> None:
    """Give *newer* what *older* knows of users that *newer* knows nothing of."""
    if older == newer:
        return
    # A removal must also reach the fields that only the older one knows.
    db.create_function("with_names_of", 2, add_names, deterministic=True)
    db.execute(
        "UPDATE confirmed SET fields = with_names_of(confirmed.fields, known.fields) FROM confirmed AS known"
        " WHERE confirmed.vendor_account = ? AND known.vendor_account = ? AND known.row_id = confirmed.row_id",
        [newer, older],
    )
    db.execute("UPDATE OR IGNORE confirmed SET vendor_account = ? WHERE vendor_account = ?", [newer, older])
    db.execute("DELETE FROM confirmed WHERE vendor_account = ?", [older])
    for table in ("jobs", "accounts"):
        db.execute(f"UPDATE {table} SET vendor_account = ? WHERE vendor_account = ?", [newer, older])
