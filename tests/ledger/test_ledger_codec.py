"""The codec returns what it encoded, and fingerprints show what changed."""

import copy
import io
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import fields_of
from support.users import user

from replay_identity import REMOVE, UserTraits
from replay_identity._values import is_list, is_nested
from replay_identity.ledger.codec import (
    Fingerprints,
    decode,
    decode_desired,
    encode,
    from_microseconds,
    pack,
    to_microseconds,
    unpack,
)
from replay_identity.ledger.merging import drop_fields, field_names, merge_users
from replay_identity.sources import Row, read_users
from replay_identity.testing import trait_maps, user_traits

FINGERPRINTS = Fingerprints(b"k" * 32)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def reversed_mapping(value: Any) -> Any:
    """Return *value* with the names of each object in it in reverse order."""
    if is_nested(value):
        return {name: reversed_mapping(value[name]) for name in reversed(value)}
    if is_list(value):
        return tuple(reversed_mapping(item) for item in value)
    return value


def types_in(value: Any) -> Any:
    """Return the types in *value*, in its shape."""
    if is_nested(value):
        return {name: types_in(item) for name, item in value.items()}
    if is_list(value):
        return tuple(types_in(item) for item in value)
    return value.__class__


def content_of(user: UserTraits, field: str) -> Any:
    """Return the value of a field."""
    return user.traits[field.removeprefix("traits.")] if field.startswith("traits.") else getattr(user, field)


@given(user_traits())
def test_decodes_what_was_encoded(user: UserTraits) -> None:
    """Every value keeps its exact type and its order."""
    read = decode(encode(user))

    assert read == user
    assert list(read.traits) == list(user.traits)
    assert types_in(read.traits) == types_in(user.traits)
    assert (read.types, read.vendor_ids, read.observed_at) == (user.types, user.vendor_ids, user.observed_at)


@given(user_traits())
def test_a_decoded_user_is_valid(user: UserTraits) -> None:
    """Decoding skips validation, so it must return exactly what validation would."""
    read = decode(encode(user))

    checked = UserTraits(
        read.user_id,
        name=read.name,
        email=read.email,
        traits=read.traits,
        types=read.types,
        observed_at=read.observed_at,
        vendor_ids=read.vendor_ids,
    )

    assert read == checked
    assert hash(read) == hash(checked)
    assert types_in(read.traits) == types_in(checked.traits)


# Users as rows of JSON, some of which are not valid.
ROWS = st.dictionaries(
    st.sampled_from(["id", "uid", "user_id", "name", "email", "plan", "a"]) | st.text(),
    st.text()
    | st.integers(-9, 9)
    | st.none()
    | st.lists(st.text() | st.floats(allow_nan=False, allow_infinity=False))
    | st.dictionaries(st.text(), st.text() | st.booleans()),
)


def read_user(line: bytes) -> UserTraits | None:
    """Return the user on a line, or None if it is a bad row."""
    (row,) = read_users(io.BytesIO(line), format="jsonl")
    return row.user if isinstance(row, Row) else None


@given(ROWS, st.sampled_from(["", " "]))
def test_a_stored_line_is_the_same_user(row: dict[str, Any], space: str) -> None:
    """However the user was read, what is decoded is equal, and so is the type of each value."""
    user = read_user(space.encode() + orjson.dumps(row) + space.encode())
    if user is None:
        return

    read = decode(encode(user))

    assert (
        repr(attrs.asdict(read)) == repr(attrs.asdict(user)) == repr(attrs.asdict(decode(encode(attrs.evolve(user)))))
    )
    assert encode(read) == encode(user)


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        ('{"user_id": "u1", "plan": "a"}\n', True),
        (' {"plan": {"a": ["b"]}, "id": "u1", "name": null}', True),
        ('{"id": 7}', False),
        ('{"userId": "u1"}', False),
        ('{"user_id": "u1", "User ID": "u2"}', False),
        ('{"id": "u1", "a": {}}', False),
    ],
)
def test_stores_a_plain_line_as_it_is(line: str, is_kept: bool) -> None:  # noqa: FBT001  # A parameter.
    """Only where the fields have their own names and the id is a text; a changed user is encoded."""
    user = read_user(line.encode())

    assert user is not None
    assert (encode(user) == b" " + line.strip("\n").encode()) == is_kept
    for other in (attrs.evolve(user), copy.copy(user), pickle.loads(pickle.dumps(user))):  # noqa: S301  # Our own.
        assert other == user
        assert encode(other).startswith(b'{"user_id"')
    assert decode_desired(encode(user, ("a",))) == (user, ("a",))


