"""`explain`: what each account has of one user, and which fields differ from it."""

import time
from collections.abc import Iterator
from typing import Any, Final

import attrs
import pytest
from support.backends import Acme, AcmeBatch
from support.in_process import FULLSTORY_URL, World
from support.vendors import FULLSTORY_KEY

from replay_identity import Broken, Fullstory, Rejected, Route, Skipped, Unknown, UserTraits
from replay_identity.adapters import Plan
from replay_identity.bulk import AccountExplanation, DeliveryState, explain, sync
from replay_identity.emulator import Fault
from replay_identity.errors import ConfigurationError, InvalidTraitsError
from replay_identity.ledger import Account, Batch, JobEntry, Ledger, Settlement
from replay_identity.outcomes import SkipReason

LONG: Final = "x" * 1025


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Yield a ledger in memory."""
    with Ledger(":memory:") as ledger:
        yield ledger


def at(explanation: Any, backend: str) -> AccountExplanation:
    """Return what is explained of the only account of *backend*."""
    (account,) = [each for each in explanation.accounts if each.status.backend == backend]
    assert isinstance(account, AccountExplanation)
    return account


def user(**traits: Any) -> UserTraits:
    """Return user u1."""
    return UserTraits("u1", traits=traits)


def test_a_confirmed_user_has_no_values(world: World) -> None:
    """The names of the confirmed fields are known, as the vendor knows them."""
    world.sync([user(plan="pro", company={"size": 3})])

    explanation = explain("u1", world.backends, ledger=world.ledger)

    assert explanation is not None
    assert explanation.has_values is False
    account = at(explanation, "logrocket")
    assert account.state is DeliveryState.CONFIRMED
    assert account.differences is None
    assert account.status.confirmed_fields == ("traits.company.size", "traits.plan")
    assert account.status.confirmed_at == pytest.approx(time.time(), abs=600)


def test_an_unknown_user_is_none(world: World) -> None:
    """A ledger knows only the users that it was given."""
    assert explain("u1", world.backends, ledger=world.ledger) is None


def test_only_fields_that_differ_are_listed(world: World) -> None:
    """They have the vendor's names, and the values that would be sent."""
    world.sync([user(plan="pro", seats=3)])
    world.ledger.upsert([user(plan="free", seats=3)], ["logrocket"])

    explanation = explain("u1", world.backends, ledger=world.ledger)

    assert explanation is not None
    assert explanation.has_values is True
    assert at(explanation, "logrocket").state is DeliveryState.PENDING
    assert at(explanation, "logrocket").differences == {"traits.plan": "free"}
    # Confirmed there, but the ledger has the values, so they can be compared.
    assert at(explanation, "fullstory").state is DeliveryState.CONFIRMED
    assert at(explanation, "fullstory").differences == {"properties.plan": "free"}


def test_nothing_differs_where_the_user_is_confirmed(world: World) -> None:
    """Another backend still needs the values."""
    world.sync([user(plan="pro", bio=LONG)])

    explanation = explain("u1", world.backends, ledger=world.ledger)

    assert at(explanation, "fullstory").differences == {}
    assert at(explanation, "fullstory").unsent == Skipped("fullstory", SkipReason.UNCHANGED)


def test_a_rejected_user_has_the_limit(world: World) -> None:
    """The maximum, the unit and the measure found are there, and so is the time."""
    world.sync([user(bio=LONG)])

    account = at(explain("u1", world.backends, ledger=world.ledger), "logrocket")

    assert account.state is DeliveryState.REJECTED
    assert isinstance(account.status.rejection, Rejected)
    (violation,) = account.status.rejection.violations
    assert (violation.path, violation.limit, violation.actual) == ("traits.bio", 1024, 1025)
    assert account.status.rejected_at == pytest.approx(time.time(), abs=600)
    assert account.unsent == account.status.rejection
    assert account.differences is None


def test_losses_are_listed(world: World) -> None:
    """A trait that was dropped to fit a limit is not forgotten."""
    world.backends = [attrs.evolve(backend, on_violation="adapt") for backend in world.backends]  # type: ignore[misc]
    world.sync([user(bio=LONG)])

    (loss,) = at(explain("u1", world.backends, ledger=world.ledger), "logrocket").status.losses

    assert (loss.path, loss.kind) == ("traits.bio", "truncated")


def test_all_fields_differ_while_in_doubt(world: World) -> None:
    """A lost response leaves open what the vendor has."""
    world.sync([user(plan="pro", seats=3)])
    world.ledger.upsert([user(plan="free", seats=3)], ["logrocket"])
    world.ledger.claim("logrocket")

    account = at(explain("u1", world.backends, ledger=world.ledger), "logrocket")

    assert account.status.in_doubt
    assert account.differences == {"traits.plan": "free", "traits.seats": "3"}


def test_a_deferred_user_has_a_time(ledger: Ledger) -> None:
    """Once it has passed, the user is only pending."""
    ledger.upsert([user(plan="pro")], ["acme"])
    (claim,) = ledger.claim("acme")
    states: list[DeliveryState] = []
    for not_before in (time.time() + 1000, time.time() - 1000):
        outcome = Unknown("acme", "a login page")
        ledger.settle("acme", [Settlement(claim.row_id, claim.version, outcome, not_before=not_before)])
        states.append(at(explain("u1", [], ledger=ledger), "acme").state)

    assert states == [DeliveryState.DEFERRED, DeliveryState.PENDING]


def test_a_user_in_a_job_says_so(ledger: Ledger) -> None:
    """The outcome is not known yet."""
    ledger.upsert([user(plan="pro")], ["acme"])
    ledger.start_job("acme", Batch("key", [JobEntry(1, 1, "u1")], b"body"))

    assert at(explain("u1", [], ledger=ledger), "acme").state is DeliveryState.IN_JOB


