"""Desired, pending, confirmed, rejected, lost: one behaviour per test."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.ledgers import A, B, changed_fields, claim_one, deliver, dropped, settle, settlement
from support.users import user

from replay_identity import (
    REMOVE,
    Accepted,
    Broken,
    InvalidTraitsError,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.ledger import AccountCounts, Ledger, Settlement, UpsertCounts
from replay_identity.ledger.codec import Fingerprints, encode
from replay_identity.ledger.store import IncomingUser
from replay_identity.outcomes import Adjustment, SkipReason, Violation

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
REJECTION = Rejected(A, code="400", message="no")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger on disk."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def observed(hour: int, **traits: Any) -> UserTraits:
    """Return a user whose *traits* were observed at that hour."""
    return UserTraits("u1", traits=traits, observed_at=NOON + timedelta(hours=hour))


def sent(ledger: Ledger, backend: str = A) -> list[dict[str, Any]]:
    """Deliver, and return the traits that were sent."""
    return [dict(each.traits) for each in deliver(ledger, backend)]


# Upserting.


def test_a_new_user_is_pending_everywhere(ledger: Ledger) -> None:
    """A new user is pending at each backend named in the upsert, and at no other."""
    counts = ledger.upsert([user(plan="pro")], [A, B])

    assert counts == {A: UpsertCounts(pending=1), B: UpsertCounts(pending=1)}
    assert (ledger.pending_count(A), ledger.pending_count(B), ledger.pending_count("other")) == (1, 1, 0)


def test_merges_updates_into_one_request(ledger: Ledger) -> None:
    """Several updates of a pending user are merged and sent once."""
    counts = ledger.upsert([user(plan="free", seats=1), user(plan="pro"), user(region="eu")], [A])

    assert counts[A] == UpsertCounts(pending=1, already_pending=2)
    assert sent(ledger) == [{"plan": "pro", "seats": 1, "region": "eu"}]


def test_an_unchanged_user_is_not_pending(ledger: Ledger) -> None:
    """The same row again is recognised without being encoded."""
    ledger.upsert([user(plan="pro", seats={"a": 1, "b": 2})], [A])
    deliver(ledger)

    counts = ledger.upsert([user(plan="pro", seats={"a": 1, "b": 2})], [A])[A]

    assert counts == UpsertCounts(unchanged=1)
    assert ledger.pending_count(A) == 0


@pytest.mark.parametrize(
    "same",
    [
        user(plan="pro", seats={"b": 2, "a": 1}),
        user(plan="pro"),
        user(),
        UserTraits("u1", traits={"plan": "pro"}, observed_at=NOON),
    ],
    ids=["another order", "some traits", "no traits", "another moment"],
)
def test_what_is_confirmed_is_not_sent(ledger: Ledger, same: UserTraits) -> None:
    """The fields that the vendor is sent decide, not the bytes of the row."""
    ledger.upsert([user(plan="pro", seats={"a": 1, "b": 2})], [A])
    deliver(ledger)

    assert ledger.upsert([same], [A])[A] == UpsertCounts(pending=1)
    assert deliver(ledger) == []

    assert ledger.pending_count(A) == 0
    assert ledger.upsert([same], [A])[A] == UpsertCounts(unchanged=1)


def test_sends_only_what_changed(ledger: Ledger) -> None:
    """Fields that the vendor confirmed are left out."""
    ledger.upsert([UserTraits("u1", name="Ann", email="a@b", traits={"plan": "pro", "seats": 1})], [A])
    deliver(ledger)

    ledger.upsert([UserTraits("u1", name="Ann", email="c@d", traits={"plan": "pro", "seats": 2})], [A])

    assert deliver(ledger) == [UserTraits("u1", email="c@d", traits={"seats": 2})]


def test_a_change_undone_before_sending_sends_nothing(ledger: Ledger) -> None:
    """A change that is undone before it is claimed leaves nothing to send."""
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    ledger.upsert([user(plan="a")], [A])

    assert deliver(ledger) == []

    assert ledger.pending_count(A) == 0
    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(unchanged=1)


@pytest.mark.parametrize("outcome", [None, Unknown(A, "timeout"), Unavailable(A, "503"), Misconfigured(A, "401")])
def test_sends_again_what_is_in_doubt(ledger: Ledger, outcome: Outcome | None) -> None:
    """After a, b, a with b unanswered the vendor may have b, so all of a is sent."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    in_flight = claim_one(ledger)
    if outcome is not None:
        assert not settle(ledger, in_flight, outcome)

    ledger.upsert([user(plan="a")], [A])

    claim = claim_one(ledger)
    assert (claim.user, claim.in_doubt, changed_fields(ledger, claim)) == (user(plan="a"), True, None)
    assert settle(ledger, claim, Accepted(A))
    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(unchanged=1)