@pytest.mark.parametrize("damaged", [b" ", b" {", b" []", b' {"id": 7}', b' {"id": null, "uid": "u"}'])
def test_a_damaged_line_is_an_error(damaged: bytes) -> None:
    """The store reports these errors as a damaged file."""
    with pytest.raises((ValueError, TypeError)):
        decode(damaged)


VALUES = trait_maps().map(lambda traits: fields_of(UserTraits("u", traits=traits)))


@given(VALUES)
def test_equal_values_have_equal_fingerprints(fields: dict[str, Any]) -> None:
    """The order of names does not matter, at any depth."""
    assert unpack(FINGERPRINTS.of_fields(reversed_mapping(fields))) == unpack(FINGERPRINTS.of_fields(fields))


@given(user_traits(), user_traits())
def test_different_users_have_different_sources(one: UserTraits, other: UserTraits) -> None:
    """Equal bytes are the same user, so that they are never taken for another one."""
    assert (encode(one) == encode(other)) <= (one == other)
    assert encode(decode(encode(one))) == encode(one)


LOOKALIKES: list[Any] = [
    1,
    1.0,
    True,
    "1",
    "true",
    Decimal(1),
    Decimal("1.0"),
    [1],
    ["1"],
    {"$": "int", "=": "1"},
    2**64,
    float(2**64),
    str(2**64),
    {"$": "int", "=": str(2**64)},
    0.0,
    -0.0,
    0,
    date(2026, 11, 21),
    "2026-11-21",
    {"$": "date", "=": "2026-11-21"},
    {"$": "map", "=": {"a": 1}},
    {"a": 1},
    {"a": 1, "b": date(2026, 11, 21)},
    NOON,
    "2026-11-21T12:00:00+00:00",
    UUID(int=1),
    str(UUID(int=1)),
    REMOVE,
    "REMOVE",
    "",
    [],
    [[]],
    [{}],
]


def test_distinguishes_values_that_look_alike() -> None:
    """Vendors distinguish them, so no two are the same source."""
    assert len({FINGERPRINTS.of_content(encode(user(t=value))) for value in LOOKALIKES}) == len(LOOKALIKES)


def test_distinguishes_json_that_looks_alike() -> None:
    """A field's value may be anything that JSON has."""
    values: list[Any] = [
        1,
        1.0,
        True,
        "1",
        "true",
        None,
        "null",
        [1],
        ["1"],
        [[1]],
        {"a": 1},
        {"a": [1]},
        "",
        [],
        {},
        "\0001",
    ]
    fingerprints = [FINGERPRINTS.of_fields({"t": value}) for value in values]

    assert len(set(fingerprints)) == len(values)


@pytest.mark.parametrize("value", LOOKALIKES, ids=repr)
def test_decodes_values_that_look_alike(value: Any) -> None:
    """No value can imitate a tag."""
    original = user(t=value, other=value)

    assert decode(encode(original)) == original


@given(st.datetimes(timezones=st.just(UTC)))
def test_keeps_moments_to_the_microsecond(moment: datetime) -> None:
    """This holds from the year 1 to 9999."""
    assert from_microseconds(to_microseconds(moment)) == moment


@given(st.dictionaries(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8), max_size=4))
def test_unpacks_what_was_packed(fingerprints: dict[bytes, bytes]) -> None:
    """Fingerprints are stored as one string of bytes."""
    assert unpack(pack(fingerprints)) == fingerprints


