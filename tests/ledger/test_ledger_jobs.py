"""Import jobs are stored until they end."""

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import A, B, bytes_on_disk, dropped
from support.users import user

from replay_identity import Accepted, Outcome, Rejected
from replay_identity.errors import LedgerError
from replay_identity.ledger import Batch, JobEntries, JobEntry, Ledger, Settlement

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

JOB_ENTRIES = st.lists(
    st.builds(
        JobEntry,
        st.integers(1, 2**32 - 1),
        st.integers(1, 9),
        st.none() | st.sampled_from(["a", "b"]),
        st.none() | st.just("7"),
        st.sampled_from([(), (dropped("traits.plan"),)]),
        st.integers(0, 3).map(lambda count: bytes(range(16 * count))),
        st.booleans(),
        st.none() | st.just(b"{}"),
    ),
    max_size=5,
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
        assert list(ledger.entries(job)) == list(ENTRIES)
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
        assert list(ledger.entries(named)) == list(ENTRIES)
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
        assert [list(ledger.entries(job)) for job in parts] == [[ENTRIES[0]], [ENTRIES[1]]]


def test_a_job_hides_its_users(path: Path) -> None:
    """Ids and body are not part of any repr."""
    with Ledger(path) as ledger:
        job = ledger.start_job(A, batch(*ENTRIES))
        shown = repr([job, ledger.entries(job), batch(*ENTRIES), ledger.entries(job).batch_entries()])

    assert "canary" not in shown


def test_entries_name_both_ids(path: Path) -> None:
    """Results are matched by either."""
    with Ledger(path) as ledger:
        entries = ledger.entries(ledger.start_job(A, batch(*ENTRIES))).batch_entries()

    assert [(entry.user_id, entry.vendor_id) for entry in entries] == [
        ("canary-1", "canary-vendor"),
        (None, "canary-vendor-2"),
    ]


@given(entries=JOB_ENTRIES, start=st.integers(0, 6), end=st.integers(0, 6))
def test_columns_hold_every_entry(entries: list[JobEntry], start: int, end: int) -> None:
    """Whole, in parts and one by one."""
    columns = JobEntries.of(entries)

    assert list(columns) == entries
    assert list(columns[start:end]) == entries[start:end]
    assert JobEntries.of(columns) is columns


@given(entries=JOB_ENTRIES)
def test_every_entry_is_stored(entries: list[JobEntry]) -> None:
    """Except the content of users without an id, since a ledger does not take them."""
    with Ledger(":memory:") as ledger:
        stored = ledger.entries(ledger.start_job(A, Batch("key", entries, b"")))

    assert list(stored) == [attrs.evolve(entry, content=None) for entry in entries]
