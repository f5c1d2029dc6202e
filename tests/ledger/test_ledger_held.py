"""Users who are not claimed yet: deferred ones, and those with further rows."""

import sqlite3

import pytest
from support.ledgers import A, B, claim_one, database_of, deliver, settle, settlement
from support.users import user

from replay_identity import Accepted, Unavailable, Unknown, UserTraits
from replay_identity.errors import LedgerError
from replay_identity.ledger import Claim, Ledger, UpsertCounts, upserts

NO_ANSWER = Unknown(A, "timeout")


# Deferred users.


def defer(ledger: Ledger, until: float, *, backend: str = A) -> Claim:
    """Defer the only user who may be claimed."""
    (claim,) = ledger.claim(backend, now=0)
    assert ledger.settle(backend, [settlement(claim, NO_ANSWER, not_before=until)]) == set()
    return claim


def claimed(ledger: Ledger, now: float | None, backend: str = A) -> list[str | None]:
    """Return the ids of the users who may be claimed then."""
    return [claim.user.user_id for claim in ledger.claim(backend, now=now)]


def test_a_deferred_user_is_claimed_later(ledger: Ledger) -> None:
    """This is stored, and concerns one backend."""
    ledger.upsert([user("u1")], [A, B])
    defer(ledger, 100.5)
    ledger.upsert([user("u2")], [A])

    assert [claimed(ledger, now) for now in (100.4, 100.5)] == [["u2"], ["u1", "u2"]]
    assert claimed(ledger, 0, B) == ["u1"]
    assert ledger.pending_count(A) == 2


