"""Users that an upsert would not change, found without an upsert."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import A, B, claim_one, database_of, deliver, settle
from support.profiles import examples
from support.stores import LedgerStore
from support.users import user

from replay_identity import REMOVE, Accepted, Outcome, Rejected, Skipped, Unknown, UserTraits
from replay_identity.ledger import Account, Claim, Ledger, UpsertCounts
from replay_identity.ledger.codec import encode
from replay_identity.outcomes import SkipReason

NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
ACCOUNTS: Final = (
    Account(A, "shop", "limit 1"),
    Account(A, "shop", "limit 2"),
    Account(A, "other", "limit 1"),
    Account(B, "shop", "limit 1"),
)
OUTCOMES: Final[tuple[Outcome, ...]] = (
    Accepted(A),
    Accepted(A),
    Rejected(A, code="400", message="no"),
    Unknown(A, "timeout"),
    Skipped(A, SkipReason.NOTHING_TO_SEND),
)

# Few, so that a state often comes back.
rows: st.SearchStrategy[UserTraits] = st.sampled_from(
    [
        user(a=1),
        user(a=1),
        user(a=2),
        user(b=1),
        user(a=REMOVE),
        user("u2", a=1),
        UserTraits("u1", traits={"a": 1}, observed_at=NOON),
        UserTraits("u2", traits={"a": 2}, observed_at=NOON),
    ]
)
some_accounts = st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=2, unique_by=lambda account: account.backend)
upserts = st.tuples(st.just("upsert"), rows, some_accounts, st.booleans())
arrivals = st.tuples(st.just("arrive"), rows, some_accounts)
deliveries = st.tuples(st.just("deliver"), st.sampled_from(ACCOUNTS), st.sampled_from(OUTCOMES))
others = st.tuples(st.sampled_from(["claim", "invalidate", "requeue"]), st.sampled_from(ACCOUNTS))
histories = st.lists(st.one_of(upserts, arrivals, arrivals, deliveries, others), max_size=8)


def answer(outcome: Outcome, _: Claim) -> Outcome:
    """Return what every claim is answered with."""
    return outcome


def replay(ledger: Ledger, history: list[Any]) -> None:
    """Repeat what happened to a ledger."""
    for step in history:
        match step:
            case ("upsert", row, accounts, replace):
                ledger.upsert([row], accounts, replace=replace)
            case ("arrive", row, accounts):
                ledger.upsert([row], accounts)
                for account in accounts:
                    deliver(ledger, account)
            case ("deliver", account, outcome):
                deliver(ledger, account, partial(answer, outcome))
            case ("claim", account):
                ledger.claim(account)
            case ("invalidate", account):
                ledger.invalidate(account)
            case _:
                (_, account) = step
                ledger.requeue_rejected(account)


def is_unchanged(ledger: Ledger, row: UserTraits, *accounts: str | Account) -> bool:
    """Ask about one user."""
    (found,) = ledger.unchanged([(row.user_id or "", encode(row))], accounts)
    return found


def is_dated(history: list[Any]) -> bool:
    """Return True if a row has a moment."""
    return any(step[1].observed_at for step in history if step[0] in {"upsert", "arrive"})


def moments_in(ledger: Ledger) -> list[Any]:
    """Return the moments of the fields of all users."""
    return database_of(ledger).rows("SELECT row_id, moments FROM users ORDER BY row_id")


@settings(max_examples=examples(1600), deadline=None)
@given(histories, rows, st.tuples(some_accounts, st.booleans()))
def test_an_upsert_only_counts_an_unchanged_user(
    history: list[Any], row: UserTraits, how: tuple[list[Account], bool]
) -> None:
    """It changes nothing then; who is settled everywhere and is only counted is always found."""
    accounts, replace = how
    with Ledger(":memory:") as ledger:
        replay(ledger, history)
        ledger.upsert([], accounts)
        found = is_unchanged(ledger, row, *accounts)
        status, moments = ledger.status_of(row.user_id or ""), moments_in(ledger)

        counts = ledger.upsert([row], accounts, replace=replace)

        is_only_counted = all(count == UpsertCounts(unchanged=1) for count in counts.values())
        is_settled = status is not None and status.desired is None and not is_dated([*history, ("upsert", row)])
        if found:
            assert is_only_counted
            assert (ledger.status_of(row.user_id or ""), moments_in(ledger)) == (status, moments)
        assert found or not (is_only_counted and is_settled)


def test_answers_in_order(ledger: Ledger) -> None:
    """However many users there are, known or not."""
    known = [user(f"u{number}", plan="a") for number in range(1, 1203)]
    ledger.upsert(known, [A])
    deliver(ledger)
    given = [user(f"u{number}", plan="b" if number % 7 == 0 else "a") for number in range(1300)]

    found = ledger.unchanged([(each.user_id or "", encode(each)) for each in given], [A])

    assert found == [0 < number < 1203 and number % 7 != 0 for number in range(1300)]


def test_every_backend_must_have_confirmed(ledger: Ledger) -> None:
    """A backend that the ledger was never used for has confirmed nothing."""
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger)

    assert is_unchanged(ledger, user(plan="a"), A)
    assert not is_unchanged(ledger, user(plan="a"), A, B)


@pytest.mark.parametrize("outcome", [Rejected(B, code="400"), Unknown(B, "timeout")])
def test_not_while_another_backend_needs_the_user(ledger: Ledger, outcome: Outcome) -> None:
    """An upsert may merge the row into the desired state then."""
    ledger.upsert([user(plan="a")], [A, B])
    deliver(ledger)
    assert not is_unchanged(ledger, user(plan="a"), A)

    settle(ledger, claim_one(ledger, B), outcome, B)

    assert not is_unchanged(ledger, user(plan="a"), A)


def test_asks_while_another_process_writes(store: LedgerStore) -> None:
    """Nothing waits for its transaction."""
    with store.open() as ledger, store.open() as other:
        ledger.upsert([user(plan="a")], [A])
        deliver(ledger)
        with database_of(other).transaction():
            assert is_unchanged(ledger, user(plan="a"), A)


def test_not_in_doubt(ledger: Ledger) -> None:
    """Two accounts became one, and had confirmed different values."""
    key, shop = Account(A, "key"), Account(B, "shop")
    for account, plan in ((key, "a"), (shop, "b")):
        ledger.open_account(account)
        ledger.upsert([user(plan=plan)], [account])
        deliver(ledger, account)

    ledger.learn_organisation("key", "shop")

    assert not any(is_unchanged(ledger, user(plan=plan), shop) for plan in "ab")


def test_not_if_fields_have_moments(ledger: Ledger) -> None:
    """An upsert updates the moments."""
    row = UserTraits("u1", traits={"plan": "a"}, observed_at=NOON)
    ledger.upsert([row], [A])
    deliver(ledger)

    assert not is_unchanged(ledger, row, A)


def test_a_forgotten_user_is_not_unchanged(ledger: Ledger) -> None:
    """The ledger knows nothing of them."""
    ledger.upsert([user(plan="a")], [A])
    deliver(ledger)

    ledger.forget("u1")

    assert not is_unchanged(ledger, user(plan="a"), A)
    assert ledger.unchanged([], [A]) == []
