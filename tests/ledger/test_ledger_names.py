"""The names of vendors' fields, which make removals complete, and removals themselves."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import A, B, claim_one, database_of, deliver, settle, settlement
from support.users import user

from replay_identity import REMOVE, Accepted, Rejected, Skipped, Unknown
from replay_identity.errors import LedgerError
from replay_identity.ledger import Batch, JobEntry, Ledger, settlements
from replay_identity.outcomes import SkipReason

REJECTION = Rejected(A, code="400")
MAX_NAMES = settlements.MAX_NAMES


def confirm(ledger: Ledger, fields: dict[str, Any]) -> None:
    """Have the vendor accept *fields* of the only pending user."""
    claim = ledger.compare(claim_one(ledger), fields)[0]
    assert settle(ledger, claim, Accepted(A))


def stored_names(ledger: Ledger) -> set[str]:
    """Return the names that a claim of the only pending user knows."""
    return {*ledger.stored_names(claim_one(ledger))}


# Names.


def test_a_claim_knows_the_names_of_confirmed_fields(ledger: Ledger) -> None:
    """They are the vendor's names, of all that it ever got of the user."""
    ledger.upsert([user(company={"tax": 1})], [A])
    assert stored_names(ledger) == set()
    confirm(ledger, {"traits.company.tax": "1", "email": "a@b"})
    ledger.upsert([user(plan="a")], [A])
    confirm(ledger, {"traits.plan": "a"})

    ledger.upsert([user(company=REMOVE)], [A])

    assert stored_names(ledger) == {"traits.company.tax", "email", "traits.plan"}
    ledger.invalidate(A)
    assert stored_names(ledger) == {"traits.company.tax", "email", "traits.plan"}


def test_names_are_read_by_another_process(tmp_path: Path) -> None:
    """It may be the one that removes them; one opened earlier reads them, too."""
    with Ledger(tmp_path / "l.db") as early, Ledger(tmp_path / "l.db") as ledger:
        for expected in ({"traits.n0"}, {"traits.n0", "traits.n1"}):
            ledger.upsert([user(n=len(expected))], [A])
            confirm(ledger, {max(expected): "1"})
            early.upsert([user(n=REMOVE)], [A])
            assert stored_names(early) == expected


def test_names_of_a_job_are_stored_with_it(tmp_path: Path) -> None:
    """Another process may end it."""
    with Ledger(tmp_path / "l.db") as crashed:
        crashed.upsert([user(plan="a")], [A])
        claim = crashed.compare(claim_one(crashed), {"traits.company.tax": "1"})[0]
        entry = JobEntry(claim.row_id, claim.version, "u1", fields=claim.fields)
        job = crashed.start_job(A, Batch("key", [entry], b""))

    with Ledger(tmp_path / "l.db") as ledger:
        ledger.end_job(A, job, [settlement(claim, Accepted(A))])
        ledger.upsert([user(plan="b")], [A])
        assert stored_names(ledger) == {"traits.company.tax"}


@pytest.mark.parametrize("outcome", [REJECTION, Skipped(A, SkipReason.NOTHING_TO_SEND)])
@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_field_that_may_have_arrived_is_named(ledger: Ledger, outcome: Any, in_doubt: bool) -> None:  # noqa: FBT001
    """A vendor may have applied a part of what it rejected, or a request without an answer."""
    ledger.upsert([user(plan="a")], [A])
    confirm(ledger, {"traits.plan": "a"})
    ledger.upsert([user(company={"tax": 1})], [A])
    if in_doubt:
        settle(ledger, claim_one(ledger), Unknown(A, "timeout"))
    settle(ledger, ledger.compare(claim_one(ledger), {"traits.company.tax": "1"})[0], outcome)

    ledger.upsert([user(plan="a")], [A], replace=True)

    assert stored_names(ledger) == {"traits.plan", "traits.company.tax"}