@given(VALUES, VALUES)
def test_fingerprints_depend_on_the_key(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Without the key nobody can try values until one matches."""
    stranger = Fingerprints(b"x" * 32)

    assert FINGERPRINTS.of_content(b"user") != stranger.of_content(b"user")
    assert FINGERPRINTS.of_source(bytes(16), "1") != stranger.of_source(bytes(16), "1")
    assert FINGERPRINTS.of_encoding("1") != stranger.of_encoding("1")
    assert not unpack(FINGERPRINTS.of_fields(mine)).items() & unpack(stranger.of_fields(theirs)).items()


def test_a_source_depends_on_user_and_encoding() -> None:
    """A changed setting is a changed user."""
    contents = [FINGERPRINTS.of_content(encoded) for encoded in (b"a", b"b")]
    sources = {FINGERPRINTS.of_source(content, encoding) for content in contents for encoding in ("", "1", "2")}

    assert len({*contents, *sources}) == 8
    assert FINGERPRINTS.of_source(contents[0], "1") in sources


@given(user_traits(), user_traits())
def test_identifies_by_user_id_or_all_vendor_ids(one: UserTraits, other: UserTraits) -> None:
    """Two users are the same if and only if these are equal."""

    def name(user: UserTraits) -> Any:
        return user.user_id or dict(user.vendor_ids) or None

    assert (FINGERPRINTS.of_id(one) is None) == (name(one) is None)
    assert (FINGERPRINTS.of_id(one) == FINGERPRINTS.of_id(other)) == (name(one) == name(other))


def test_ids_cannot_imitate_each_other() -> None:
    """The names and ids of vendors may contain any characters."""
    ids = [{"a": "b=c"}, {"a=b": "c"}, {"a": "x\0b=y"}, {"a": "x", "b": "y"}, {"b": "x", "a": "y"}]
    users = [*(UserTraits(vendor_ids=each) for each in ids), UserTraits("a=b=c"), UserTraits('{"a":"b=c"}')]

    assert len({FINGERPRINTS.of_id(each) for each in users}) == len(users)


def test_fingerprints_do_not_depend_on_the_cache() -> None:
    """More names and values than the caches hold have the same fingerprints."""
    many = {f"t{number}": "same" for number in range(1100)}
    values = [value for number in range(2, 1200) for value in (f"v{number}", number, number / 2048)] + [True, False]
    digests = [FINGERPRINTS.of_fields({"t": value}) for value in values]

    assert [FINGERPRINTS.of_fields(many) for _ in range(2)] == [Fingerprints(b"k" * 32).of_fields(many)] * 2
    assert digests == [Fingerprints(b"k" * 32).of_fields({"t": value}) for value in values]
    assert len(set(digests)) == len(values)


# Merging.


@given(user_traits(), user_traits())
def test_merging_keeps_all_fields_and_newer_values(older: UserTraits, newer: UserTraits) -> None:
    """A vendor that is sent one user after the other does the same."""
    both = merge_users(older, newer)

    assert {*field_names(both)} == {*field_names(older)} | {*field_names(newer)}
    for field in field_names(both):
        winner = newer if field in field_names(newer) else older
        value, expected = content_of(both, field), content_of(winner, field)
        if isinstance(value, dict):
            assert value.keys() >= expected.keys()
        else:
            assert user(t=value) == user(t=expected)
    assert both.types == {**older.types, **newer.types}
    assert both.vendor_ids == {**older.vendor_ids, **newer.vendor_ids}


@given(user_traits(), user_traits(), user_traits())
def test_merging_is_associative(one: UserTraits, two: UserTraits, three: UserTraits) -> None:
    """It does not matter when users are merged."""
    a, b, c = [UserTraits("u", name=each.name, email=each.email, traits=flat(each)) for each in (one, two, three)]

    assert merge_users(merge_users(a, b), c) == merge_users(a, merge_users(b, c))


def flat(user: UserTraits) -> dict[str, Any]:
    """Return the traits that are not nested."""
    return {name: value for name, value in user.traits.items() if not isinstance(value, dict)}


@given(user_traits())
def test_merging_is_idempotent(user: UserTraits) -> None:
    """The same update twice is one update."""
    assert merge_users(user, user) == user


def test_merges_nested_traits_name_by_name() -> None:
    """This holds at any depth; an object replaces a scalar and a scalar an object."""
    older = user(a={"b": {"c": 1, "d": 2}, "e": 3}, f={"g": 1}, h=1)

    both = merge_users(older, user(a={"b": {"d": 4}}, f=2, h={"i": 1}))

    assert both.traits == {"a": {"b": {"c": 1, "d": 4}, "e": 3}, "f": 2, "h": {"i": 1}}
    assert older.traits == {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": {"g": 1}, "h": 1}


def test_merging_keeps_the_newest_moment() -> None:
    """The order of the users does not matter."""
    early, late = UserTraits("u", observed_at=NOON.replace(hour=9)), UserTraits("u", observed_at=NOON)

    assert merge_users(early, late).observed_at == merge_users(late, early).observed_at == NOON
    assert merge_users(UserTraits("u"), early).observed_at == early.observed_at


def test_drops_fields_with_their_types() -> None:
    """A type without its value has no meaning."""
    whole = UserTraits(
        "u", name="Ann", email="a@b", traits={"a": {"b": 1}, "c": 2}, types={"a.b": "int", "c": "str", "x": "int"}
    )

    assert drop_fields(whole, {"name", "traits.a"}) == UserTraits(
        "u", email="a@b", traits={"c": 2}, types={"c": "str", "x": "int"}
    )
    assert drop_fields(whole, {"email"}).email is None
