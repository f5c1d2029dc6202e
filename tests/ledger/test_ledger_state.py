"""Desired, due, held, refused, lost: one behaviour at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from ledger.delivering import A, B, claim_one, deliver, dropped, settle, user

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
from replay_identity.ledger import BackendCounts, Ledger, Settlement, UpsertCounts
from replay_identity.ledger.codec import Fingerprints
from replay_identity.ledger.upserts import incoming_user
from replay_identity.outcomes import Adjustment, SkipReason, Violation

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
REJECTION = Rejected(A, code="400", message="no")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger on disk."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def observed(hour: int, **traits: Any) -> UserTraits:
    """Return a user of whom *traits* were true at that hour."""
    return UserTraits("u1", traits=traits, observed_at=NOON + timedelta(hours=hour))


def sent(ledger: Ledger, backend: str = A) -> list[dict[str, Any]]:
    """Deliver, and return the traits that were sent."""
    return [dict(one.traits) for one in deliver(ledger, backend)]


# Putting.


def test_a_new_user_is_due_everywhere(ledger: Ledger) -> None:
    """At each backend they were put for, and only there."""
    counts = ledger.upsert([user(plan="pro")], [A, B])

    assert counts == {A: UpsertCounts(pending=1), B: UpsertCounts(pending=1)}
    assert (ledger.pending_count(A), ledger.pending_count(B), ledger.pending_count("other")) == (1, 1, 0)


def test_many_updates_are_one_request(ledger: Ledger) -> None:
    """What was said of a user at different times is merged."""
    counts = ledger.upsert([user(plan="free", seats=1), user(plan="pro"), user(region="eu")], [A])

    assert counts[A] == UpsertCounts(pending=1, already_pending=2)
    assert sent(ledger) == [{"plan": "pro", "seats": 1, "region": "eu"}]


def test_who_is_unchanged_is_not_due(ledger: Ledger) -> None:
    """Whole, in part, in another order and at another time."""
    ledger.upsert([user(plan="pro", seats={"a": 1, "b": 2})], [A])
    deliver(ledger)

    same = [user(plan="pro", seats={"b": 2, "a": 1}), user(plan="pro"), user(), observed(0, plan="pro")]
    counts = [ledger.upsert([each], [A])[A] for each in same]

    assert counts == [UpsertCounts(unchanged=1)] * 4
    assert ledger.pending_count(A) == 0


def test_who_changed_is_sent_what_changed(ledger: Ledger) -> None:
    """And nothing that the vendor holds."""
    ledger.upsert([UserTraits("u1", name="Ann", email="a@b", traits={"plan": "pro", "seats": 1})], [A])
    deliver(ledger)

    ledger.upsert([UserTraits("u1", name="Ann", email="c@d", traits={"plan": "pro", "seats": 2})], [A])

    assert deliver(ledger) == [UserTraits("u1", email="c@d", traits={"seats": 2})]


def test_who_is_back_to_what_the_vendor_holds_is_not_sent(ledger: Ledger) -> None:
    """Nothing was under way in between."""
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    ledger.upsert([user(plan="a")], [A])

    claim = claim_one(ledger)

    assert claim.unchanged
    assert claim.user == user()
    assert settle(ledger, claim, Skipped(A, SkipReason.NOTHING_TO_SEND))
    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(unchanged=1)


@pytest.mark.parametrize("answer", [None, Unknown(A, "timeout"), Unavailable(A, "503"), Misconfigured(A, "401")])
def test_what_may_have_been_overwritten_is_sent_again(ledger: Ledger, answer: Outcome | None) -> None:
    """From a to b and back to a while b is in flight: the vendor may hold b, so a is sent."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    in_flight = claim_one(ledger)
    if answer is not None:
        assert not settle(ledger, in_flight, answer)

    ledger.upsert([user(plan="a")], [A])

    claim = claim_one(ledger)
    assert claim.user == user(plan="a")
    assert not claim.unchanged
    assert settle(ledger, claim, Accepted(A))
    assert ledger.upsert([user(plan="a", seats=1)], [A])[A] == UpsertCounts(unchanged=1)


def test_a_late_answer_confirms_nothing(ledger: Ledger) -> None:
    """What was put since it was sent stays due."""
    ledger.upsert([user(plan="a")], [A])
    in_flight = claim_one(ledger)
    ledger.upsert([user(plan="b")], [A])

    assert not settle(ledger, in_flight, Accepted(A))

    assert sent(ledger) == [{"plan": "b"}]


def test_a_late_refusal_refuses_nothing(ledger: Ledger) -> None:
    """The newer traits may be taken."""
    ledger.upsert([user(plan="a")], [A])
    in_flight = claim_one(ledger)
    ledger.upsert([user(plan="b")], [A])

    assert not settle(ledger, in_flight, REJECTION)

    assert list(ledger.rejected(A)) == []
    assert ledger.pending_count(A) == 1


