import importlib
import sqlite3
import subprocess
import sys
import tracemalloc
from collections import OrderedDict, UserDict, UserString
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

import attrs
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from replay_identity import REMOVE, ConfigurationError, SourceError, UserTraits, read_rows
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import BadRow, Row

# Without type stubs, and imported once.
np: Any = importlib.import_module("numpy")
pd: Any = importlib.import_module("pandas")
pl: Any = importlib.import_module("polars")
pa: Any = importlib.import_module("pyarrow")
duckdb: Any = importlib.import_module("duckdb")

NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAIVE: Final = datetime(2026, 11, 21, 12)  # noqa: DTZ001
IN_UTC: Final = RowMapping(timezone="UTC")
RENAMED: Final = "row: has columns whose names itertuples() changed; pass the frame itself"
NO_ID: Final = (
    'has no user id; expected one in user_id, uid, id (found id, plan); name it in a mapping: user_id = "…" (--mapping)'
)


@attrs.define
class Stream:
    """An object that only exports an Arrow stream, and only once."""

    table: Any

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        table, self.table = self.table, None
        return table.__arrow_c_stream__(requested_schema)


@dataclass
class Person:
    """A row that is a dataclass."""

    id: str


@attrs.frozen
class Member:
    """A row that is an attrs class."""

    id: str


class Base(DeclarativeBase):
    """The base of entities."""


