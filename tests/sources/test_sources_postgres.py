"""Users read from PostgreSQL: from a real server if its programs are installed, and from a small fake one."""

import builtins
import contextlib
import itertools
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs
import psycopg
import pytest
from psycopg import errors
from psycopg.adapt import AdaptersMap
from psycopg.pq import DiagnosticField, Format
from support.postgres import is_postgres_installed, running_postgres

from replay_identity import ConfigurationError, UserTraits
from replay_identity.errors import URL_HINT, SourceError
from replay_identity.mapping import RowMapping
from replay_identity.sources import BadRow, Row, postgres_reader, read_query

TEXT: Final = "canary7Q"
SECRET: Final = "secret7Q"
SOME_UUID: Final = "12345678-1234-5678-1234-567812345678"
URL: Final = f"postgresql://app:{SECRET}@db.example/users?sslmode=require"
FAR: Final = "a: is not a date between the years 1 and 9999"

SCHEMA: Final = """
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('ok', 'sad');
    CREATE DOMAIN seats AS int;
    CREATE DOMAIN few AS seats;
    CREATE TABLE users (id int, plan text);
    INSERT INTO users VALUES (7, 'pro'), (8, 'free');
"""


def query(sql: str, database: str, mapping: RowMapping | None = None) -> list[Row | BadRow]:
    """Return the rows of a query."""
    return list(read_query(sql, database, mapping=mapping))


def traits(columns: str, database: str) -> Any:
    """Return the traits, or the problem, of the one user who has *columns*."""
    (row,) = query(f"SELECT 'u1' AS id, {columns}", database)
    return dict(row.user.traits) if isinstance(row, Row) else row.problem


