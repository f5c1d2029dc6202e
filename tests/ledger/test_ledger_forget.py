"""Forgetting erases one user and changes no other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import A, B, bytes_on_disk, database_of, deliver, dropped
from support.profiles import examples
from support.users import user

from replay_identity import Accepted, Outcome, Rejected, Skipped, Unavailable, UserTraits
from replay_identity.errors import InvalidTraitsError, LedgerError
from replay_identity.ledger import Batch, Claim, JobEntry, Ledger
from replay_identity.outcomes import SkipReason

CANARY: Final = UserTraits(
    "canary-id",
    name="canary-name",
    email="canary-mail",
    traits={"plan": "canary-plan", "long": "canary" * 5000},
    vendor_ids={A: "canary-vendor"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the ledger."""
    return tmp_path / "ledger.db"


def rejected(_: Claim) -> Outcome:
    """Return a rejection whose message names the user."""
    return Rejected(A, code="400", message="canary-words")


def accepted_with_loss(_: Claim) -> Outcome:
    """Return an acceptance with a loss whose field identifies the user."""
    return Accepted(A, adjustments=(dropped("traits.canary-trait"),))


OUTCOMES: Final[Sequence[Callable[[Claim], Outcome]]] = (
    lambda _: Accepted(A),
    accepted_with_loss,
    rejected,
    lambda _: Unavailable(A, "503"),
    lambda _: Skipped(A, SkipReason.NOTHING_TO_SEND),
)


@pytest.mark.parametrize("outcome_of", OUTCOMES)
def test_forgetting_leaves_nothing_on_disk(path: Path, outcome_of: Callable[[Claim], Outcome]) -> None:
    """This holds for every state of a user, while the ledger is still open."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY, user("u2")], [A, B])
        deliver(ledger, A, lambda claim: outcome_of(claim) if claim.user.user_id == "canary-id" else Accepted(A))
        assert b"canary" in bytes_on_disk(path)

        assert ledger.forget("canary-id") is True

        assert b"canary" not in bytes_on_disk(path)
        assert [counts.pending for counts in ledger.counts()] == [0, 1]


def test_forgetting_works_while_others_use_the_ledger(path: Path) -> None:
    """An app may keep the ledger open for weeks."""
    with Ledger(path) as app, Ledger(path) as ledger:
        app.upsert([CANARY], [A])

        ledger.forget("canary-id")

        assert app.pending_count(A) == 0
        assert b"canary" not in bytes_on_disk(path)


def test_forgetting_deletes_from_every_table(path: Path) -> None:
    """Fingerprints are deleted too."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY, user("u2")], [A])
        deliver(ledger, A, accepted_with_loss)
        ledger.upsert([attrs.evolve(each, name="x") for each in (CANARY, user("u2"))], [A])
        deliver(ledger, A, rejected)
        ledger.upsert([CANARY, user("u2")], [B])

        ledger.forget("canary-id")

        tables = ("users", "desired", "pending", "confirmed", "rejections", "losses")
        sizes = [database_of(ledger).rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables]  # noqa: S608
    assert sizes == [1] * len(tables)


def test_keeps_a_reason_that_others_share(path: Path) -> None:
    """It is deleted with the last of those users."""
    with Ledger(path) as ledger:
        ledger.upsert([user("u1"), user("u2")], [A])
        deliver(ledger, A, rejected)

        ledger.forget("u1")
        assert [rejected.rejection for rejected in ledger.rejected(A)] == [
            Rejected(A, code="400", message="canary-words")
        ]

        ledger.forget("u2")
        assert b"canary-words" not in bytes_on_disk(path)


def test_deletes_a_reason_that_nobody_has(path: Path) -> None:
    """Its age does not matter: a vendor's message may be about this user only."""
    with Ledger(path) as ledger:
        ledger.upsert([user("u1")], [A])
        deliver(ledger, A, rejected)
        ledger.requeue_rejected(A)
        deliver(ledger)

        ledger.forget("u1")

        assert b"canary-words" not in bytes_on_disk(path)


def test_forgetting_an_unknown_user_returns_false(path: Path) -> None:
    """Forgetting twice is safe."""
    with Ledger(path) as ledger:
        ledger.upsert([user("u1")], [A])

        assert [ledger.forget("u1"), ledger.forget("u1"), ledger.forget("u2")] == [True, False, False]


def test_rejects_an_invalid_id(path: Path) -> None:
    """The error is that of creating a user with that id."""
    with Ledger(path) as ledger, pytest.raises(InvalidTraitsError):
        ledger.forget("")


def test_a_forgotten_user_comes_back_as_new(path: Path) -> None:
    """Everything is sent, since the vendor no longer has anything."""
    with Ledger(path) as ledger:
        ledger.upsert([user("u1", plan="pro"), user("u2", plan="pro")], [A])
        deliver(ledger)
        ledger.forget("u1")

        counts = ledger.upsert([user("u1", plan="pro"), user("u2", plan="pro")], [A])

        assert (counts[A].pending, counts[A].unchanged) == (1, 1)
        assert deliver(ledger) == [user("u1", plan="pro")]