class Account(Base):
    """A row that is an entity."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)


class Model:
    """A row that is a model of Pydantic."""

    def model_dump(self) -> dict[str, str]:
        """Return the row."""
        return {"id": "u1"}


class Broken(UserDict[str, str]):
    """A row whose own code fails."""

    def items(self) -> Any:
        """Fail."""
        raise RuntimeError("canary-7Q")


@attrs.frozen
class Interchange:
    """An object that has only the interchange protocol."""

    table: Any

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:  # noqa: FBT001, FBT002
        return self.table.__dataframe__(nan_as_null, allow_copy)


def arrow(rows: list[dict[str, Any]]) -> Any:
    """Return an Arrow table."""
    return pa.Table.from_pylist(rows)


def reader(table: Any) -> Any:
    """Return a reader of the batches of *table*, of one row each."""
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))


FRAMES: Final[Mapping[str, Callable[[list[dict[str, Any]]], Any]]] = {
    "pandas": pd.DataFrame,
    "polars": lambda rows: pl.DataFrame(rows, infer_schema_length=None),
    "arrow": arrow,
    "batch": lambda rows: arrow(rows).combine_chunks().to_batches()[0],
    "reader": lambda rows: reader(arrow(rows)),
    "stream": lambda rows: Stream(arrow(rows)),
    "duckdb": lambda rows: duckdb.from_arrow(arrow(rows)),
}
frames = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
# Those that can be read twice.
tables = pytest.mark.parametrize("frame", [FRAMES["pandas"], FRAMES["polars"], FRAMES["arrow"], FRAMES["batch"]])


def users(rows: Any, **options: Any) -> list[UserTraits]:
    """Return the users in *rows*, none of which is bad."""
    read = list(read_rows(rows, **options))
    assert [row for row in read if isinstance(row, BadRow)] == []
    return [row.user for row in read if isinstance(row, Row)]


def problems(rows: Any, **options: Any) -> list[str]:
    """Return the bad rows as text."""
    return [str(row) for row in read_rows(rows, **options) if isinstance(row, BadRow)]


def source_problem(rows: Any, **options: Any) -> str:
    """Return why *rows* cannot be read."""
    with pytest.raises(SourceError) as caught:
        list(read_rows(rows, **options))
    return caught.value.problem


def trait(value: Any, **options: Any) -> Any:
    """Return the trait that *value* becomes, or MISSING."""
    return users([{"user_id": "u1", "a": value}], **options)[0].traits.get("a", "MISSING")


@frames
def test_a_frame_gives_its_users(frame: Callable[[Any], Any]) -> None:
    """With own fields, values of all types, and absent ones."""
    first: dict[str, Any] = {
        "id": "u1",
        "Email": "ada@example.com",
        "plan": "pro",
        "seats": 3,
        "score": 0.1,
        "is_on": True,
        "since": NOON,
        "born": date(1990, 1, 2),
        "tags": ["a", "b"],
        "company": {"name": "Acme", "size": 5},
        "price": Decimal("1.50"),
    }
    second = {"id": "u2", **dict.fromkeys(list(first)[1:])}

    found = users(frame([first, second]))

    assert found[1] == UserTraits("u2")
    assert found[0].email == "ada@example.com"
    seats = 3.0 if frame is FRAMES["pandas"] else 3  # With a missing value, the column has the type float.
    company = {"name": "Acme", "size": 5}
    expected = {key: value for key, value in first.items() if key not in {"id", "Email"}}
    assert found[0] == UserTraits(
        "u1", email="ada@example.com", traits={**expected, "seats": seats, "company": company}
    )


@frames
def test_numbers_the_rows_of_a_frame(frame: Callable[[Any], Any]) -> None:
    """From one on, the bad ones too."""
    read = list(read_rows(frame([{"id": "u1"}, {"id": ""}, {"id": "u3"}])))

    assert [row.line for row in read] == [1, 2, 3]
    assert isinstance(read[1], BadRow)


@frames
def test_reads_more_rows_than_a_chunk(frame: Callable[[Any], Any]) -> None:
    """In their order."""
    expected = [f"u{number}" for number in range(4500)]

    assert [user.user_id for user in users(frame([{"id": each} for each in expected]))] == expected


@frames
def test_a_frame_without_rows_has_no_users(frame: Callable[[Any], Any]) -> None:
    """It is not an error."""
    rows = frame([{"id": "u1"}])
    table = arrow([{"id": "u1"}]).slice(1)
    empty: Mapping[str, Any] = {
        "DataFrame": rows[:0] if frame in {FRAMES["pandas"], FRAMES["polars"]} else None,
        "Table": table,
        "RecordBatch": pa.RecordBatch.from_pylist([], schema=table.schema),
        "RecordBatchReader": reader(table),
        "Stream": Stream(table),
        "DuckDBPyRelation": duckdb.sql("SELECT 'u1' AS id LIMIT 0"),
    }

    assert users(empty[type(rows).__name__]) == []


@frames
def test_dotted_columns_make_nested_traits(frame: Callable[[Any], Any]) -> None:
    """As in a file."""
    assert users(frame([{"id": "u1", "company.name": "Acme"}])) == [
        UserTraits("u1", traits={"company": {"name": "Acme"}})
    ]


@frames
def test_a_mapping_applies_to_a_frame(frame: Callable[[Any], Any]) -> None:
    """Each column is a field."""
    mapping = RowMapping(user_id="key", fields={"key": FieldRule(cast="str"), "n": FieldRule(rename="seats")})

    assert users(frame([{"key": 7, "n": 3}]), mapping=mapping)[0].user_id == "7"
    assert "did you mean n?" in source_problem(
        frame([{"key": 7, "N ": 3, "n": 1}]), mapping=RowMapping(user_id="key", fields={"nn": FieldRule(drop=True)})
    )


@frames
def test_a_frame_needs_an_id_column(frame: Callable[[Any], Any]) -> None:
    """Unless anonymous users are accepted."""
    assert "no column for the user id" in source_problem(frame([{"plan": "pro"}]))
    assert users(frame([{"plan": "pro"}]), anonymous=True) == [UserTraits(traits={"plan": "pro"})]


@tables
def test_reads_the_ids_of_a_frame_beforehand(frame: Callable[[Any], Any]) -> None:
    """Those of bad rows may be there too; the rows are read afterwards."""
    rows = read_rows(frame([{"plan": "pro", "ID": each} for each in ("u1", "u2", "u1", None)]))

    assert list(rows.read_ids()) == ["u1", "u2", "u1"]
    assert [row.line for row in rows] == [1, 2, 3, 4]


@tables
def test_reads_ids_inside_objects(frame: Callable[[Any], Any]) -> None:
    """If the mapping says that they are there."""
    rows = read_rows(frame([{"who": {"key": "u1", "n": 1}}]), mapping=RowMapping(user_id="who.key"))

    assert list(rows.read_ids()) == ["u1"]
    assert [row.user.user_id for row in rows if isinstance(row, Row)] == ["u1"]


@tables
def test_a_frame_without_ids_has_none_to_read(frame: Callable[[Any], Any]) -> None:
    """The error comes with the rows."""
    assert list(read_rows(frame([{"plan": "pro"}])).read_ids()) == []


@pytest.mark.parametrize("name", ["reader", "stream", "duckdb"])
def test_a_stream_is_read_once(name: str) -> None:
    """Alone, and in a list."""
    for wrap in (as_is, in_list):
        rows = read_rows(wrap(FRAMES[name]([{"id": "u1"}])))

        assert list(rows.read_ids()) == []
        assert len(list(rows)) == 1


TEXTS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
USER_ROWS: Final[st.SearchStrategy[list[dict[str, Any]]]] = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["u1", "u2", "ü"]),
            "plan": st.none() | TEXTS,
            "seats": st.integers(-(2**53), 2**53),
            "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "is_on": st.booleans(),
            "since": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
            "tags": st.lists(TEXTS, max_size=3),
        }
    ),
    max_size=8,
)


@given(rows=USER_ROWS)
def test_all_kinds_of_rows_give_the_same_users(rows: list[dict[str, Any]]) -> None:
    """A value may be missing in a row, but not in a whole column, which has no type then."""
    rows.append({"user_id": "u", "plan": "pro", "seats": 1, "score": 0.5, "is_on": True, "since": NOON, "tags": ["a"]})
    expected = users(rows)

    assert expected == [UserTraits.from_mapping(row) for row in rows]
    for frame in FRAMES.values():
        assert users(frame(rows)) == expected


class Point(NamedTuple):
    """A named tuple."""

    user_id: str
    plan: str


@attrs.frozen
class Keyed:
    """A row as some database drivers have it: no mapping, but with keys."""

    names: tuple[str, ...]
    values: tuple[Any, ...]

    def keys(self) -> tuple[str, ...]:
        """Return the names."""
        return self.names

    def __getitem__(self, name: str) -> Any:
        return self.values[self.names.index(name)]


@pytest.mark.parametrize(
    "row",
    [
        {"user_id": "u1", "plan": "pro"},
        OrderedDict({"user_id": "u1", "plan": "pro"}),
        UserDict({"user_id": "u1", "plan": "pro"}),
        MappingProxyType({"user_id": "u1", "plan": "pro"}),
        Point("u1", "pro"),
        Keyed(("user_id", "plan"), ("u1", "pro")),
        pd.Series({"user_id": "u1", "plan": "pro"}),
        pa.scalar({"user_id": "u1", "plan": "pro"}),
        {np.str_("user_id"): np.str_("u1"), sqlalchemy.quoted_name("plan", quote=True): "pro"},
    ],
)
def test_reads_every_kind_of_row(row: Any) -> None:
    """Each by what it can do."""
    assert users([row]) == [UserTraits("u1", traits={"plan": "pro"})]


@pytest.mark.parametrize("index", [True, False])
def test_the_labels_of_itertuples_are_not_read(index: bool) -> None:  # noqa: FBT001
    """As in the frame itself."""
    frame = pd.DataFrame({"id": ["u1"], "plan": ["pro"]}, index=["first"])

    assert users(frame.itertuples(index=index)) == users(frame) == [UserTraits("u1", traits={"plan": "pro"})]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("u1", "row: expected a mapping, got a string"),
        (None, "row: expected a mapping, got None"),
        (("u1", "pro"), "row: expected a mapping, got a tuple; pass dict(zip(names, row))"),
        ([], "row: expected a mapping, got a list; pass dict(zip(names, row))"),
        ((0, pd.Series({"id": "u1"})), "row: expected a mapping, got a tuple; pass the frame itself"),
        (np.array(["u1"]), "row: expected a mapping, got a ndarray; pass the frame, or a dict for each row"),
        (Member("u1"), "row: expected a mapping, got a Member; pass attrs.asdict(row)"),
        (Account(id="u1"), "row: expected a mapping, got an Account; select its columns instead of the entity"),
        (Person("u1"), "row: expected a mapping, got a Person; pass dataclasses.asdict(row)"),
        (Model(), "row: expected a mapping, got a Model; pass row.model_dump()"),
        (object(), "row: expected a mapping, got an object"),
        (dict, "row: cannot be read: TypeError"),
        (Broken(), "row: cannot be read: RuntimeError"),
        *((row, RENAMED) for row in pd.DataFrame({"id": ["u1"], "is pro": [True]}).itertuples()),
        ({"user_id": "u1", 5: "pro"}, "row: expected every name to be a string, got an int"),
        ({"user_id": "u1", "a": {5: "pro"}}, "a: expected every name to be a string, got an int"),
        ({"user_id": "u1", "a": b"x"}, "traits.a: expected a trait value, got bytes; convert it first"),
        ({"user_id": "u1", "a": {"x"}}, "traits.a: expected a trait value, got a set; use a list"),
        ({"id": "u1", "a": memoryview(b"x")}, "traits.a: expected a trait value, got a memoryview; convert it first"),
        ({"id": "u1", "a": NAIVE}, "traits.a: the datetime has no time zone; add one, or set timezone in a mapping"),
        ({"user_id": "u1", "a": [1.0, float("nan")]}, "traits.a[1]: None has no meaning inside a list; leave it out"),
        (
            {"plan": "pro"},
            NO_ID,
        ),
        (Keyed(("id", "id"), ("u1", "u2")), "row: has the column id more than once"),
    ],
)  # fmt: skip
def test_a_bad_row_ends_nothing(row: Any, problem: str) -> None:
    """It has its number, and the rows around it are read."""
    read = list(read_rows(iter([{"id": "u1"}, row, {"id": "u3"}])))

    assert read[1] == BadRow(2, 2, problem)
    assert [each.line for each in read if isinstance(each, Row)] == [1, 3]


@pytest.mark.parametrize("user_id", [1.0, np.float64(1), float("inf"), True, np.True_, 1.5, b"u1", ["u1"], NOON])
def test_an_id_is_text_or_a_whole_number(user_id: Any) -> None:
    """Anything else is a bad row."""
    assert [problem.partition(":")[0] for problem in problems([{"id": user_id}])] == ["line 1"]


@pytest.mark.parametrize(
    "user_id", [7, np.int64(7), np.uint8(7), "7", np.str_("7"), Decimal(7), np.array(7), pa.scalar(7)]
)
def test_a_whole_number_is_an_id(user_id: Any) -> None:
    """As its digits."""
    assert users([{"id": user_id}])[0].user_id == "7"
    assert list(read_rows([{"id": user_id}]).read_ids()) == ["7"]


@pytest.mark.parametrize("user_id", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, np.ma.masked])
def test_a_missing_id_beside_another_is_bad(user_id: Any) -> None:
    """It must not become the other id."""
    assert len(problems([{"user_id": user_id, "id": "77"}])) == 1


def test_ids_in_a_column_of_floats_need_a_cast() -> None:
    """One missing value turns a column of whole numbers into floats."""
    frame = pd.DataFrame({"id": [1, 2, None]})

    bad = problems(frame)

    assert len(bad) == 3
    assert 'set cast = "int"' in bad[0]
    mapping = RowMapping(fields={"id": FieldRule(cast="int")})
    assert [row.user.user_id for row in read_rows(frame, mapping=mapping) if isinstance(row, Row)] == ["1", "2"]


@pytest.mark.parametrize(
    "value",
    [
        None, float("nan"), np.nan, np.float32("nan"), np.float64("nan"), pd.NA, pd.NaT, np.datetime64("NaT", "us"),
        np.datetime64("NaT", "ns"), np.ma.masked, pa.scalar(None, pa.int64()), {}, {"b": np.nan}, {"b": {"c": pd.NA}},
    ],
)  # fmt: skip
def test_missing_values_are_absent(value: Any) -> None:
    """Inside objects too."""
    assert trait(value) == "MISSING"
    assert trait(value, mapping=RowMapping()) == "MISSING"


class Moment(datetime):
    """A subclass, such as other libraries have."""


class Plan(StrEnum):
    """A subclass of string."""

    PRO = "pro"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.True_, True),
        (np.False_, False),
        (np.int64(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.str_("pro"), "pro"),
        (Plan.PRO, "pro"),
        (np.datetime64("2026-11-21"), date(2026, 11, 21)),
        (np.array(3), 3),
        (np.array([1, 2]), (1, 2)),
        (np.array([1]), (1,)),
        (np.array([[1], [2]]), ((1,), (2,))),
        (np.array(["a"]), ("a",)),
        (pd.Series([1, 2]), (1, 2)),
        (pd.array([True], dtype="boolean"), (True,)),
        (pd.Index(["a"]), ("a",)),
        (pl.Series(["a"]), ("a",)),
        (pa.array([1, 2]), (1, 2)),
        (pa.scalar("pro"), "pro"),
        (pa.scalar([1, 2]), (1, 2)),
        (pa.scalar({"b": 1}), {"b": 1}),
        (pd.Timestamp("2026-11-21T12:00", tz="UTC"), NOON),
        (pd.Timestamp("2026-11-21T13:00", tz="Europe/Berlin"), NOON),
        (pa.scalar(NOON), NOON),
        (Moment.fromtimestamp(NOON.timestamp(), UTC), NOON),
        (NOON.astimezone(timezone(timedelta(hours=3))), NOON),
        ({"b": np.int64(1), "c": [np.bool_(1)]}, {"b": 1, "c": (True,)}),
        (MappingProxyType({"b": np.float64(1)}), {"b": 1.0}),
        (Point("a", np.str_("b")), ("a", "b")),
        (Decimal("1.50"), Decimal("1.50")),
        (UUID(int=5), UUID(int=5)),
    ],
)  # fmt: skip
def test_values_are_those_of_python(value: Any, expected: Any) -> None:
    """Of exactly these types."""
    found = trait(value)

    assert found == expected
    assert type(found) is type(expected)
    assert UserTraits(traits={"a": found}) == UserTraits(traits={"a": expected})


@pytest.mark.parametrize(
    "value",
    [
        pd.Timedelta(1, "s"),
        timedelta(seconds=1),
        np.timedelta64(1, "s"),
        np.timedelta64(1, "ns"),
        pd.Period("2026-11"),
        pd.Interval(1, 2),
        np.complex128(1),
        np.bytes_(b"x"),
        np.void(b"x"),
        np.longdouble(1),
        np.array([b"x"]),
        pd.DataFrame({"a": [1]}),
        float("inf"),
        Decimal("nan"),
        UserString("x"),
        pa.scalar(b"x"),
        pa.scalar(timedelta(1)),
        pd.Timestamp("2026-11-21T12:00:00.000000001Z"),
        np.datetime64("2026-11-21T12:00:00.000000001"),
        np.datetime64(10**18, "s"),
        np.datetime64(3 * 10**11, "s"),
        pd.Timestamp(np.datetime64(3 * 10**11, "s")),
        pa.scalar(1, pa.timestamp("ns", "UTC")),
        pa.scalar(10**15, pa.timestamp("s", "UTC")),
        object(),
    ],
)  # fmt: skip
def test_other_values_are_bad_rows(value: Any) -> None:
    """A value is never guessed, and never named in a problem."""
    for nested in (value, [value], {"b": value}):
        (problem,) = problems([{"user_id": "u1", "a": nested}], mapping=IN_UTC)
        assert problem.startswith(("line 1: a", "line 1: traits.a"))


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2026-11-21T12:00"),
        np.datetime64("2026-11-21T12:00:00.000000000"),
        np.array("2026-11-21T12:00", "datetime64[ns]"),
        pd.Timestamp("2026-11-21T12:00"),
        pa.scalar(NAIVE),
        Moment(2026, 11, 21, 12),
        NAIVE,
    ],
)  # fmt: skip
def test_datetimes_get_the_time_zone_of_the_mapping(value: Any) -> None:
    """If they have none."""
    assert trait(value, mapping=IN_UTC) == NOON


def test_arrays_of_datetimes_are_lists_of_them() -> None:
    """Not of numbers, which `tolist` makes of nanoseconds."""
    assert len(problems([{"id": "u1", "a": np.array(["2026-11-21T12:00"], "datetime64[ns]")}])) == 1
    days = np.array(["2026-11-21"], "datetime64[D]")
    assert trait(days) == (date(2026, 11, 21),)


def test_a_removal_stays_one() -> None:
    """Its value is not touched."""
    assert trait(REMOVE) is REMOVE


def in_dict(value: Any) -> Any:
    """Return an object that holds *value*."""
    return {"b": value}


def in_list(value: Any) -> Any:
    """Return a list that holds *value*."""
    return [value]


def as_is(value: Any) -> Any:
    """Return *value*."""
    return value


@pytest.mark.parametrize("make", [in_dict, in_list])
def test_deep_values_are_bad_rows(make: Callable[[Any], Any]) -> None:
    """And those that contain themselves."""
    value: Any = np.int64(1)
    for _ in range(2000):
        value = make(value)
    endless: dict[str, Any] = {}
    endless["b"] = make(endless)

    assert "nested deeper than 32 levels" in problems([{"user_id": "u1", "a": value}])[0]
    assert len(problems([{"user_id": "u1", "a": endless}])) == 1


def test_rows_are_not_changed() -> None:
    """Even if a mapping takes fields out of nested objects."""
    row: dict[str, Any] = {"user_id": "u1", "company": {"name": "Acme", "size": np.int64(5)}, "tags": ["a", np.int8(1)]}
    before: dict[str, Any] = {**row, "company": dict(row["company"]), "tags": list(row["tags"])}
    mapping = RowMapping(fields={"company.name": FieldRule(rename="company_name")})

    rows = read_rows([row], mapping=mapping)
    assert list(rows.read_ids()) == ["u1"]
    list(rows)

    assert row == before


def test_an_error_of_the_iterator_goes_through() -> None:
    """As it is, after the rows before it."""

    def failing() -> Iterator[dict[str, Any]]:
        yield {"id": "u1"}
        raise ConnectionResetError

    rows = read_rows(failing())

    assert isinstance(next(rows), Row)
    with pytest.raises(ConnectionResetError):
        next(rows)


def test_a_value_that_cannot_be_compared_is_bad() -> None:
    """Its error is not the end of the run."""

    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise ValueError

    assert "expected a trait value, got an Odd" in problems([{"id": "u1", "a": Odd()}])[0]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("users.csv", "expected rows, got a string; pass an iterable of mappings, or a frame; read_users reads a file"),
        (b"{}", "expected rows, got bytes; pass an iterable of mappings, or a frame; read_users reads a file"),
        ({"id": "u1"}, "expected rows, got a dict; put a single row into a list"),
        (5, "expected rows, got an int; pass an iterable of mappings, or a frame"),
        (pl.LazyFrame({"id": ["u1"]}), "expected rows, got a LazyFrame; call collect()"),
    ],
)
def test_what_has_no_rows_is_an_error(rows: Any, problem: str) -> None:
    """It says what to pass."""
    assert source_problem(rows) == problem
    assert list(read_rows(5).read_ids()) == []  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_iterables_of_frames_are_read() -> None:
    """As pandas reads a file in chunks; the numbers go on."""
    chunks = [pd.DataFrame({"id": ["u1", "u2"]}), pl.DataFrame({"user_id": ["u3"], "plan": ["pro"]})]

    read = list(read_rows(iter(chunks)))

    assert [(row.line, row.user.user_id) for row in read if isinstance(row, Row)] == [(1, "u1"), (2, "u2"), (3, "u3")]
    assert list(read_rows(chunks).read_ids()) == ["u1", "u2", "u3"]


def chunked(values: list[Any]) -> Any:
    """Return a column of Arrow in chunks."""
    return pa.chunked_array([pa.array(values)])


@pytest.mark.parametrize("column", [pd.Series, pl.Series, pa.array, chunked])
def test_a_column_of_objects_is_rows(column: Callable[[Any], Any]) -> None:
    """And a column of anything else is bad rows."""
    assert users(column([{"id": "u1"}])) == [UserTraits("u1")]
    assert len(problems(column(["u1", "u2"]))) == 2


def test_an_index_is_no_column() -> None:
    """A named one would be lost, and an unnamed one may hold the ids."""
    named = pd.DataFrame({"id": ["u1"], "plan": ["pro"]}).set_index("id")
    unnamed = pd.DataFrame({"plan": ["pro"]}, index=["u1"])

    assert "the index id is not read; call reset_index()" in source_problem(named)
    assert "the index id is not read" in source_problem(named, anonymous=True)
    assert source_problem(unnamed).endswith("the index is not read; call reset_index() if it holds the ids")
    assert "index" not in source_problem(pd.DataFrame({"plan": ["pro"]}))
    assert "index" not in source_problem(pd.DataFrame([["u1", "u2"]], columns=["id", "id"], index=["x"]))
    assert users(pd.DataFrame({"id": ["u0", "u1"]})[1:]) == [UserTraits("u1")]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["u1", "u2"]], columns=["id", "id"]),
        pa.Table.from_arrays([pa.array(["u1"]), pa.array(["u2"])], names=["id", "id"]),
    ],
)
def test_a_column_name_is_unique(frame: Any) -> None:
    """As in a file."""
    assert source_problem(frame) == "has the column id more than once; rename or remove all but one"


@pytest.mark.parametrize("columns", [[0, 1], ["id", 5], [("id", "a"), ("id", "b")], ["id", None]])
def test_a_column_name_is_a_string(columns: list[Any]) -> None:
    """A frame without names has numbers."""
    frame = pd.DataFrame([["u1", "pro"]], columns=pd.Index(columns, tupleize_cols=True, dtype=object))

    assert "rename the columns to strings" in source_problem(frame)


MOMENTS: Final = ["2026-11-21T12:00:00", None]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_datetime(MOMENTS)),
        pd.Series(pd.to_datetime(MOMENTS, utc=True)).dt.as_unit("ns"),
        pd.Series(pd.to_datetime(MOMENTS)).dt.as_unit("s"),
        pd.Series(pd.to_datetime(MOMENTS)).dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC") + pd.Timedelta(hours=9),
        pd.array([NAIVE, None], dtype=pd.ArrowDtype(pa.timestamp("ns"))),
        pd.Series([NAIVE, pd.NaT], dtype=object),
        pd.Series([pd.Timestamp(NOON), None], dtype=object),
    ],
)
def test_pandas_has_datetimes_of_many_kinds(column: Any) -> None:
    """The missing ones are absent."""
    found = users(pd.DataFrame({"id": ["u1", "u2"], "a": column}), mapping=IN_UTC)

    assert [user.traits for user in found] == [{"a": NOON}, {}]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, None], dtype="Int64"), 1),
        (pd.array([True, None], dtype="boolean"), True),
        (pd.array([1, None], dtype="int64[pyarrow]"), 1),
        (pd.array(["x", None], dtype="string"), "x"),
        (pd.Categorical(["x", None]), "x"),
        (pd.array([0.5, None], dtype="Float64"), 0.5),
        (np.array([1.5, np.nan], dtype="float32"), 1.5),
        (np.array([Decimal("1.5"), None], dtype=object), Decimal("1.5")),
        (np.array([1, np.nan], dtype=object), 1),
        (pd.Series([[np.int64(1)], np.nan]), (1,)),
        (pd.Series([{"b": np.nan, "c": np.True_}, None]), {"c": True}),
        (pd.arrays.SparseArray([1.0, np.nan]), 1.0),
    ],
)
def test_pandas_has_missing_values_of_many_kinds(column: Any, expected: Any) -> None:
    """All are absent, and the others keep their types."""
    found = users(pd.DataFrame({"id": ["u1", "u2"], "a": column}))

    assert found == [UserTraits("u1", traits={"a": expected}), UserTraits("u2")]


@pytest.mark.parametrize("column", [["x", "y"], pd.Series(["x", "y"]).astype("category"), np.array([5, 6], "uint8")])
def test_pandas_has_ids_of_many_types(column: Any) -> None:
    """Text or whole numbers."""
    frame = pd.DataFrame({"id": column})

    assert [user.user_id for user in users(frame)] == [str(each) for each in column]
    assert list(read_rows(frame).read_ids()) == [str(each) for each in column]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"id": ["u1", "u2"], "a": pd.to_datetime([1, 1000], utc=True)}),
        pd.DataFrame({"id": ["u1", "u2"], "a": np.array([3 * 10**11, 0], "datetime64[s]")}),
        pd.DataFrame({"id": ["u1", "u2"], "a": np.array([b"x", "y"], object)}),
        pd.DataFrame({"id": ["u1", "u2"], "a": [pd.Timestamp(1, tz="UTC"), None]}, dtype=object),
        pl.DataFrame({"id": ["u1", "u2"], "a": pl.Series([1, 1000]).cast(pl.Datetime("ns", "UTC"))}),
        pl.DataFrame({"id": ["u1", "u2"], "a": pl.Series([2**62, 1000]).cast(pl.Datetime("ms", "UTC"))}),
        pa.table({"id": ["u1", "u2"], "a": pa.array([1, 1000], pa.timestamp("ns", "UTC"))}),
        pa.table({"id": ["u1", "u2"], "a": pa.array([10**15, 1000], pa.timestamp("s", "UTC"))}),
        pa.table({"id": ["u1", "u2"], "a": pa.array([[1], [1000]], pa.list_(pa.timestamp("ns", "UTC")))}),
        pa.table({"id": ["u1", "u2"], "a": pa.array([[("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int64()))}),
        Stream(pa.table({"id": ["u1", "u2"], "a": pa.array([1, 1000], pa.timestamp("ns"))})),
        Stream(pa.table({"id": ["u1", "u2"], "a": pa.array([2**63 - 1, 1000], pa.timestamp("us", "UTC"))})),
        Stream(pa.table({"id": ["u1", "u2"], "a": pa.array([-(10**6), None], pa.date32())})),
    ],
)  # fmt: skip
def test_one_bad_value_spoils_one_row(frame: Any) -> None:
    """A value that no `datetime` can be, or a type that no trait has."""
    read = list(read_rows(frame, mapping=IN_UTC))

    assert isinstance(read[0], BadRow)
    assert isinstance(read[1], Row)


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"id": ["u1"], "a": pl.Series([[1]]).cast(pl.List(pl.Datetime("ns")))}),
        pl.DataFrame({"id": ["u1"], "a": pl.Series([{"b": [1]}]).cast(pl.Struct({"b": pl.List(pl.Datetime("ns"))}))}),
        Stream(pa.table({"id": ["u1"], "a": pa.array([[1]], pa.list_(pa.timestamp("ns")))})),
    ],
)
def test_nested_nanoseconds_are_refused_if_rounded(frame: Any) -> None:
    """By a library whose values are rounded."""
    assert source_problem(frame) == (
        "the column a has datetimes in nanoseconds inside lists or objects; cast them to microseconds"
    )


@pytest.mark.parametrize("wrap", [as_is, reader, Stream])
def test_arrow_has_values_of_many_kinds(wrap: Callable[[Any], Any]) -> None:
    """Dictionaries, maps, large numbers, and datetimes in objects."""
    table = pa.table(
        {
            "id": pa.array([7, 8]),
            "dictionary": pa.array(["x", None]).dictionary_encode(),
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "large": pa.array([2**64 - 1, None], pa.uint64()),
            "day": pa.array([date(2026, 11, 21), None]),
            "moment": pa.array([NOON, None], pa.timestamp("ns", "Europe/Berlin")),
            "seconds": pa.array([NAIVE, None], pa.timestamp("s")),
            "nested": pa.array([{"at": NOON}, None], pa.struct([("at", pa.timestamp("us", "UTC"))])),
        }
    )

    found = users(wrap(table), mapping=IN_UTC)

    assert found[1] == UserTraits("8")
    assert found[0] == UserTraits(
        "7",
        traits={
            "dictionary": "x",
            "map": {"k": 1},
            "large": 2**64 - 1,
            "day": date(2026, 11, 21),
            "moment": NOON,
            "seconds": NOON,
            "nested": {"at": NOON},
        },
    )


@frames
def test_datetimes_in_frames_need_a_time_zone(frame: Callable[[Any], Any]) -> None:
    """Which is never guessed."""
    made = [{"id": "u1", "a": NAIVE, "b": NOON}, {"id": "u2", "a": None, "b": NOON}]
    berlin = RowMapping(timezone="Europe/Berlin")

    assert [problem.partition("; ")[0] for problem in problems(frame(made))] == [
        "line 1: traits.a: the datetime has no time zone"
    ]
    assert users(frame(made), mapping=berlin)[0].traits == {"a": NOON - timedelta(hours=1), "b": NOON}


def test_polars_has_values_of_many_kinds() -> None:
    """Categories, structs, lists and datetimes of each unit."""
    frame = pl.DataFrame(
        {
            "id": ["u1"],
            "category": pl.Series(["x"], dtype=pl.Categorical),
            "ms": pl.Series([NAIVE], dtype=pl.Datetime("ms")),
            "ns": pl.Series([NOON], dtype=pl.Datetime("ns", "UTC")),
            "struct": [{"at": NOON, "tags": ["a"]}],
            "score": [float("nan")],
            "large": pl.Series([2**64 - 1], dtype=pl.UInt64),
        }
    )

    assert users(frame, mapping=IN_UTC)[0] == UserTraits(
        "u1",
        traits={"category": "x", "ms": NOON, "ns": NOON, "struct": {"at": NOON, "tags": ["a"]}, "large": 2**64 - 1},
    )


def test_reads_the_rows_of_sqlalchemy() -> None:
    """A result, its rows in a list, and its mappings."""
    engine = sqlalchemy.create_engine("sqlite://")
    sql = sqlalchemy.text("SELECT 'u1' AS user_id, 'pro' AS plan, 3 AS seats, NULL AS email")
    expected = [UserTraits("u1", traits={"plan": "pro", "seats": 3})]

    with engine.connect() as connection:
        assert users(connection.execute(sql)) == expected
        assert users(connection.execute(sql).mappings()) == expected
        rows = connection.execute(sql).all()
        assert list(read_rows(rows).read_ids()) == ["u1"]
        twice = connection.execute(sqlalchemy.text("SELECT 'u1' AS id, 'u2' AS id"))
        assert problems(twice) == ["line 1: row: has the column id more than once"]
    engine.dispose()


def test_reads_the_rows_of_sqlite() -> None:
    """With names; without them, the rows are tuples."""
    with sqlite3.connect(":memory:") as connection:
        plain = connection.execute("SELECT 'u1' AS id")
        assert problems(plain) == ["line 1: row: expected a mapping, got a tuple; pass dict(zip(names, row))"]
        connection.row_factory = sqlite3.Row
        assert users(connection.execute("SELECT 'u1' AS id, 'pro' AS plan")) == [
            UserTraits("u1", traits={"plan": "pro"})
        ]
        twice = connection.execute("SELECT 'u1' AS id, 'u2' AS id")
        assert problems(twice) == ["line 1: row: has the column id more than once"]
    connection.close()


def test_reads_the_interchange_protocol() -> None:
    """With PyArrow."""
    assert users(Interchange(pa.table({"id": ["u1"], "seats": [3]}))) == [UserTraits("u1", traits={"seats": 3})]


@pytest.mark.parametrize(
    ("module", "frame", "command"),
    [
        ("pyarrow.interchange", Interchange(pa.table({"id": ["u1"]})), "pip install pyarrow"),
        ("duckdb", Stream(pa.table({"id": ["u1"]})), "pip install 'replay-identity[warehouse]'"),
    ],
)
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, module: str, frame: Any, command: str) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "replay_identity.sources.duckdb_reader", raising=False)
    monkeypatch.delattr("replay_identity.sources.duckdb_reader", raising=False)

    with pytest.raises(ConfigurationError, match="is not installed") as caught:
        list(read_rows(frame))

    assert caught.value.hint == f"install it with: {command}"


def test_an_import_that_fails_inside_duckdb_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not mean that DuckDB is missing."""
    monkeypatch.setitem(sys.modules, "replay_identity.sources.duckdb_reader", None)
    monkeypatch.delattr("replay_identity.sources.duckdb_reader", raising=False)

    with pytest.raises(ImportError):
        list(read_rows(Stream(pa.table({"id": ["u1"]}))))