def failure(sql: str, database: str) -> SourceError:
    """Return the error of a query."""
    with pytest.raises(SourceError) as caught:
        query(sql, database)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert SECRET not in f"{error} {error!r}"
    assert TEXT not in f"{error} {error!r}"
    return error


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Return the URL of a database of a real server."""
    if not is_postgres_installed():
        pytest.skip("initdb and pg_ctl, which make and start a PostgreSQL server, are not installed")
    with running_postgres() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCHEMA)
        yield url


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("'x'::varchar AS a", "x"),
        ("true AS a", True),
        ("42::int8 AS a", 42),
        ("1.5::float8 AS a", 1.5),
        ("12345678901234567890.1234567890::numeric AS a", Decimal("12345678901234567890.1234567890")),
        (f"'{SOME_UUID}'::uuid AS a", UUID(SOME_UUID)),
        ("date '2026-11-21' AS a", date(2026, 11, 21)),
        ("timestamptz '2026-11-21 14:00:00+02' AS a", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("""'{"b": [1, 2.5], "c": null}'::jsonb AS a""", {"b": (1, 2.5)}),
        ("""'[{"b": 1}]'::json AS a""", ({"b": 1},)),
        ("ARRAY[1, 2] AS a", (1, 2)),
        ("ARRAY[date '2026-11-21'] AS a", (date(2026, 11, 21),)),
        ("'sad'::mood AS a", "sad"),
        ("ARRAY['ok', 'sad']::mood[] AS a", ("ok", "sad")),
        ("ARRAY[5]::few[] AS a", (5,)),
        ("5::few AS a", 5),
        ("'Ada'::citext AS a", "Ada"),
        ("'10.0.0.1'::inet AS a", "10.0.0.1"),
        ("'10.0.0.0/8'::cidr AS a", "10.0.0.0/8"),
        ("row(1, 'x') AS a", "(1,x)"),
        ("5.20::numeric::money AS a", "$5.20"),
    ],
)
def test_columns_keep_their_types(database: str, column: str, expected: Any) -> None:
    """Types that Python does not have are text."""
    found = traits(column, database)["a"]

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("'\\x00'::bytea AS a", "traits.a: expected a trait value, got bytes; convert it first"),
        ("interval '1 day' AS a", "traits.a: expected a trait value, got a timedelta; convert it first"),
        ("int4range(1, 5) AS a", "traits.a: expected a trait value, got a Range; convert it first"),
        ("time '10:00' AS a", "traits.a: expected a trait value, got a time; convert it first"),
        ("'NaN'::numeric AS a", "traits.a: expected a finite number"),
        ("'infinity'::float8 AS a", "traits.a: expected a finite number"),
        ("ARRAY[1, NULL] AS a", "traits.a[1]: None has no meaning inside a list; leave it out"),
        ("date 'infinity' AS a", FAR),
        ("date '0044-03-15 BC' AS a", FAR),
        ("timestamptz '-infinity' AS a", FAR),
        ("timestamptz '9999-12-31 23:00:00-02' AS a", FAR),
        ("timestamp '12026-01-01' AS a", FAR),
        ("ARRAY[ARRAY[date 'infinity']] AS a", FAR),
        ("timestamp '2026-11-21 12:00' AS a", "a: the datetime has no time zone; set timezone in the mapping"),
    ],
)
def test_unsupported_values_are_bad_rows(database: str, column: str, problem: str) -> None:
    """The row after it is read."""
    rows = query(f"SELECT 'u1' AS id, {column} UNION ALL SELECT 'u2', NULL", database)

    assert rows == [BadRow(1, 1, problem), Row(2, UserTraits("u2"))]


def test_deeply_nested_json_is_a_bad_row(database: str) -> None:
    """How deep Python can read depends on the stack; either way, the row after it is read."""
    column = f"('{'[' * 3_000}{']' * 3_000}')::json AS a"
    rows = query(f"SELECT 'u1' AS id, {column} UNION ALL SELECT 'u2', NULL", database)

    assert [type(row) for row in rows] == [BadRow, Row]


def test_reads_the_users_of_a_table(database: str) -> None:
    """Ids may be integers; a mapping works as for files."""
    mapping = RowMapping(name="plan", where={"id": 8})

    assert query("TABLE users ORDER BY id;", database.replace("postgresql:", "postgres:")) == [
        Row(1, UserTraits("7", traits={"plan": "pro"})),
        Row(2, UserTraits("8", traits={"plan": "free"})),
    ]
    assert query("TABLE users ORDER BY id -- all", database, mapping) == [Row(2, UserTraits("8", name="free"))]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "SELECT plam FROM users",
            'query is not valid: column "plam" does not exist; did you mean users.plan? (SQLSTATE 42703)',
        ),
        ("TABLE userz", 'query is not valid: relation "userz" does not exist (SQLSTATE 42P01)'),
        (
            'SELECT id FROM users WHERE plan = "canary7Q"',
            "query is not valid: column … does not exist (SQLSTATE 42703)",
        ),
        ("SELECT id FROM users WHERE plan = 'O'canary7Q'", "syntax error at or near … (SQLSTATE 42601)"),
        ("SELCT 1", 'query is not valid: syntax error at or near "SELCT" (SQLSTATE 42601)'),
        ("SELECT nextval('canary7Q')", "relation … does not exist (SQLSTATE 42P01)"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands into a prepared statement (SQLSTATE 42601)"),
        ("DELETE FROM users", "syntax error at or near"),
        ("WITH x AS (DELETE FROM users RETURNING 1) TABLE x", "must not contain data-modifying statements"),
        ("SELECT 'canary7Q'::int", "cannot be read: invalid input syntax for type integer: … (SQLSTATE 22P02)"),
        (
            "SELECT plan::int AS id FROM users",
            "cannot be read: invalid input syntax for type integer: … (SQLSTATE 22P02)",
        ),
        ("SELECT 'canary7Q'::mood", "cannot be read: invalid input value for enum mood: … (SQLSTATE 22P02)"),
        ("SELECT 'canary7Q'::date", "cannot be read: invalid input syntax for type date: … (SQLSTATE 22007)"),
        ("SELECT '[canary7Q'::json", "cannot be read: invalid input syntax for type json (SQLSTATE 22P02)"),
        ("SELECT 1 / (id - 7) AS id FROM users", "cannot be read: division by zero (SQLSTATE 22012)"),
        ("SELECT 'a' ~ '(canary7Q'", "cannot be read: invalid regular expression: … (SQLSTATE 2201B)"),
        ("SELECT pg_read_file('canary7Q') AS id", "cannot be read: UndefinedFile (SQLSTATE 58P01)"),
        ("SELECT 1 AS a, 2 AS a", "has the column a more than once; rename or remove all but one"),
    ],
)
def test_reports_invalid_queries(database: str, sql: str, problem: str) -> None:
    """The server's own words are shown, without values."""
    assert problem in str(failure(sql, database))
    assert len(query("TABLE users", database)) == 2


def test_settings_in_the_url_are_kept(database: str) -> None:
    """Timeouts are the caller's."""
    error = failure("SELECT pg_sleep(60) AS id", f"{database}&options=-c%20statement_timeout%3D10")

    assert error.problem == "cannot be read: canceling statement due to statement timeout (SQLSTATE 57014)"


