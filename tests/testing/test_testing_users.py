"""The strategies do what they say, for the limits of both vendors."""

from collections.abc import Iterator
from datetime import date
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity._values import is_nested
from replay_identity.adapters.limits import Limit, Limits, Unit
from replay_identity.errors import printable
from replay_identity.testing import CHARACTERS, Boundary, responses, user_traits, users_at, users_over, valid_users
from replay_identity.testing.values import text_at, text_over

BACKENDS: Final = (Fullstory("na1.key"), LogRocket("acme:shop:key"))
_SLOW: Final = (HealthCheck.too_slow, HealthCheck.data_too_large)
_UNITS: Final = (Unit.CHARACTERS, Unit.UTF16_UNITS, Unit.UTF8_BYTES)


def limit(unit: Unit, maximum: int) -> Limit:
    """Return a limit of nobody's."""
    return Limit(maximum=maximum, unit=unit, source="here", read_on=date(2026, 11, 21), rule="rule")


@pytest.mark.parametrize("unit", _UNITS)
@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("maximum", [30, 31, 32, 33])
def test_a_text_is_exactly_at_the_limit(unit: Unit, character: str, maximum: int) -> None:
    """In its unit, and with the character itself as the last thing that fits."""
    one = limit(unit, maximum)

    text = text_at(one, character, "@x")

    assert one.measure(text) == maximum
    assert text.endswith(f"{character}@x")


@pytest.mark.parametrize("unit", _UNITS)
@pytest.mark.parametrize("character", CHARACTERS)
def test_a_text_is_over_the_limit_by_one(unit: Unit, character: str) -> None:
    """Whatever the character takes, no more than one unit is too much."""
    one = limit(unit, 40)

    text = text_over(one, character, "@x")

    assert one.measure(text) == 41
    assert text.endswith(f"{character}@x")


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_who_is_on_a_limit_is_taken_whole(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """The adapters agree that it is within, by their own count."""
    boundary = data.draw(users_at(backend.limits))

    plan = backend.plan(boundary.user)

    assert plan.violations == ()
    assert not any(adjustment.lossy for adjustment in plan.adjustments)
    assert boundary.text is None or boundary.limit.measure(boundary.text) == boundary.limit.maximum


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_who_is_over_a_limit_breaks_that_one_alone(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """And the violation names what the strategy says."""
    boundary = data.draw(users_over(backend.limits))

    (violation,) = backend.plan(boundary.user).violations

    assert violation.rule == boundary.limit.rule
    assert violation.path == printable(boundary.path)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_who_is_within_all_limits_is_taken(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """Nothing of them is refused or lost."""
    plan = backend.plan(data.draw(valid_users(backend.limits)))

    assert plan.request is not None
    assert not any(adjustment.lossy for adjustment in plan.adjustments)


def fields(strategy: st.SearchStrategy[Boundary]) -> set[str]:
    """Return the fields of all limits that a hundred examples are about."""
    found: set[str] = set()

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=_SLOW)
    @given(strategy)
    def note(boundary: Boundary) -> None:
        found.add(boundary.field)

    note()
    return found


def measured(limits: Limits) -> Iterator[str]:
    """Yield the fields of the limits that a user can be on."""
    for field, _ in limits:
        if field not in {"user", "trait_name_advised", "unique_traits"}:
            yield field


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_no_limit_is_left_out(backend: Fullstory | LogRocket) -> None:
    """Each limit of a single field has its users on it and over it."""
    wanted = set(measured(backend.limits))

    assert fields(users_at(backend.limits)) == wanted
    assert fields(users_over(backend.limits)) == wanted


def test_the_size_of_a_user_as_a_whole_can_be_broken() -> None:
    """Where no smaller limit is broken before."""
    whole = limit(Unit.UTF8_BYTES, 1000)
    limits = Limits(user=whole, user_id=limit(Unit.CHARACTERS, 50))

    assert fields(users_over(limits)) == {"user", "user_id"}
    assert fields(users_over(Limits(user=whole, trait_value=whole))) == {"trait_value"}


def test_a_vendor_without_limits_has_users_too() -> None:
    """Who says nothing of lengths takes all users who are modest."""

    @settings(max_examples=20, database=None)
    @given(valid_users(Limits()))
    def is_somebody(user: UserTraits) -> None:
        assert user.user_id
        assert user.name

    is_somebody()


@given(user=user_traits(user_id=st.just("u1"), traits=st.just({"a": 1})))
def test_a_field_can_be_fixed(user: UserTraits) -> None:
    """A test that needs an id asks for one."""
    assert user.user_id == "u1"
    assert user.traits == {"a": 1}


def _names(value: object) -> list[str]:
    return list(value) if is_nested(value) else [""]


def test_values_can_be_narrowed() -> None:
    """For a vendor whose rules are no limits."""

    @settings(max_examples=50, database=None)
    @given(valid_users(Limits(), values=st.just("x")))
    def holds_texts(user: UserTraits) -> None:
        assert all(value in ("x", {name: "x"}) for value in user.traits.values() for name in _names(value))

    holds_texts()


def test_every_kind_of_reply_comes() -> None:
    """Answers of every class, and the lack of one."""
    seen: set[int] = set()

    @settings(max_examples=200, derandomize=True, database=None, suppress_health_check=_SLOW)
    @given(responses())
    def note(response: object) -> None:
        seen.add(getattr(response, "status") // 100)  # noqa: B009

    note()

    assert {0, 2, 3, 4, 5} <= seen
