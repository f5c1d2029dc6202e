"""Import jobs are stored until they end."""

from pathlib import Path

import pytest
from support.ledgers import A, B, bytes_on_disk, dropped
from support.users import user

from replay_identity import Accepted, Outcome, Rejected
from replay_identity.errors import LedgerError
from replay_identity.ledger import Batch, JobEntry, Ledger, Settlement

BODY = b'{"canary": "body"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


def batch(*entries: JobEntry, key: str = "key-1") -> Batch:
    """Return a batch of *entries*."""
    return Batch(key, entries, BODY)


ENTRIES = (
    JobEntry(1, 1, "canary-1", "canary-vendor", (dropped("traits.plan"),)),
    JobEntry(2, 1, None, "canary-vendor-2"),
)


def test_a_job_survives_a_crash(path: Path) -> None:
    """Its key, its body and its entries, in order, are stored."""
    with Ledger(path) as ledger:
        started = ledger.start_job(A, batch(*ENTRIES))
        crashed = [ledger.start_job(B, batch(key="key-2")), started]

    with Ledger(path) as ledger:
        (job,) = ledger.jobs(A)
        assert job == started
        assert job not in ledger.jobs(B)
        assert ledger.jobs(B) == crashed[:1]
        assert (job.idempotency_key, job.size, job.vendor_job) == ("key-1", 2, None)
        assert ledger.entries(job) == list(ENTRIES)
        assert ledger.body(job) == BODY


def test_an_impossible_user_in_a_job_is_damage(path: Path) -> None:
    """Users are numbered from one."""
    with Ledger(path) as ledger:
        job = ledger.start_job(A, batch(JobEntry(0, 1, "u1")))

        with pytest.raises(LedgerError, match="damaged"):
            ledger.entries(job)


def test_naming_a_job_erases_its_body(path: Path) -> None:
    """It need not be sent again; its entries stay."""
    with Ledger(path) as ledger:
        named = ledger.name_job(ledger.start_job(A, batch(*ENTRIES)), "vendor-job-7")

    with Ledger(path) as ledger:
        assert ledger.jobs(A) == [named]
        assert named.vendor_job == "vendor-job-7"
        assert ledger.entries(named) == list(ENTRIES)
    assert BODY not in bytes_on_disk(path)


def test_ending_a_job_settles_its_users(path: Path) -> None:
    """One transaction does both, and nothing of the job is left."""
    with Ledger(path) as ledger:
        ledger.upsert([user("canary-1", plan="a"), user("canary-2"), user("canary-3")], [A])
        claims = ledger.claim(A)
        job = ledger.start_job(
            A, batch(*(JobEntry(claim.row_id, claim.version, claim.user.user_id) for claim in claims))
        )
        outcomes: list[Outcome] = [Accepted(A), Accepted(A), Rejected(A, code="400")]
        settlements = [Settlement(c.row_id, c.version, outcome) for c, outcome in zip(claims, outcomes, strict=True)]

        assert ledger.end_job(A, job, settlements) == {claim.row_id for claim in claims}

        assert ledger.jobs(A) == []
        assert ledger.pending_count(A) == 0
        assert ledger.requeue_rejected(A) == 1
        assert [claim.user.user_id for claim in ledger.claim(A)] == ["canary-3"]
    assert b"canary-1" not in bytes_on_disk(path)


def test_a_job_may_end_without_outcomes(path: Path) -> None:
    """Its users are still pending."""
    with Ledger(path) as ledger:
        ledger.upsert([user()], [A])

        assert ledger.end_job(A, ledger.start_job(A, batch(*ENTRIES))) == set()

        assert (ledger.jobs(A), ledger.pending_count(A)) == ([], 1)


def test_splits_a_job(path: Path) -> None:
    """The parts replace it in one transaction."""
    with Ledger(path) as ledger:
        job = ledger.start_job(A, batch(*ENTRIES))

        parts = ledger.split_job(A, job, [batch(ENTRIES[0], key="key-2"), batch(ENTRIES[1], key="key-3")])

        assert ledger.jobs(A) == parts
        assert [job.idempotency_key for job in parts] == ["key-2", "key-3"]
        assert [ledger.entries(job) for job in parts] == [[ENTRIES[0]], [ENTRIES[1]]]


def test_a_job_hides_its_users(path: Path) -> None:
    """Ids and body are not part of any repr."""
    with Ledger(path) as ledger:
        job = ledger.start_job(A, batch(*ENTRIES))
        shown = repr([job, ledger.entries(job), batch(*ENTRIES), [entry.batch_entry() for entry in ENTRIES]])

    assert "canary" not in shown


def test_an_entry_returns_both_ids() -> None:
    """Results are matched by either."""
    assert (ENTRIES[0].batch_entry().user_id, ENTRIES[0].batch_entry().vendor_id) == ("canary-1", "canary-vendor")