def test_waits_by_the_current_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the default."""
    moment = 1000.0
    monkeypatch.setattr("time.time", lambda: moment)
    ledger.upsert([user()], [A])
    defer(ledger, 1000.5)
    assert claimed(ledger, None) == []

    moment = 1000.5

    assert claimed(ledger, None) == ["u1"]


def test_a_change_does_not_end_the_wait(ledger: Ledger) -> None:
    """A vendor that does not answer is given time; the newest state is sent then."""
    ledger.upsert([user(plan="a")], [A])
    defer(ledger, 100)
    ledger.upsert([user(plan="b")], [A])

    assert claimed(ledger, 99) == []
    assert [claim.user for claim in ledger.claim(A, now=100)] == [user(plan="b")]


def test_an_outdated_outcome_defers_the_newer_state(ledger: Ledger) -> None:
    """It says nothing about the state, but all about the vendor."""
    ledger.upsert([user(plan="a")], [A])
    (claim,) = ledger.claim(A, now=0)
    ledger.upsert([user(plan="b")], [A])

    ledger.settle(A, [settlement(claim, NO_ANSWER, not_before=100)])

    assert (claimed(ledger, 99), claimed(ledger, 100)) == ([], ["u1"])


def test_a_settled_user_waits_no_more(ledger: Ledger) -> None:
    """The next change is sent at once."""
    ledger.upsert([user(plan="a")], [A])
    claim = defer(ledger, 100)
    assert settle(ledger, claim, Accepted(A))

    ledger.settle(A, [settlement(claim, NO_ANSWER, not_before=200)])
    ledger.upsert([user(plan="b")], [A])

    assert claimed(ledger, 0) == ["u1"]


def test_the_next_deferred_user_is_known(ledger: Ledger) -> None:
    """None if nobody is deferred beyond that moment; users who need not wait do not matter."""
    assert [ledger.next_due(backend, now=0) for backend in (A, "acmee")] == [None, None]
    for number in range(2):
        ledger.upsert([user(f"u{number}")], [A])
        defer(ledger, 200 - number * 50)
    ledger.upsert([user("u2")], [A, B])

    assert [ledger.next_due(A, now=now) for now in (0, 149.9, 150, 200)] == [150, 150, 200, None]
    assert ledger.next_due(B, now=0) is None


def test_an_outcome_without_moment_keeps_the_wait(ledger: Ledger) -> None:
    """The vendor may ask for time once, and then not answer at all."""
    ledger.upsert([user()], [A])
    claim = defer(ledger, 100)

    ledger.settle(A, [settlement(claim, Unavailable(A, "503"))])

    assert ledger.next_due(A, now=0) == 100


# Users with further rows.


def upsert(ledger: Ledger, held: set[int], *rows: UserTraits, following: str = "") -> list[Claim]:
    """Upsert *rows*; more follow about the users in *following*. Return the claims on new users."""
    claims: list[Claim] = []
    ledger.upsert(
        rows, [A], held=held, more_follow=lambda row: row.user_id in following.split(), on_inserted=claims.extend
    )
    return claims


def test_a_user_with_further_rows_is_held(ledger: Ledger) -> None:
    """They are not offered, and are released with their last row."""
    held = set[int]()

    assert [claim.user.user_id for claim in upsert(ledger, held, user("u1"), user("u2"), following="u1")] == ["u2"]
    assert [claim.user.user_id for claim in ledger.claim(A, skip=held)] == ["u2"]
    assert upsert(ledger, held, user("u1", plan="last")) == []

    assert held == set()
    assert [claim.user for claim in ledger.claim(A, skip=held)] == [user("u1", plan="last"), user("u2")]


def test_holds_a_user_who_was_known(ledger: Ledger) -> None:
    """They may be pending, or be confirmed already."""
    ledger.upsert([user("u1", plan="a")], [A])
    deliver(ledger)
    ledger.upsert([user("u2")], [A])
    held = set[int]()

    upsert(ledger, held, user("u1", plan="b"), user("u2"), following="u1 u2")
    assert ledger.claim(A, skip=held) == []

    upsert(ledger, held, user("u1", plan="c"), user("u2"))
    assert [claim.user.user_id for claim in ledger.claim(A, skip=held)] == ["u1", "u2"]


def test_the_last_row_may_be_in_the_same_call(ledger: Ledger) -> None:
    """More follow about the first row, and none about the last."""
    held = set[int]()
    rows = [user(plan="a"), user(plan="b"), user("u2")]
    follow = iter([True, False, False])
    inserted: list[Claim] = []

    counts = ledger.upsert(rows, [A], held=held, more_follow=lambda _: next(follow), on_inserted=inserted.extend)

    assert counts[A] == UpsertCounts(pending=2, already_pending=1)
    assert held == set()
    assert [claim.user.user_id for claim in inserted] == ["u2"]
    assert claim_one_of(ledger, "u1").user == user(plan="b")


def claim_one_of(ledger: Ledger, user_id: str) -> Claim:
    """Return the claim of the user of that id."""
    (claim,) = [claim for claim in ledger.claim(A) if claim.user.user_id == user_id]
    return claim


def test_a_new_user_may_be_held_by_a_later_row(ledger: Ledger) -> None:
    """The offer of the first row is withdrawn."""
    held = set[int]()
    follow = iter([False, True])
    inserted: list[Claim] = []

    ledger.upsert(
        [user(plan="a"), user(plan="a")],
        [A],
        held=held,
        more_follow=lambda _: next(follow),
        on_inserted=inserted.extend,
    )

    assert (inserted, held) == ([], {claim_one(ledger).row_id})


def test_a_user_who_occurs_twice_is_not_offered(ledger: Ledger) -> None:
    """The claim would have the first state, and the version of the last."""
    inserted: list[Claim] = []

    ledger.upsert([user(plan="a"), user("u2"), user(plan="b")], [A], on_inserted=inserted.extend)

    assert [claim.user.user_id for claim in inserted] == ["u2"]


def test_users_of_others_stay_held(ledger: Ledger) -> None:
    """Only users of this call are released."""
    held = {7}

    upsert(ledger, held, user("u1"), user("u2"))
    upsert(ledger, held, user("u1"))

    assert held == {7}


def test_nobody_is_released_before_the_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the upsert fails, the rows that follow are still to come."""
    held = set[int]()
    upsert(ledger, held, user("u1"), following="u1")
    before = set(held)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(upserts, "UpsertResult", full)
        with pytest.raises(LedgerError):
            upsert(ledger, held, user("u1", plan="last"))

    assert held == before


def test_a_failed_upsert_holds_nobody(ledger: Ledger) -> None:
    """The row ids of its users go to others; who was held before stays held."""
    held = set[int]()
    upsert(ledger, held, user("u1"), following="u1")
    with database_of(ledger).transaction() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON desired WHEN new.row_id = 1 BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(LedgerError):
        upsert(ledger, held, user("u1", plan="a"), user("u2"), following="u1 u2")
    with database_of(ledger).transaction() as db:
        db.execute("DROP TRIGGER full")

    assert [claim.user.user_id for claim in upsert(ledger, held, user("u3"))] == ["u3"]
    assert [claim.user.user_id for claim in ledger.claim(A, skip=held)] == ["u3"]
    assert len(held) == 1