def test_a_lost_connection_ends_the_rows(database: str) -> None:
    """The rows before it are read; the error is not the query's."""
    sql = "SELECT 'u' || i AS id, pg_backend_pid() AS pid FROM generate_series(1, 100000) i"
    rows = read_query(sql, database)
    first = next(rows)
    assert isinstance(first, Row)
    with psycopg.connect(database) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [first.user.traits["pid"]])

    others = itertools.islice(rows, postgres_reader.BATCH - 1)

    assert sum(1 for _ in others) == postgres_reader.BATCH - 1
    with pytest.raises(SourceError, match="cannot be read: terminating connection due to administrator command"):
        next(rows)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("/postgres?", "/nodb?", "postgresql:///nodb: cannot be opened: the database does not exist"),
        ("app:", "ada:", "postgresql:///postgres: cannot be opened: the role does not exist"),
        ("host=", "host=/no", "postgresql:///postgres: cannot be opened: No such file or directory"),
    ],
)
def test_says_why_no_connection_is_made(database: str, old: str, new: str, problem: str) -> None:
    """The user, the password and the settings in the URL are not shown."""
    assert str(failure("SELECT 1 AS id", database.replace(old, new))) == problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            f"postgresql://app:{SECRET}@127.0.0.1:1/x",
            "postgresql://127.0.0.1:1/x: cannot be opened: Connection refused",
        ),
        (f"postgres://app:{SECRET}@h/x?sslmod=1", "postgres://h/x: cannot be opened: invalid URI query parameter"),
        (f"postgresql://app:{SECRET}@[h/x", f"postgresql://…: cannot be opened: the URL is not valid; {URL_HINT}"),
    ],
)
def test_hides_the_password_of_a_wrong_url(url: str, problem: str) -> None:
    """No server is needed to find this."""
    assert str(failure("SELECT 1 AS id", url)) == problem


@attrs.define
class FakeCursor:
    """Returns raw values as psycopg converts them, and then fails."""

    connection: "FakeConnection"
    description: Any = None

    def execute(self, sql: bytes) -> None:
        """Run a query, or fail."""
        if self.connection.error is not None and sql == b"fails":
            raise self.connection.error
        types = self.connection.rows[0]
        self.description = [attrs.make_class("Column", ["name"])(name) for name in ("id", *types)]

    def fetchmany(self, _size: int) -> list[Sequence[Any]]:
        """Return the next rows."""
        if not self.connection.rows:
            if self.connection.error is not None:
                raise self.connection.error
            return []
        row = self.connection.rows.pop(0)
        return [("u1", *(self.load(type_, raw) for type_, raw in row.items()))]

    def load(self, type_: str, raw: bytes) -> Any:
        """Return a value as psycopg does."""
        known = psycopg.adapters.types.get(type_.removesuffix("[]"))
        oid = 0 if known is None else known.array_oid if type_.endswith("[]") else known.oid
        loader = self.connection.adapters.get_loader(oid, Format.TEXT)
        assert loader is not None
        return loader(oid, self.connection).load(raw)


