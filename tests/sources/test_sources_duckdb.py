"""Users read from Parquet and SQL."""

import builtins
import importlib
import io
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.profiles import examples

from replay_identity import ConfigurationError, UserTraits
from replay_identity.errors import SourceError
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import BadRow, Row, read_query, read_users
from replay_identity.testing import datetimes

# Without type stubs.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")

CANARY = "canary-7Q"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOME_UUID = "12345678-1234-5678-1234-567812345678"


def query(sql: str, mapping: RowMapping | None = None) -> list[Row | BadRow]:
    """Return the rows of a query."""
    return list(read_query(sql, mapping=mapping))


def traits(columns: str, mapping: RowMapping | None = None) -> Any:
    """Return the traits, or the problem, of the one user who has *columns*."""
    (row,) = query(f"SELECT 'u1' AS id, {columns}", mapping)
    return dict(row.user.traits) if isinstance(row, Row) else row.problem


def write(path: Path, sql: str) -> Path:
    """Write the rows of a query to a Parquet file."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{str(path).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
    return path


def rejected(rows: Iterator[Row | BadRow]) -> str:
    """Return why *rows* cannot be read at all."""
    with pytest.raises(SourceError) as caught:
        list(rows)
    assert CANARY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("'x' AS a", "x"),
        ("true AS a", True),
        ("42 AS a", 42),
        ("170141183460469231731687303715884105727::HUGEINT AS a", 2**127 - 1),
        ("4.5::DOUBLE AS a", 4.5),
        ("1.50::DECIMAL(10, 2) AS a", Decimal("1.50")),
        (f"'{SOME_UUID}'::UUID AS a", UUID(SOME_UUID)),
        ("DATE '2026-11-21' AS a", date(2026, 11, 21)),
        ("TIMESTAMPTZ '2026-11-21 14:00:00+02' AS a", NOON),
        ("'b'::ENUM('a', 'b') AS a", "b"),
        ("{'b': 1, 'size': {'c': 'x'}} AS a", {"b": 1, "size": {"c": "x"}}),
        ("MAP {'b': 1} AS a", {"b": 1}),
        ("[1, 2] AS a", (1, 2)),
        ("array_value(1, 2) AS a", (1, 2)),
        ("{'size': [TIMESTAMPTZ '2026-11-21 12:00:00Z'], 'n': NULL} AS a", {"size": (NOON,)}),
        ("MAP {'k': TIMESTAMPTZ '2026-11-21 12:00:00Z'} AS a", {"k": NOON}),
        ("array_value(DATE '2026-11-21', DATE '2026-11-22') AS a", (date(2026, 11, 21), date(2026, 11, 22))),
        ("{'d': DATE '2026-11-21', 's': 'x'} AS a", {"d": date(2026, 11, 21), "s": "x"}),
        ("union_value(d := DATE '2026-11-21') AS a", date(2026, 11, 21)),
        ("union_value(t := 'x')::UNION(t VARCHAR, d DATE) AS a", "x"),
        ("DATE '9999-12-31' AS a", date(9999, 12, 31)),
        ("DATE '0001-01-01' AS a", date(1, 1, 1)),
        ('1 AS "a.b"', {"b": 1}),
    ],
)
def test_columns_keep_their_types(column: str, expected: Any) -> None:
    """Nested types too. A dotted name is a nested trait, as in CSV."""
    found = traits(column)["a"]

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("'nan'::DOUBLE AS a", "traits.a: expected a finite number"),
        ("'infinity'::DOUBLE AS a", "traits.a: expected a finite number"),
        ("'canary-7Q'::BLOB AS a", "traits.a: expected a trait value, got bytes; convert it first"),
        ("INTERVAL 1 DAY AS a", "traits.a: expected a trait value, got a timedelta; convert it first"),
        ("TIME '10:00' AS a", "traits.a: expected a trait value, got a time; convert it first"),
        ("MAP {1: 2} AS a", "traits.a: expected every name to be a string, got an int"),
        ("[1, NULL] AS a", "traits.a[1]: None has no meaning inside a list; leave it out"),
        ("DATE '0044-03-15 (BC)' AS a", "a: is not a date between the years 1 and 9999"),
        ("TIMESTAMPTZ '0044-03-15 (BC) 00:00:00Z' AS a", "a: is not a date between the years 1 and 9999"),
        ("{'b': [TIMESTAMP '0044-03-15 (BC) 00:00:00']} AS a", "a: is not a date between the years 1 and 9999"),
        *(
            (f"'{value}'::{type_} AS a", "a: is not a date between the years 1 and 9999")
            for value in ("infinity", "-infinity", "10000-01-01")
            for type_ in ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMPTZ")
        ),
        ("'infinity'::TIMESTAMP_NS AS a", "a: is not a date between the years 1 and 9999"),
        ("[DATE '10000-01-01'] AS a", "a: is not a date between the years 1 and 9999"),
        ("[DATE 'infinity'] AS a", "a: may be an infinite date; select it as text"),
        ("{'b': TIMESTAMPTZ '-infinity'} AS a", "a: may be an infinite date; select it as text"),
        ("union_value(d := DATE 'infinity') AS a", "a: may be an infinite date; select it as text"),
        (
            "TIMESTAMP '2026-11-21 12:00:00' AS a",
            "a: the datetime has no time zone; set timezone in the mapping",
        ),
        (
            "{'b': TIMESTAMP '2026-11-21 12:00:00'} AS a",
            "a.b: the datetime has no time zone; set timezone in the mapping",
        ),
    ],
)
def test_unsupported_values_are_bad_rows(column: str, problem: str) -> None:
    """They name the field and quote nothing."""
    assert traits(column) == problem


def test_a_mapping_adds_the_time_zone() -> None:
    """It casts columns like cells."""
    mapping = RowMapping(timezone="UTC", fields={"b": FieldRule(cast="int")})

    assert traits("TIMESTAMP '2026-11-21 12:00:00' AS a, 3.0::DOUBLE AS b", mapping) == {"a": NOON, "b": 3}


def test_a_mapping_leaves_rows_out() -> None:
    """The others keep their numbers."""
    rows = query("SELECT 'u' || i AS id, i AS seats FROM range(3) r(i) ORDER BY i", RowMapping(where={"seats": [0, 2]}))

    assert [row.line for row in rows] == [1, 3]


def test_numbers_rows_and_requires_an_id() -> None:
    """A null is not an id."""
    rows = query("SELECT * FROM (VALUES ('u1'), (NULL), ('')) t(id)")

    assert rows == [
        Row(1, UserTraits("u1")),
        BadRow(2, 2, "id: the id is null"),
        BadRow(3, 3, "id: the id is empty"),
    ]
    assert [type(row) for row in read_query("SELECT 1 AS x", anonymous=True)] == [Row]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'u' || i AS id FROM range(2500) r(i) ORDER BY i DESC -- the last first",
        "SELECT 'u' || i AS id, now() AS t FROM range(2500) r(i) ORDER BY i DESC -- the last first",
    ],
)
def test_keeps_the_order_across_batches(sql: str) -> None:
    """Whether or not columns must be cast to UTC."""
    rows = query(sql)

    assert [row.line for row in rows] == list(range(1, 2501))
    assert [row.user.user_id for row in rows if isinstance(row, Row)] == [f"u{i}" for i in reversed(range(2500))]


def test_reads_a_parquet_file(tmp_path: Path) -> None:
    """A name with pattern characters finds the file of that name first."""
    path = write(tmp_path / "it's[1].parquet", "SELECT 'u1' AS id, 3 AS seats")
    write(tmp_path / "it's1.parquet", "SELECT 'u2' AS id")

    for given_path in (path, str(path)):
        assert list(read_users(given_path)) == [Row(1, UserTraits("u1", traits={"seats": 3}))]


def test_reads_the_files_of_a_pattern(tmp_path: Path) -> None:
    """They are read in the order of their names, each with its own columns. Directories add no columns."""
    (tmp_path / "country=DE").mkdir()
    write(tmp_path / "country=DE" / "b.parquet", "SELECT 'u3' AS id, 1 AS seats")
    write(tmp_path / "country=DE" / "a.parquet", "SELECT unnest(['u1', 'u2']) AS id")

    rows = list(read_users(f"{tmp_path}/*/*.parquet"))

    expected = [UserTraits("u1"), UserTraits("u2"), UserTraits("u3", traits={"seats": 1})]
    assert rows == [Row(number, user) for number, user in zip([1, 2, 1], expected, strict=True)]


def test_reads_a_file_with_a_query(tmp_path: Path) -> None:
    """A stream can be read with one, too."""
    path = tmp_path / "users.sql"
    path.write_text("-- all of them\nSELECT 'u1' AS id;\n", encoding="utf-8")

    assert list(read_users(path)) == list(read_users(io.BytesIO(b"FROM (SELECT 'u1' AS id)"), format="sql"))
    path.write_bytes(b"\xff")
    assert rejected(read_users(path)) == f"{path}: not valid UTF-8"


def test_opens_databases_read_only(tmp_path: Path) -> None:
    """The suffix does not matter."""
    path = tmp_path / "app.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE users AS SELECT 'u1' AS id")
    before = path.read_bytes()

    for database in (path, str(path)):
        assert list(read_query("SELECT * FROM users", database)) == [Row(1, UserTraits("u1"))]
    (row,) = read_query("SELECT 'u' AS id, readonly FROM duckdb_databases() WHERE NOT internal", path)
    assert isinstance(row, Row)
    assert row.user.traits == {"readonly": True}
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["app.duckdb"]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("", "expected exactly one SELECT statement"),
        ("SELECT 'u' AS id; SELECT 'v' AS id", "expected exactly one SELECT statement"),
        ("COPY (SELECT 'canary-7Q' AS id) TO 'x.csv'", "expected exactly one SELECT statement"),
        ("INSTALL httpfs", "expected exactly one SELECT statement"),
        ("SET threads = 9", "expected exactly one SELECT statement"),
        ("SELCT 1", 'the query is not valid: Parser Error: syntax error at or near "SELCT"'),
        ("SELECT 1 'canary-7Q' 'canary-7Q'", "the query is not valid: Parser Error: syntax error at or near …"),
        ("SELECT * FROM userz", "the query is not valid: Catalog Error: Table with name userz does not exist"),
        (
            'SELECT "canary-7Q" FROM (SELECT 1 AS id) t',
            "the query is not valid: Binder Error: Referenced column … not found in FROM clause; did you mean id?",
        ),
        ("SELECT 1 AS a, 2 AS a", "has the column a more than once; rename or remove all but one"),
    ],
)
def test_reports_invalid_queries(sql: str, problem: str) -> None:
    """DuckDB's own words are shown, without values; test_sources_duckdb_errors.py has more of them."""
    assert rejected(read_query(sql)) == f"the query: {problem}"


