"""Keep a ledger in one SQLite file."""

import sqlite3
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from ..errors import LedgerError
from ..outcomes import Adjustment
from ..traits import UserTraits
from .accounts import (
    SELECT_ACCOUNT,
    SELECT_NAME,
    SELECT_OPENED,
    TABLES_BY_ACCOUNT,
    TABLES_BY_VENDOR_ACCOUNT,
    StoredAccount,
    adopt,
    bind_account,
    bind_key,
    registered,
    resolve,
    stored_account,
    with_stored_name,
)
from .batches import Batch, JobEntries, StoredJob
from .codec import (
    BYTES,
    NUMBER,
    PAIR_BYTES,
    UNKNOWN_VALUE,
    Fingerprints,
    decode,
    decode_desired,
    forget_values,
    has_removals,
    removed_paths,
    require,
    unpack,
)
from .database import MAX_ROWS, MEMORY, ROW_ID_END, Database, next_version, sql_in, sql_list
from .jobs import decode_entries, has_user, insert_job, is_in_flight
from .lease import take_lease
from .settlements import decode_losses, decode_rejection, drop_reasons, settle_users, store_names
from .store import (
    Account,
    AccountCounts,
    AccountInfo,
    AccountStatus,
    Checkpoint,
    Claim,
    IncomingUser,
    MirrorStart,
    MutableRowIds,
    PathsOf,
    RecentRejection,
    RejectedUser,
    RowIds,
    Settlement,
    UpsertResult,
    UserStatus,
    VanishedUser,
)
from .upserts import SELECT_SETTLED, HeldUsers, UpsertTarget, upsert_users


