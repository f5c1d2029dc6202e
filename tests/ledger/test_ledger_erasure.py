"""Values and ids leave the disk once they are delivered."""

import random
from pathlib import Path

import attrs
import pytest
from support.ledgers import A, B, bytes_on_disk, claim_one, database_of, deliver, dropped, settle
from support.users import user

from replay_identity import Accepted, Outcome, Rejected, Skipped, Unavailable, UserTraits
from replay_identity.ledger import Batch, JobEntry, Ledger
from replay_identity.outcomes import SkipReason

CANARY = UserTraits(
    "canary-id",
    name="canary-name",
    email="canary-mail",
    traits={"plan": "canary-plan", "company": {"tax": ["canary-tax"]}, "long": "canary" * 20_100},
    vendor_ids={A: "canary-vendor"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


def test_keeps_values_until_delivery(path: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])

    assert bytes_on_disk(path).count(b"canary") > 20_000


@pytest.mark.parametrize(
    "outcome", [Accepted(A), Accepted(A, vendor_id="canary-new", adjustments=(dropped("traits.plan"),))]
)
def test_erases_values_and_ids_after_delivery(path: Path, outcome: Accepted) -> None:
    """They leave the file and its write-ahead log as soon as the ledger is closed."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])
        settle(ledger, claim_one(ledger), outcome)

    assert b"canary" not in bytes_on_disk(path)
    with Ledger(path) as ledger:
        assert ledger.upsert([CANARY], [A])[A].unchanged == 1


def test_erases_the_values_of_skipped_users(path: Path) -> None:
    """Nobody needs them."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])
        settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    assert b"canary" not in bytes_on_disk(path)


def test_erases_values_after_the_last_backend(path: Path) -> None:
    """Values stay while a user is pending or rejected at any backend."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A, B])
        deliver(ledger, A)
        deliver(ledger, B, lambda _: Unavailable(B, "503"))
    assert b"canary" in bytes_on_disk(path)

    with Ledger(path) as ledger:
        deliver(ledger, B, lambda _: Rejected(B, code="400"))
    assert b"canary" in bytes_on_disk(path)

    with Ledger(path) as ledger:
        ledger.requeue_rejected(B)
        deliver(ledger, B)
    assert b"canary" not in bytes_on_disk(path)


def test_erases_overwritten_values(path: Path) -> None:
    """What is no longer desired is not kept."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])
        ledger.upsert([UserTraits("canary-id", name="x", email="x", traits=dict.fromkeys(CANARY.traits, "x"))], [A])

    assert b"canary-plan" not in bytes_on_disk(path)


def test_an_ended_job_leaves_nothing(path: Path) -> None:
    """Neither its body nor its entries stay on disk."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])
        deliver(ledger)
        entry = JobEntry(1, 1, "canary-id", "canary-vendor")
        named = ledger.name_job(ledger.start_job(A, Batch("key", [entry], b"canary" * 50_000)), "7")
        ledger.end_job(A, named)
        parts = ledger.split_job(A, ledger.start_job(A, Batch("key", [entry], b"canary")), [Batch("k", [entry], b"")])
        ledger.end_job(A, parts[0])

    assert b"canary" not in bytes_on_disk(path)


def test_erases_what_a_crash_left(path: Path) -> None:
    """The next run truncates the write-ahead log of the crashed one."""
    crashed = Ledger(path)
    crashed.upsert([CANARY], [A])
    deliver(crashed)
    assert b"canary" in bytes_on_disk(path)

    with Ledger(path):
        pass

    assert b"canary" not in bytes_on_disk(path)
    crashed.close()


def test_erases_users_of_all_sizes(path: Path) -> None:
    """SQLite may reorganise any pages while users come and go."""
    chance = random.Random(7)  # noqa: S311  # The same on every run.
    for _ in range(6):
        with Ledger(path) as ledger:
            users = [
                UserTraits(
                    f"canary-{chance.randrange(1000)}", name="canary" * chance.choice([1, 9, 60, 300, 900, 4000])
                )
                for _ in range(150)
            ]
            ledger.upsert(users, [A])
            deliver(ledger, A, lambda _: Accepted(A) if chance.random() < 0.5 else Unavailable(A, "503"))
    with Ledger(path) as ledger:
        deliver(ledger)

    assert b"canary" not in bytes_on_disk(path)


def rejection(message: str) -> Rejected:
    """Return a rejection whose message may quote a user."""
    return Rejected(A, code="400", message=message)


def reject(ledger: Ledger, message: str = "quotes a canary") -> None:
    """Reject the only user."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), rejection(message))


@pytest.mark.parametrize("end", ["accepted", "rejected otherwise", "skipped", "requeued"])
def test_erases_the_reason_of_an_ended_rejection(path: Path, end: str) -> None:
    """A vendor's message may be about one user."""
    with Ledger(path) as ledger:
        reject(ledger)
        if end == "requeued":
            ledger.requeue_rejected(A)
        else:
            ledger.upsert([user(plan="b")], [A])
            assert b"canary" in bytes_on_disk(path)
            outcomes: dict[str, Outcome] = {
                "accepted": Accepted(A),
                "rejected otherwise": rejection("other words"),
                "skipped": Skipped(A, SkipReason.NOTHING_TO_SEND),
            }
            settle(ledger, claim_one(ledger), outcomes[end])

    assert b"canary" not in bytes_on_disk(path)
    assert (b"other words" in bytes_on_disk(path)) == (end == "rejected otherwise")


@pytest.mark.parametrize("end", ["repaired", "lost otherwise", "unchanged and fits"])
def test_erases_the_reason_of_an_ended_loss(path: Path, end: str) -> None:
    """The name of a field that a vendor refuses may be about one user."""
    lost = (dropped("traits.plan.canary"),)
    with Ledger(path) as ledger:
        ledger.upsert([user(plan="a")], [A])
        settle(ledger, claim_one(ledger), Accepted(A, adjustments=lost))
        ledger.upsert([user(plan="a"), user(plan="b"), user(plan="a")], [A])
        outcomes: dict[str, Outcome] = {
            "repaired": Accepted(A),
            "lost otherwise": Accepted(A, adjustments=(dropped("traits.plan"),)),
            "unchanged and fits": Skipped(A, SkipReason.UNCHANGED),
        }
        assert b"canary" in bytes_on_disk(path)
        settle(ledger, claim_one(ledger), outcomes[end])
        assert [*ledger.losses(A)] == ([(dropped("traits.plan"),)] if end == "lost otherwise" else [])

    assert b"canary" not in bytes_on_disk(path)


def test_keeps_a_reason_that_somebody_needs(path: Path) -> None:
    """It is counted by user, at every account."""
    with Ledger(path) as ledger:
        ledger.upsert([user("u1"), user("u2")], [A, B])
        for backend in (A, B):
            deliver(ledger, backend, lambda _: rejection("quotes a canary"))
        ledger.requeue_rejected(A)
        deliver(ledger)
        ledger.forget("u1")
        assert [each.rejection for each in ledger.rejected(B)] == [
            attrs.evolve(rejection("quotes a canary"), backend=B)
        ]

        ledger.requeue_rejected(B)

    assert b"quotes a canary" not in bytes_on_disk(path)


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    """It holds traits until they are delivered."""
    with Ledger(path) as ledger:
        ledger.upsert([user()], [A])
        modes = {file.name: file.stat().st_mode & 0o077 for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(["ledger.db", "ledger.db-wal", "ledger.db-shm"], 0)


def test_each_ledger_has_its_own_key(tmp_path: Path) -> None:
    """Fingerprints of equal values differ between two ledgers."""
    contents: list[set[bytes]] = []
    for name in ("one.db", "two.db"):
        with Ledger(tmp_path / name) as ledger:
            ledger.upsert([CANARY], [A])
            deliver(ledger)
            fingerprints = "SELECT id_fingerprint, source, confirmed.fields FROM users, confirmed"
            (row,) = database_of(ledger).rows(fingerprints)
            names = database_of(ledger).rows("SELECT fingerprint FROM fields")
        contents.append({*row, *(row[2][at : at + 8] for at in range(0, len(row[2]), 8)), *(name for (name,) in names)})

    assert not contents[0] & contents[1]
