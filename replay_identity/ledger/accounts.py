"""The accounts of a ledger: find them, register them, and merge two of them."""

import sqlite3
from typing import Final

from .codec import add_names
from .store import Account

# An account without a name is the one used last under the backend's name.
SELECT_ACCOUNT: Final = (
    "SELECT id, encoding FROM accounts WHERE backend = ? AND (name = ? OR ? = '') ORDER BY used DESC, id DESC LIMIT 1"
)
# Keyed by account and row id.
TABLES_BY_ACCOUNT: Final = ("pending", "confirmed", "rejections", "losses")


def resolve(db: sqlite3.Connection, account: Account) -> tuple[int, str]:
    """Return id and encoding of an account; the id is 0, which no account has, if the ledger was never used for it."""
    row = db.execute(SELECT_ACCOUNT, [account.backend, account.name, account.name]).fetchone()
    account_id, encoding = row or (0, "")
    return account_id, account.encoding or encoding


def account_id_of(db: sqlite3.Connection, account: Account) -> int:
    """Return the id of an account; 0, which no account has, if the ledger was never used for it."""
    return resolve(db, account)[0]


def registered(db: sqlite3.Connection, account: Account) -> tuple[int, str]:
    """Return id and encoding of an account, which is registered if it is new."""
    if not account_id_of(db, account):
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
    )
    if renamed.fetchall():
        return True
    db.execute(
        "INSERT INTO accounts (backend, name, encoding, used)"
        " VALUES (?, ?, ?, (SELECT 1 + coalesce(max(used), 0) FROM accounts))",
        [account.backend, account.name, account.encoding],
    )
    return False


def merge_accounts(db: sqlite3.Connection, older: int, newer: int) -> None:
    """Give *newer* what *older* knows of users that *newer* knows nothing of, and remove *older*."""
    db.execute(
        "DELETE FROM rejections WHERE account = ? AND row_id IN (SELECT row_id FROM pending WHERE account = ?)",
        [older, newer],
    )
    db.execute(
        "DELETE FROM pending WHERE account = ? AND row_id IN (SELECT row_id FROM rejections WHERE account = ?)",
        [older, newer],
    )
    # What was sent to the newer one without an answer may have changed what the older one confirmed.
    db.execute(
        "UPDATE confirmed SET in_doubt = 1 WHERE account = ? AND (row_id IN (SELECT row_id FROM pending WHERE"
        " account = ?) OR row_id IN (SELECT row_id FROM rejections WHERE account = ?))",
        [older, newer, newer],
    )
    # A removal must also reach the fields that only the older one knows.
    db.create_function("with_names_of", 2, add_names, deterministic=True)
    db.execute(
        "UPDATE confirmed SET fields = with_names_of(confirmed.fields, known.fields) FROM confirmed AS known"
        " WHERE confirmed.account = ? AND known.account = ? AND known.row_id = confirmed.row_id",
        [newer, older],
    )
    for table in TABLES_BY_ACCOUNT:
        db.execute(f"UPDATE OR IGNORE {table} SET account = ? WHERE account = ?", [newer, older])
        db.execute(f"DELETE FROM {table} WHERE account = ?", [older])
    db.execute("UPDATE jobs SET account = ? WHERE account = ?", [newer, older])
    db.execute("DELETE FROM accounts WHERE id = ?", [older])
    db.execute(
        "UPDATE reasons SET users = (SELECT count(*) FROM rejections WHERE reason = id)"
        " + (SELECT count(*) FROM losses WHERE reason = id)"
    )
    db.execute("DELETE FROM reasons WHERE users = 0")
