"""The strategies for users, with the limits of both vendors."""

from collections.abc import Iterator
from datetime import date
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity._values import is_nested
from replay_identity.adapters import Limit, Limits, Unit
from replay_identity.errors import printable
from replay_identity.testing import CHARACTERS, Boundary, responses, user_traits, users_at, users_over, valid_users
from replay_identity.testing.values import text_at, text_over

BACKENDS: Final = (Fullstory("na1.key"), LogRocket("acme:shop:key"))
_SLOW: Final = (HealthCheck.too_slow, HealthCheck.data_too_large)
_UNITS: Final = (Unit.CHARACTERS, Unit.UTF16_UNITS, Unit.UTF8_BYTES)


def limit(unit: Unit, maximum: int) -> Limit:
    """Return a made-up limit."""
    return Limit(maximum=maximum, unit=unit, source="here", read_on=date(2026, 11, 21), rule="rule")


@pytest.mark.parametrize("unit", _UNITS)
@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("maximum", [30, 31, 32, 33])
def test_text_at_is_exactly_at_the_limit(unit: Unit, character: str, maximum: int) -> None:
    """The character itself is the last that fits."""
    limit_ = limit(unit, maximum)

    text = text_at(limit_, character, "@x")

    assert limit_.measure(text) == maximum
    assert text.endswith(f"{character}@x")


@pytest.mark.parametrize("unit", _UNITS)
@pytest.mark.parametrize("character", CHARACTERS)
def test_text_over_is_one_unit_over(unit: Unit, character: str) -> None:
    """This holds for characters of any length."""
    limit_ = limit(unit, 40)

    text = text_over(limit_, character, "@x")

    assert limit_.measure(text) == 41
    assert text.endswith(f"{character}@x")


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_users_at_a_limit_are_accepted(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """The adapters count them as within the limit."""
    boundary = data.draw(users_at(backend.limits))

    plan = backend.plan(boundary.user)

    assert plan.violations == ()
    assert not any(adjustment.lossy for adjustment in plan.adjustments)
    assert boundary.text is None or boundary.limit.measure(boundary.text) == boundary.limit.maximum


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_users_over_a_limit_break_only_that_limit(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """The violation has the rule and path of the boundary."""
    boundary = data.draw(users_over(backend.limits))

    (violation,) = backend.plan(boundary.user).violations

    assert violation.rule == boundary.limit.rule
    assert violation.path == printable(boundary.path)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@given(data=st.data())
def test_valid_users_are_accepted(backend: Fullstory | LogRocket, data: st.DataObject) -> None:
    """Nothing is rejected or lost."""
    plan = backend.plan(data.draw(valid_users(backend.limits)))

    assert plan.request is not None
    assert not any(adjustment.lossy for adjustment in plan.adjustments)


def fields(strategy: st.SearchStrategy[Boundary]) -> set[str]:
    """Return the fields of the limits in a hundred examples."""
    names: set[str] = set()

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=_SLOW)
    @given(strategy)
    def record(boundary: Boundary) -> None:
        names.add(boundary.field)

    record()
    return names


def measured(limits: Limits) -> Iterator[str]:
    """Yield the fields of the limits that a user can be at."""
    for field, _ in limits:
        if field not in {"user", "trait_name_advised", "unique_traits"}:
            yield field


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_every_limit_is_drawn(backend: Fullstory | LogRocket) -> None:
    """Each limit of a single field has users at it and over it."""
    expected = set(measured(backend.limits))

    assert fields(users_at(backend.limits)) == expected
    assert fields(users_over(backend.limits)) == expected


def test_limit_of_the_whole_user_can_be_broken() -> None:
    """This needs a vendor without a smaller limit."""
    whole = limit(Unit.UTF8_BYTES, 1000)
    limits = Limits(user=whole, user_id=limit(Unit.CHARACTERS, 50))

    assert fields(users_over(limits)) == {"user", "user_id"}
    assert fields(users_over(Limits(user=whole, trait_value=whole))) == {"trait_value"}


def test_valid_users_work_without_limits() -> None:
    """Their fields are short then."""

    @settings(max_examples=20, database=None)
    @given(valid_users(Limits()))
    def check(user: UserTraits) -> None:
        assert user.user_id
        assert user.name

    check()


@given(user=user_traits(user_id=st.just("u1"), traits=st.just({"a": 1})))
def test_field_can_be_fixed(user: UserTraits) -> None:
    """A test that needs an id can set one."""
    assert user.user_id == "u1"
    assert user.traits == {"a": 1}


def _names(value: object) -> list[str]:
    return list(value) if is_nested(value) else [""]


def test_values_can_be_chosen() -> None:
    """Some vendors have rules beyond their limits."""

    @settings(max_examples=50, database=None)
    @given(valid_users(Limits(), values=st.just("x")))
    def check(user: UserTraits) -> None:
        assert all(value in ("x", {name: "x"}) for value in user.traits.values() for name in _names(value))

    check()


def test_every_kind_of_response_is_drawn() -> None:
    """There are responses of every class, and missing ones."""
    seen: set[int] = set()

    @settings(max_examples=200, derandomize=True, database=None, suppress_health_check=_SLOW)
    @given(responses())
    def record(response: object) -> None:
        seen.add(getattr(response, "status") // 100)  # noqa: B009

    record()

    assert {0, 2, 3, 4, 5} <= seen