def test_names_do_not_grow_without_bound(ledger: Ledger) -> None:
    """One name per user is a mistake; beyond the maximum, fields are compared all the same."""
    everyone = [user(f"u{number}", n=0) for number in range(MAX_NAMES + 30)]
    ledger.upsert(everyone, [A])
    claims = ledger.claim(A, limit=len(everyone))
    for part in (claims[: MAX_NAMES - 10], claims[MAX_NAMES - 10 :]):
        compared = [ledger.compare(claim, {f"traits.n{claim.row_id}": 0})[0] for claim in part]
        ledger.settle(A, [settlement(claim, Accepted(A)) for claim in compared])

    assert database_of(ledger).rows("SELECT count(*) FROM fields") == [(MAX_NAMES,)]
    ledger.upsert([user(everyone[-1].user_id or "", n=1)], [A])
    claim = claim_one(ledger)
    assert ledger.stored_names(claim) == []
    assert [ledger.compare(claim, {f"traits.n{claim.row_id}": value})[1] for value in (0, 1)] == [
        set(),
        {f"traits.n{claim.row_id}"},
    ]


def test_a_failed_settlement_loses_no_name(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored with the next one, for example once the disk is no longer full."""
    ledger.upsert([user(plan="a")], [A])
    claim = ledger.compare(claim_one(ledger), {"traits.plan": "a"})[0]
    confirms = settlements._confirms  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def full(_: object) -> bool:
        raise sqlite3.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(settlements, "_confirms", full)
        with pytest.raises(LedgerError):
            settle(ledger, claim, Accepted(A))
    assert settlements._confirms is confirms  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert settle(ledger, claim, Accepted(A))

    ledger.upsert([user(plan="b")], [A])
    assert stored_names(ledger) == {"traits.plan"}


# Removals.


def removed(ledger: Ledger) -> set[str]:
    """Return what was removed of the only pending user."""
    (claim,) = ledger.claim(A)
    assert len({*claim.removed}) == len(claim.removed)
    return {*claim.removed}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"plan": "a"}], set[str]()),
        ([{"plan": REMOVE}], {"plan"}),
        ([{"a": {"b": REMOVE, "c": 1}}], {"a.b"}),
        ([{"a": {"b": {"c": REMOVE}}, "plan": REMOVE}], {"a.b.c", "plan"}),
        ([{"plan": REMOVE}, {"plan": "a"}], {"plan"}),
        ([{"a": REMOVE}, {"a": {"b": 1}}], {"a"}),
        ([{"a": {"b": REMOVE}}, {"a": {"b": 1}}], {"a.b"}),
        ([{"a": {"b": 1, "c": {"d": 1}}}, {"a": REMOVE}], {"a", "a.b", "a.c.d"}),
        ([{"a": {"b": {"c": 1}, "d": 1}}, {"a": {"b": REMOVE}}], {"a.b", "a.b.c"}),
        ([{"a": REMOVE}, {"a": {"b": 1}}, {"a": REMOVE}, {"a": {"c": 1}}], {"a", "a.b"}),
        ([{"a": {"b": 1}}, {"a": REMOVE}, {"plan": 1}], {"a", "a.b"}),
        ([{"a": {"b": 1}}, {"a": {"b": 2}}], set[str]()),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_removal_outlives_what_follows_it(
    ledger: Ledger,
    steps: list[dict[str, Any]],
    expected: set[str],
    replace: bool,  # noqa: FBT001  # A parameter.
) -> None:
    """A trait that is set again must not keep what is below it, and what was nested in it may have been sent."""
    for step in steps:
        ledger.upsert([user(**step)], [A], replace=replace)

    assert removed(ledger) == expected


def test_a_removal_stays_until_every_backend_has_it(ledger: Ledger) -> None:
    """It is forgotten with the desired state."""
    ledger.upsert([user(plan=REMOVE)], [A, B])
    ledger.upsert([user(plan="a")], [A, B])
    deliver(ledger, B)
    assert removed(ledger) == {"plan"}
    deliver(ledger)

    ledger.upsert([user(plan="b")], [A])

    assert removed(ledger) == set()


def test_a_rejected_user_keeps_removals(ledger: Ledger) -> None:
    """A corrected row is sent with them."""
    ledger.upsert([user(plan=REMOVE, bad=1)], [A])
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="a")], [A], replace=True)

    assert removed(ledger) == {"plan"}
    assert claim_one(ledger).user == user(plan="a")