def test_an_answer_that_comes_twice_counts_once(ledger: Ledger) -> None:
    """The second finds nobody due, even while another backend keeps the values."""
    ledger.upsert([user(plan="a")], [A, B])
    claim = claim_one(ledger)
    assert settle(ledger, claim, Accepted(A))

    assert not settle(ledger, claim, REJECTION)
    assert not settle(ledger, claim, Accepted(A))

    assert list(ledger.rejected(A)) == []


def test_the_same_news_for_another_backend_does_not_overtake_an_answer(ledger: Ledger) -> None:
    """Only what differs is newer."""
    ledger.upsert([user(plan="a")], [A])
    claim = claim_one(ledger)
    ledger.upsert([user(plan="a")], [B])

    assert settle(ledger, claim, Accepted(A))

    assert sent(ledger, B) == [{"plan": "a"}]


def test_newer_news_for_one_backend_reaches_the_other_who_is_due(ledger: Ledger) -> None:
    """There is one desired state."""
    ledger.upsert([user(plan="a")], [A, B])
    ledger.upsert([user(plan="b")], [A])

    assert sent(ledger, A) == sent(ledger, B) == [{"plan": "b"}]


def test_news_for_no_backend_is_not_kept(ledger: Ledger) -> None:
    """Nobody would ever erase it."""
    assert ledger.upsert([user(plan="a")], []) == {}

    assert ledger.upsert([user(seats=1)], [A])[A] == UpsertCounts(pending=1)
    assert sent(ledger) == [{"seats": 1}]


def test_a_user_without_any_id_is_refused_and_with_them_the_whole_put(ledger: Ledger) -> None:
    """They could never be found again."""
    with pytest.raises(InvalidTraitsError) as caught:
        ledger.upsert([user(plan="a"), UserTraits(traits={"plan": "canary"})], [A])

    assert caught.value.path == "user_id"
    assert "canary" not in str(caught.value)
    assert ledger.pending_count(A) == 0


def test_an_anonymous_user_is_found_by_their_vendor_ids(ledger: Ledger) -> None:
    """All of them together are the id."""
    ledger.upsert([UserTraits(vendor_ids={A: "7", B: "8"}, traits={"x": 1})], [A])

    assert ledger.upsert([UserTraits(vendor_ids={B: "8", A: "7"}, traits={"y": 1})], [A])[A] == UpsertCounts(
        already_pending=1
    )
    assert ledger.upsert([UserTraits(vendor_ids={A: "7"}, traits={"y": 1})], [A])[A] == UpsertCounts(pending=1)


def test_a_removal_is_news_once(ledger: Ledger) -> None:
    """A vendor that was told to clear a trait need not be told again."""
    ledger.upsert([user(plan=REMOVE, seats=1)], [A])
    assert sent(ledger) == [{"plan": REMOVE, "seats": 1}]

    assert ledger.upsert([user(plan=REMOVE)], [A])[A] == UpsertCounts(unchanged=1)
    assert ledger.upsert([user(plan="pro")], [A])[A] == UpsertCounts(pending=1)


def test_more_users_than_go_into_one_statement(ledger: Ledger) -> None:
    """Groups are of no consequence."""
    many = [user(f"u{number}", n=number) for number in range(1203)]

    assert ledger.upsert(iter(many), [A])[A] == UpsertCounts(pending=1203)
    assert deliver(ledger) == many
    assert ledger.upsert(many, [A])[A] == UpsertCounts(unchanged=1203)


def test_counts_are_added() -> None:
    """Over many puts."""
    counts = UpsertCounts(1, 2, 3, 4)

    counts.add(UpsertCounts(10, 20, 30, 40))

    assert counts == UpsertCounts(11, 22, 33, 44)


# Moments.


def test_an_older_observation_never_overwrites_a_newer_one(ledger: Ledger) -> None:
    """Field by field: what it alone says is news."""
    ledger.upsert([observed(2, plan="new")], [A])
    ledger.upsert([observed(1, plan="old", seats=1)], [A])

    assert sent(ledger) == [{"plan": "new", "seats": 1}]


def test_an_older_observation_stays_older_after_delivery(ledger: Ledger) -> None:
    """Values are erased, moments are not."""
    ledger.upsert([observed(2, plan="new")], [A])
    deliver(ledger)

    assert ledger.upsert([observed(1, plan="old")], [A])[A] == UpsertCounts(unchanged=1)
    assert ledger.upsert([observed(2, plan="other")], [A])[A] == UpsertCounts(pending=1)