def test_a_claim_does_not_restore_a_forgotten_user(path: Path) -> None:
    """A killed delivery may still settle it, or an app offer it."""
    with Ledger(path) as ledger:
        ledger.upsert([CANARY], [A])
        claims = ledger.claim(A)
        ledger.forget("canary-id")

        assert ledger.still_current(A, claims) == []
        assert deliver(ledger) == []
        assert b"canary" not in bytes_on_disk(path)


# Jobs in flight


def start_job(ledger: Ledger, *entries: JobEntry) -> None:
    """Store a job in flight."""
    ledger.start_job(A, Batch("key", entries, b"body"))


def test_finds_users_in_flight_by_user_id(path: Path) -> None:
    """Another user with the same vendor id is not meant."""
    with Ledger(path) as ledger:
        start_job(ledger, JobEntry(1, 1, "u1"), JobEntry(2, 1, None, "u3"))
        start_job(ledger, JobEntry(3, 1, "ü2"), JobEntry(4, 1, "u4", "u5"))

        in_flight = [name for name in ("u1", "ü2", "u3", "u4", "u5", "u") if ledger.is_in_flight(name)]

    assert in_flight == ["u1", "ü2", "u4"]


def test_refuses_to_forget_a_user_in_flight(path: Path) -> None:
    """The results, or the body sent again after a crash, would restore the user."""
    with Ledger(path) as ledger:
        ledger.upsert([user("canary-id")], [A])
        start_job(ledger, JobEntry(1, 1, "canary-id"))

        with pytest.raises(LedgerError, match="deliver first") as caught:
            ledger.forget("canary-id")

        assert "canary" not in str(caught.value)
        assert ledger.pending_count(A) == 1
        ledger.end_job(A, ledger.jobs(A)[0])
        assert ledger.forget("canary-id")


# Properties

Step: TypeAlias = Callable[[Ledger, frozenset[str]], None]
IDS: Final = ("canary", "u1", "u2")


def upserting(user_id: str, traits: dict[str, Any], backends: list[str]) -> Step:
    """Return a step that upserts a user, unless they are left out."""

    def upsert(ledger: Ledger, left_out: frozenset[str]) -> None:
        if user_id not in left_out:
            ledger.upsert([user(user_id, **traits)], backends)

    return upsert


def delivering(backend: str, outcome_of: Callable[[Claim], Outcome]) -> Step:
    """Return a step that delivers to one backend."""

    def deliver_all(ledger: Ledger, _: frozenset[str]) -> None:
        deliver(ledger, backend, lambda claim: attrs.evolve(outcome_of(claim), backend=backend))

    return deliver_all


def requeueing(backend: str) -> Step:
    """Return a step that requeues the rejected users."""

    def requeue(ledger: Ledger, _: frozenset[str]) -> None:
        ledger.requeue_rejected(backend)

    return requeue


TRAITS: Final = st.dictionaries(st.sampled_from(["plan", "seats"]), st.sampled_from(["canary-a", "canary-b"]))
BACKENDS: Final = st.sampled_from([A, B])
STEPS: Final = st.lists(
    st.one_of(
        st.builds(upserting, st.sampled_from(IDS), TRAITS, st.lists(BACKENDS, unique=True)),
        st.builds(delivering, BACKENDS, st.sampled_from(OUTCOMES)),
        st.builds(requeueing, BACKENDS),
    ),
    max_size=12,
)


def seen(ledger: Ledger) -> Any:
    """Return everything a ledger reports, and what it sends now and after another upsert."""
    reported = [
        (
            ledger.counts(),
            [(rejected.user, rejected.rejection) for rejected in ledger.rejected(name)],
            list(ledger.losses(name)),
        )
        for name in (A, B)
    ]
    sent = [
        [deliver(ledger, name), ledger.upsert([user("u1", plan="canary-a"), user("u2")], [name])] for name in (A, B)
    ]
    return reported, sent, [deliver(ledger, name) for name in (A, B)]


@given(STEPS)
def test_forgetting_changes_no_other_user(steps: list[Step]) -> None:
    """The ledger is as if the forgotten user had never been in it."""
    with Ledger(":memory:") as ledger, Ledger(":memory:") as without:
        for each in (ledger, without):
            each.upsert([user("u2", plan="first")], [A, B])
        for step in steps:
            step(ledger, frozenset())
            step(without, frozenset({"canary"}))

        ledger.forget("canary")

        assert seen(ledger) == seen(without)


@settings(max_examples=examples(25))
@given(STEPS)
def test_forgetting_leaves_nothing_after_any_history(steps: list[Step]) -> None:
    """The ledger has no other user, and the files beside it are searched, too."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger(path) as ledger:
            for step in [upserting("canary", {"plan": "canary-a"}, [A, B]), *steps]:
                step(ledger, frozenset({"u1", "u2"}))

            ledger.forget("canary")

            assert b"canary" not in bytes_on_disk(path)
