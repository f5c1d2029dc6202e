"""Whatever a damaged file contains, each method and each command works or raises LedgerError, and nothing hangs."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import attrs
import pytest
from support.commands import run_command
from support.damage import damage
from support.in_process import FAST, World
from support.ledgers import A, B, database_of, dropped, fields_of
from support.profiles import examples
from support.users import user
from support.vendors import Vendors

from replay_identity import REMOVE, Accepted, Rejected, UserTraits, dry_run, forget
from replay_identity.adapters import Violation
from replay_identity.errors import LedgerError
from replay_identity.ledger import Batch, Checkpoint, Claim, JobEntries, JobEntry, Ledger, Settlement, StoredJob
from replay_identity.outcomes import Broken, Outcome

T = TypeVar("T")

NAMES = ("fullstory", "logrocket")
EXTRA = {"day": date(2026, 1, 1), "price": Decimal("1.5"), "address": {"city": "x", "n": [1, {"a": "b"}]}}
USERS = [user(f"u{number}", plan="pro", seats=number, **EXTRA) for number in range(60)]
# Seconds after which a run counts as one that does not end; it takes less than one.
HANGS_AFTER_S = 30.0


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ledger with users in every state, and with jobs and a checkpoint."""
    path = tmp_path_factory.mktemp("intact") / "ledger.db"
    with Ledger(path) as ledger:
        ledger.upsert(USERS[:40], NAMES)
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        traits: dict[str, Any] = {"a": 1, "b": {"c": REMOVE}}
        ledger.upsert([UserTraits("m1", name="N", traits=traits, types={"a": "int"}, observed_at=moment)], NAMES)
        for name in NAMES:
            ledger.settle(name, list(settlements(ledger, name)))
        ledger.upsert([user(f"u{number}", plan="free") for number in range(0, 40, 3)], NAMES)
        entries = [
            JobEntry(one.row_id, one.version, one.user.user_id, None, (dropped("traits.plan"),))
            for one in ledger.claim(NAMES[0], limit=6)
        ]
        ledger.name_job(ledger.start_job(NAMES[0], Batch("key-1", entries[:3], b"body")), "job-1")
        ledger.start_job(NAMES[0], Batch("key-2", entries[3:], b'{"requests": []}'))
        ledger.set_checkpoint("read", Checkpoint("token", 1_700_000_000, b"{}"))
        ledger.upsert(USERS[40:], NAMES[1:])
    return path


def settlements(ledger: Ledger, name: str) -> Iterator[Settlement]:
    """Yield a settlement for each claim: accepted, with a loss, rejected, broken or none."""
    outcomes: list[Outcome | None] = [
        Accepted(name),
        Accepted(name, adjustments=(dropped("traits.plan"),)),
        Rejected(name, code="bad", message="m"),
        Rejected(name, (Violation("traits.plan", "too-long", 5, 9, "characters"),)),
        Broken(name, "TypeError"),
        None,
    ]
    for number, claim in enumerate(ledger.claim(name)):
        compared, _ = ledger.compare(claim, fields_of(claim.user))
        outcome = outcomes[number % len(outcomes)]
        if outcome is not None:
            yield Settlement(claim.row_id, claim.version, outcome, compared.fields)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Drop the warnings of what cannot be decoded."""
    logger = logging.getLogger("replay_identity.ledger")
    logger.disabled = True
    yield
    logger.disabled = False


def damaged(intact: Path, folder: Path, seed: int) -> Path:
    """Return a damaged copy of the file in *folder*."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(intact, folder / "ledger.db")
    damage(folder / "ledger.db", Random(seed))  # noqa: S311  # The same on every run.
    return folder / "ledger.db"


def attempt(act: Callable[[], T]) -> T | None:
    """Return the result of *act*, or None if it raises LedgerError."""
    with suppress(LedgerError):
        return act()
    return None


