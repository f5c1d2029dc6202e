"""The rules for Fullstory's custom properties."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from replay_identity.emulator import FullstoryEmulator, FullstoryUser
from replay_identity.emulator.fullstory.properties import merge

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]


def post(client: httpx.Client, properties: Any, **types: str) -> httpx.Response:
    """Send properties for the user u1, with declared types."""
    schema = {"schema": {"properties": types}} if types else {}
    return client.post("/v2/users", json={"uid": "u1", "properties": properties, **schema})


def user(emulator: FullstoryEmulator) -> FullstoryUser:
    """Return the user u1."""
    found = emulator.by_uid("u1")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["a", "Z9_", "a" * 512])
def test_a_name_of_letters_digits_and_underscores_is_taken(fs: httpx.Client, name: str) -> None:
    """A name starts with a letter and has at most 512 characters."""
    assert post(fs, {name: 1}).status_code == 200


@pytest.mark.parametrize("name", ["", "1a", "_a", "a-b", "a b", "a.b", "é", "aé", "a\n", "a" * 513])
def test_any_other_name_is_refused(fs: httpx.Client, name: str) -> None:
    """Everything else fails the request."""
    assert post(fs, {name: 1}).status_code == 400


def test_nested_names_follow_the_same_rule(fs: httpx.Client) -> None:
    """A name deep inside is checked as well."""
    assert post(fs, {"a": {"b": {"c-d": 1}}}).status_code == 400


@pytest.mark.parametrize(("length", "status"), [(510, 200), (511, 400)])
def test_the_dotted_name_has_at_most_512_characters(fs: httpx.Client, length: int, status: int) -> None:
    """Parents and dots count."""
    assert post(fs, {"a": {"b" * length: 1}}).status_code == status


@pytest.mark.parametrize(("count", "status"), [(500, 200), (501, 400)])
def test_a_request_has_at_most_500_properties(fs: httpx.Client, count: int, status: int) -> None:
    """The object may hold 500 names."""
    assert post(fs, {f"p{number}": None for number in range(count)}).status_code == status


@pytest.mark.parametrize(("count", "status"), [(499, 200), (500, 400)])
def test_nested_properties_count_each(fs: httpx.Client, count: int, status: int) -> None:
    """Hiding properties in an object does not help."""
    assert post(fs, {"a": 1, "b": {f"p{number}": 1 for number in range(count)}}).status_code == status


def test_a_user_has_at_most_500_properties(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Two requests can not go where one may not."""
    post(fs, {f"a{number}": 1 for number in range(500)})

    assert post(fs, {"b": 1}).status_code == 400
    assert "b" not in user(fullstory).properties


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("x" * 8192, 200),
        ("x" * 8193, 400),
        ("é" * 4096, 200),
        ("é" * 4097, 400),
        (["x" * 8188], 200),
        (["x" * 8189], 400),
        ({"b": "x" * 8184}, 200),
        ({"b": "x" * 8185}, 400),
    ],
)
def test_a_value_has_at_most_8192_bytes(fs: httpx.Client, value: object, status: int) -> None:
    """A string counts as UTF-8, a list or an object as its JSON."""
    assert post(fs, {"a": value}).status_code == status


def test_a_value_too_large_can_be_dropped_without_a_word(mount_fullstory: MountFullstory) -> None:
    """With oversized="drop" the rest of the request is taken."""
    emulator = FullstoryEmulator(oversized="drop")
    fs = mount_fullstory(emulator)

    response = post(fs, {"a": "x" * 9000, "b": {"c": "x" * 9000, "d": 1}, "e": 1})

    assert response.status_code == 200
    assert user(emulator).properties == {"b": {"d": 1}, "e": 1}
    assert set(user(emulator).schema) == {"b.d", "e"}


@pytest.mark.parametrize(
    "array", [[{"a": 1}], [[1]], [None], [1, "a"], [1, True]], ids=["object", "array", "null", "mixed", "bool"]
)
def test_an_array_holds_scalars_of_one_type(fs: httpx.Client, array: list[object]) -> None:
    """Arrays of anything else are refused."""
    assert post(fs, {"a": array}).status_code == 400


