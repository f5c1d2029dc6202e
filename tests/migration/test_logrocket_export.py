"""Read the users in an events table of LogRocket's Streaming Data Export."""

import gzip
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity import UserTraits, sync
from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.ledger import Ledger
from replay_identity.logrocket import LogRocket
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.migration import FileSource, migrate, read_logrocket_export
from replay_identity.sources import BadRow, Row, Rows

NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)


def event(user_id: object = "u1", traits: object = None, at: object = "2026-11-21T12:00:00Z", **fields: Any) -> Any:
    """Return a row of an identified user, as LogRocket's schema describes it."""
    return {
        "event_type": "user",
        "user_id": user_id,
        "user_identity_status": "Identified",
        "user_name": "",
        "user_email": "",
        "user_traits": traits if traits is None or isinstance(traits, str) else orjson.dumps(traits).decode(),
        "session_id": "s1",
        "updated_at": at,
        "session_time": "2020-01-01T00:00:00Z",
        **fields,
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Return a function that writes rows as JSON Lines."""

    def write_rows(*rows: Mapping[str, Any], name: str = "events.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return path

    return write_rows


def users_in(rows: Iterable[Row | BadRow]) -> list[UserTraits]:
    """Return the users of *rows*, of which none may be bad."""
    found = list(rows)
    assert not [str(row) for row in found if isinstance(row, BadRow)]
    return [row.user for row in found if isinstance(row, Row)]


def bad_rows_in(rows: Rows[Row | BadRow]) -> list[BadRow]:
    """Return the bad rows of *rows*, of which none may be a user."""
    found = list(rows)
    assert not any(isinstance(row, Row) for row in found)
    return [row for row in found if isinstance(row, BadRow)]


def query(columns: str) -> Rows[Row | BadRow]:
    """Return the users in one row with *columns* in SQL."""
    return read_logrocket_export(sql=f"SELECT 'u1' AS user_id, 'Identified' AS user_identity_status, {columns}")


def test_the_newest_row_wins_in_any_order(write: Any) -> None:
    """A user's traits are those of the newest row alone: an older one may have traits that were removed since."""
    path = write(
        event(traits={"plan": "b"}, at="2026-11-21T12:00:01Z"),
        event(traits={"plan": "c", "x": "1"}, at="2026-11-21T12:00:00Z"),
        event(traits={"plan": "a"}, at="2026-11-20T12:00:00Z"),
    )

    rows = read_logrocket_export(path)

    assert users_in(rows) == [UserTraits("u1", traits={"plan": "b"}, observed_at=NOON.replace(second=1))]
    assert rows.notes.events is not None
    assert (rows.notes.events.rows, rows.notes.events.older) == (3, 2)


def test_of_equal_times_the_later_row_wins(write: Any) -> None:
    """Also if the times are written in other ways."""
    path = write(event(traits={"n": "1"}), event(traits={"n": "2"}, at=1795262400000))

    assert users_in(read_logrocket_export(path)) == [UserTraits("u1", traits={"n": "2"}, observed_at=NOON)]


@given(times=st.lists(st.integers(0, 3), min_size=1, max_size=20), users=st.integers(1, 3))
def test_the_result_is_a_maximum(tmp_path_factory: pytest.TempPathFactory, times: list[int], users: int) -> None:
    """Of any rows, each user's last one with the largest time remains, and the counts add up."""
    path = tmp_path_factory.mktemp("export") / "e.jsonl"
    rows = [event(f"u{i % users}", {"n": str(i)}, 1_700_000_000 + moment) for i, moment in enumerate(times)]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))

    read = read_logrocket_export(path)
    found = {user.user_id: user.traits["n"] for user in users_in(read)}

    newest = {f"u{i % users}": str(i) for _, i in sorted((moment, i) for i, moment in enumerate(times))}
    assert found == newest
    assert read.notes.events is not None
    assert read.notes.events.rows == read.notes.events.older + len(found)


@pytest.mark.parametrize("status", ["Anonymous", "anonymous", "Unknown", "UNKNOWN"])
def test_visitors_without_identity_are_left_out(write: Any, status: str) -> None:
    """Their random ids would become users; whether the rest of the row is valid does not matter."""
    path = write(event("random", "{broken", None, user_identity_status=status), event())

    rows = read_logrocket_export(path)

    assert [user.user_id for user in users_in(rows)] == ["u1"]
    assert rows.notes.events is not None
    assert rows.notes.events.anonymous + rows.notes.events.unknown == 1
    assert "2 events read; left out 0 older" in rows.notes.lines()[0]


