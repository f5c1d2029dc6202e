"""Every fault in the fields of a plan is caught by the case for it."""

from collections.abc import Container, Iterator
from typing import Any, ClassVar, Final

import attrs
import pytest
from hypothesis import settings

from replay_identity import Fullstory, Outcome, UserTraits
from replay_identity.adapters import EncodedUser, Exchange, OnViolation, Plan, Skipped, SkipReason
from replay_identity.testing import BackendConformance


@attrs.frozen
class Whole(Fullstory):
    """Sends the whole user, whatever is asked for."""

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:  # noqa: ARG002
        """Ignore *only*."""
        return super().plan(user)


@attrs.frozen
class WholeInBatch(Fullstory):
    """Sends the whole user in a batch."""

    def encode_for_batch(self, user: UserTraits, /, *, only: Container[str] | None = None) -> EncodedUser:  # noqa: ARG002
        """Ignore *only*."""
        return super().encode_for_batch(user)


@attrs.frozen
class Less(Fullstory):
    """Forgets a field that was asked for."""

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Leave out the name."""
        return super().plan(user, only=only and [name for name in list(only) if name != "display_name"])  # type: ignore[call-overload]


@attrs.frozen
class WithFields(Fullstory):
    """Changes the fields of each plan."""

    def plan(self, user: UserTraits, /, *, only: Container[str] | None = None) -> Plan:
        """Change the fields."""
        plan = super().plan(user, only=only)
        return plan if plan.fields is None else attrs.evolve(plan, fields=self.changed(dict(plan.fields), only))

    def changed(self, fields: dict[str, Any], only: Container[str] | None) -> dict[str, Any]:
        """Return the changed *fields*."""
        raise NotImplementedError


@attrs.frozen
class WithoutTypes(WithFields):
    """Leaves the declared types out of the values."""

    def changed(self, fields: dict[str, Any], only: Container[str] | None) -> dict[str, Any]:  # noqa: ARG002
        """Return values without types."""
        return {name: value[0] if isinstance(value, list) else value for name, value in fields.items()}


@attrs.frozen
class WithoutEmail(WithFields):
    """Leaves a field out."""

    def changed(self, fields: dict[str, Any], only: Container[str] | None) -> dict[str, Any]:  # noqa: ARG002
        """Return all fields but the e-mail address."""
        return {name: value for name, value in fields.items() if name != "email"}


@attrs.frozen
class OnlySent(WithFields):
    """Returns the fields of the request instead of the user's."""

    def changed(self, fields: dict[str, Any], only: Container[str] | None) -> dict[str, Any]:
        """Return the fields in *only*."""
        return fields if only is None else {name: value for name, value in fields.items() if name in only}


@attrs.frozen
class SendsNothing(Fullstory):
    """Skips every plan."""

    def send(self, user: UserTraits, plan: Plan, /) -> Exchange[Outcome]:  # noqa: ARG002
        """Send nothing."""
        yield from ()
        return Skipped(self.name, SkipReason.NOTHING_TO_SEND)


class Suite(BackendConformance):
    """The suite for a broken Fullstory."""

    key = "na1.canary-key"
    broken: ClassVar[type[Fullstory]]

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> Fullstory:
        """Return the broken backend."""
        return self.broken(self.key, base_url=base_url, on_violation=on_violation)


CASES: Final = [
    (Whole, "test_request_holds_only_the_named_fields"),
    (WholeInBatch, "test_request_holds_only_the_named_fields"),
    (Less, "test_request_holds_only_the_named_fields"),
    (WithoutTypes, "test_same_fields_make_the_same_request"),
    (WithoutEmail, "test_same_fields_make_the_same_request"),
    (WithoutEmail, "test_request_holds_only_the_named_fields"),
    (OnlySent, "test_partial_plan_describes_the_whole_user"),
    (WithoutEmail, "test_batch_matches_the_plan"),
    (SendsNothing, "test_partial_plan_describes_the_whole_user"),
]


@pytest.fixture(autouse=True)
def _same_examples_in_every_run() -> Iterator[None]:
    profile = settings.get_current_profile_name()
    settings.register_profile("broken-fields", max_examples=300, derandomize=True, database=None)
    settings.load_profile("broken-fields")
    yield
    settings.load_profile(profile)


@pytest.mark.parametrize(("broken", "case"), CASES, ids=[f"{kind.__name__}-{case}" for kind, case in CASES])
def test_a_fault_in_the_fields_is_caught(broken: type[Fullstory], case: str) -> None:
    """The case for the fault fails."""
    suite = type("Broken", (Suite,), {"broken": broken})()

    with pytest.raises(AssertionError):
        getattr(suite, case)()


@pytest.mark.parametrize("case", sorted({case for _, case in CASES}))
def test_unbroken_backend_passes(case: str) -> None:
    """Without a fault, no case fails."""
    suite = type("Right", (Suite,), {"broken": Fullstory})()

    getattr(suite, case)()
