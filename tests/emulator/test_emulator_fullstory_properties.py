"""Fullstory's rules for properties."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from replay_identity.emulator import FullstoryEmulator, FullstoryUser

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]


def post(client: httpx.Client, properties: Any, **types: str) -> httpx.Response:
    """Send properties for the user u1, with declared types."""
    schema = {"schema": {"properties": types}} if types else {}
    return client.post("/v2/users", json={"uid": "u1", "properties": properties, **schema})


def user(emulator: FullstoryEmulator) -> FullstoryUser:
    """Return the user u1."""
    stored = emulator.by_uid("u1")
    assert stored is not None
    return stored


@pytest.mark.parametrize("name", ["a", "Z9_", "a" * 512])
def test_valid_name_is_accepted(fs: httpx.Client, name: str) -> None:
    """A name starts with a letter and has at most 512 characters."""
    assert post(fs, {name: 1}).status_code == 200


@pytest.mark.parametrize("name", ["", "1a", "_a", "a-b", "a b", "a.b", "é", "aé", "a\n", "a" * 513])
def test_invalid_name_is_rejected(fs: httpx.Client, name: str) -> None:
    """Other names fail the request."""
    assert post(fs, {name: 1}).status_code == 400


def test_nested_names_follow_the_same_rule(fs: httpx.Client) -> None:
    """Names are validated at every depth."""
    assert post(fs, {"a": {"b": {"c-d": 1}}}).status_code == 400


@pytest.mark.parametrize(("length", "status"), [(510, 200), (511, 400)])
def test_dotted_name_has_at_most_512_characters(fs: httpx.Client, length: int, status: int) -> None:
    """Parents and dots count."""
    assert post(fs, {"a": {"b" * length: 1}}).status_code == status


@pytest.mark.parametrize(("count", "status"), [(500, 200), (501, 400)])
def test_request_has_at_most_500_properties(fs: httpx.Client, count: int, status: int) -> None:
    """The limit is inclusive."""
    assert post(fs, {f"p{number}": None for number in range(count)}).status_code == status


@pytest.mark.parametrize(("count", "status"), [(499, 200), (500, 400)])
def test_nested_properties_count(fs: httpx.Client, count: int, status: int) -> None:
    """An object does not hide its properties from the limit."""
    assert post(fs, {"a": 1, "b": {f"p{number}": 1 for number in range(count)}}).status_code == status


def test_user_has_at_most_500_properties(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Two requests cannot exceed the limit either."""
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
def test_value_has_at_most_8192_bytes(fs: httpx.Client, value: object, status: int) -> None:
    """Strings count as UTF-8, lists and objects as JSON."""
    assert post(fs, {"a": value}).status_code == status


def test_oversized_value_can_be_dropped(mount_fullstory: MountFullstory) -> None:
    """With oversized="drop" the rest of the request is applied."""
    emulator = FullstoryEmulator(oversized="drop")
    fs = mount_fullstory(emulator)

    response = post(fs, {"a": "x" * 9000, "b": {"c": "x" * 9000, "d": 1}, "e": 1})

    assert response.status_code == 200
    assert user(emulator).properties == {"b": {"d": 1}, "e": 1}
    assert set(user(emulator).schema) == {"b.d", "e"}


@pytest.mark.parametrize(
    "array", [[{"a": 1}], [[1]], [None], [1, "a"], [1, True]], ids=["object", "array", "null", "mixed", "bool"]
)
def test_array_has_scalars_of_one_type(fs: httpx.Client, array: list[object]) -> None:
    """Other arrays are rejected."""
    assert post(fs, {"a": array}).status_code == 400


def test_null_is_ignored(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A null neither sets nor clears a property."""
    post(fs, {"a": 1, "b": {"c": 2}})

    post(fs, {"a": None, "b": {"c": None}})

    assert user(fullstory).properties == {"a": 1, "b": {"c": 2}}


def test_nested_objects_are_merged(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The merge is deep."""
    post(fs, {"a": {"b": {"c": 1, "d": 1}}})

    post(fs, {"a": {"b": {"d": 2}}})

    assert user(fullstory).properties == {"a": {"b": {"c": 1, "d": 2}}}


def test_object_and_scalar_replace_each_other(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The newest value wins, whatever its type."""
    post(fs, {"a": {"b": 1}, "c": 1})

    post(fs, {"a": 2, "c": {"d": 2}})

    assert user(fullstory).properties == {"a": 2, "c": {"d": 2}}


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
def test_type_is_inferred(fs: httpx.Client, fullstory: FullstoryEmulator, value: object, inferred: str) -> None:
    """All numbers are real, and no string is a date."""
    post(fs, {"a": value})

    assert user(fullstory).schema == {"a": inferred}


def test_empty_list_has_no_type(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Its type cannot be inferred."""
    post(fs, {"a": []})

    assert (user(fullstory).properties, user(fullstory).schema) == ({"a": []}, {})


@pytest.mark.parametrize("value", [2**53 + 1, [2**53 + 1]])
def test_undeclared_integer_is_a_double(fs: httpx.Client, fullstory: FullstoryEmulator, value: object) -> None:
    """A large integer loses its last digits."""
    post(fs, {"a": value})

    assert orjson.dumps(user(fullstory).properties["a"]).strip(b"[]") == b"9007199254740992.0"


def test_declared_integer_is_exact(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """With the type int, all digits are kept."""
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
def test_value_of_its_declared_type_is_accepted(fs: httpx.Client, value: object, declared: str) -> None:
    """Types are singular or plural."""
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
def test_value_of_another_type_is_rejected(fs: httpx.Client, value: object, declared: str) -> None:
    """A wrong declaration fails the request."""
    assert post(fs, {"a": value}, a=declared).status_code == 400


def test_declaration_without_a_value_is_ignored(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Only properties in the request have a type."""
    post(fs, {"a": None}, a="int", b="date")

    assert user(fullstory).schema == {}


def test_property_with_two_types_is_a_conflict(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The schema keeps the first type, and the conflict lists both."""
    post(fs, {"a": "x", "b": 1})

    post(fs, {"a": 1, "b": 2})

    body = fs.get(f"/v2/users/{user(fullstory).id}?include_schema=true").json()
    assert body["schema"]["properties"] == {"a": "str", "b": "real"}
    assert body["type_conflicts"] == {"properties": {"a": ["str", "real"]}}


def test_integer_must_be_declared_every_time(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Declaring int only once is a conflict."""
    post(fs, {"a": 1}, a="int")

    post(fs, {"a": 2})

    assert user(fullstory).type_conflicts == {"a": ("int", "real")}


@pytest.mark.parametrize("depth", [248, 250, 252, 300])
def test_accepted_nesting_can_be_read_back(fs: httpx.Client, depth: int) -> None:
    """Nesting too deep for a response is rejected."""
    body = b'{"uid": "u1", "properties": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"

    posted = fs.post("/v2/users", content=body).status_code
    listed = fs.get("/v2/users", params={"uid": "u1", "include_schema": "true"})

    assert posted == (200 if depth <= 250 else 400)
    assert len(listed.json()["results"]) == (1 if depth <= 250 else 0)
