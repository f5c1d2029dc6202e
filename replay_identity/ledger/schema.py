"""The tables of a ledger, and how those of an older one are brought up to date.

A value stands in `desired` and, while a batch is under way, in `jobs`; nowhere else. What is kept for good are digests.
"""

from typing import Final

# "RpId": tells SQLite files of ours from anybody else's.
APPLICATION_ID: Final = 0x52704964

_VERSION_1: Final = (
    # One row: the secret of the digests, the number of the last transaction that put something, and how many users.
    "CREATE TABLE ledger (key BLOB NOT NULL, version INTEGER NOT NULL, users INTEGER NOT NULL)",
    "CREATE TABLE backends (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Everyone ever put, by the digest of their id. moments: since when each field is known, by digest of its name.
    "CREATE TABLE users (identity BLOB PRIMARY KEY, id INTEGER NOT NULL, moments BLOB) WITHOUT ROWID",
    # What those should be at the vendors who are due somewhere or refused; erased once nobody needs it.
    "CREATE TABLE desired (user INTEGER PRIMARY KEY, version INTEGER NOT NULL, traits BLOB NOT NULL)",
    # Who has to be sent where.
    "CREATE TABLE due (backend INTEGER, user INTEGER, PRIMARY KEY (backend, user)) WITHOUT ROWID",
    # What each vendor last confirmed, as digests; in_doubt while something is under way that may change it.
    """CREATE TABLE held (
        backend INTEGER, user INTEGER, whole BLOB NOT NULL, fields BLOB NOT NULL, in_doubt INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    # Few reasons, told of many users. version: of what was refused.
    "CREATE TABLE reasons (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    """CREATE TABLE refusals (
        backend INTEGER, user INTEGER, version INTEGER NOT NULL, reason INTEGER NOT NULL, refused_at INTEGER NOT NULL,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    """CREATE TABLE losses (
        backend INTEGER, user INTEGER, reason INTEGER NOT NULL,
        PRIMARY KEY (backend, user)
    ) WITHOUT ROWID""",
    # Batches under way: what to send again after a crash, under which key, and who is in them.
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, backend INTEGER NOT NULL, idempotency_key TEXT NOT NULL, vendor_job TEXT,
        size INTEGER NOT NULL, created_at INTEGER NOT NULL, members BLOB NOT NULL, body BLOB
    )""",
)

_VERSION_2: Final = (
    # Readings of another vendor that are not finished, by a name that says from where to where: the page to go on with.
    """CREATE TABLE bookmarks (
        reading TEXT PRIMARY KEY, token TEXT NOT NULL, moment INTEGER NOT NULL, record BLOB NOT NULL
    )""",
)

# The statements that bring a ledger from one version to the next; the first make a new one.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1, _VERSION_2)