def use_all(ledger: Ledger, name: str) -> None:
    """Call every method, also after others failed."""
    claims: Sequence[Claim] = attempt(lambda: ledger.claim(name, limit=30)) or ()
    outcomes = [Settlement(one.row_id, one.version, Accepted(name), one.fields) for one in claims[:10]]
    outcomes += [Settlement(one.row_id, one.version, Rejected(name, code="bad")) for one in claims[10:20]]
    for claim in claims[:5]:
        attempt(partial(ledger.compare, claim, {"plan": "x"}))
        attempt(partial(ledger.stored_names, claim))
    for job in attempt(lambda: ledger.jobs(name)) or ():
        entries = attempt(partial(ledger.entries, job)) or JobEntries()
        attempt(partial(ledger.body, job))
        attempt(partial(ledger.name_job, job, "job"))
        attempt(partial(ledger.split_job, name, job, [Batch("1", entries[:1], b""), Batch("2", entries[1:], b"")]))
        attempt(partial(ledger.end_job, name, job, outcomes))
    newer = UserTraits("m1", traits={"a": 2}, observed_at=datetime(2026, 1, 2, tzinfo=UTC))
    acts: list[Callable[[], Any]] = [
        lambda: list(ledger.rejected(name)),
        lambda: list(ledger.losses(name)),
        lambda: ledger.pending_count(name),
        lambda: ledger.still_current(name, claims),
        lambda: ledger.settle(name, outcomes),
        lambda: ledger.upsert([*USERS, newer], [name]),
        lambda: ledger.upsert([user("u1", plan="z")], [name], replace=True),
        lambda: ledger.requeue_rejected(name),
        ledger.counts,
        lambda: repr(ledger.status_of("u3")),
        lambda: ledger.checkpoint("read"),
        lambda: ledger.set_checkpoint("read", None),
        lambda: ledger.is_in_flight("u3"),
        lambda: ledger.forget("u7"),
        lambda: ledger.forget("m1"),
        lambda: ledger.invalidate(name),
        ledger.purge,
        lambda: read_copy(ledger),
    ]
    for act in acts:
        attempt(act)


def read_copy(ledger: Ledger) -> None:
    """Read a temporary copy."""
    with Ledger.temporary_copy(ledger) as copy:
        copy.counts()


def test_every_method_raises_only_ledger_errors(intact: Path, tmp_path: Path) -> None:
    """Or it works, since not all damage can be noticed."""
    for seed in range(examples(400)):
        path = damaged(intact, tmp_path / "damaged", seed)

        with suppress(LedgerError), Ledger(path) as ledger:
            for name in NAMES:
                use_all(ledger, name)


def test_a_run_raises_only_ledger_errors(intact: Path, tmp_path: Path) -> None:
    """And it ends."""
    for seed in range(examples(120)):
        path = damaged(intact, tmp_path / "damaged", 10_000 + seed)

        with suppress(LedgerError), closing(World(path)) as world:
            world.options = dict.fromkeys(NAMES, attrs.evolve(FAST, patience=0.5))
            run_all(world)


def run_all(world: World) -> None:
    """Sync, deliver and count, and check that nothing had to be stopped."""
    stop = threading.Event()
    timer = threading.Timer(HANGS_AFTER_S, stop.set)
    timer.start()
    try:
        attempt(lambda: world.sync(USERS, stop=stop).as_dict())
        attempt(lambda: world.sync(stop=stop).as_dict())
        attempt(lambda: dry_run(USERS, world.backends, ledger=world.ledger).as_dict())
    finally:
        timer.cancel()
    assert not stop.is_set()


def test_deletion_raises_only_ledger_errors(intact: Path, tmp_path: Path, vendors: Vendors) -> None:
    """Nothing was sent then."""
    for seed in range(examples(80)):
        path = damaged(intact, tmp_path / "damaged", 20_000 + seed)

        with suppress(LedgerError), Ledger(path) as ledger:
            forget("u7", vendors.backends, ledger=ledger, lease_timeout=1)