def test_a_late_acceptance_confirms_nothing(ledger: Ledger) -> None:
    """A user who changed after being sent stays pending."""
    ledger.upsert([user(plan="a")], [A])
    in_flight = claim_one(ledger)
    ledger.upsert([user(plan="b")], [A])

    assert not settle(ledger, in_flight, Accepted(A))

    assert sent(ledger) == [{"plan": "b"}]


def test_a_late_rejection_rejects_nothing(ledger: Ledger) -> None:
    """The vendor may accept the newer traits."""
    ledger.upsert([user(plan="a")], [A])
    in_flight = claim_one(ledger)
    ledger.upsert([user(plan="b")], [A])

    assert not settle(ledger, in_flight, REJECTION)

    assert list(ledger.rejected(A)) == []
    assert ledger.pending_count(A) == 1


def test_a_repeated_outcome_counts_once(ledger: Ledger) -> None:
    """The second outcome finds the user no longer pending, even while another backend keeps the values."""
    ledger.upsert([user(plan="a")], [A, B])
    claim = claim_one(ledger)
    assert settle(ledger, claim, Accepted(A))

    assert not settle(ledger, claim, REJECTION)
    assert not settle(ledger, claim, Accepted(A))

    assert list(ledger.rejected(A)) == []


def test_an_equal_upsert_keeps_the_version(ledger: Ledger) -> None:
    """An upsert that changes nothing does not make an outcome in flight outdated."""
    ledger.upsert([user(plan="a")], [A])
    claim = claim_one(ledger)
    ledger.upsert([user(plan="a")], [B])

    assert settle(ledger, claim, Accepted(A))

    assert sent(ledger, B) == [{"plan": "a"}]


def test_an_update_reaches_every_pending_backend(ledger: Ledger) -> None:
    """There is one desired state, whichever backend an update names."""
    ledger.upsert([user(plan="a")], [A, B])
    ledger.upsert([user(plan="b")], [A])

    assert sent(ledger, A) == sent(ledger, B) == [{"plan": "b"}]


def test_stores_nothing_for_no_backend(ledger: Ledger) -> None:
    """Values that no backend needs would never be erased."""
    assert ledger.upsert([user(plan="a")], []) == {}

    assert ledger.upsert([user(seats=1)], [A])[A] == UpsertCounts(pending=1)
    assert sent(ledger) == [{"seats": 1}]


def test_a_user_without_id_fails_the_upsert(ledger: Ledger) -> None:
    """Nobody of that upsert is stored, and the error shows no value."""
    with pytest.raises(InvalidTraitsError) as caught:
        ledger.upsert([user(plan="a"), UserTraits(traits={"plan": "canary"})], [A])

    assert caught.value.path == "user_id"
    assert "canary" not in str(caught.value)
    assert ledger.pending_count(A) == 0


def test_finds_anonymous_users_by_vendor_ids(ledger: Ledger) -> None:
    """All vendor ids together identify an anonymous user."""
    ledger.upsert([UserTraits(vendor_ids={A: "7", B: "8"}, traits={"x": 1})], [A])

    assert ledger.upsert([UserTraits(vendor_ids={B: "8", A: "7"}, traits={"y": 1})], [A])[A] == UpsertCounts(
        already_pending=1
    )
    assert ledger.upsert([UserTraits(vendor_ids={A: "7"}, traits={"y": 1})], [A])[A] == UpsertCounts(pending=1)