def test_an_older_type_goes_with_its_older_value(ledger: Ledger) -> None:
    """Or a stale row would change what the newer value is sent as."""
    ledger.upsert([attrs.evolve(observed(2, plan="5"), types={"plan": "str"})], [A])
    ledger.upsert([attrs.evolve(observed(1, plan=5), types={"plan": "int"})], [A])

    assert claim_one(ledger).user == attrs.evolve(observed(2, plan="5"), types={"plan": "str"})


def test_what_has_no_moment_is_said_now(ledger: Ledger) -> None:
    """It wins over any moment, and the moment of its field is forgotten."""
    ledger.upsert([observed(2, plan="new", seats=1)], [A])
    ledger.upsert([user(plan="newest")], [A])
    ledger.upsert([observed(1, plan="since", seats=2)], [A])

    assert sent(ledger) == [{"plan": "since", "seats": 1}]


def test_moments_before_1970_are_older(ledger: Ledger) -> None:
    """As in any calendar."""
    ledger.upsert([user(plan="a")], [A])
    ledger.upsert([UserTraits("u1", traits={"plan": "b"}, observed_at=datetime(1969, 1, 1, tzinfo=UTC))], [A])
    ledger.upsert([UserTraits("u1", traits={"plan": "c"}, observed_at=datetime(1, 1, 1, tzinfo=UTC))], [A])

    assert sent(ledger) == [{"plan": "b"}]


# Claiming.


def test_claims_come_in_order_and_in_parts(ledger: Ledger) -> None:
    """After a place, so many, and none of those to skip."""
    ledger.upsert([user(f"u{number}") for number in range(6)], [A])
    everyone = ledger.claim(A)

    part = ledger.claim(A, after=everyone[0].row_id, count=2, skip={everyone[1].row_id})

    assert [claim.row_id for claim in everyone] == sorted(claim.row_id for claim in everyone)
    assert part == everyone[2:4]
    assert ledger.claim(A, after=everyone[-1].row_id) == []


def test_a_ledger_that_was_just_opened_knows_its_backends(tmp_path: Path) -> None:
    """Whatever it is asked first."""
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.upsert([user()], [A])

    with Ledger(tmp_path / "l.db") as ledger:
        claim = claim_one(ledger)
    with Ledger(tmp_path / "l.db") as ledger:
        assert settle(ledger, claim, Accepted(A))
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.jobs(A) == []


def test_a_claim_shows_no_values(ledger: Ledger) -> None:
    """Nor does what else there is to see."""
    ledger.upsert([UserTraits("canary", name="canary", traits={"plan": "canary"})], [A])
    claim = claim_one(ledger)
    settle(ledger, claim, REJECTION)

    shown = [
        claim,
        Settlement(claim.row_id, claim.version, Accepted(A)),
        *ledger.rejected(A),
        ledger,
        ledger._fingerprints,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    ]

    assert "canary" not in repr(shown)


# Settling.


@pytest.mark.parametrize("rejection", [REJECTION, Broken(A, "KeyError at wire.py:3")])
def test_who_is_refused_is_not_due_until_something_changes(ledger: Ledger, rejection: Rejected | Broken) -> None:
    """The same would be refused again."""
    ledger.upsert([user(plan="a")], [A])
    assert settle(ledger, claim_one(ledger), rejection)

    assert ledger.pending_count(A) == 0
    assert [(one.user, one.rejection) for one in ledger.rejected(A)] == [(user(plan="a"), rejection)]
    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(rejected=1)
    assert ledger.upsert([user(plan="b")], [A])[A] == UpsertCounts(pending=1)
    assert list(ledger.rejected(A)) == []


def test_what_changed_by_another_way_is_not_what_was_refused(ledger: Ledger) -> None:
    """Put for one backend, it is news to the other that refused the old."""
    ledger.upsert([user(plan="bad")], [A, B])
    settle(ledger, claim_one(ledger), REJECTION)

    ledger.upsert([user(plan="good")], [B])

    assert ledger.upsert([user(plan="good")], [A])[A] == UpsertCounts(pending=1)
    assert sent(ledger) == [{"plan": "good"}]


def test_a_refusal_is_told_with_its_violations_and_its_moment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the adapter gave it."""
    monkeypatch.setattr("replay_identity.ledger.ledger._now", lambda: 1_700_000_000)
    rejection = Rejected(A, (Violation("traits.plan", "value", 1024, 2000, "characters"), Violation("name", "odd")))
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), rejection)

    (one,) = ledger.rejected(A)

    assert (one.rejection, one.rejected_at) == (rejection, 1_700_000_000)


def test_everyone_refused_can_be_tried_again(ledger: Ledger) -> None:
    """Once the settings have changed, say; others' refusals stand."""
    everyone = [user(f"u{number}") for number in range(700)]
    ledger.upsert(everyone, [A, B])
    deliver(ledger, A, lambda _: REJECTION)
    deliver(ledger, B, lambda _: Rejected(B, code="400"))

    assert [one.user for one in ledger.rejected(A)] == everyone
    assert ledger.requeue_rejected(A) == 700

    assert (ledger.pending_count(A), ledger.pending_count(B), len(list(ledger.rejected(B)))) == (700, 0, 700)
    assert deliver(ledger) == everyone
    assert ledger.requeue_rejected(A) == 0


