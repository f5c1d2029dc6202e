"""Stored users converted to users for other vendors."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paged_vendor import stored

from replay_identity import ConfigurationError, UserTraits
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.migration.conversion import Conversion
from replay_identity.sources import BadRow, Row


def converted(mapping: RowMapping | None = None, **fields: Any) -> UserTraits:
    """Return the user converted from a stored user with these *fields*."""
    row = Conversion(mapping).to_row(stored(1, **fields), 1)
    assert isinstance(row, Row), row
    return row.user


def test_keeps_all_fields_and_traits() -> None:
    """Id, name, email address and properties."""
    user = converted(name="Ada", email="ada@example.com", traits={"plan": "pro", "company": {"size": 4.5}})

    assert user == UserTraits(
        "u1", name="Ada", email="ada@example.com", traits={"plan": "pro", "company": {"size": 4.5}}
    )


def test_keeps_declared_types() -> None:
    """A string declared as a date stays a date."""
    user = converted(traits={"since": "2026-11-21", "size": 4}, types={"since": "date", "size": "int"})

    assert (user.traits, user.types) == ({"since": "2026-11-21", "size": 4}, {"since": "date", "size": "int"})


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("int", 43.0, 43),
        ("int", 43.5, 43.5),
        ("int", "43", "43"),
        ("real", 43, 43.0),
        ("real", 2**53 + 1, 2**53 + 1),
        ("real", True, True),
        ("ints", [1.0, 2], (1, 2)),
        ("reals", [1, 2.5], (1.0, 2.5)),
        ("str", 43, 43),
    ],
)
def test_converts_numbers_to_their_declared_types(declared: str, value: object, expected: object) -> None:
    """JSON has one number type. A value that would change is kept."""
    (found,) = converted(traits={"a": value}, types={"a": declared}).traits.values()

    assert repr(found) == repr(expected)


def test_converts_nested_numbers_by_dotted_path() -> None:
    """Vendors declare them by that path."""
    user = converted(traits={"company": {"size": 4.0}}, types={"company.size": "int"})

    assert repr(user.traits["company"]) == "{'size': 4}"


def test_drops_conflicting_types() -> None:
    """No value should be lost to a type that is only one of several."""
    user = converted(
        traits={"seats": "many", "plan": "a"}, types={"seats": "int", "plan": "str"}, type_conflicts={"seats": ["int"]}
    )

    assert user.types == {"plan": "str"}


def test_drops_unknown_types() -> None:
    """A vendor may have more types than this library."""
    assert converted(traits={"a": "b"}, types={"a": "geo", "b": 3}).types == {}


def test_an_invalid_user_is_a_bad_row() -> None:
    """It names the user's position and the property."""
    row = Conversion().to_row(stored(1, traits={"tags": ["a", None]}), 17)

    assert row == BadRow(17, 17, "traits.tags[1]: None has no meaning inside a list; leave it out")


def test_a_mapping_renames_and_casts() -> None:
    """Declared types follow the renamed traits."""
    mapping = RowMapping(
        fields={"plan": FieldRule(rename="tier"), "seats": FieldRule(cast="int"), "org": FieldRule(rename="company")}
    )

    user = converted(
        mapping,
        traits={"plan": "pro", "seats": "43", "org": {"since": "2026-11-21"}, "rest": True},
        types={"plan": "str", "org.since": "date", "rest": "bool"},
    )

    assert user.traits == {"tier": "pro", "seats": 43, "company": {"since": "2026-11-21"}, "rest": True}
    assert user.types == {"tier": "str", "company.since": "date", "rest": "bool", "seats": "int"}


def test_users_are_observed_when_requested() -> None:
    """A mapping may name another field for the moment."""
    requested, changed = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 20, 8, tzinfo=UTC)
    fields: dict[str, Any] = {"traits": {"changed": changed.isoformat()}}

    for mapping, expected in (
        (None, requested),
        (RowMapping(), requested),
        (RowMapping(observed_at="changed"), changed),
    ):
        row = Conversion(mapping).to_row(stored(1, **fields), 1, requested)
        assert isinstance(row, Row)
        assert row.user.observed_at == expected


def test_a_mapping_cannot_leave_users_out() -> None:
    """A filter that is ignored would move the wrong users."""
    with pytest.raises(ConfigurationError, match=r"^where: cannot be set"):
        Conversion(RowMapping(where={"plan": "pro"}))


def test_a_mapping_uses_the_user_field_names() -> None:
    """For example, the email address can become the id."""
    user = converted(RowMapping(user_id="email"), user_id=None, email="ada@example.com")

    assert user.user_id == "ada@example.com"


@pytest.mark.parametrize(("user_id", "expected"), [(None, f"{2**60 + 1}"), ("u1", "u1")])
def test_a_mapping_gives_anonymous_users_the_vendor_id(user_id: str | None, expected: str) -> None:
    """Other users keep their id and get no such trait."""
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="id")})

    user = converted(mapping, user_id=user_id, traits={"plan": "pro"})

    assert (user.user_id, user.traits) == (expected, {"plan": "pro"})


def test_a_mapping_keeps_the_vendor_id_as_a_trait() -> None:
    """It helps to find the users at the old vendor."""
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="fullstory_id")})

    assert converted(mapping).traits == {"fullstory_id": f"{2**60 + 1}"}


@pytest.mark.parametrize("mapping", [None, RowMapping()])
def test_properties_named_like_user_fields_stay_properties(mapping: RowMapping | None) -> None:
    """A property called uid becomes no id, and none is lost."""
    traits = {"uid": "x", "id": "y", "email": "z", "name": "n", "user_id": "w", "vendor_id": "v", "display_name": "d"}

    user = converted(mapping, user_id=None, traits=traits)

    assert (user.user_id, user.email, user.traits) == (None, None, traits)


def test_a_mapping_can_address_such_a_property() -> None:
    """Its path is `traits.` and its name."""
    mapping = RowMapping(fields={"traits.uid": FieldRule(rename="account")})

    assert converted(mapping, traits={"uid": "x"}).traits == {"account": "x"}


@given(
    st.dictionaries(
        st.sampled_from(["a", "uid", "email", "vendor_id", "b"]),
        st.one_of(st.text(max_size=3), st.booleans(), st.integers(-9, 9), st.dictionaries(st.just("n"), st.booleans())),
    )
)
def test_an_empty_mapping_changes_nothing(traits: dict[str, Any]) -> None:
    """This holds for any names of properties."""
    assert converted(RowMapping(), traits=traits) == converted(None, traits=traits)
