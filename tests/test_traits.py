import copy
import inspect
import pickle
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import REMOVE, InvalidTraitsError, UserTraits
from replay_identity._values import (
    MAX_DEPTH,
    MAX_EXPONENT,
    Removal,
    checked_id,
    checked_string,
    is_list,
    is_nested,
    iso8601,
)
from replay_identity.testing import datetimes, numbers, scalars, trait_maps, user_traits
from replay_identity.traits import TRAIT_TYPES, fingerprint

SURROGATE = "ab\ud800"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ODD_UUID = UUID("12345678-1234-5678-1234-567812345678")


class Plan(StrEnum):
    """A string enum."""

    PRO = "pro"


class Level(IntEnum):
    """An integer enum."""

    HIGH = 3


class Stamp(datetime):
    """A datetime subclass, as pandas has one."""


class Day(date):
    """A date subclass."""


class Money(Decimal):
    """A Decimal subclass."""


class Key(UUID):
    """A UUID subclass."""


class Falling(tzinfo):
    """A time zone in which the hour after midnight occurs twice."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        """Return one hour the first time and zero the second."""
        return timedelta(hours=0 if when is not None and when.fold else 1)

    def dst(self, when: datetime | None) -> timedelta:
        """Return the same as utcoffset."""
        return self.utcoffset(when)

    def tzname(self, when: datetime | None) -> str:
        """Return a name."""
        return f"falling {self.utcoffset(when)}"


def test_every_field_is_optional() -> None:
    """An empty user is anonymous."""
    user = UserTraits()

    assert (user.user_id, user.name, user.email, user.observed_at) == (None, None, None, None)
    assert (user.traits, user.types, user.vendor_ids) == ({}, {}, {})


@pytest.mark.parametrize("value", ["pro", 43, 9.99, True, NOON, date(2026, 11, 21), Decimal("9.99"), ODD_UUID, REMOVE])
def test_keeps_every_scalar(value: Any) -> None:
    """Its value and its type are unchanged."""
    kept = UserTraits(traits={"t": value}).traits["t"]

    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize("value", ["pro", 43, 9.99, True, NOON, date(2026, 11, 21), Decimal("9.99"), ODD_UUID])
def test_keeps_scalars_in_lists_and_under_any_name(value: Any) -> None:
    """Where a trait is does not change it."""
    assert UserTraits(traits={"größe": value, "t": [value]}).traits == {"größe": value, "t": (value,)}


def test_only_the_id_is_positional() -> None:
    """The other fields are keyword-only."""
    kinds = {name: each.kind for name, each in inspect.signature(UserTraits).parameters.items()}

    assert [name for name, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY] == ["user_id"]


def test_trait_types_are_five_and_their_plurals() -> None:
    """Fullstory uses the same names."""
    assert {f"{name}{plural}" for name in ("str", "int", "real", "bool", "date") for plural in ("", "s")} == TRAIT_TYPES


def test_keeps_nested_lists_and_mappings() -> None:
    """A list becomes a tuple, a mapping a dict."""
    kept = UserTraits(traits={"t": {"a": [1, [2], {"b": "c"}]}}).traits

    assert kept == {"t": {"a": (1, (2,), {"b": "c"})}}


def test_leaves_out_none_and_empty_mappings() -> None:
    """Other empty values are kept."""
    kept = UserTraits(traits={"a": None, "b": {}, "c": {"d": None, "e": {}}, "f": 0, "g": "", "h": []}).traits

    assert kept == {"f": 0, "g": "", "h": ()}


@pytest.mark.parametrize(
    ("given_value", "kind"),
    [
        (Plan.PRO, str),
        (Level.HIGH, int),
        (Stamp(2026, 11, 21, 12, 30, 15, 7, tzinfo=UTC), datetime),
        (Day(2026, 11, 21), date),
        (Money("9.90"), Decimal),
        (Key(ODD_UUID.hex), UUID),
        (type("Real", (float,), {})(1.5), float),
    ],
)
def test_converts_subclasses_to_their_base(given_value: Any, kind: type) -> None:
    """Adapters look a type up, so a string enum becomes a string."""
    kept = UserTraits(traits={"t": given_value}).traits["t"]

    assert type(kept) is kind
    assert kept == given_value


def test_converts_string_subclasses_everywhere() -> None:
    """Ids and names are converted, too."""
    user = UserTraits(Plan.PRO, name=Plan.PRO, email=Plan.PRO, traits={Plan.PRO: 1}, vendor_ids={Plan.PRO: Plan.PRO})

    texts = [user.user_id, user.name, user.email, *user.traits, *user.vendor_ids, *user.vendor_ids.values()]
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(
    ("user_id", "problem"),
    [
        (43, "expected a string, got an int; convert it with str()"),
        (True, "expected a string, got a bool; convert it with str()"),
        (b"u1", "expected a string, got bytes; convert it with str()"),
        ("", "the id is empty; leave it out for an anonymous user"),
        (SURROGATE, "not valid Unicode: a lone surrogate at character 2"),
    ],
)
def test_rejects_an_invalid_user_id(user_id: Any, problem: str) -> None:
    """A user id is a non-empty string."""
    with pytest.raises(InvalidTraitsError) as caught:
        UserTraits(user_id)

    assert (caught.value.path, caught.value.problem) == ("user_id", problem)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": 1}, "name"),
        ({"email": ["a@example.com"]}, "email"),
        ({"name": SURROGATE}, "name"),
        ({"email": SURROGATE}, "email"),
        ({"observed_at": "2026-11-21"}, "observed_at"),
        ({"observed_at": date(2026, 11, 21)}, "observed_at"),
        ({"observed_at": datetime(2026, 11, 21)}, "observed_at"),  # noqa: DTZ001
        ({"traits": [("a", 1)]}, "traits"),
        ({"types": "int"}, "types"),
        ({"types": {"a": "integer"}}, "types.a"),
        ({"types": {"a": ["int"]}}, "types.a"),
        ({"types": {1: "int"}}, "types"),
        ({"vendor_ids": 7}, "vendor_ids"),
        ({"vendor_ids": {"fullstory": 7}}, "vendor_ids.fullstory"),
        ({"vendor_ids": {"fullstory": ""}}, "vendor_ids.fullstory"),
        ({"vendor_ids": {"fullstory": SURROGATE}}, "vendor_ids.fullstory"),
    ],
)
def test_an_invalid_field_is_named(fields: dict[str, Any], path: str) -> None:
    """The error has the field's path."""
    with pytest.raises(InvalidTraitsError) as caught:
        UserTraits("u1", **fields)

    assert caught.value.path == path