def test_every_command_ends_with_its_code(
    intact: Path, tmp_path: Path, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 2 and one line about the ledger, or as without damage."""
    monkeypatch.chdir(tmp_path)
    quick = "patience = 0.5\nwait_initial = 0.01\nwait_max = 0.02\npoll_initial = 0.01\npoll_max = 0.02\n"
    Path("replay-identity.toml").write_text("".join(f"[delivery.{name}]\n{quick}" for name in NAMES))
    Path("users.jsonl").write_text('{"id": "u1", "plan": "x"}\n{"id": "new", "plan": "x"}\n')
    commands = ("status", "rejected --json", "rejected --output -", "retry", "deliver", "sync users.jsonl")
    for seed in range(examples(32)):
        for command in (*commands, "sync users.jsonl --dry-run", "forget u7 --yes"):
            path = damaged(intact, tmp_path / "damaged", 30_000 + seed)

            result = run_command(*command.split(), "--ledger", str(path), env=vendors.environment)

            assert result.code in {0, 1, 2, 75}
            assert result.code != 2 or ".db: " in result.err.splitlines()[-1]


STATEMENTS = {
    "a pending user without a desired state": "DELETE FROM desired",
    "a version that is a text": "UPDATE desired SET version = 'x'",
    "half a fingerprint": "UPDATE confirmed SET fields = x'00'",
    "a job of another size": "UPDATE jobs SET size = 7",
    "an entry before the first user": "UPDATE jobs SET entries = replace(CAST(entries AS TEXT), '[[1]', '[[-1]')",
    "an entry with a number for an id": "UPDATE jobs SET entries = replace(CAST(entries AS TEXT), '\"u1\"', '5')",
    "a job that has vanished": "DELETE FROM jobs",
    "a job without a body": "UPDATE jobs SET body = NULL",
    "a rejection with a number for a name": "UPDATE reasons SET text = '{\"error\": 5}'",
    "a user who is a list": 'UPDATE desired SET encoded = \'{"user_id": "u1", "traits": []}\'',
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_notices_what_contradicts_itself(tmp_path: Path, what: str) -> None:
    """SQLite finds nothing wrong with it."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.upsert([user("u1"), user("u2"), user("u3")], [A, B])
        first, second, third = ledger.claim(A)
        job = ledger.start_job(A, Batch("key", [JobEntry(first.row_id, 1, "u1")], b"body"))
        compared, _ = ledger.compare(second, {"plan": "x"})
        ledger.settle(A, [Settlement(second.row_id, second.version, Accepted(A), compared.fields)])
        ledger.settle(A, [Settlement(third.row_id, third.version, Broken(A, "TypeError"))])
        ledger.upsert([user("u2", plan="y")], [A])
        with database_of(ledger).transaction() as db:
            assert db.execute(STATEMENTS[what]).rowcount

        with pytest.raises(LedgerError, match="the ledger is damaged"):
            read(ledger, job)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger SET users = 1 << 60", "UPDATE ledger SET users = -1", "UPDATE ledger SET version = 'x'"],
)
def test_refuses_an_impossible_count(tmp_path: Path, statement: str) -> None:
    """The next users would get row ids that need too much memory, or are used already."""
    with Ledger(tmp_path / "ledger.db") as ledger, database_of(ledger).transaction() as db:
        db.execute(statement)

    with pytest.raises(LedgerError, match="the ledger is damaged"):
        Ledger(tmp_path / "ledger.db")


def read(ledger: Ledger, job: StoredJob) -> None:
    """Read what is stored about users, and about the job if it is still there."""
    ledger.claim(A)
    list(ledger.rejected(A))
    for each in ledger.jobs(A) or [job]:
        ledger.body(each)
        ledger.entries(each)


def test_does_not_wait_for_users_no_claim_finds(tmp_path: Path) -> None:
    """A run ends once nobody is pending."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.upsert([user(f"u{number}") for number in range(4)], [A])
        with database_of(ledger).transaction() as db:
            db.execute("UPDATE pending SET row_id = row_id - 10 WHERE row_id = 1")
            db.execute("UPDATE pending SET row_id = 'x' WHERE row_id = 2")
            db.execute("INSERT INTO pending (account, row_id, since) SELECT account, 1 << 60, 1 FROM pending LIMIT 1")
            db.execute("UPDATE pending SET not_before = 'x' WHERE row_id = 3")

        assert ledger.pending_count(A) == len(ledger.claim(A)) == 1
        with pytest.raises(LedgerError, match="the ledger is damaged"):
            ledger.next_due(A, now=0)