def test_sends_a_removal_once(ledger: Ledger) -> None:
    """A removal that the vendor confirmed is not sent again."""
    ledger.upsert([user(plan=REMOVE, seats=1)], [A])
    assert sent(ledger) == [{"plan": REMOVE, "seats": 1}]

    ledger.upsert([user(plan=REMOVE)], [A])
    assert sent(ledger) == []
    ledger.upsert([user(plan="pro")], [A])
    assert sent(ledger) == [{"plan": "pro"}]


def test_upserts_more_users_than_one_statement_takes(ledger: Ledger) -> None:
    """Counts and order do not depend on the number of rows per statement."""
    many = [user(f"u{number}", n=number) for number in range(1203)]

    assert ledger.upsert(iter(many), [A])[A] == UpsertCounts(pending=1203)
    assert deliver(ledger) == many
    assert ledger.upsert(many, [A])[A] == UpsertCounts(unchanged=1203)


def test_adds_upsert_counts() -> None:
    """Each count is added to its own kind."""
    counts = UpsertCounts(1, 2, 3, 4)

    counts.add(UpsertCounts(10, 20, 30, 40))

    assert counts == UpsertCounts(11, 22, 33, 44)


# Moments.


def test_an_older_observation_never_overwrites(ledger: Ledger) -> None:
    """Moments are compared field by field, so a field that only the older one has is kept."""
    ledger.upsert([observed(2, plan="new")], [A])
    ledger.upsert([observed(1, plan="old", seats=1)], [A])

    assert sent(ledger) == [{"plan": "new", "seats": 1}]


def test_moments_outlive_delivery(ledger: Ledger) -> None:
    """Values are erased after delivery, moments are not."""
    ledger.upsert([observed(2, plan="new")], [A])
    deliver(ledger)

    ledger.upsert([observed(1, plan="old")], [A])
    assert sent(ledger) == []
    ledger.upsert([observed(2, plan="other")], [A])
    assert sent(ledger) == [{"plan": "other"}]


def test_drops_an_older_type_with_its_value(ledger: Ledger) -> None:
    """A stale row does not change the type of a newer value."""
    ledger.upsert([attrs.evolve(observed(2, plan="5"), types={"plan": "str"})], [A])
    ledger.upsert([attrs.evolve(observed(1, plan=5), types={"plan": "int"})], [A])

    assert claim_one(ledger).user == attrs.evolve(observed(2, plan="5"), types={"plan": "str"})


def test_an_update_without_moment_always_wins(ledger: Ledger) -> None:
    """It also forgets the moment of the fields it sets."""
    ledger.upsert([observed(2, plan="new", seats=1)], [A])
    ledger.upsert([user(plan="newest")], [A])
    ledger.upsert([observed(1, plan="since", seats=2)], [A])

    assert sent(ledger) == [{"plan": "since", "seats": 1}]


def test_compares_moments_before_1970(ledger: Ledger) -> None:
    """Moments before 1970 are older than those after."""
    ledger.upsert([user(plan="a")], [A])
    ledger.upsert([UserTraits("u1", traits={"plan": "b"}, observed_at=datetime(1969, 1, 1, tzinfo=UTC))], [A])
    ledger.upsert([UserTraits("u1", traits={"plan": "c"}, observed_at=datetime(1, 1, 1, tzinfo=UTC))], [A])

    assert sent(ledger) == [{"plan": "b"}]


# Claiming.


def test_claims_in_order_of_row_ids(ledger: Ledger) -> None:
    """Claims can start after a row id, skip others, and be limited in number."""
    ledger.upsert([user(f"u{number}") for number in range(6)], [A])
    everyone = ledger.claim(A)

    part = ledger.claim(A, after=everyone[0].row_id, limit=2, skip={everyone[1].row_id})

    assert [claim.row_id for claim in everyone] == sorted(claim.row_id for claim in everyone)
    assert part == everyone[2:4]
    assert ledger.claim(A, after=everyone[-1].row_id) == []


def test_knows_its_backends_after_reopening(tmp_path: Path) -> None:
    """Claims, settlements and jobs work as the first call on a ledger."""
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.upsert([user()], [A])

    with Ledger(tmp_path / "l.db") as ledger:
        claim = claim_one(ledger)
    with Ledger(tmp_path / "l.db") as ledger:
        assert settle(ledger, claim, Accepted(A))
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.jobs(A) == []


