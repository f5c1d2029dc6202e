"""What a vendor shows of a user, as a user for other vendors."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from migration.vendors import stored

from replay_identity import UserTraits
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.migration.conversion import Conversion
from replay_identity.sources import BadRow, Row


def converted(mapping: RowMapping | None = None, **fields: Any) -> UserTraits:
    """Return the user that a vendor's user of these *fields* becomes."""
    row = Conversion(mapping).to_row(stored(1, **fields), 1)
    assert isinstance(row, Row), row
    return row.user


def test_keeps_the_own_fields_and_the_traits() -> None:
    """Id, name, e-mail and every property come along."""
    user = converted(name="Ada", email="ada@example.com", traits={"plan": "pro", "company": {"size": 4.5}})

    assert user == UserTraits(
        "u1", name="Ada", email="ada@example.com", traits={"plan": "pro", "company": {"size": 4.5}}
    )


def test_declared_types_come_along() -> None:
    """A date is a text that is declared a date, and stays one."""
    user = converted(traits={"since": "2026-11-21", "size": 4}, types={"since": "date", "size": "int"})

    assert (user.traits, user.types) == ({"since": "2026-11-21", "size": 4}, {"since": "date", "size": "int"})


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
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
def test_numbers_are_what_they_are_declared_to_be(declared: str, value: object, wanted: object) -> None:
    """JSON has one kind of number, so 43 may be a real and 43.0 an int; what is not the same number stays."""
    (found,) = converted(traits={"a": value}, types={"a": declared}).traits.values()

    assert repr(found) == repr(wanted)


def test_nested_numbers_are_declared_by_dotted_path() -> None:
    """As the vendor declares them."""
    user = converted(traits={"company": {"size": 4.0}}, types={"company.size": "int"})

    assert repr(user.traits["company"]) == "{'size': 4}"


def test_a_trait_with_several_types_has_none_declared() -> None:
    """No value has to go for a type that is only one of two."""
    user = converted(
        traits={"seats": "many", "plan": "a"}, types={"seats": "int", "plan": "str"}, type_conflicts={"seats": ["int"]}
    )

    assert user.types == {"plan": "str"}


def test_a_type_nobody_knows_is_left_out() -> None:
    """A vendor may have more types than we."""
    assert converted(traits={"a": "b"}, types={"a": "geo", "b": 3}).types == {}


def test_a_user_who_cannot_be_is_a_bad_row() -> None:
    """It says which of the users, and names the property."""
    row = Conversion().to_row(stored(1, traits={"tags": ["a", None]}), 17)

    assert row == BadRow(17, 17, "traits.tags[1]: None has no meaning inside a list; leave it out")


def test_a_mapping_renames_and_casts() -> None:
    """Paths are those of the properties, and a declared type goes where the trait goes."""
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


def test_a_user_is_as_of_the_moment_of_asking_unless_the_mapping_says_another() -> None:
    """What is said later of the same user is newer."""
    asked, said = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 20, 8, tzinfo=UTC)
    fields: dict[str, Any] = {"traits": {"changed": said.isoformat()}}

    for mapping, moment in (
        (None, asked),
        (RowMapping(), asked),
        (RowMapping(observed_at="changed"), said),
    ):
        row = Conversion(mapping).to_row(stored(1, **fields), 1, asked)
        assert isinstance(row, Row)
        assert row.user.observed_at == moment


def test_a_mapping_finds_the_own_fields_under_our_names() -> None:
    """The e-mail address can be the id."""
    user = converted(RowMapping(user_id="email"), user_id=None, email="ada@example.com")

    assert user.user_id == "ada@example.com"


@pytest.mark.parametrize(("user_id", "wanted"), [(None, f"{2**60 + 1}"), ("u1", "u1")])
def test_a_mapping_gives_anonymous_users_the_vendors_id(user_id: str | None, wanted: str) -> None:
    """Who has an id keeps it, and gets no trait of that name."""
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="id")})

    user = converted(mapping, user_id=user_id, traits={"plan": "pro"})

    assert (user.user_id, user.traits) == (wanted, {"plan": "pro"})


def test_a_mapping_keeps_the_vendors_id_as_a_trait() -> None:
    """For whoever wants to find them at the old vendor."""
    mapping = RowMapping(fields={"vendor_id": FieldRule(rename="fullstory_id")})

    assert converted(mapping).traits == {"fullstory_id": f"{2**60 + 1}"}


@pytest.mark.parametrize("mapping", [None, RowMapping()])
def test_properties_with_the_names_of_own_fields_stay_properties(mapping: RowMapping | None) -> None:
    """A property called uid makes nobody's id, and none is lost."""
    traits = {"uid": "x", "id": "y", "email": "z", "name": "n", "user_id": "w", "vendor_id": "v", "display_name": "d"}

    user = converted(mapping, user_id=None, traits=traits)

    assert (user.user_id, user.email, user.traits) == (None, None, traits)


def test_a_mapping_reaches_such_a_property_by_its_path() -> None:
    """Under traits and its name."""
    mapping = RowMapping(fields={"traits.uid": FieldRule(rename="account")})

    assert converted(mapping, traits={"uid": "x"}).traits == {"account": "x"}


@given(
    st.dictionaries(
        st.sampled_from(["a", "uid", "email", "vendor_id", "b"]),
        st.one_of(st.text(max_size=3), st.booleans(), st.integers(-9, 9), st.dictionaries(st.just("n"), st.booleans())),
    )
)
def test_a_mapping_that_says_nothing_changes_nothing(traits: dict[str, Any]) -> None:
    """Whatever the properties are called."""
    assert converted(RowMapping(), traits=traits) == converted(None, traits=traits)