def test_a_filtered_user_was_not_sent(ledger: Ledger) -> None:
    """Neither confirmed nor rejected: a route kept the user away."""
    route = Route(Acme(), when=lambda _: False)
    sync([user(plan="pro")], [route], ledger=ledger)

    assert at(explain("u1", [route], ledger=ledger), "acme").state is DeliveryState.NOT_SENT


def test_a_route_decides_what_differs(world: World) -> None:
    """What it hides is not sent, so it does not differ."""
    world.ledger.upsert([user(plan="pro", secret="x")], ["logrocket"])
    route = Route(world.backends[1], exclude={"secret"})  # type: ignore[arg-type]

    assert at(explain("u1", [route], ledger=world.ledger), "logrocket").differences == {"traits.plan": "pro"}


@pytest.mark.parametrize("backend", [Acme(), AcmeBatch()])
def test_fields_without_names_are_not_compared(ledger: Ledger, backend: Acme) -> None:
    """An adapter may not say what the vendor holds."""
    ledger.upsert([user(plan="pro")], ["acme"])

    account = at(explain("u1", [backend], ledger=ledger), "acme")

    assert (account.differences, account.unsent) == (None, None)


def test_a_plan_without_fields_is_not_compared(ledger: Ledger) -> None:
    """The whole request is compared then, which has no names."""

    class Whole(Acme):
        def plan(self, user: UserTraits, /) -> Plan:
            return attrs.evolve(Fullstory(FULLSTORY_KEY, base_url=FULLSTORY_URL).plan(user), fields=None)

    ledger.upsert([user(plan="pro")], ["acme"])

    assert at(explain("u1", [Whole()], ledger=ledger), "acme").differences is None


def test_a_broken_adapter_is_explained(ledger: Ledger) -> None:
    """Its exception is not shown, since it may quote a value."""

    class Failing(Acme):
        def plan(self, user: UserTraits, /) -> Plan:
            raise ValueError(user.traits["plan"])

    ledger.upsert([user(plan="canary")], ["acme"])

    unsent = at(explain("u1", [Failing()], ledger=ledger), "acme").unsent

    assert isinstance(unsent, Broken)
    assert "canary" not in unsent.error


def test_without_backends_the_ledger_still_explains(world: World) -> None:
    """Nothing is compared then."""
    world.ledger.upsert([user(plan="pro")], ["logrocket"])

    account = at(explain("u1", [], ledger=world.ledger), "logrocket")

    assert (account.state, account.differences) == (DeliveryState.PENDING, None)


def test_every_account_is_explained(ledger: Ledger) -> None:
    """The state at an account that is no longer used is there, the one used last comes at the end."""
    old, new = Account("acme", "acme.example/old"), Account("acme", "acme.example/new")
    for account in (old, new):
        ledger.open_account(account)
    ledger.upsert([user(plan="pro")], [old])

    explanation = explain("u1", [Acme()], ledger=ledger)

    assert explanation is not None
    assert [(each.status.account, each.state) for each in explanation.accounts] == [
        ("acme.example/old", DeliveryState.PENDING),
        ("acme.example/new", DeliveryState.NOT_SENT),
    ]


def test_nothing_is_sent_or_changed(world: World) -> None:
    """Asking twice gives the same answer, and the user stays as pending as before."""
    world.sync([user(plan="pro")])
    world.ledger.upsert([user(plan="free")], ["logrocket"])
    sent = world.logrocket_line.count

    first, second = (explain("u1", world.backends, ledger=world.ledger) for _ in range(2))

    assert first == second
    assert world.logrocket_line.count == sent
    assert world.ledger.pending_count("logrocket") == 1


def test_a_dict_has_values_only_if_asked(world: World) -> None:
    """The rest of it has names, times and rules."""
    world.sync([user(plan="pro", bio=LONG)])
    world.ledger.upsert([user(plan="canary")], ["fullstory"])
    explanation = explain("u1", world.backends, ledger=world.ledger)
    assert explanation is not None

    document = explanation.as_dict()
    fullstory, logrocket = document["accounts"]

    assert "canary" not in repr(document) + repr(explanation)
    assert fullstory["differing_fields"] == ["properties.plan"]
    assert fullstory["confirmed_at"].endswith("Z")
    assert "values" not in fullstory
    assert logrocket["rejection"]["violations"][0]["limit"] == 1024
    assert logrocket["state"] == "rejected"
    with_values = explanation.as_dict(show_values=True)["accounts"]
    assert with_values[0]["values"] == {"properties.plan": "canary"}
    assert with_values[1]["values"] is None


def test_an_outage_explains_itself(world: World) -> None:
    """A pending user was never confirmed."""
    world.logrocket.faults.add(Fault(status=503, times=None))
    world.options = {name: attrs.evolve(options, patience=0.01) for name, options in world.options.items()}
    world.sync([user(plan="pro")])

    account = at(explain("u1", world.backends, ledger=world.ledger), "logrocket")

    assert account.state in {DeliveryState.PENDING, DeliveryState.DEFERRED}
    assert account.status.confirmed_at is None
    assert account.differences == {"traits.plan": "pro"}


def test_an_invalid_id_is_a_mistake(ledger: Ledger) -> None:
    """So are two backends of one name."""
    with pytest.raises(InvalidTraitsError):
        explain("", [], ledger=ledger)
    with pytest.raises(ConfigurationError):
        explain("u1", [Acme(), Acme()], ledger=ledger)