@pytest.mark.parametrize("status", ["Identified", "identified", " IDENTIFIED "])
def test_a_status_has_any_case(write: Any, status: str) -> None:
    """Warehouses differ."""
    assert len(users_in(read_logrocket_export(write(event(user_identity_status=status))))) == 1


@pytest.mark.parametrize("status", [None, "", "Merged", 1, True])
def test_an_undocumented_status_is_refused(write: Any, status: object) -> None:
    """Whether such a user is identified would be a guess."""
    (bad,) = bad_rows_in(read_logrocket_export(write(event(user_identity_status=status))))

    assert "user_identity_status: expected Identified, Anonymous or Unknown" in bad.problem


@pytest.mark.parametrize("column", ["user_id", "user_identity_status", "updated_at"])
def test_a_missing_column_is_an_error(tmp_path: Path, column: str) -> None:
    """Every row would be bad."""
    columns = [name for name in ("user_id", "user_identity_status", "updated_at") if name != column]
    path = tmp_path / "e.csv"
    path.write_text(f"{','.join(columns)}\nu1,Identified\n", encoding="utf-8")

    with pytest.raises(SourceError, match=f"no column {column}"):
        list(read_logrocket_export(path))


def test_rows_without_a_status_are_refused(write: Any) -> None:
    """JSON has no columns that could be checked."""
    row = {name: value for name, value in event().items() if name != "user_identity_status"}

    assert len(bad_rows_in(read_logrocket_export(write(row, row)))) == 2


def test_traits_are_unpacked_as_they_are(write: Any) -> None:
    """LogRocket stores texts, so numbers stay texts; a null is absent; a blank one stays."""
    traits = {"seats": "43", "zip": "01234", "a": {"b": "1"}, "c.d": "2", "list": ["x"], "n": None, "e": "", "i": 4}

    (user,) = users_in(read_logrocket_export(write(event(traits=traits))))

    expected: dict[str, Any] = {
        "seats": "43",
        "zip": "01234",
        "a": {"b": "1"},
        "c.d": "2",
        "list": ["x"],
        "e": "",
        "i": 4,
    }
    assert user == UserTraits("u1", traits=expected, observed_at=NOON)


@pytest.mark.parametrize("traits", [None, "", " ", "null", "{}"])
def test_no_traits_are_valid(write: Any, traits: object) -> None:
    """A user may have none."""
    (user,) = users_in(read_logrocket_export(write(event(traits=traits))))

    assert not user.traits


@pytest.mark.parametrize("traits", ["{broken", "[]", '"text"', "1", '{"a": 1, "a": 2}', "[" * 2000, '{"": "x"'])
def test_broken_traits_are_a_bad_row(write: Any, traits: str) -> None:
    """It has its line, and quotes no value."""
    (bad,) = bad_rows_in(
        read_logrocket_export(write(event("a", user_identity_status="Anonymous"), event(traits=traits)))
    )

    assert (bad.line, type(bad)) == (2, BadRow)
    assert bad.problem.startswith("user_traits: ")
    assert "broken" not in str(bad)


def test_no_older_row_replaces_a_bad_one(write: Any) -> None:
    """The user is not sent with old traits, wherever the bad row is; a newer row makes them valid again."""
    old, bad, new = (
        event(traits={"n": "1"}, at=1_700_000_000),
        event(traits="{", at=1_700_000_001),
        event(traits={"n": "3"}, at=1_700_000_002),
    )

    for rows, traits in (
        ((old, bad), []),
        ((bad, old), []),
        ((bad, new), [{"n": "3"}]),
        ((old, new, bad), [{"n": "3"}]),
    ):
        found = list(read_logrocket_export(write(*rows)))

        assert [row.user.traits for row in found if isinstance(row, Row)] == traits
        assert sum(isinstance(row, BadRow) for row in found) == 1


@pytest.mark.parametrize("user_id", [None, "", 1.5, True, [], {"a": 1}, "\ud800"])
def test_an_identified_row_needs_an_id(tmp_path: Path, user_id: object) -> None:
    """An invalid one would be another user."""
    import json  # noqa: PLC0415  # orjson writes no lone surrogates.

    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(event(user_id)), encoding="utf-8")

    (bad,) = bad_rows_in(read_logrocket_export(path))

    assert bad.problem.startswith("user_id: ")


@pytest.mark.parametrize(("user_id", "text"), [(7, "7"), (2**80, str(2**80)), (" a b ", " a b "), ("Ä", "Ä")])
def test_ids_are_kept(tmp_path: Path, user_id: object, text: str) -> None:
    """They must equal the ids in the browser."""
    import json  # noqa: PLC0415  # orjson writes no large integers.

    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(event(user_id)), encoding="utf-8")

    assert [user.user_id for user in users_in(read_logrocket_export(path))] == [text]