def test_does_not_read_python_variables() -> None:
    """DuckDB would otherwise look for a variable of the name of a missing table."""
    with duckdb.connect() as connection:
        users = connection.sql("SELECT 'u1' AS id")

        for name in ("users", "sql", "connection", "places"):
            assert f"Table with name {name} does not exist" in rejected(read_query(f"FROM {name}"))
        assert users.columns == ["id"]


def test_rejects_files_that_are_not_databases(tmp_path: Path) -> None:
    """A missing file is rejected, too."""
    (tmp_path / "text.csv").write_text("id\n" * 1000, encoding="utf-8")
    (tmp_path / "empty.db").touch()
    (tmp_path / "bad.db").write_bytes(b"01234567DUCK" + b"x" * 10_000)

    assert "cannot be read: No such file" in rejected(read_query("SELECT 1", tmp_path / "no.db"))
    for name in ("", "text.csv", "empty.db"):
        problem = "not a database of DuckDB or SQLite; to query other files, name them in the query instead"
        assert problem in rejected(read_query("SELECT 1", tmp_path / name))
    assert "cannot be opened as a DuckDB database" in rejected(read_query("SELECT 1", tmp_path / "bad.db"))


def test_rejects_files_that_are_not_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty streams are rejected, too."""
    (tmp_path / "text.parquet").write_text(CANARY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert rejected(read_users("text.parquet")) == "text.parquet: is not a Parquet file"
    assert rejected(read_users("no.parquet")) == "no.parquet: cannot be read: No such file or directory"
    assert rejected(read_users(io.BytesIO(), format="parquet")) == "stream: is empty"


def test_names_the_extra_if_duckdb_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other import errors are not hidden."""
    monkeypatch.delitem(sys.modules, "replay_identity.sources.duckdb_reader", raising=False)
    monkeypatch.delattr("replay_identity.sources.duckdb_reader", raising=False)
    path = write(tmp_path / "users.parquet", "SELECT 'u1' AS id")
    real = builtins.__import__

    def failing(missing: str) -> Any:
        def without(name: str, *args: Any) -> Any:
            if name == "duckdb":
                raise ImportError(name=missing)
            return real(name, *args)

        return without

    monkeypatch.setattr(builtins, "__import__", failing("duckdb"))
    for rows in (read_users(path), read_query("SELECT 1")):
        with pytest.raises(ConfigurationError, match=r"pip install 'replay-identity\[warehouse\]'"):
            list(rows)
    monkeypatch.setattr(builtins, "__import__", failing("other"))
    with pytest.raises(ImportError):
        list(read_users(path))