def test_null_says_nothing(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A null neither sets nor clears."""
    post(fs, {"a": 1, "b": {"c": 2}})

    post(fs, {"a": None, "b": {"c": None}})

    assert user(fullstory).properties == {"a": 1, "b": {"c": 2}}


def test_nested_objects_are_merged_name_by_name(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A merge is deep."""
    post(fs, {"a": {"b": {"c": 1, "d": 1}}})

    post(fs, {"a": {"b": {"d": 2}}})

    assert user(fullstory).properties == {"a": {"b": {"c": 1, "d": 2}}}


def test_an_object_and_a_scalar_replace_each_other(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The newest value wins, whatever its shape."""
    post(fs, {"a": {"b": 1}, "c": 1})

    post(fs, {"a": 2, "c": {"d": 2}})

    assert user(fullstory).properties == {"a": 2, "c": {"d": 2}}


def test_a_shallow_merge_replaces_objects() -> None:
    """The other policy is one argument away."""
    assert merge({"a": {"b": 1}, "c": 1}, {"a": {"d": 2}}, deep=False) == {"a": {"d": 2}, "c": 1}


@pytest.mark.parametrize(
    ("value", "inferred"),
    [
        (2, "real"),
        (2.5, "real"),
        (True, "bool"),
        ("x", "str"),
        ("2026-11-21T00:00:00Z", "str"),
        ([1, 2.5], "reals"),
        ([True], "bools"),
        (["x"], "strs"),
    ],
)
def test_a_type_is_inferred(fs: httpx.Client, fullstory: FullstoryEmulator, value: object, inferred: str) -> None:
    """All numbers are real, and no string is a date."""
    post(fs, {"a": value})

    assert user(fullstory).schema == {"a": inferred}


def test_an_empty_list_has_no_type(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Nothing can be inferred from nothing."""
    post(fs, {"a": []})

    assert (user(fullstory).properties, user(fullstory).schema) == ({"a": []}, {})


@pytest.mark.parametrize("value", [2**53 + 1, [2**53 + 1]])
def test_an_undeclared_integer_is_stored_as_a_double(
    fs: httpx.Client, fullstory: FullstoryEmulator, value: object
) -> None:
    """An integer that was not declared loses its last digits."""
    post(fs, {"a": value})

    assert orjson.dumps(user(fullstory).properties["a"]).strip(b"[]") == b"9007199254740992.0"


def test_a_declared_integer_is_stored_exactly(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Declared int, all digits stay."""
    post(fs, {"a": 2**53 + 1}, a="int")

    assert (user(fullstory).properties, user(fullstory).schema) == ({"a": 2**53 + 1}, {"a": "int"})


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ("x", "str"),
        (["x"], "strs"),
        (2, "int"),
        (2.0, "int"),
        ([1, 2], "ints"),
        (2, "real"),
        (2.5, "real"),
        ([2.5], "reals"),
        (True, "bool"),
        ([False], "bools"),
        ("2026-11-21T09:30:00Z", "date"),
        ("2026-11-21T09:30:00+0000", "date"),
        (["2026-11-21"], "dates"),
        ([], "dates"),
    ],
)
def test_a_value_that_fits_its_declared_type_is_taken(fs: httpx.Client, value: object, declared: str) -> None:
    """The types have singular and plural."""
    assert post(fs, {"a": value}, a=declared).status_code == 200


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (1, "str"),
        ("x", "strs"),
        (["x"], "str"),
        (2.5, "int"),
        ("2", "int"),
        (True, "int"),
        (2**63, "int"),
        (1e300, "int"),
        ("2", "real"),
        (True, "real"),
        ("true", "bool"),
        (1, "bool"),
        ("yesterday", "date"),
        (1795230937, "date"),
        (["2026-11-21", "x"], "dates"),
        ({"b": 1}, "str"),
    ],
)
def test_a_value_that_does_not_fit_its_declared_type_is_refused(fs: httpx.Client, value: object, declared: str) -> None:
    """A wrong declaration fails the request."""
    assert post(fs, {"a": value}, a=declared).status_code == 400


def test_a_declaration_without_a_value_means_nothing(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Only properties that are sent have a type."""
    post(fs, {"a": None}, a="int", b="date")

    assert user(fullstory).schema == {}


def test_a_property_seen_with_two_types_is_a_conflict(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The first type stays in the schema, and all are listed."""
    post(fs, {"a": "x", "b": 1})

    post(fs, {"a": 1, "b": 2})

    shown = fs.get(f"/v2/users/{user(fullstory).id}?include_schema=true").json()
    assert shown["schema"]["properties"] == {"a": "str", "b": "real"}
    assert shown["type_conflicts"] == {"properties": {"a": ["str", "real"]}}


def test_an_integer_must_be_declared_each_time(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Declaring int once and not again is a conflict, too."""
    post(fs, {"a": 1}, a="int")

    post(fs, {"a": 2})

    assert user(fullstory).type_conflicts == {"a": ("int", "real")}


@pytest.mark.parametrize("depth", [248, 250, 252, 300])
def test_what_is_taken_can_be_read_back_however_deep(fs: httpx.Client, depth: int) -> None:
    """Deeper nesting than can be answered is refused."""
    body = b'{"uid": "u1", "properties": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"

    posted = fs.post("/v2/users", content=body).status_code
    listed = fs.get("/v2/users", params={"uid": "u1", "include_schema": "true"})

    assert posted == (200 if depth <= 250 else 400)
    assert len(listed.json()["results"]) == (1 if depth <= 250 else 0)