def test_empty_names_are_absent(write: Any) -> None:
    """Sending them would be a change."""
    path = write(event("u1"), event("u2", user_name="Ada", user_email="ada@example.com"))

    found = [(user.name, user.email) for user in users_in(read_logrocket_export(path))]

    assert found == [(None, None), ("Ada", "ada@example.com")]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "2026-11-21T12:00:00Z",
            "2026-11-21 12:00:00",
            "2026-11-21 12:00:00 UTC",
            "2026-11-21T14:00:00.000000000+02:00",
            "2026-11-21T12:00:00.000000999Z",
        ),
        *(1795262400, 1795262400.0, 1795262400000, 1795262400000000, 1795262400000000000, " 1795262400 "),
    ],
)
def test_times_are_read_in_many_forms(write: Any, value: object) -> None:
    """Each warehouse writes them in its own way; without a time zone they are in UTC."""
    (user,) = users_in(read_logrocket_export(write(event(at=value))))

    assert user.observed_at == NOON


@pytest.mark.parametrize(
    "time",
    [
        *(
            "TIMESTAMP '2026-11-21 12:00:00'",
            "TIMESTAMPTZ '2026-11-21 14:00:00+02'",
            "TIMESTAMP_NS '2026-11-21 12:00:00'",
        ),
        *("1795262400::DECIMAL(20,3)", "1795262400000::HUGEINT", "1795262400000::DOUBLE", "'2026-11-21T12:00:00Z'"),
    ],
)
def test_times_of_databases_are_read(time: str) -> None:
    """Timestamps, decimals and texts are one time."""
    (user,) = users_in(query(f"{time} AS updated_at, {{'plan': 'pro'}} AS user_traits"))

    assert user == UserTraits("u1", traits={"plan": "pro"}, observed_at=NOON)


def test_a_date_is_its_midnight() -> None:
    """It still tells days apart."""
    (user,) = users_in(query("DATE '2026-11-21' AS updated_at"))

    assert user.observed_at == NOON.replace(hour=0)


@pytest.mark.parametrize(
    "value", [None, "", "soon", True, [], float(10**30), "1e5", 50_000_000_000, "9999-12-31T23:59:59-10:00"]
)
def test_a_row_needs_a_time(write: Any, value: object) -> None:
    """Which row is the newest cannot be guessed."""
    (bad,) = bad_rows_in(read_logrocket_export(write(event(at=value))))

    assert bad.problem.startswith(("updated_at: ", "observed_at: "))


def test_an_infinite_time_is_refused() -> None:
    """It would always win."""
    for value in ("'NaN'::DOUBLE", "'infinity'::DOUBLE"):
        (bad,) = bad_rows_in(query(f"{value} AS updated_at"))

        assert bad.problem.startswith("updated_at: ")


def test_the_device_clock_is_used_alone(write: Any) -> None:
    """Only where the file has no time of LogRocket's own, and never both."""
    row = {name: value for name, value in event(session_time=1795262400).items() if name != "updated_at"}
    path = write(row, event("u2"), {**event("u3"), "session_time": None})

    found = list(read_logrocket_export(path))

    assert [str(row) for row in found if isinstance(row, BadRow)] == [
        "line 3: session_time: expected a time in ISO 8601, as a timestamp, or as a number since 1970"
    ]
    assert [row.user.observed_at for row in found if isinstance(row, Row)] == [NOON, datetime(2020, 1, 1, tzinfo=UTC)]


def test_rows_without_any_time_are_refused(write: Any) -> None:
    """The error names the column that is expected."""
    row = {name: value for name, value in event().items() if name not in {"updated_at", "session_time"}}

    (bad,) = bad_rows_in(read_logrocket_export(write(row)))

    assert bad.problem.startswith("updated_at: ")


def test_names_of_columns_have_any_case(tmp_path: Path) -> None:
    """Snowflake writes them in upper case."""
    path = tmp_path / "e.csv"
    row = {name.upper(): value for name, value in event(traits={"plan": "pro"}).items()}
    cells = ('"' + str(value).replace('"', '""') + '"' for value in row.values())
    path.write_text(f"{','.join(row)}\n{','.join(cells)}\n", encoding="utf-8")

    assert users_in(read_logrocket_export(path)) == [UserTraits("u1", traits={"plan": "pro"}, observed_at=NOON)]