def test_no_repr_shows_stored_values(ledger: Ledger) -> None:
    """Claims, settlements, rejections and the ledger hide ids and values."""
    ledger.upsert([UserTraits("canary", name="canary", traits={"plan": "canary"})], [A])
    claim = claim_one(ledger)
    settle(ledger, claim, REJECTION)

    shown = [
        claim,
        Settlement(claim.row_id, claim.version, Accepted(A)),
        *ledger.rejected(A),
        ledger,
        Fingerprints(b"canary"),
    ]

    assert "canary" not in repr(shown)


# Settling.


@pytest.mark.parametrize("rejection", [REJECTION, Broken(A, "KeyError at wire.py:3")])
def test_a_rejected_user_waits_for_a_change(ledger: Ledger, rejection: Rejected | Broken) -> None:
    """The same traits would be rejected again, so they are not sent."""
    ledger.upsert([user(plan="a")], [A])
    assert settle(ledger, claim_one(ledger), rejection)

    assert ledger.pending_count(A) == 0
    assert [(rejected.user, rejected.rejection) for rejected in ledger.rejected(A)] == [(user(plan="a"), rejection)]
    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(rejected=1)
    assert ledger.upsert([user(plan="b")], [A])[A] == UpsertCounts(pending=1)
    assert list(ledger.rejected(A)) == []


def test_a_change_for_another_backend_ends_a_rejection(ledger: Ledger) -> None:
    """A user fixed by an upsert for one backend is pending at the other with its next upsert."""
    ledger.upsert([user(plan="bad")], [A, B])
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="good")], [B])

    assert ledger.upsert([user(plan="good")], [A])[A] == UpsertCounts(pending=1)
    assert sent(ledger) == [{"plan": "good"}]


def test_a_rejection_keeps_violations_and_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is returned as the adapter gave it, with the time of the rejection."""
    monkeypatch.setattr("replay_identity.ledger.ledger._now", lambda: 1_700_000_000)
    rejection = Rejected(A, (Violation("traits.plan", "value", 1024, 2000, "characters"), Violation("name", "odd")))
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), rejection)

    (rejected,) = ledger.rejected(A)

    assert (rejected.rejection, rejected.rejected_at) == (rejection, 1_700_000_000)


def test_requeues_all_rejected_users(ledger: Ledger) -> None:
    """Users rejected by another backend stay rejected."""
    everyone = [user(f"u{number}") for number in range(700)]
    ledger.upsert(everyone, [A, B])
    deliver(ledger, A, lambda _: REJECTION)
    deliver(ledger, B, lambda _: Rejected(B, code="400"))

    assert [rejected.user for rejected in ledger.rejected(A)] == everyone
    assert ledger.requeue_rejected(A) == 700

    assert (ledger.pending_count(A), ledger.pending_count(B), len(list(ledger.rejected(B)))) == (700, 0, 700)
    assert deliver(ledger) == everyone
    assert ledger.requeue_rejected(A) == 0


def test_a_loss_stays_until_the_field_is_sent(ledger: Ledger) -> None:
    """Losses are recorded field by field, and nested ones belong to the outermost field."""
    ledger.upsert([UserTraits("u1", name="Ann", traits={"plan": "a", "company": {"size": [1]}, "companyx": 1})], [A])
    lost = (dropped("traits.company.size[0]"), dropped("name"), Adjustment("traits.plan", "coerced", "strings"))
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=lost))
    assert list(ledger.losses(A)) == [lost[:2]]

    ledger.upsert([user(companyx=2)], [A])
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("traits.companyx"),)))
    assert list(ledger.losses(A)) == [(*lost[:2], dropped("traits.companyx"))]

    ledger.upsert([UserTraits("u1", name="Bob", traits={"company": {"size": 2}, "companyx": 3})], [A])
    assert settle(ledger, claim_one(ledger), Accepted(A))
    assert list(ledger.losses(A)) == []


def test_matches_losses_by_printable_names(ledger: Ledger) -> None:
    """Adjustments have names made safe to print, which still match their fields."""
    lost = (dropped("traits." + "x" * 92 + "…"), dropped("traits.a\\u000ab"))
    for number in range(3):
        ledger.upsert([user("u1", **{"x" * 300: number, "a\nb": number})], [A])
        assert settle(ledger, claim_one(ledger), Accepted(A, adjustments=lost))
    assert list(ledger.losses(A)) == [lost]

    ledger.upsert([user("u1", **{"x" * 300: "fits", "a\nb": "fits"})], [A])
    assert settle(ledger, claim_one(ledger), Accepted(A))
    assert list(ledger.losses(A)) == []


def test_a_loss_of_no_field_is_recorded_once(ledger: Ledger) -> None:
    """A loss of the id, for example, is repeated with every request."""
    for number in range(3):
        ledger.upsert([user(n=number)], [A])
        settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("user_id"),)))

    assert list(ledger.losses(A)) == [(dropped("user_id"),)]


def test_a_lossy_field_is_not_sent_again(ledger: Ledger) -> None:
    """The fields are what the limits leave, which the vendor has; a later loss is recorded then."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("traits.plan"),)))

    ledger.upsert([user(plan="a", seats=2)], [A])

    assert sent(ledger) == [{"seats": 2}]
    assert list(ledger.losses(A)) == []