@settings(max_examples=examples(25))  # Each writes a file.
@given(
    values=st.lists(
        st.fixed_dictionaries(
            {
                "text": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
                "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
                "real": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "truth": st.none() | st.booleans(),
                "day": st.none() | st.dates(max_value=date(9999, 12, 30)),
                "moment": st.none() | datetimes(),
                "list": st.none() | st.lists(st.integers(0, 9), max_size=2),
            }
        ),
        min_size=1,
        max_size=3,
    )
)
def test_reads_back_what_duckdb_writes(tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]]) -> None:
    """This holds for every common type; timestamps are in UTC."""
    path = tmp_path_factory.mktemp("written") / "users.parquet"
    columns = (
        "id VARCHAR, text VARCHAR, whole BIGINT, real DOUBLE, truth BOOLEAN, day DATE, moment TIMESTAMPTZ, list INT[]"
    )
    names = [column.split()[0] for column in columns.split(", ")]
    rows = [{"id": f"u{number}", **row} for number, row in enumerate(values)]
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE TABLE users ({columns})")
        connection.executemany(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [[row[name] for name in names] for row in rows]
        )
        connection.execute(f"COPY users TO '{path}' (FORMAT parquet)")

    assert [row.user for row in read_users(path) if isinstance(row, Row)] == [
        UserTraits.from_mapping(row) for row in rows
    ]