def test_two_spellings_of_a_column_are_refused(write: Any, tmp_path: Path) -> None:
    """Which of them is meant would be a guess."""
    (bad,) = bad_rows_in(read_logrocket_export(write(event(USER_ID="u2"))))
    csv = tmp_path / "e.csv"
    csv.write_text("user_id,userId,user_identity_status,updated_at\nu1,u1,Identified,1\n", encoding="utf-8")

    assert "each could be user_id" in bad.problem
    with pytest.raises(SourceError, match="each could be user_id"):
        list(read_logrocket_export(csv))


def test_flattened_traits_are_refused(write: Any) -> None:
    """They would be lost."""
    (bad,) = bad_rows_in(read_logrocket_export(write({**event(), "user_traits.plan": "pro"})))

    assert "expected all traits in user_traits" in bad.problem


_COPY: Final = "COPY (SELECT * FROM read_json('e.json')) TO"


def _sqlite(path: str, rows: list[Any]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE events ({', '.join(rows[0])})")
        for row in rows:
            connection.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", [*row.values()])  # noqa: S608


def _duckdb(path: str, _rows: list[Any]) -> None:
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE events AS SELECT * FROM read_json('e.json')")


FORMATS: Final[Mapping[str, Callable[[str, list[Any]], object]]] = {
    "e.parquet": lambda _path, _rows: duckdb.sql(f"{_COPY} 'e.parquet'"),
    "e.csv": lambda _path, _rows: duckdb.sql(f"{_COPY} 'e.csv'"),
    "e.json": lambda _path, _rows: None,
    "e.jsonl": lambda path, rows: Path(path).write_bytes(b"\n".join(map(orjson.dumps, rows))),
    "e.jsonl.gz": lambda path, rows: Path(path).write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows)))),
    "e.sqlite": _sqlite,
    "e.duckdb": _duckdb,
}


DATABASES: Final = frozenset({"e.sqlite", "e.duckdb"})


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Parquet, CSV, JSON, compressed files and databases."""
    rows = [event("u 1", {"n": "a"}, 1), event("a", user_identity_status="Anonymous"), event("u 1", {"n": "b"}, 2)]
    monkeypatch.chdir(tmp_path)
    Path("e.json").write_bytes(orjson.dumps(rows))
    FORMATS[name](name, rows)

    found = read_logrocket_export(name, sql="SELECT * FROM events" if name in DATABASES else None)

    assert [(user.user_id, dict(user.traits)) for user in users_in(found)] == [("u 1", {"n": "b"})]
    assert found.notes.events is not None
    assert (found.notes.events.rows, found.notes.events.anonymous, found.notes.events.older) == (3, 1, 1)


def test_a_user_may_be_in_several_files(write: Any, tmp_path: Path) -> None:
    """Their newest row is in any of them, and bad rows name their file."""
    write(event(traits={"n": "new"}, at=3), event("u2", traits="{"), name="a.jsonl")
    write(event(traits={"n": "old"}, at=2), name="b.jsonl")

    found = read_logrocket_export(str(tmp_path / "*.jsonl"))
    rows = list(found)

    assert [dict(row.user.traits) for row in rows if isinstance(row, Row)] == [{"n": "new"}]
    assert next(str(row) for row in rows if isinstance(row, BadRow)).startswith(f"{tmp_path / 'a.jsonl'}, line 2")
    assert found.notes.events is not None
    assert found.notes.events.rows == 3


def test_titles_above_the_header_are_named(tmp_path: Path) -> None:
    """As for any CSV."""
    path = tmp_path / "e.csv"
    path.write_text("Events\nuser_id,user_identity_status,updated_at\nu1,Identified,1\n", encoding="utf-8")

    with pytest.raises(SourceError, match="line 2 looks like the header"):
        list(read_logrocket_export(path))


def test_a_mapping_applies_to_the_traits(write: Any) -> None:
    """It sees the user as they are after unpacking."""
    mapping = RowMapping(fields={"seats": FieldRule(cast="int"), "traits.name": FieldRule(rename="nick")})
    path = write(event(traits={"seats": "43", "name": "x"}, user_name="Ada"), event("u2", traits={"seats": "many"}))

    rows = read_logrocket_export(path, mapping=mapping)
    user, bad = list(rows)

    assert isinstance(user, Row)
    assert user.user == UserTraits(
        "u1", name="Ada", traits={"seats": 43, "nick": "x"}, types={"seats": "int"}, observed_at=NOON
    )
    assert isinstance(bad, BadRow)
    assert not rows.notes.has_problem


def test_an_unused_field_of_a_mapping_is_noted(write: Any) -> None:
    """It is misspelt, unless the mapping is lenient."""
    for strict in (True, False):
        rows = read_logrocket_export(
            write(event()), mapping=RowMapping(strict=strict, fields={"seatz": FieldRule(cast="int")})
        )
        users_in(rows)

        assert rows.notes.has_problem is strict


def test_a_filter_is_refused(write: Any) -> None:
    """The rows that it would see are not those of the file."""
    with pytest.raises(ConfigurationError, match="where"):
        read_logrocket_export(write(event()), mapping=RowMapping(where={"plan": "pro"}))


def test_wrong_arguments_are_refused() -> None:
    """Before anything is read."""
    wrong: list[Any] = [{}, {"sql": "SELECT 1", "format": "csv"}, {"source": ["a", "b"], "sql": "SELECT 1"}]
    for arguments in wrong:
        with pytest.raises(ConfigurationError):
            read_logrocket_export(**arguments)


def test_an_empty_file_is_noted(write: Any) -> None:
    """It is likely to be a mistake; a file of anonymous visitors is not empty."""
    empty = read_logrocket_export(write())
    anonymous = read_logrocket_export(write(event(user_identity_status="Anonymous"), name="a.jsonl"))

    assert not users_in(empty)
    assert not users_in(anonymous)
    assert (len(empty.notes.without_rows), len(anonymous.notes.without_rows)) == (1, 0)


def test_memory_is_bounded(write: Any) -> None:
    """It does not grow with the rows of a user."""
    path = write(*(event(f"u{i % 10}", {"text": "x" * 1000}, i) for i in range(3000)))
    tracemalloc.start()

    assert len(users_in(read_logrocket_export(path))) == 10

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_no_value_is_left_on_disk(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary database has no name, so no crash leaves it behind."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    path = write(*(event(f"u{i}", {"text": "x" * 10_000}, i) for i in range(5000)))

    next(read_logrocket_export(path))

    assert not list(folder.iterdir())


def test_a_full_disk_is_an_error(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to change."""
    import replay_identity.migration.logrocket_export as module  # noqa: PLC0415  # To inject the fault.

    setup = getattr(module, "_SETUP")  # noqa: B009  # It is private.
    monkeypatch.setattr(module, "_SETUP", (*setup, "PRAGMA max_page_count = 4"))
    path = write(*(event(f"u{i}", {"text": "x" * 10_000}, i) for i in range(5)))

    with pytest.raises(SourceError, match="SQLITE_FULL; set SQLITE_TMPDIR"):
        next(read_logrocket_export(path))