@attrs.define
class FakeConnection:
    """Has what the reader uses of a connection."""

    rows: list[Mapping[str, bytes]]
    error: psycopg.Error | None = None
    encoding: str = "UTF8"
    read_only: bool = False
    is_closed: bool = False
    adapters: AdaptersMap = attrs.field(factory=lambda: AdaptersMap(psycopg.adapters))
    # Where psycopg looks for what is known of the server.
    connection: None = None

    @property
    def info(self) -> "FakeConnection":
        """Return what is known of the server."""
        return self

    def parameter_status(self, _name: str) -> str:
        """Return the encoding of the server."""
        return self.encoding

    def execute(self, sql: str) -> list[tuple[str, int, int, int]]:
        """Return the types of the database's own."""
        types = [("mood", 20_000, 20_001, 0), ("seats", 20_002, 20_003, 23), ("shape", 20_004, 20_005, 29_999)]
        return types if "pg_type" in sql else []

    @contextlib.contextmanager
    def cursor(self, name: str) -> Generator[FakeCursor]:
        """Return a cursor of the server."""
        assert name
        yield FakeCursor(self)

    def close(self) -> None:
        """End the connection."""
        self.is_closed = True


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that replaces the server."""

    def replace(connection: FakeConnection) -> FakeConnection:
        def connect_to(url: str, **_settings: str) -> FakeConnection | None:
            return connection if url == URL else None

        monkeypatch.setattr(psycopg, "connect", connect_to)
        return connection

    return replace


@pytest.mark.parametrize(
    ("type_", "raw", "found"),
    [
        ("date", b"2026-11-21", {"date": date(2026, 11, 21)}),
        ("timestamptz", b"2026-11-21 12:00:00+00", {"timestamptz": datetime(2026, 11, 21, 12, tzinfo=UTC)}),
        ("jsonb", b'{"a": 1}', {"jsonb": {"a": 1}}),
        ("text", b"x", {"text": "x"}),
        ("date[]", b"{{2026-11-21}}", {"date[]": ((date(2026, 11, 21),),)}),
        ("date[]", b"{{infinity}}", "date[]: is not a date between the years 1 and 9999"),
        ("date", b"infinity", "date: is not a date between the years 1 and 9999"),
        ("timestamp", b"infinity", "timestamp: is not a date between the years 1 and 9999"),
        ("timestamptz", b"infinity", "timestamptz: is not a date between the years 1 and 9999"),
        ("timestamp", b"2026-11-21 12:00:00", "timestamp: the datetime has no time zone; set timezone in the mapping"),
        ("json", b"[" * 100_000, "json: is JSON that cannot be read"),
        ("text", b"\xff", "text: not valid UTF-8"),
        ("mood", b"\xff", "mood: not valid UTF-8"),
    ],
)
def test_values_are_converted_one_by_one(connect: Any, type_: str, raw: bytes, found: Any) -> None:
    """One that Python cannot hold makes a bad row, not an error."""
    connection = connect(FakeConnection([{type_: raw}], encoding="SQL_ASCII"))

    rows = read_query("SELECT", URL)
    row = next(rows)

    assert (dict(row.user.traits) if isinstance(row, Row) else row.problem) == found
    assert connection.read_only
    assert list(rows) == []
    assert connection.is_closed


def test_a_connection_without_a_reason_was_lost(connect: Any) -> None:
    """The rows before it are read."""
    connect(FakeConnection([{"text": b"x"}], error=psycopg.OperationalError(TEXT)))

    rows = read_query("SELECT", URL)

    assert next(rows) == Row(1, UserTraits("u1", traits={"text": "x"}))
    with pytest.raises(SourceError, match=r"^the query: cannot be read: the connection was lost$"):
        next(rows)


def server_error(state: str, message: str, hint: str = "") -> psycopg.Error:
    """Return an error as psycopg makes it of a server's."""
    fields = {DiagnosticField.MESSAGE_PRIMARY: message.encode(), DiagnosticField.MESSAGE_HINT: hint.encode()}
    info: Any = fields
    return errors.lookup(state)(message, info=info)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            server_error("42703", 'column "fails" does not exist', 'Perhaps you meant "users.fail".'),
            'the query is not valid: column "fails" does not exist; did you mean users.fail? (SQLSTATE 42703)',
        ),
        (
            server_error("22P02", 'invalid input syntax for type uuid: "canary7Q"'),
            "cannot be read: invalid input syntax for type uuid: … (SQLSTATE 22P02)",
        ),
        (server_error("P0001", "canary7Q"), "cannot be read: RaiseException (SQLSTATE P0001)"),
        (psycopg.OperationalError("SSL error: canary7Q"), "cannot be read: SSL error"),
    ],
)
def test_messages_hide_values(connect: Any, error: psycopg.Error, problem: str) -> None:
    """What is not known to be harmless is left out."""
    connect(FakeConnection([], error=error))

    assert failure("fails", URL).problem == problem


def test_a_fault_in_a_setting_closes_nothing(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was never made cannot be used."""
    connection = connect(FakeConnection([]))

    def refuse(*_arguments: Any) -> None:
        raise psycopg.OperationalError('database "canary7Q" does not exist')

    monkeypatch.setattr(FakeConnection, "execute", refuse)

    assert (
        str(failure("SELECT 1", URL)) == "postgresql://db.example/users: cannot be opened: the database does not exist"
    )
    assert connection.is_closed


def test_names_the_extra_if_psycopg_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other import errors are not hidden."""
    monkeypatch.delitem(sys.modules, "replay_identity.sources.postgres_reader")
    monkeypatch.delattr("replay_identity.sources.postgres_reader")
    real = builtins.__import__

    def failing(missing: str) -> Any:
        def without(name: str, *args: Any) -> Any:
            if name == "psycopg":
                raise ImportError(name=missing)
            return real(name, *args)

        return without

    monkeypatch.setattr(builtins, "__import__", failing("psycopg"))
    with pytest.raises(ConfigurationError, match=r"pip install 'replay-identity\[postgres\]'"):
        query("SELECT 1", URL)
    monkeypatch.setattr(builtins, "__import__", failing("other"))
    with pytest.raises(ImportError):
        query("SELECT 1", URL)