def test_what_was_lost_is_on_record_until_it_is_sent_again(ledger: Ledger) -> None:
    """Field by field, nested ones with the whole."""
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


def test_a_loss_under_a_shortened_name_is_told_once_and_ends(ledger: Ledger) -> None:
    """Names in adjustments are made fit to print."""
    lost = (dropped("traits." + "x" * 92 + "…"), dropped("traits.a\\u000ab"))
    for number in range(3):
        ledger.upsert([user("u1", **{"x" * 300: number, "a\nb": number})], [A])
        assert settle(ledger, claim_one(ledger), Accepted(A, adjustments=lost))
    assert list(ledger.losses(A)) == [lost]

    ledger.upsert([user("u1", **{"x" * 300: "fits", "a\nb": "fits"})], [A])
    assert settle(ledger, claim_one(ledger), Accepted(A))
    assert list(ledger.losses(A)) == []


def test_a_loss_that_is_no_fields_is_told_once(ledger: Ledger) -> None:
    """Such as one of an id, which is sent each time."""
    for number in range(3):
        ledger.upsert([user(n=number)], [A])
        settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("user_id"),)))

    assert list(ledger.losses(A)) == [(dropped("user_id"),)]


def test_after_a_loss_all_is_sent_that_is_put(ledger: Ledger) -> None:
    """The vendor does not hold what it was given, so nothing is left out as held."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("traits.plan"),)))

    ledger.upsert([user(plan="a", seats=2)], [A])

    assert claim_one(ledger).user == user(plan="a", seats=2)


def test_who_is_skipped_keeps_their_losses(ledger: Ledger) -> None:
    """Nothing was sent."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), Accepted(A, adjustments=(dropped("traits.plan"),)))
    ledger.upsert([user(plan="b")], [A])

    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    assert list(ledger.losses(A)) == [(dropped("traits.plan"),)]


def test_who_is_skipped_is_due_again_when_put_again(ledger: Ledger) -> None:
    """The route that filtered them may let them through by then."""
    ledger.upsert([user(plan="a")], [A])
    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))
    assert ledger.pending_count(A) == 0

    assert ledger.upsert([user(plan="a")], [A])[A] == UpsertCounts(pending=1)


def test_who_is_skipped_is_not_held_for_sure(ledger: Ledger) -> None:
    """An earlier request without an answer may have changed the vendor; what it was not about stands."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    assert not settle(ledger, claim_one(ledger), Unknown(A, "timeout"))
    ledger.upsert([user(region="eu")], [A])
    assert settle(ledger, claim_one(ledger), Skipped(A, SkipReason.NOTHING_TO_SEND))

    assert ledger.upsert([user(seats=1)], [A])[A] == UpsertCounts(unchanged=1)
    assert ledger.upsert([user(plan="a", seats=1)], [A])[A] == UpsertCounts(pending=1)
    assert claim_one(ledger).user == user(plan="a")


def test_the_standings_count_users(ledger: Ledger) -> None:
    """By backend, in the order of their first put."""
    ledger.upsert([user(f"u{number}") for number in range(4)], [B, A])
    claims = ledger.claim(A)
    answers: list[Outcome] = [
        Accepted(A),
        Accepted(A, adjustments=(dropped("name"),)),
        REJECTION,
        Unavailable(A, "503"),
    ]
    ledger.settle(A, [Settlement(c.row_id, c.version, answer) for c, answer in zip(claims, answers, strict=True)])

    assert ledger.counts() == [
        BackendCounts(B, pending=4, confirmed=0, rejected=0, lossy=0, jobs=0),
        BackendCounts(A, pending=1, confirmed=2, rejected=1, lossy=1, jobs=0),
    ]


def test_a_ledger_in_memory_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes no file, and its turn is always ours."""
    monkeypatch.chdir(tmp_path)
    with Ledger(":memory:") as ledger:
        ledger.upsert([user(plan="a")], [A])
        with ledger.lease(A) as is_ours:
            assert is_ours
            assert sent(ledger) == [{"plan": "a"}]

    assert list(tmp_path.iterdir()) == []


def test_no_repr_shows_what_is_being_put() -> None:
    """Not even inside the ledger is a user shown by what is stored of them."""
    given = incoming_user(
        UserTraits("canary-id", email="canary@example.com", traits={"plan": "canary"}), Fingerprints(b"k" * 32)
    )

    assert "canary" not in repr(given)