@pytest.mark.parametrize(
    ("traits", "path", "problem"),
    [
        ({"a": float("nan")}, "traits.a", "expected a finite number"),
        ({"a": float("inf")}, "traits.a", "expected a finite number"),
        ({"a": Decimal("NaN")}, "traits.a", "expected a finite number"),
        ({"a": Decimal("sNaN")}, "traits.a", "expected a finite number"),
        ({"a": Decimal("-Infinity")}, "traits.a", "expected a finite number"),
        ({"a": Decimal("1e401")}, "traits.a", "expected an exponent from -400 to 400"),
        ({"a": Decimal("1e-401")}, "traits.a", "expected an exponent from -400 to 400"),
        ({"a": Decimal("0e-401")}, "traits.a", "expected an exponent from -400 to 400"),
        ({"a": 10**400}, "traits.a", "expected an integer of at most 400 digits"),
        ({"a": -(10**400)}, "traits.a", "expected an integer of at most 400 digits"),
        ({"a": SURROGATE}, "traits.a", "not valid Unicode: a lone surrogate at character 2"),
        (
            {"a": datetime(2026, 1, 1)},  # noqa: DTZ001
            "traits.a",
            "the datetime has no time zone; add one, or set timezone in a mapping",
        ),
        (
            {"a": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
            "traits.a",
            "expected a year from 1 to 9999 in UTC",
        ),
        ({"a": {1, 2}}, "traits.a", "expected a trait value, got a set; use a list"),
        ({"a": b"x"}, "traits.a", "expected a trait value, got bytes; convert it first"),
        ({"a": object()}, "traits.a", "expected a trait value, got an object; convert it first"),
        ({"a": 1j}, "traits.a", "expected a trait value, got a complex; convert it first"),
        ({"a": Removal}, "traits.a", "expected a trait value, got an EnumType; convert it first"),
        ({"a": [1, None]}, "traits.a[1]", "None has no meaning inside a list; leave it out"),
        ({"a": [REMOVE]}, "traits.a[0]", "REMOVE has no meaning inside a list; leave it out"),
        ({"a": [{"b": {"c": REMOVE}}]}, "traits.a[0]", "REMOVE has no meaning inside a list; leave it out"),
        ({"a": {"b": [{"c": float("nan")}]}}, "traits.a.b[0].c", "expected a finite number"),
        ({1: "x"}, "traits", "expected every name to be a string, got an int"),
        ({None: "x"}, "traits", "expected every name to be a string, got None"),
        ({"a": {("b",): 1}}, "traits.a", "expected every name to be a string, got a tuple"),
        ({SURROGATE: 1}, "traits.ab\\ud800", "not valid Unicode: a lone surrogate at character 2"),
    ],
)
def test_an_invalid_trait_is_named_by_its_path(traits: Any, path: str, problem: str) -> None:
    """The error says what to do and quotes nothing."""
    with pytest.raises(InvalidTraitsError) as caught:
        UserTraits("u1", traits=traits)

    assert (caught.value.path, caught.value.problem) == (path, problem)
    assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize("number", [10**MAX_EXPONENT - 1, Decimal("1e400"), Decimal("1e-400"), Decimal("9" * 400)])
def test_accepts_the_largest_numbers(number: Any) -> None:
    """Four hundred digits, and exponents up to 400."""
    assert UserTraits(traits={"a": number}).traits["a"] == number


def test_rejects_a_mapping_inside_itself() -> None:
    """The error names where the cycle closes."""
    cycle: dict[str, Any] = {}
    cycle["again"] = {"b": [cycle]}

    with pytest.raises(InvalidTraitsError, match=r"^traits\.again\.b\[0\]: the value contains itself$"):
        UserTraits(traits=cycle)


def test_rejects_a_list_inside_itself() -> None:
    """The error names where the cycle closes."""
    cycle: list[Any] = [1]
    cycle.append(cycle)

    with pytest.raises(InvalidTraitsError, match=r"^traits\.a\[1\]: the value contains itself$"):
        UserTraits(traits={"a": cycle})


def test_a_shared_list_is_no_cycle() -> None:
    """It is copied twice."""
    shared = [1]

    assert UserTraits(traits={"a": shared, "b": {"c": shared}}).traits == {"a": (1,), "b": {"c": (1,)}}


def nested(levels: int) -> dict[str, Any]:
    """Return mappings nested *levels* deep."""
    traits: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        traits = {"a": traits}
    return traits


def test_accepts_the_deepest_nesting() -> None:
    """It has thirty-two levels; the traits themselves are the first."""
    assert UserTraits(traits=nested(MAX_DEPTH)).traits == nested(MAX_DEPTH)


def test_rejects_deeper_nesting() -> None:
    """Thirty-three levels are too many."""
    with pytest.raises(InvalidTraitsError, match="nested deeper than 32 levels"):
        UserTraits(traits=nested(MAX_DEPTH + 1))


def test_accepts_any_mapping() -> None:
    """Traits need not be a dict."""

    class Row(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return {"plan": "pro"}[name]

        def __iter__(self) -> Any:
            return iter(["plan"])

        def __len__(self) -> int:
            return 1

    assert UserTraits(traits=Row()).traits == {"plan": "pro"}


def test_a_user_is_frozen() -> None:
    """Fields cannot be assigned."""
    user = UserTraits("u1")

    with pytest.raises(AttributeError):
        user.user_id = "u2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_copies_mappings_and_lists() -> None:
    """Every level is copied."""
    traits: dict[str, Any] = {"a": {"b": [1]}, "c": 1}
    types: dict[str, Any] = {"c": "int"}
    vendor_ids = {"fullstory": "7"}
    user = UserTraits("u1", traits=traits, types=types, vendor_ids=vendor_ids)
    before = copy.deepcopy(user)

    traits["a"]["b"].append(2)
    traits["a"]["d"] = 1
    traits["c"] = 2
    types["c"] = "real"
    vendor_ids["fullstory"] = "8"

    assert user == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, False),
        (0.0, -0.0),
        (1, Decimal(1)),
        (Decimal("1.0"), Decimal("1.00")),
        ([1], [True]),
        ([1], [1.0]),
        ({"b": 1}, {"b": 1.0}),
        ("12345678-1234-5678-1234-567812345678", ODD_UUID),
    ],
)
def test_equality_is_strict_about_types(one: Any, other: Any) -> None:
    """Values that are sent differently are different."""
    assert UserTraits(traits={"a": one}) != UserTraits(traits={"a": other})