def parquet_of_pandas(path: Path, labels: list[str], **columns: list[str]) -> Path:
    """Write a frame with *labels* that have no name, as pandas does."""
    fields = ", ".join(
        f"unnest({values}) AS {name}" for name, values in {**columns, "__index_level_0__": labels}.items()
    )
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {fields}) TO '{path}' (FORMAT parquet)")
    return path


def test_the_labels_of_pandas_are_left_out(tmp_path: Path) -> None:
    """With a note. A query may select them."""
    path = parquet_of_pandas(tmp_path / "users.parquet", ["first", "second"], id=["u1", "u2"], plan=["pro", "free"])
    rows = read_users(path)

    assert [row.user for row in rows if isinstance(row, Row)] == [
        UserTraits("u1", traits={"plan": "pro"}),
        UserTraits("u2", traits={"plan": "free"}),
    ]
    assert list(rows.read_ids()) == ["u1", "u2"]
    (note,) = rows.notes.lines()
    assert note.startswith("column __index_level_0__ has the labels of a data frame's rows and is left out; name it")
    first = next(read_query(f"FROM '{path}'"))
    assert isinstance(first, Row)
    assert first.user.traits["__index_level_0__"] == "first"


def test_labels_may_be_the_ids(tmp_path: Path) -> None:
    """If the mapping says so; otherwise the error names them."""
    path = parquet_of_pandas(tmp_path / "users.parquet", ["u1"], plan=["pro"])
    only = parquet_of_pandas(tmp_path / "only.parquet", ["u1"])
    mapping = RowMapping(user_id="__index_level_0__")

    assert list(read_users(path, mapping=mapping)) == [Row(1, UserTraits("u1", traits={"plan": "pro"}))]
    assert list(read_users(path, mapping=mapping).read_ids()) == ["u1"]
    assert "has no column for the user id; found plan beside __index_level_0__" in rejected(read_users(path))
    assert "has no column for the user id; found __index_level_0__" in rejected(read_users(only))


PAIR = pa.struct([("a", pa.int64()), ("A", pa.int64())])


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("ID", pa.array(["1"]), "id_1"),
        ("", pa.array(["1"]), "C0"),
        ("pair", pa.array([{"a": 1, "A": 2}], PAIR), "pair"),
        ("pairs", pa.array([[{"a": 1, "A": 2}]], pa.list_(PAIR)), "pairs"),
    ],
)
def test_names_that_duckdb_changes_are_refused(tmp_path: Path, name: str, values: Any, shown: str) -> None:
    """It ignores case, so that one of two ids or e-mail addresses would be taken for the other."""
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table([values, pa.array(["u1"])], names=[name, "id"]), path)

    for read in (lambda: list(read_users(path)), lambda: list(read_users(path).read_ids())):
        with pytest.raises(SourceError) as caught:
            read()
        assert str(caught.value).endswith(f"which DuckDB changes, in {shown}; rename them where the file is made")


def test_other_names_inside_of_parquet_are_read(tmp_path: Path) -> None:
    """Of objects, lists, maps and arrays."""
    path = tmp_path / "users.parquet"
    columns = {
        "id": pa.array(["u1"]),
        "b": pa.array([[{"a": 1, "b": 2}]], pa.list_(pa.struct([("a", pa.int64()), ("b", pa.int64())]))),
        "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "l": pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
    }
    pq.write_table(pa.table(columns), path)

    (row,) = read_users(path)

    assert isinstance(row, Row)
    assert row.user.traits == {"b": ({"a": 1, "b": 2},), "m": {"k": 1}, "l": (1, 2)}