class SqliteStore:
    """A `Store` in one SQLite file, safe for threads, processes and forks.

    Its transactions begin with a write lock, so that there is one writer at a time.

    Args:
        path: The file, which is created if it does not exist; ``:memory:`` keeps everything in memory.

    Raises:
        LedgerError: The file cannot be used; every method may raise it.
    """

    def __init__(self, path: str | Path) -> None:
        self._database = Database(path)
        try:
            key: bytes = self._database.rows("SELECT key FROM ledger")[0][0]
        except BaseException:
            self._database.close()
            raise
        self.fingerprints = Fingerprints(key)
        self._names: dict[bytes, str] = {}
        self._memory_leases: dict[int, threading.Lock] = {}

    @property
    def path(self) -> str:
        """Return the absolute path of the file."""
        return self._database.path

    # Accounts

    def open_account(self, account: Account) -> AccountInfo:
        """Register *account* as the latest one of its backend, and return what was known of it."""
        with self._database.transaction() as db:
            is_known = bool(resolve(db, account).id) or bind_account(db, with_stored_name(db, account))
            stored = resolve(db, account)
            # Under another name of a backend, it may be an account that the ledger was used for.
            is_new = not is_known and stored.vendor_account == stored.id
            (name,) = db.execute(
                "UPDATE accounts SET encoding = ?, opened = 1, used = 1 + (SELECT max(used) FROM accounts)"
                " WHERE id = ? RETURNING name",
                [account.encoding, stored.id],
            ).fetchone()
            (version,) = db.execute("SELECT version FROM ledger").fetchone()
        others = (each for each in reversed(self.counts()) if each.backend == account.backend and each.account != name)
        return AccountInfo(is_new, tuple(others), version)

    def adopt_account(self, account: Account) -> bool:
        """Give *account*, once, the state of the account used before it; return False if there is none."""
        with self._database.transaction() as db:
            return adopt(db, account)

    def learn_organisation(self, key_account: str, name: str) -> str | None:
        """Store the account *key_account* as *name*; return the other name that it had before, or None."""
        opened = self._opened(key_account, name)
        with ExitStack() as leases:
            # Nobody may deliver to one of two accounts while they become one.
            leased = {each for each in opened if len(opened) > 1 and leases.enter_context(self._lease(each))}
            with self._database.transaction() as db:
                opened = {each for (each,) in db.execute(SELECT_OPENED, [key_account, name])}
                if len(opened) > 1 and not opened <= leased:
                    return None
                before = with_stored_name(db, Account("", key_account)).name
                bind_key(db, key_account, name)
        return None if before in {key_account, name} else before

    def _opened(self, *names: str) -> set[int]:
        return {each for (each,) in self._database.rows(SELECT_OPENED, *names)}

    def stored_name(self, account: str) -> str:
        """Return the name under which an account of that name is stored."""
        name: str = self._database.rows(SELECT_NAME, account)[0][0]
        return name

    def vendor_accounts(self, backends: Collection[str]) -> list[Account]:
        """Return one account for each account at a vendor, after registering *backends* that are new."""
        with self._database.transaction() as db:
            for backend in backends:
                registered(db, Account(backend))
            rows = db.execute(
                "SELECT backend, name FROM accounts WHERE id IN (SELECT min(id) FROM accounts GROUP BY vendor_account)"
                " ORDER BY id"
            )
            return [Account(backend, name) for backend, name in rows]

    def counts(self) -> list[AccountCounts]:
        """Return the counts of each account, the one used last at the end."""
        return [
            AccountCounts(backend, name, *self._database.rows(_SELECT_COUNTS, account_id)[0])
            for account_id, backend, name in self._database.rows(_SELECT_ACCOUNTS)
        ]

    # Users

    def upsert(
        self,
        users: Sequence[IncomingUser],
        accounts: Sequence[Account],
        *,
        replace: bool,
        held: MutableRowIds | None,
    ) -> UpsertResult:
        """Upsert *users*; the arguments are those of `Ledger.upsert`."""
        holding = None if held is None else HeldUsers(held)
        try:
            with self._database.transaction() as db:
                targets = {account.backend: UpsertTarget(registered(db, account)) for account in accounts}
                result = upsert_users(db, self.fingerprints, targets, users, replace=replace, held=holding)
        except BaseException:
            if holding is not None:
                holding.roll_back()
            raise
        if holding is not None:
            holding.release(result.released)
        return result

    def unchanged(self, users: Sequence[tuple[str, bytes]], accounts: Sequence[Account]) -> list[bool]:
        """Return True for each of *users* that an upsert would not change; the arguments are those of the ledger."""
        stored = [self._find(account) for account in accounts]
        batches = (users[start : start + MAX_ROWS] for start in range(0, len(users), MAX_ROWS))
        return [is_unchanged for batch in batches for is_unchanged in self._unchanged(batch, stored)]

    def _unchanged(self, users: Sequence[tuple[str, bytes]], accounts: Sequence[StoredAccount]) -> Iterator[bool]:
        """Yield what `unchanged` returns, for up to `MAX_ROWS` users (`benchmarks/run.py --only rerun`)."""
        keys = [self.fingerprints.of_user_id(user_id) for user_id, _ in users]
        vendor_accounts = [account.vendor_account for account in accounts]
        sql = SELECT_SETTLED.format(accounts=sql_list(vendor_accounts), users=sql_list(keys))
        confirmed = set(self._database.rows(sql, *vendor_accounts, *keys))
        for key, (_, encoded) in zip(keys, users, strict=True):
            content = self.fingerprints.of_content(encoded)
            yield all(
                (key, account.vendor_account, self.fingerprints.of_source(content, account.encoding)) in confirmed
                for account in accounts
            )

    def claim(
        self, account: Account, *, after: int, before: int | None, limit: int, now: float, skip: RowIds
    ) -> list[Claim]:
        """Return up to *limit* pending users; the arguments are those of `Ledger.claim`."""
        with self._database.transaction() as db:
            stored = resolve(db, account)
            db.execute("UPDATE accounts SET opened = 1 WHERE id = ? AND NOT opened", [stored.id])
            pending = db.execute(
                "SELECT row_id FROM pending WHERE account = ? AND row_id > ? AND row_id < ? AND not_before <= ?"
                " ORDER BY row_id",
                [stored.id, after, ROW_ID_END if before is None else before, now],
            )
            row_ids = list(islice((row_id for (row_id,) in pending if row_id not in skip), limit))
            pending.close()
            claims = _select_claims(db, stored.vendor_account, row_ids)
            if len(claims) != len(row_ids):
                raise LookupError  # In a damaged file, a pending user may have no desired state.
            claims = self._with_rejections(db, account.backend, stored, claims)
            # Until the vendor confirms again, what it has may differ from what it last confirmed.
            clause, parameters = sql_in(row_ids)
            db.execute(
                f"UPDATE confirmed SET in_doubt = 1 WHERE vendor_account = ? AND in_doubt = 0 AND row_id {clause}",
                [stored.vendor_account, *parameters],
            )
        return claims

    def _with_rejections(
        self, db: sqlite3.Connection, backend: str, account: StoredAccount, claims: list[Claim]
    ) -> list[Claim]:
        """Return *claims*, those of users whose desired state was rejected before with the rejection."""
        clause, parameters = sql_in([claim.row_id for claim in claims])
        rows = db.execute(
            "SELECT rejections.row_id, source, encoded, text FROM rejections"
            " JOIN desired ON desired.row_id = rejections.row_id JOIN reasons ON id = reason"
            f" WHERE account = ? AND rejections.row_id {clause}",
            [account.id, *parameters],
        )
        rejected = {
            row_id: decode_rejection(backend, text)
            for row_id, source, encoded, text in rows
            if source == self.fingerprints.of_source(self.fingerprints.of_content(encoded), account.encoding)
        }
        if not rejected:
            return claims
        return [
            attrs.evolve(claim, rejection=rejected[claim.row_id]) if claim.row_id in rejected else claim
            for claim in claims
        ]

    def still_current(self, account: Account, claims: Sequence[Claim]) -> list[Claim]:
        """Return the *claims* whose users are pending and have not changed since."""
        clause, parameters = sql_in([claim.row_id for claim in claims])
        sql = f"SELECT desired.row_id, version FROM {_PENDING_USERS} WHERE desired.row_id {clause}"
        versions: dict[int, int] = dict(self._database.rows(sql, self._find(account).id, *parameters))
        return [claim for claim in claims if versions.get(claim.row_id) == claim.version]

    def settle(self, account: Account, settlements: Sequence[Settlement], *, paths_of: PathsOf, now: int) -> set[int]:
        """Record outcomes; return the row ids of the users who are no longer pending."""
        with self._transaction_with_names() as db:
            return settle_users(db, self.fingerprints, resolve(db, account), settlements, paths_of=paths_of, now=now)

    def has_other_settings(self, account: Account) -> bool:
        """Return True if the account was opened with other settings since."""
        return self._find(account).has_other_settings

    def pending_count(self, account: Account, *, due_at: float | None = None) -> int:
        """Return how many users are pending, or how many of them may be claimed *due_at* that time."""
        # In a damaged file there may be others, which no claim finds: a run would wait for them without end.
        sql = f"SELECT count(*) FROM pending WHERE account = ? AND row_id > 0 AND row_id < {ROW_ID_END}"
        parameters = [self._find(account).id, inf if due_at is None else due_at]
        return int(self._database.rows(f"{sql} AND not_before <= ?", *parameters)[0][0])

    def pending_at_vendor(self, account: Account) -> int:
        """Return how many users are pending at the vendor's account, whatever the name of the backend."""
        sql = "SELECT count(*) FROM accounts JOIN pending ON account = id WHERE vendor_account = ?"
        return int(self._database.rows(sql, self._find(account).vendor_account)[0][0])

    def next_due(self, account: Account, *, now: float) -> float | None:
        """Return when the first user who was deferred beyond *now* may be claimed; None if there is none."""
        sql = "SELECT min(not_before) FROM pending WHERE account = ? AND not_before > ?"
        due: float | None = self._database.rows(sql, self._find(account).id, now)[0][0]
        with self._database.translated_errors():
            return None if due is None else float(due)

    def rejected_since(self, account: Account, version: int) -> list[RecentRejection]:
        """Return the users who were rejected after that version of the ledger."""
        sql = f"SELECT row_id, version, since FROM rejections WHERE account = ? AND recorded > ? AND {_NOT_PENDING}"
        return [RecentRejection(*row) for row in self._database.rows(sql, self._find(account).id, version)]

    def rejected(self, account: Account) -> Iterator[RejectedUser]:
        """Yield the rejected users, and why."""
        for encoded, text, rejected_at in self._pages(_SELECT_REJECTED, self._find(account).id):
            with self._database.translated_errors():
                rejected = RejectedUser(decode(encoded), decode_rejection(account.backend, text), rejected_at)
            yield rejected

    def losses(self, account: Account) -> Iterator[tuple[Adjustment, ...]]:
        """Yield what was lost, per user."""
        for (text,) in self._pages(_SELECT_LOSSES, self._find(account).vendor_account):
            with self._database.translated_errors():
                losses = decode_losses(text)
            yield losses

    def status_of(self, user_id: str) -> UserStatus | None:
        """Return what is known of the user of that id, or None."""
        with self._database.transaction() as db:
            row_id = self._row_id(db, user_id)
            if row_id is None:
                return None
            accounts = [Account(backend, name) for _, backend, name in db.execute(_SELECT_ACCOUNTS)]
            claims = {
                (account.backend, account.name): _select_claims(db, resolve(db, account).vendor_account, [row_id])
                for account in accounts
            }
            statuses = [self._account_status(db, row_id, account, user_id) for account in accounts]
            desired = next((claim.user for found in claims.values() for claim in found), None)
        return UserStatus(tuple(statuses), desired, {key: found[0] for key, found in claims.items() if found})

    def _account_status(self, db: sqlite3.Connection, row_id: int, account: Account, user_id: str) -> AccountStatus:
        stored = resolve(db, account)
        parameters = [stored.id, row_id]
        pending = db.execute("SELECT not_before FROM pending WHERE account = ? AND row_id = ?", parameters).fetchone()
        confirmed = db.execute(
            "SELECT fields, in_doubt, confirmed_at FROM confirmed WHERE vendor_account = ? AND row_id = ?",
            [stored.vendor_account, row_id],
        ).fetchone()
        rejection = db.execute(
            "SELECT text, rejected_at FROM rejections JOIN reasons ON id = reason WHERE account = ? AND row_id = ?",
            parameters,
        ).fetchone()
        lost = db.execute(
            "SELECT text FROM losses JOIN reasons ON id = reason WHERE vendor_account = ? AND row_id = ?",
            [stored.vendor_account, row_id],
        ).fetchone()
        jobs = db.execute("SELECT entries FROM jobs WHERE vendor_account = ?", [stored.vendor_account])
        fields, in_doubt, confirmed_at = confirmed or (b"", 0, None)
        known = [name for name, value in unpack(fields).items() if value != UNKNOWN_VALUE]
        return AccountStatus(
            account.backend,
            account.name,
            pending=pending is not None,
            not_before=(pending[0] or None) if pending else None,
            in_doubt=bool(in_doubt),
            in_job=any(has_user(entries, user_id) for (entries,) in jobs),
            confirmed_at=confirmed_at,
            confirmed_fields=tuple(sorted(_select_names(db, known))),
            rejection=decode_rejection(account.backend, rejection[0]) if rejection and not pending else None,
            rejected_at=rejection[1] if rejection and not pending else None,
            losses=decode_losses(lost[0]) if lost else (),
        )

    def field_names(self, fingerprints: Collection[bytes]) -> list[str]:
        """Return the names of fields by the fingerprints of the names; unknown ones are left out."""
        if any(name not in self._names for name in fingerprints):
            self._names = dict(self._database.rows("SELECT fingerprint, name FROM fields"))
        return [self._names[name] for name in fingerprints if name in self._names]

    def invalidate(self, account: Account) -> None:
        """Invalidate everything that was confirmed."""
        with self._database.transaction() as db:
            vendor_account = resolve(db, account).vendor_account
            # The values are erased as well, or all fields would count as confirmed as soon as one is.
            db.create_function("forget_values", 1, forget_values, deterministic=True)
            db.execute(
                "UPDATE confirmed SET source = x'', fields = forget_values(fields), in_doubt = 1"
                " WHERE vendor_account = ?",
                [vendor_account],
            )
            # Claims in flight were compared with what was confirmed: as versions of their own, they settle nobody.
            version = next_version(db)
            db.execute(
                "UPDATE desired SET version = ? WHERE row_id IN"
                " (SELECT row_id FROM accounts JOIN pending ON account = id WHERE vendor_account = ?)",
                [version, vendor_account],
            )

    def requeue_rejected(self, account: Account) -> int:
        """Make rejected users pending again, and return how many."""
        with self._database.transaction() as db:
            account_id = resolve(db, account).id
            requeued = db.execute(
                "INSERT OR IGNORE INTO pending (account, row_id, since)"
                " SELECT account, row_id, ledger.version FROM rejections, ledger WHERE account = ?",
                [account_id],
            ).rowcount
            reasons = db.execute("DELETE FROM rejections WHERE account = ? RETURNING reason", [account_id]).fetchall()
            drop_reasons(db, [reason for (reason,) in reasons])
        return requeued

    def is_in_flight(self, user_id: str) -> bool:
        """Return True if a job in flight includes the user of that id."""
        with self._database.transaction() as db:
            return is_in_flight(db, user_id)

    def forget(self, user_id: str) -> bool:
        """Erase everything about the user of that id; return False if they are unknown."""
        with self._database.transaction() as db:
            if is_in_flight(db, user_id):
                raise LedgerError(self.path, "a job in flight includes the user", "deliver first")
            was_mirrored = db.execute("DELETE FROM mirrored WHERE user_id = ?", [user_id]).rowcount > 0
            is_known = self._erase_user(db, user_id) or was_mirrored
        if is_known:
            self.purge()
        return is_known

    def _erase_user(self, db: sqlite3.Connection, user_id: str) -> bool:
        """Erase what is stored for delivery of a user; return False if there is nothing."""
        row_id = self._row_id(db, user_id)
        if row_id is None:
            return False
        reasons: list[tuple[int]] = []
        for account_id, vendor_account in db.execute("SELECT id, vendor_account FROM accounts").fetchall():
            for key, value, tables in (
                ("account", account_id, TABLES_BY_ACCOUNT),
                ("vendor_account", vendor_account, TABLES_BY_VENDOR_ACCOUNT),
            ):
                for table in tables:
                    where = f"FROM {table} WHERE {key} = ? AND row_id = ?"
                    if table in {"rejections", "losses"}:
                        reasons += db.execute(f"SELECT reason {where}", [value, row_id])
                    db.execute(f"DELETE {where}", [value, row_id])
        drop_reasons(db, [reason for (reason,) in reasons])
        db.execute("DELETE FROM desired WHERE row_id = ?", [row_id])
        db.execute("DELETE FROM users WHERE id_fingerprint = ?", [self._id_fingerprint(user_id)])
        return True

    # Jobs

    def start_jobs(
        self, account: Account, batches: Iterable[Batch], *, replaced: StoredJob | None, now: int
    ) -> list[StoredJob]:
        """Store batches before they are sent; they replace a job if one is given."""
        with self._transaction_with_names() as db:
            stored = registered(db, account)
            encoding = self.fingerprints.of_encoding(stored.encoding)
            if replaced is not None:
                # The parts are those of an older batch, which may have been encoded with other settings.
                sql = "DELETE FROM jobs WHERE id = ? RETURNING encoding"
                ((encoding,),) = db.execute(sql, [replaced.id]).fetchall()
            return [insert_job(db, stored.vendor_account, encoding, batch, now=now) for batch in batches]

    def name_job(self, job: StoredJob, vendor_job: str) -> None:
        """Store the vendor's id of a job, and erase its body."""
        with self._database.transaction() as db:
            db.execute("UPDATE jobs SET vendor_job = ?, body = NULL WHERE id = ?", [vendor_job, job.id])

    def end_job(
        self, account: Account, job: StoredJob, settlements: Sequence[Settlement], *, paths_of: PathsOf, now: int
    ) -> set[int]:
        """Delete a job and settle its users; return what `settle` returns."""
        with self._transaction_with_names() as db:
            encoded = db.execute("DELETE FROM jobs WHERE id = ? RETURNING encoding", [job.id]).fetchone()
            stored = resolve(db, account)
            if encoded is None or encoded[0] != self.fingerprints.of_encoding(stored.encoding):
                stored = attrs.evolve(stored, has_other_settings=True)
            return settle_users(db, self.fingerprints, stored, settlements, paths_of=paths_of, now=now)

    def jobs(self, account: Account) -> list[StoredJob]:
        """Return the jobs that have not ended, the oldest first."""
        return [StoredJob(*row) for row in self._database.rows(_SELECT_JOBS, self._find(account).vendor_account)]

    def entries(self, job: StoredJob) -> JobEntries:
        """Return the entries of a job, in the order of the batch's items."""
        rows = self._database.rows("SELECT entries, field_values FROM jobs WHERE id = ?", job.id)
        with self._database.translated_errors():
            entries = decode_entries(*rows[0])
            if len(entries) != job.size:
                raise ValueError(job.size)
        return entries

    def body(self, job: StoredJob) -> bytes:
        """Return the request body of a job whose id at the vendor is not known yet."""
        rows = self._database.rows("SELECT body FROM jobs WHERE id = ?", job.id)
        with self._database.translated_errors():
            body: bytes = rows[0][0]
            require(BYTES, body)
        return body

    # Checkpoints

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return where the read of that *name* resumes; None if it starts at the beginning."""
        rows = self._database.rows("SELECT token, stored_at, stats FROM checkpoints WHERE name = ?", name)
        return Checkpoint(*rows[0]) if rows else None

    def set_checkpoint(self, name: str, checkpoint: Checkpoint | None) -> None:
        """Store where the read of that *name* resumes; None when it has finished."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM checkpoints WHERE name = ?", [name])
            if checkpoint is not None:
                db.execute(
                    "INSERT INTO checkpoints (name, token, stored_at, stats) VALUES (?, ?, ?, ?)",
                    [name, checkpoint.token, checkpoint.stored_at, checkpoint.stats],
                )

    # The mirror

    def begin_mirror(self) -> MirrorStart:
        """Begin a run of the mirror."""
        with self._database.transaction() as db:
            run, completed = db.execute(
                "UPDATE ledger SET mirror_run = mirror_run + 1 RETURNING mirror_run, mirror_completed"
            ).fetchone()
            (known,) = db.execute("SELECT count(*) FROM mirrored").fetchone()
        return MirrorStart(run, known, is_first=not completed)

    def mark_mirrored(self, run: int, user_ids: Collection[str]) -> None:
        """Record that the source has these users in that run."""
        with self._database.transaction() as db:
            # Two runs may overlap: the newer one wins.
            db.executemany(
                "INSERT INTO mirrored (user_id, run) VALUES (?, ?)"
                " ON CONFLICT (user_id) DO UPDATE SET run = max(run, excluded.run), deleted_at = '[]'",
                [(user_id, run) for user_id in user_ids],
            )

    def end_mirror(self, run: int) -> int:
        """Record that a run has read its whole source, and return how many users have vanished."""
        with self._database.transaction() as db:
            db.execute("UPDATE ledger SET mirror_completed = max(mirror_completed, ?)", [run])
            return int(db.execute("SELECT count(*) FROM mirrored WHERE run < ?", [run]).fetchone()[0])

    def vanished(self, run: int, *, after: str, limit: int) -> list[VanishedUser]:
        """Return up to *limit* users who were last marked before that run, in the order of their ids."""
        rows = self._database.rows(
            "SELECT user_id, deleted_at FROM mirrored WHERE run < ? AND user_id > ? ORDER BY user_id LIMIT ?",
            run,
            after,
            limit,
        )
        with self._database.translated_errors():
            return [VanishedUser(user_id, frozenset(orjson.loads(deleted_at))) for user_id, deleted_at in rows]

    def forget_vanished(self, user_ids: Collection[str]) -> set[str]:
        """Erase everything about these users except that they vanished; return those in jobs, who are not erased."""
        with self._database.transaction() as db:
            in_flight = {user_id for user_id in user_ids if is_in_flight(db, user_id)}
            for user_id in user_ids:
                if user_id not in in_flight:
                    self._erase_user(db, user_id)
        self.purge()
        return in_flight

    def settle_vanished(self, run: int, users: Sequence[VanishedUser], *, accounts: Collection[str]) -> None:
        """Record where users were deleted; erase those who need not be deleted at any of *accounts* any more."""
        with self._database.transaction() as db:
            db.executemany(
                "UPDATE mirrored SET deleted_at = ? WHERE user_id = ? AND run < ?",
                [(orjson.dumps(sorted(user.deleted_at)).decode(), user.user_id, run) for user in users],
            )
            db.executemany(
                "DELETE FROM mirrored WHERE user_id = ? AND run < ?",
                [(user.user_id, run) for user in users if user.deleted_at.issuperset(accounts)],
            )

    # The file

    @contextmanager
    def lease(self, account: Account) -> Generator[bool]:
        """Hold the right to deliver to the vendor's account; yield False if it is held already."""
        stored = self._find(account)
        if not stored.id:
            with self._database.transaction() as db:
                stored = registered(db, account)
        with self._lease(stored.vendor_account) as is_ours:
            # Another process may have merged the account with another one meanwhile.
            yield is_ours and self._find(account).vendor_account == stored.vendor_account

    def _lease(self, vendor_account: int) -> AbstractContextManager[bool]:
        is_in_memory = self.path == MEMORY
        return self._memory_lease(vendor_account) if is_in_memory else take_lease(self.path, vendor_account)

    @contextmanager
    def _memory_lease(self, vendor_account: int) -> Generator[bool]:
        """Hold a lease among the threads of this process; nobody else has the ledger."""
        lock = self._memory_leases.setdefault(vendor_account, threading.Lock())
        is_ours = lock.acquire(blocking=False)
        try:
            yield is_ours
        finally:
            if is_ours:
                lock.release()

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file to *path*, which must not exist."""
        self._database.copy_to(path)

    def purge(self) -> bool:
        """Truncate SQLite's write-ahead log, so that no erased value is left in it."""
        return self._database.checkpoint_wal()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _transaction_with_names(self) -> Generator[sqlite3.Connection]:
        """Yield a transaction that also stores the names of fields that were fingerprinted since the last one."""
        new_names = self.fingerprints.new_names
        with self._database.transaction() as db:
            names = store_names(db, new_names)
            yield db
        for name in names:
            new_names.pop(name, None)

    def _find(self, account: Account) -> StoredAccount:
        return stored_account(account, self._database.rows(SELECT_ACCOUNT, account.name, account.backend))

    def _row_id(self, db: sqlite3.Connection, user_id: str) -> int | None:
        key = self._id_fingerprint(user_id)
        row = db.execute("SELECT row_id FROM users WHERE id_fingerprint = ?", [key]).fetchone()
        return None if row is None else row[0]

    def _id_fingerprint(self, user_id: str) -> bytes | None:
        return self.fingerprints.of_id(UserTraits(user_id))

    def _pages(self, sql: str, account_id: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that *sql* selects, page by page, so that other threads and processes can work in between."""
        after = 0
        while rows := self._database.rows(sql, account_id, after, MAX_ROWS):
            yield from (row[1:] for row in rows)
            after = rows[-1][0]


_PENDING_USERS: Final = "desired JOIN pending ON account = ? AND pending.row_id = desired.row_id"
_SELECT_ACCOUNTS: Final = "SELECT id, backend, name FROM accounts ORDER BY used, id"
_SELECT_JOBS: Final = (
    "SELECT id, idempotency_key, size, created_at, vendor_job FROM jobs WHERE vendor_account = ? ORDER BY id"
)
# A rejection is that of an older state while the user is pending.
_NOT_PENDING: Final = (
    "NOT EXISTS (SELECT 1 FROM pending"
    " WHERE pending.account = rejections.account AND pending.row_id = rejections.row_id)"
)
_SELECT_COUNTS: Final = (
    "SELECT (SELECT count(*) FROM pending WHERE account = accounts.id),"
    " (SELECT count(*) FROM confirmed WHERE confirmed.vendor_account = accounts.vendor_account),"
    f" (SELECT count(*) FROM rejections WHERE account = accounts.id AND {_NOT_PENDING}),"
    " (SELECT count(*) FROM losses WHERE losses.vendor_account = accounts.vendor_account),"
    " (SELECT count(*) FROM jobs WHERE jobs.vendor_account = accounts.vendor_account)"
    " FROM accounts WHERE id = ?"
)
_SELECT_REJECTED: Final = (
    "SELECT rejections.row_id, encoded, text, rejected_at FROM rejections"
    " JOIN desired ON desired.row_id = rejections.row_id JOIN reasons ON id = reason"
    f" WHERE account = ? AND rejections.row_id > ? AND {_NOT_PENDING} ORDER BY rejections.row_id LIMIT ?"
)
_SELECT_LOSSES: Final = (
    "SELECT row_id, text FROM losses JOIN reasons ON id = reason"
    " WHERE vendor_account = ? AND row_id > ? ORDER BY row_id LIMIT ?"
)


def _select_claims(db: sqlite3.Connection, vendor_account: int, row_ids: Sequence[int]) -> list[Claim]:
    """Return claims of the users in *row_ids* who have a desired state, in ascending order."""
    clause, parameters = sql_in(row_ids)
    rows = db.execute(
        "SELECT desired.row_id, version, encoded, fields, in_doubt FROM desired"
        " LEFT JOIN confirmed ON vendor_account = ? AND confirmed.row_id = desired.row_id"
        f" WHERE desired.row_id {clause} ORDER BY desired.row_id",
        [vendor_account, *parameters],
    )
    return [_claim(*row) for row in rows]


def _claim(row_id: int, version: int, encoded: bytes, fields: bytes | None, in_doubt: int | None) -> Claim:
    require(NUMBER, version)
    if len(fields or b"") % PAIR_BYTES:
        raise ValueError(len(fields or b""))
    user, removed = decode_desired(encoded)
    if has_removals(encoded):
        removed = (*removed, *removed_paths(user.traits))
    return Claim(row_id, version, user, removed, fields or b"", bool(in_doubt))


def _select_names(db: sqlite3.Connection, fingerprints: Sequence[bytes]) -> list[str]:
    names = dict(db.execute("SELECT fingerprint, name FROM fields").fetchall())
    return [names[name] for name in fingerprints if name in names]