def test_equality_ignores_the_order_of_names() -> None:
    """Traits are a mapping."""
    one, other = UserTraits(traits={"a": 1, "b": {"c": 1, "d": 2}}), UserTraits(traits={"b": {"d": 2, "c": 1}, "a": 1})

    assert one == other
    assert hash(one) == hash(other)


def test_converts_datetimes_to_utc() -> None:
    """Equal datetimes are sent alike."""
    there = NOON.astimezone(timezone(timedelta(hours=5)))

    kept = UserTraits(traits={"a": there}, observed_at=there)

    assert kept == UserTraits(traits={"a": NOON}, observed_at=NOON)
    assert str(kept.traits["a"]) == "2026-11-21 12:00:00+00:00"


def test_an_hour_that_occurs_twice_is_two_datetimes() -> None:
    """Python compares them as equal within one zone, but they are an hour apart."""
    first = datetime(2026, 11, 21, 0, 30, tzinfo=Falling())
    assert first == first.replace(fold=1)

    assert UserTraits(traits={"a": first}) != UserTraits(traits={"a": first.replace(fold=1)})


@given(traits=trait_maps(), other=trait_maps())
def test_equal_users_have_equal_hashes(traits: dict[str, Any], other: dict[str, Any]) -> None:
    """Made from the same traits or from equal ones."""
    one, same, another = UserTraits(traits=traits), UserTraits(traits=copy.deepcopy(traits)), UserTraits(traits=other)

    assert one == same
    assert hash(one) == hash(same)
    assert one != another or hash(one) == hash(another)