def test_the_rows_can_be_synced(write: Any, vendors: Any, tmp_path: Path) -> None:
    """As those of `read_users` can."""
    path = write(event(traits={"plan": "old"}, at=1), event(traits={"plan": "new"}, at=2))
    backend = LogRocket(vendors.environment["LOGROCKET_API_KEY"], base_url=vendors.environment["LOGROCKET_BASE_URL"])

    with Ledger(tmp_path / "l.db") as ledger:
        report = sync(read_logrocket_export(path), [backend], ledger=ledger)
        again = migrate(FileSource("export", read_logrocket_export(path)), [backend], ledger=ledger)

    assert report["logrocket"].accepted == 1
    assert again.run["logrocket"].unchanged == 1
    assert vendors.logrocket.users["u1"].traits == {"plan": "new"}
    assert again.as_dict()["notes"]["events"]["older"] == 1


def test_decimal_times_keep_their_order() -> None:
    """A fraction of a second counts."""
    sql = """
        SELECT 'u1' AS user_id, 'Identified' AS user_identity_status, t AS updated_at, {'n': t::VARCHAR} AS user_traits
        FROM (VALUES (1795262400.002::DECIMAL(18,3)), (1795262400.001::DECIMAL(18,3))) AS v(t)
    """

    (user,) = users_in(read_logrocket_export(sql=sql))

    assert Decimal(str(user.traits["n"])) == Decimal("1795262400.002")


def test_all_files_have_the_same_time(tmp_path: Path) -> None:
    """The clocks of two columns cannot be compared."""
    for name, time in (("a.csv", "updated_at"), ("b.csv", "updated_at"), ("c.csv", "session_time")):
        text = f"user_id,user_identity_status,{time}\n{name},Identified,1\n"
        (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(SourceError, match="no column updated_at"):
        list(read_logrocket_export(str(tmp_path / "*.csv")))

    assert len(users_in(read_logrocket_export([tmp_path / "a.csv", tmp_path / "b.csv"]))) == 2


def test_a_table_may_have_the_device_clock() -> None:
    """Then it decides."""
    (user,) = users_in(query("TIMESTAMP '2026-11-21 12:00:00' AS session_time"))

    assert user.observed_at == NOON
