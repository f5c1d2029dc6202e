"""What the ledger knows of one user."""

from typing import Final

import pytest
from support.ledgers import A, B, claim_one, deliver, dropped, fields_of, settle, settlement
from support.users import user

from replay_identity import Accepted, Rejected, Unknown, UserTraits
from replay_identity.ledger import Account, AccountStatus, Batch, JobEntry, Ledger, UserStatus

SHOP: Final = Account(A, "shop", "1")
REJECTION: Final = Rejected(A, code="400", message="no")


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay_identity.ledger.ledger._now", lambda: 1_700_000_000)


def status(ledger: Ledger, user_id: str = "u1") -> UserStatus:
    """Return the status of a user of the ledger."""
    found = ledger.status_of(user_id)
    assert found is not None
    return found


def test_an_unknown_user_has_no_status(ledger: Ledger) -> None:
    """Nor does one without an id of the application."""
    assert ledger.status_of("u1") is None
    ledger.upsert([user("u2"), UserTraits(vendor_ids={A: "u1"})], [A])

    assert ledger.status_of("u1") is None


def test_a_pending_user_has_values(ledger: Ledger) -> None:
    """The claim is the one that would be sent, and asking for it puts nothing in doubt."""
    ledger.upsert([user(plan="a")], [SHOP])

    found = status(ledger)

    assert found.accounts == (AccountStatus(A, "shop", pending=True),)
    assert found.desired == user(plan="a")
    assert found.claims == {(A, "shop"): ledger.claim(SHOP)[0]}
    assert not status(ledger).accounts[0].in_doubt


def test_a_confirmed_user_has_names_and_time(ledger: Ledger) -> None:
    """The values are erased, the vendor's names of the fields are not."""
    ledger.upsert([user(plan="a", seats=1)], [SHOP])
    deliver(ledger, SHOP)

    found = status(ledger)

    assert found == UserStatus(
        (AccountStatus(A, "shop", confirmed_at=1_700_000_000, confirmed_fields=("traits.plan", "traits.seats")),)
    )


def test_a_user_in_doubt_is_told(ledger: Ledger) -> None:
    """Something was sent without an answer, and is sent again later."""
    ledger.upsert([user(plan="a")], [SHOP])
    deliver(ledger, SHOP)
    ledger.upsert([user(plan="b")], [SHOP])
    claim = claim_one(ledger, SHOP)
    ledger.settle(SHOP, [settlement(claim, Unknown(A, "timeout"), not_before=1_800_000_000.5)])

    (found,) = status(ledger).accounts

    assert (found.pending, found.in_doubt, found.not_before) == (True, True, 1_800_000_000.5)


def test_fields_of_unknown_value_are_not_confirmed(ledger: Ledger) -> None:
    """The vendor may have any value."""
    ledger.upsert([user(plan="a", seats=1)], [A])
    deliver(ledger)
    ledger.upsert([user(plan="b")], [A])
    settle(ledger, claim_one(ledger), REJECTION)

    (found,) = status(ledger).accounts

    assert found.confirmed_fields == ("traits.seats",)


def test_a_rejected_user_has_reason_and_time(ledger: Ledger) -> None:
    """They keep their values, since a corrected row is merged with them."""
    ledger.upsert([user(plan="a")], [A])
    settle(ledger, claim_one(ledger), REJECTION)

    found = status(ledger)

    assert found.accounts == (AccountStatus(A, "", rejection=REJECTION, rejected_at=1_700_000_000),)
    assert found.desired == user(plan="a")


def test_losses_are_told(ledger: Ledger) -> None:
    """They are those of this user alone."""
    ledger.upsert([user("u1"), user("u2")], [A])
    lost = (dropped("name"),)
    deliver(ledger, A, lambda claim: Accepted(A, adjustments=lost if claim.user.user_id == "u1" else ()))

    assert [status(ledger, user_id).accounts[0].losses for user_id in ("u1", "u2")] == [lost, ()]


def test_a_user_in_a_job_is_told(ledger: Ledger) -> None:
    """Only by their own id, and only at that account."""
    ledger.upsert([user("u1"), user("u2")], [SHOP, B])
    ledger.start_job(SHOP, Batch("key", [JobEntry(1, 1, "u1", "u2")], b""))

    assert [[each.in_job for each in status(ledger, user_id).accounts] for user_id in ("u1", "u2")] == [
        [True, False],
        [False, False],
    ]


def test_each_account_has_a_state(ledger: Ledger) -> None:
    """The one used last is the last."""
    ledger.upsert([user(plan="a")], [SHOP, B])
    deliver(ledger, SHOP)
    ledger.open_account(Account(A, "test"))

    found = status(ledger)

    assert [(each.backend, each.account, each.pending, each.confirmed_at is not None) for each in found.accounts] == [
        (A, "shop", False, True),
        (B, "", True, False),
        (A, "test", False, False),
    ]
    assert {*found.claims} == {(A, "shop"), (B, ""), (A, "test")}
    assert ledger.compare(found.claims[A, "shop"], fields_of(user(plan="a")))[1] == set()


def test_a_status_hides_values() -> None:
    """Its repr has neither the state nor the claims."""
    assert repr(UserStatus((), user(plan="canary"))) == "UserStatus(accounts=())"