def test_an_unchanged_user_may_be_lossy(ledger: Ledger) -> None:
    """Nothing is sent, and what the vendor lacks is recorded all the same."""
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger)
    ledger.upsert([user(plan="a"), user(plan="a", long="x")], [A])
    claim = claim_one(ledger)
    lost = (dropped("traits.long"),)

    ledger.settle(A, [settlement(claim, Skipped(A, SkipReason.UNCHANGED), lost=lost)])

    assert list(ledger.losses(A)) == [lost]
    assert ledger.pending_count(A) == 0


def test_a_skipped_user_keeps_losses(ledger: Ledger) -> None:
    """Nothing was sent, so nothing was repaired."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("traits.plan"),)))
    ledger.upsert([user(plan="b")], [A])

    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    assert list(ledger.losses(A)) == [(dropped("traits.plan"),)]


def test_a_skipped_user_becomes_pending_again(ledger: Ledger) -> None:
    """The route that excluded the user may let them through next time."""
    ledger.upsert([user(plan="a")], [A])
    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))
    assert ledger.pending_count(A) == 0

    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(pending=1)


def test_skipping_drops_what_is_in_doubt(ledger: Ledger) -> None:
    """An unanswered request may have changed any field."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    assert not settle(ledger, claim_one(ledger), Unknown(A, "timeout"))
    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    ledger.upsert([user(plan="a", seats=1)], [A])
    assert sent(ledger) == [{"plan": "a", "seats": 1}]


def test_skipping_drops_only_fields_it_encoded(ledger: Ledger) -> None:
    """Without doubt, the other fields stay confirmed."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    ledger.upsert([user(plan="a", seats=1)], [A])
    assert sent(ledger) == [{"plan": "a"}]


def test_counts_users_by_backend(ledger: Ledger) -> None:
    """Backends come in the order of their first upsert."""
    ledger.upsert([user(f"u{number}") for number in range(4)], [B, A])
    claims = ledger.claim(A)
    outcomes: list[Outcome] = [
        Accepted(A),
        Accepted(A, adjustments=(dropped("name"),)),
        REJECTION,
        Unavailable(A, "503"),
    ]
    ledger.settle(A, [Settlement(c.row_id, c.version, outcome) for c, outcome in zip(claims, outcomes, strict=True)])

    assert ledger.counts() == [
        AccountCounts(B, "", pending=4, confirmed=0, rejected=0, lossy=0, jobs=0),
        AccountCounts(A, "", pending=1, confirmed=2, rejected=1, lossy=1, jobs=0),
    ]


def test_a_ledger_in_memory_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is always granted."""
    monkeypatch.chdir(tmp_path)
    with Ledger(":memory:") as ledger:
        ledger.upsert([user(plan="a")], [A])
        with ledger.lease(A) as is_ours:
            assert is_ours
            assert sent(ledger) == [{"plan": "a"}]

    assert list(tmp_path.iterdir()) == []


def test_an_incoming_user_hides_their_values() -> None:
    """The encoded user is not part of the repr."""
    one = UserTraits("canary-id", email="canary@example.com", traits={"plan": "canary"})

    assert "canary" not in repr(IncomingUser(b"k" * 16, one, encode(one)))