def test_a_stream_that_cannot_be_exported_raises() -> None:
    """Its own error, as an iterator does."""

    class Failing:
        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        next(read_rows(Failing()))


def test_a_stream_that_fails_is_an_error() -> None:
    """Without what its own error quotes."""

    def batches() -> Iterator[Any]:
        yield pa.RecordBatch.from_pylist([{"id": "u1"}])
        raise ValueError("ada@example.com")

    schema = pa.schema([("id", pa.string())])
    problem = source_problem(Stream(pa.RecordBatchReader.from_batches(schema, batches())))

    assert problem.startswith("cannot be read: ")
    assert "ada" not in problem


def test_imports_no_library_of_frames() -> None:
    """Neither when it is imported, nor when it reads dicts."""
    program = (
        "import sys\n"
        "from replay_identity import read_rows, sync\n"
        "print(len(list(read_rows([{'id': 'u1', 'a': [1.5]}]))))\n"
        "print(*sys.modules)"
    )

    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()

    assert output[0] == "1"
    assert {"numpy", "pandas", "polars", "pyarrow", "sqlalchemy", "duckdb"}.isdisjoint(output)


def test_polars_is_read_without_pyarrow(tmp_path: Path) -> None:
    """And without pandas and NumPy, which polars does not need either."""
    program = (
        "import sys\n"
        "for name in ('numpy', 'pandas', 'pyarrow', 'duckdb'): sys.modules[name] = None\n"
        "from datetime import UTC, datetime\n"
        "import polars\n"
        "from replay_identity import read_rows\n"
        "rows = read_rows(polars.DataFrame({'id': ['u1'], 'at': [datetime.now(UTC)], 'tags': [['a']]}))\n"
        "print(*rows.read_ids(), *(row.line for row in rows))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=tmp_path)

    assert done.stdout.split() == ["u1", "1"]


def test_says_what_a_column_is_read_as() -> None:
    """Once all rows are read."""
    rows = read_rows(pd.DataFrame({"User ID": ["u1"], "E-Mail": ["ada@example.com"]}))

    list(rows)

    assert rows.notes.own_fields == {"User ID": "user_id", "E-Mail": "email"}


@frames
def test_rows_may_be_left_out(frame: Callable[[Any], Any]) -> None:
    """By the mapping's filter; the others keep their numbers."""
    made = [{"id": "u1", "kind": "page"}, {"id": "u2", "kind": "identify"}]
    mapping = RowMapping(where={"kind": "identify"})

    for rows in (read_rows(frame(made), mapping=mapping), read_rows(made, mapping=mapping)):
        assert [(row.line, row.user.user_id) for row in rows if isinstance(row, Row)] == [(2, "u2")]
        assert rows.notes.left_out == 1


@pytest.mark.parametrize("frame", [FRAMES["pandas"], FRAMES["polars"], FRAMES["arrow"]])
def test_memory_does_not_grow_with_a_frame(frame: Callable[[Any], Any]) -> None:
    """Only a chunk of it is held as Python objects."""
    made = frame([{"id": f"u{number}", "plan": f"p{number}", "at": NOON} for number in range(20_000)])
    tracemalloc.start()

    for _ in read_rows(made):
        pass

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_users_and_rows_are_kept() -> None:
    """Among rows of any other kind."""
    kept: list[Any] = [UserTraits("u1"), Row(7, UserTraits("u2")), BadRow(8, 8, "not JSON"), {"id": "u4"}]

    read = list(chain(read_rows(kept)))

    assert read == [Row(1, UserTraits("u1")), *kept[1:3], Row(4, UserTraits("u4"))]
    assert list(read_rows(kept).read_ids()) == ["u1", "u2", "u4"]


@pytest.mark.parametrize("make", [pa.table, reader, Stream], ids=["table", "reader", "stream"])
def test_the_labels_in_arrow_are_left_out(make: Callable[[Any], Any]) -> None:
    """Pandas makes a column of an index that has no name."""
    table = pa.Table.from_pandas(pd.DataFrame({"plan": ["pro"], "id": ["u1"]}, index=["first"]))

    rows = read_rows(make(table.select([2, 0, 1])))

    assert [row.user for row in rows if isinstance(row, Row)] == [UserTraits("u1", traits={"plan": "pro"})]
    assert rows.notes.labels == {"__index_level_0__"}


def test_a_name_twice_in_a_mapping_is_refused() -> None:
    """SQLAlchemy's mappings have both; which value counts cannot be known."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        rows = list(read_rows(connection.execute(sqlalchemy.text("SELECT 1 AS id, 2 AS id")).mappings()))

    engine.dispose()
    assert rows == [BadRow(1, 1, "row: has the column id more than once")]


def test_rows_of_entities_say_what_to_select() -> None:
    """As `select(Account)` yields them; its columns are read."""
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Account(id="u1"))
        session.commit()

        problems = [str(row) for row in read_rows(session.execute(sqlalchemy.select(Account)))]
        rows = list(read_rows(session.execute(sqlalchemy.select(Account.id))))

    engine.dispose()
    assert problems == ["line 1: row: has an entity as a value; select its columns instead of the entity"]
    assert rows == [Row(1, UserTraits("u1"))]
