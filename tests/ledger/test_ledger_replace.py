"""Rows that replace the desired state, and backends whose confirmed state is invalidated."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import A, B, claim_one, database_of, deliver, fields_of, settle
from support.users import user

from replay_identity import REMOVE, Accepted, Rejected, Skipped, UserTraits
from replay_identity.ledger import Ledger, UpsertCounts
from replay_identity.outcomes import SkipReason
from replay_identity.sources import Row, read_users

REJECTION = Rejected(A, code="400", message="no")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger on disk."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def reject(ledger: Ledger, *rows: UserTraits, backends: tuple[str, ...] = (A,)) -> None:
    """Upsert *rows* and have backend A reject them."""
    ledger.upsert(rows, backends, replace=True)
    settle(ledger, claim_one(ledger), REJECTION)


# Rows that fix a rejected user.


@pytest.mark.parametrize("fixed", [{"plan": "pro"}, {"plan": "pro", "renamed": "x"}], ids=["removed", "renamed"])
def test_a_row_without_the_rejected_trait_fixes_the_user(ledger: Ledger, fixed: dict[str, Any]) -> None:
    """The rejected trait is dropped, and the user is pending again."""
    reject(ledger, user(plan="pro", bad="x"))

    counts = ledger.upsert([user(**fixed)], [A], replace=True)

    assert counts[A] == UpsertCounts(pending=1)
    assert list(ledger.rejected(A)) == []
    assert deliver(ledger) == [user(**fixed)]
    assert ledger.upsert([user(**fixed)], [A], replace=True)[A] == UpsertCounts(unchanged=1)


def test_a_pending_line_again_changes_nothing(ledger: Ledger) -> None:
    """The user is stored as the line that was read, and a job in flight still settles that state."""
    first, second = (
        [
            row.user
            for row in read_users(io.BytesIO(b'{"plan": "pro", "id": "u1"}\n'), format="jsonl")
            if isinstance(row, Row)
        ]
        for _ in range(2)
    )
    ledger.upsert(first, [A], replace=True)
    claim = claim_one(ledger)

    counts = ledger.upsert(second, [A], replace=True)

    assert counts[A] == UpsertCounts(already_pending=1)
    assert claim_one(ledger).version == claim.version
    assert deliver(ledger) == first
    assert ledger.upsert(second, [A], replace=True)[A] == UpsertCounts(unchanged=1)


def test_an_event_only_adds_traits(ledger: Ledger) -> None:
    """An event that leaves a trait out does not drop it."""
    reject(ledger, user(plan="pro", bad="x"))

    ledger.upsert([user(plan="free")], [A])

    assert deliver(ledger) == [user(plan="free", bad="x")]


def test_an_unfixed_row_stays_rejected(ledger: Ledger) -> None:
    """It is not sent again, however often it comes."""
    reject(ledger, user(plan="pro", bad="x"))

    assert [ledger.upsert([user(plan="pro", bad="x")], [A], replace=True)[A] for _ in range(2)] == [
        UpsertCounts(rejected=1)
    ] * 2
    assert [rejected.user for rejected in ledger.rejected(A)] == [user(plan="pro", bad="x")]


def test_merges_a_row_while_the_user_is_pending_anywhere(ledger: Ledger) -> None:
    """The other vendor has not received yet what the row does not repeat."""
    reject(ledger, user(plan="pro", bad="x"), backends=(A, B))

    counts = ledger.upsert([user(plan="free")], [A], replace=True)

    assert counts[A] == UpsertCounts(pending=1)
    assert deliver(ledger, B) == deliver(ledger) == [user(plan="free", bad="x")]


def test_a_fixed_row_sends_nothing_that_is_confirmed(ledger: Ledger) -> None:
    """Another vendor has confirmed it all; the rejection stays until its own backend is named."""
    reject(ledger, user(plan="pro", bad="x"), backends=(A, B))
    deliver(ledger, B)

    assert ledger.upsert([user(plan="pro")], [B], replace=True)[B] == UpsertCounts(pending=1)
    assert deliver(ledger, B) == []
    assert [rejected.user for rejected in ledger.rejected(A)] == [user(plan="pro")]
    assert ledger.upsert([user(plan="pro")], [A], replace=True)[A] == UpsertCounts(pending=1)


def test_a_fixed_row_keeps_ids_types_and_removals(ledger: Ledger) -> None:
    """A row of a source cannot express them."""
    cleared: dict[str, Any] = {"old": REMOVE, "company": {"tax": REMOVE, "bad": "x"}, "team": {"bad": "x"}}
    first = UserTraits("u1", traits={**cleared, "n": 1}, types={"n": "real"}, vendor_ids={A: "7"})
    reject(ledger, first)

    ledger.upsert([user(n=1, company={"size": 2})], [A], replace=True)

    (sent,) = deliver(ledger)
    assert sent.traits == {"old": REMOVE, "company": {"tax": REMOVE, "size": 2}, "n": 1}
    assert (sent.types, sent.vendor_ids) == ({"n": "real"}, {A: "7"})


@pytest.mark.parametrize(
    ("removed", "again", "claimed", "removes"),
    [
        ({"x": REMOVE}, {"x": 2}, {}, set[str]()),
        ({"c": REMOVE}, {"c": {"x": 2}}, {"c": {"x": 2}}, {"c"}),
        ({"c": {"x": REMOVE}}, {"c": {"x": 2}}, {"c": {"x": 2}}, {"c.x"}),
        ({"x": REMOVE}, {"y": 1}, {"x": REMOVE}, {"x"}),
        ({"x": REMOVE}, {"cx": 1}, {"x": REMOVE}, {"x"}),
    ],
)
def test_a_fixed_row_removes_nothing_set_since(
    ledger: Ledger, removed: dict[str, Any], again: dict[str, Any], claimed: dict[str, Any], removes: set[str]
) -> None:
    """Another vendor has the value that was set after the removal, and must keep it."""
    ledger.upsert([user(**removed), user(**again, bad="x")], [A, B])
    deliver(ledger, B)
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="pro")], [A, B], replace=True)

    for backend in (A, B):
        claim = claim_one(ledger, backend)
        assert (claim.user, {*claim.removed}) == (user(**claimed, plan="pro"), removes)


def test_a_row_overrides_a_removal(ledger: Ledger) -> None:
    """The row came later."""
    reject(ledger, user(old=REMOVE, bad="x"))

    ledger.upsert([user(old="new")], [A], replace=True)

    assert deliver(ledger) == [user(old="new")]


@pytest.mark.parametrize(("hours", "plan"), [(-1, {"plan": "pro", "bad": "x"}), (0, {}), (1, {})])
def test_a_row_older_than_the_rejection_drops_nothing(ledger: Ledger, hours: int, plan: dict[str, Any]) -> None:
    """What the older row leaves out was set later."""
    reject(ledger, UserTraits("u1", traits={"plan": "pro", "bad": "x"}, observed_at=NOON))

    row = UserTraits("u1", traits={"city": "Rome"}, observed_at=NOON + timedelta(hours=hours))
    ledger.upsert([row], [A], replace=True)

    (sent,) = deliver(ledger)
    assert sent.traits == {**plan, "city": "Rome"}


def test_two_rows_fix_a_user_together(ledger: Ledger) -> None:
    """The second row adds to the first, in one upsert or in two."""
    reject(ledger, user(plan="pro", bad="x"))

    ledger.upsert([user(plan="pro"), user(city="Rome")], [A], replace=True)
    ledger.upsert([user(size=1)], [A], replace=True)

    assert deliver(ledger) == [user(plan="pro", city="Rome", size=1)]


def test_erases_the_values_of_a_fixed_user(ledger: Ledger) -> None:
    """Nobody needs them once they are delivered."""
    reject(ledger, user(plan="pro", bad="x"))
    ledger.upsert([user(plan="pro")], [A], replace=True)
    deliver(ledger)

    assert database_of(ledger).rows("SELECT * FROM desired") == []


# Invalidated backends.


def test_invalidate_sends_users_in_full_again(ledger: Ledger) -> None:
    """It affects only that backend, only users upserted again, and each only once."""
    rows = [user(f"u{number}", plan="pro", size=1) for number in range(700)]
    ledger.upsert(rows, [A, B])
    deliver(ledger, A)
    deliver(ledger, B)

    ledger.invalidate(A)

    assert (ledger.pending_count(A), ledger.counts()[0].confirmed) == (0, 700)
    assert ledger.upsert(rows[1:], [A, B]) == {A: UpsertCounts(pending=699), B: UpsertCounts(unchanged=699)}
    assert deliver(ledger) == rows[1:]
    assert ledger.upsert(rows, [A])[A] == UpsertCounts(pending=1, unchanged=699)


def test_invalidates_field_by_field(ledger: Ledger) -> None:
    """A field missing in the first row afterwards is not confirmed by that row."""
    ledger.upsert([user(plan="pro", size=1)], [A])
    deliver(ledger)
    ledger.invalidate(A)
    ledger.upsert([user(plan="pro")], [A])
    deliver(ledger)

    assert ledger.upsert([user(size=1)], [A])[A] == UpsertCounts(pending=1)
    assert deliver(ledger) == [user(size=1)]


def test_a_skipped_user_stays_invalidated(ledger: Ledger) -> None:
    """Nothing was sent to the vendor."""
    ledger.upsert([user(plan="pro")], [A])
    deliver(ledger)
    ledger.invalidate(A)
    ledger.upsert([user(plan="pro")], [A])
    deliver(ledger, A, lambda _: Skipped(A, SkipReason.NOTHING_TO_SEND))

    assert ledger.upsert([user(plan="pro")], [A])[A] == UpsertCounts(pending=1)


def test_invalidating_an_unknown_backend_does_nothing(ledger: Ledger) -> None:
    """The name is not registered by it."""
    ledger.invalidate("acmee")

    assert ledger.counts() == []


def test_invalidate_sends_pending_users_in_full(ledger: Ledger) -> None:
    """The whole pending state is sent, not only what differs."""
    ledger.upsert([user(plan="pro", size=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="free", size=1)], [A])

    ledger.invalidate(A)

    assert claim_one(ledger).user == user(plan="free", size=1)


def test_invalidating_outdates_claims_in_flight(ledger: Ledger) -> None:
    """They were compared with what the vendor no longer has, so their outcomes settle nobody."""
    ledger.upsert([user("u1", plan="pro", size=1), user("u2", plan="pro")], [A])
    deliver(ledger)
    ledger.upsert([user("u1", plan="pro", size=2), user("u2"), user("u2", plan="pro")], [A])
    changed, unchanged = (ledger.compare(claim, fields_of(claim.user))[0] for claim in ledger.claim(A))

    ledger.invalidate(A)

    assert not settle(ledger, changed, Accepted(A))
    assert not settle(ledger, unchanged, Skipped(A, SkipReason.UNCHANGED))
    assert deliver(ledger) == [user("u1", plan="pro", size=2), user("u2", plan="pro")]


# Unknown backends.


def test_a_mistyped_name_registers_no_backend(ledger: Ledger) -> None:
    """Reading about an unknown backend finds nothing and stores nothing."""
    ledger.upsert([user()], [A])

    assert (ledger.pending_count("acmee"), ledger.claim("acmee"), list(ledger.rejected("acmee"))) == (0, [], [])
    assert (ledger.requeue_rejected("acmee"), ledger.jobs("acmee"), list(ledger.losses("acmee"))) == (0, [], [])
    assert ledger.settle("acmee", []) == set()
    assert [counts.backend for counts in ledger.counts()] == [A]