@given(user=user_traits())
def test_a_user_survives_pickling_and_copying(user: UserTraits) -> None:
    """A queue or a process pool returns the same user."""
    copies = [pickle.loads(pickle.dumps(user)), copy.deepcopy(user), copy.copy(user)]  # noqa: S301

    assert copies == [user] * 3
    assert {hash(each) for each in copies} == {hash(user)}
    assert [repr(each) for each in copies] == [repr(user)] * 3


anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        scalars(),
        st.floats(),
        st.decimals(),
        st.datetimes(),
        st.text(),
        st.binary(max_size=3),
        st.sampled_from([None, REMOVE, object(), {1}, 1j, range(3), SURROGATE, Plan.PRO, Enum, 10**500]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.none()), inner, max_size=3),
    ),
    max_leaves=6,
)


@given(
    fields=st.dictionaries(st.sampled_from(["name", "email", "traits", "types", "observed_at", "vendor_ids"]), anything)
)
def test_any_fields_make_a_user_or_one_error(fields: dict[str, Any]) -> None:
    """The constructor raises no other exception."""
    try:
        user = UserTraits("u1", **fields)
    except InvalidTraitsError:
        return

    assert UserTraits("u1", **fields) == user


@given(row=st.one_of(anything, st.dictionaries(st.sampled_from(["user_id", "uid", "id", "name", "x"]), anything)))
def test_any_row_makes_a_user_or_one_error(row: Any) -> None:
    """A row that is not a mapping raises the same error."""
    try:
        made = UserTraits.from_mapping(row)
    except InvalidTraitsError:
        return

    assert isinstance(made, UserTraits)


def test_a_row_fills_the_users_own_fields() -> None:
    """Everything else becomes a trait, and the row is not changed."""
    row = {"uid": "u1", "display_name": "Ann", "email": "a@example.com", "plan": "pro", "seats": 3}

    user = UserTraits.from_mapping(row)

    assert user == UserTraits("u1", name="Ann", email="a@example.com", traits={"plan": "pro", "seats": 3})
    assert len(row) == 5


def test_the_first_key_present_wins() -> None:
    """The others stay traits."""
    user = UserTraits.from_mapping({"id": "3", "uid": "2", "user_id": "1", "display_name": "B", "name": "A"})

    assert user == UserTraits("1", name="A", traits={"id": "3", "uid": "2", "display_name": "B"})


def test_a_row_without_an_id_is_anonymous() -> None:
    """An id of None counts as no id."""
    assert UserTraits.from_mapping({"id": None, "plan": "pro"}) == UserTraits(traits={"plan": "pro"})


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"id": 7}, "user_id"),
        ({1: 2}, "row"),
        ({SURROGATE: 1}, "row.ab\\ud800"),
        ([1], "row"),
        ("row", "row"),
        ({"name": 7}, "name"),
    ],
)
def test_an_invalid_row_is_named_by_its_field(row: Any, path: str) -> None:
    """The error names the field of the user."""
    with pytest.raises(InvalidTraitsError) as caught:
        UserTraits.from_mapping(row)

    assert caught.value.path == path


def test_repr_shows_names_and_a_fingerprint() -> None:
    """It shows which traits there are, and no value."""
    user = UserTraits("canary-id", name="canary-name", email="canary@x", traits={"plan": "canary", "a\nb": 1})

    assert repr(user) == f"UserTraits(user_id={fingerprint('canary-id')}, traits=[plan, a\\u000ab])"
    assert repr(UserTraits()) == "UserTraits(user_id=anonymous, traits=[])"


@given(value=st.one_of(scalars(), st.lists(scalars(), min_size=1)).filter(lambda value: len(str(value)) >= 4))
def test_repr_shows_no_value(value: Any) -> None:
    """It is the same for every value."""
    assert repr(UserTraits(traits={"t": value})) == "UserTraits(user_id=anonymous, traits=[t])"


def test_fingerprints_distinguish_users() -> None:
    """The same id has the same fingerprint, which is not the id."""
    assert fingerprint("u1") == fingerprint("u1") != fingerprint("u2")
    assert len(fingerprint("u1")) == len("<01234567>")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (date(2026, 11, 21), "2026-11-21"),
        (date(1, 1, 1), "0001-01-01"),
        (NOON, "2026-11-21T12:00:00Z"),
        (NOON.replace(microsecond=250_000), "2026-11-21T12:00:00.250000Z"),
        (NOON.astimezone(timezone(timedelta(hours=-8))), "2026-11-21T12:00:00Z"),
    ],
)
def test_writes_datetimes_in_utc(moment: date, text: str) -> None:
    """They are in ISO 8601 with a Z; dates have no time."""
    assert iso8601(moment) == text


@given(moment=datetimes())
def test_a_written_datetime_can_be_parsed(moment: datetime) -> None:
    """Nothing is lost."""
    assert datetime.fromisoformat(iso8601(moment)) == moment


@given(number=numbers())
def test_a_number_is_kept_or_too_large(number: Any) -> None:
    """Its value and its type are kept."""
    try:
        kept = UserTraits(traits={"n": number}).traits["n"]
    except InvalidTraitsError:
        assert abs(Decimal(number).adjusted()) > MAX_EXPONENT or isinstance(number, Decimal)
    else:
        assert (kept, type(kept)) == (number, type(number))


def test_remove_is_a_singleton_after_pickling() -> None:
    """The operator `is` works in every process."""
    assert pickle.loads(pickle.dumps(REMOVE)) is REMOVE  # noqa: S301
    assert repr(REMOVE) == "REMOVE"


def test_distinguishes_mappings_lists_and_scalars() -> None:
    """Adapters rely on how the user stores them."""
    traits = UserTraits(traits={"a": {"b": 1}, "c": [1], "d": "x"}).traits

    assert [is_nested(traits[name]) for name in "acd"] == [True, False, False]
    assert [is_list(traits[name]) for name in "acd"] == [False, True, False]


def test_checks_single_ids_and_strings() -> None:
    """Requests without a user need this."""
    assert checked_id(Plan.PRO) == "pro"
    assert checked_string("", "email") == ""
    with pytest.raises(InvalidTraitsError, match=r"^email: expected a string, got an int$"):
        checked_string(7, "email")


def test_from_mapping_uses_the_subclass_constructor() -> None:
    """A subclass may have fields of its own."""

    @attrs.frozen(repr=False)
    class Customer(UserTraits):
        tier: str = attrs.field(default="basic", kw_only=True)

    customer = Customer.from_mapping({"id": "u1", "plan": "pro"})

    assert customer == Customer("u1", traits={"plan": "pro"})
    assert customer.tier == "basic"


@given(row=st.dictionaries(st.sampled_from(["id", "name", "email", "plan", "é"]), scalars() | st.none()))
def test_from_mapping_agrees_with_the_constructor(row: dict[str, Any]) -> None:
    """They return equal users or raise the same error."""
    traits = {name: value for name, value in row.items() if name not in {"id", "name", "email"} or value is None}
    try:
        made: Any = UserTraits.from_mapping(row)
    except InvalidTraitsError as error:
        made = str(error)
    try:
        expected: Any = UserTraits(row.get("id"), name=row.get("name"), email=row.get("email"), traits=traits)
    except InvalidTraitsError as error:
        expected = str(error)

    assert made == expected


def test_a_null_id_does_not_make_way_for_another() -> None:
    """The user would be someone else."""
    with pytest.raises(
        InvalidTraitsError, match=r"^user_id: the id is null, although id has a value; leave one of them"
    ):
        UserTraits.from_mapping({"user_id": None, "id": "77"})

    assert UserTraits.from_mapping({"user_id": None, "id": None}) == UserTraits()
