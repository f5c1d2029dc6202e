"""Users read from SQLite databases."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replay_identity import UserTraits
from replay_identity.errors import SourceError
from replay_identity.mapping import RowMapping
from replay_identity.sources import BadRow, Row, database_reader, read_query

TEXT = "canary7Q"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an SQLite database of two users."""
    database = tmp_path / "app.db"
    run(
        database,
        "CREATE TABLE users (id INTEGER, plan TEXT, seats INTEGER, is_active BOOLEAN, rate REAL, photo BLOB)",
        "INSERT INTO users VALUES (7, 'pro', 3, 1, 0.5, NULL), (8, NULL, NULL, 0, NULL, NULL)",
    )
    return database


def run(database: Path, *statements: str) -> None:
    """Change an SQLite database."""
    connection = sqlite3.connect(database)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def query(sql: str, database: Path | str, mapping: RowMapping | None = None) -> list[Row | BadRow]:
    """Return the rows of a query."""
    return list(read_query(sql, database, mapping=mapping))


def failure(sql: str, database: Path | str) -> SourceError:
    """Return the error of a query."""
    with pytest.raises(SourceError) as caught:
        query(sql, database)
    return caught.value


def chain(error: BaseException | None) -> str:
    """Return all texts of an error and of those behind it."""
    if error is None:
        return ""
    return "\n".join([str(error), repr(error), chain(error.__cause__), chain(error.__context__)])


def test_reads_an_sqlite_file_read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first bytes say what it is. Values keep SQLite's types: a truth is a number there."""
    before = path.read_bytes()
    monkeypatch.chdir(path.parent)

    for database in (path, str(path), "sqlite:///app.db", f"sqlite:///{path}"):
        assert query("SELECT * FROM users", database) == [
            Row(1, UserTraits("7", traits={"plan": "pro", "seats": 3, "is_active": 1, "rate": 0.5})),
            Row(2, UserTraits("8", traits={"is_active": 0})),
        ]
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == ["app.db"]


def test_a_name_needs_no_escape(tmp_path: Path) -> None:
    """The characters of a URL mean nothing in the name of a file."""
    database = tmp_path / "a?mode=rwc#%41.db"
    run(database, "CREATE TABLE users AS SELECT 'u1' AS id")

    assert query("SELECT * FROM users", database) == [Row(1, UserTraits("u1"))]


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("x'00' AS a", "traits.a: expected a trait value, got bytes; convert it first"),
        ("CAST(x'ff' AS TEXT) AS a", "a: not valid UTF-8"),
        ("9e999 AS a", "traits.a: expected a finite number"),
    ],
)
def test_unsupported_values_are_bad_rows(path: Path, column: str, problem: str) -> None:
    """The rows after them are read."""
    rows = query(f"SELECT 'u1' AS id, {column} UNION ALL SELECT 'u2', 1", path)

    assert rows == [BadRow(1, 1, problem), Row(2, UserTraits("u2", traits={"a": 1}))]


def test_ids_are_texts_or_integers(path: Path) -> None:
    """Another number is not an id."""
    rows = query("SELECT 9007199254740993 AS id UNION ALL SELECT 1.5 UNION ALL SELECT NULL", path)

    assert rows[0] == Row(1, UserTraits("9007199254740993"))
    assert [type(row) for row in rows[1:]] == [BadRow, BadRow]


def test_a_mapping_works_as_for_files(path: Path) -> None:
    """It may rename columns and leave out rows; a column that the query does not return is an error."""
    mapping = RowMapping(user_id="key", name="plan", where={"plan": "pro"})

    assert query('SELECT id AS "key", plan FROM users', path, mapping) == [Row(1, UserTraits("7", name="pro"))]
    with pytest.raises(SourceError, match="did you mean plam"):
        query('SELECT id AS "key", plan AS plam FROM users', path, mapping)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("", "expected exactly one SELECT statement"),
        ("SELECT 1 AS id; SELECT 2 AS id", "expected exactly one SELECT statement"),
        ("DELETE FROM users", "expected exactly one SELECT statement"),
        ("WITH x AS (SELECT 1) INSERT INTO users (id) SELECT * FROM x", "expected exactly one SELECT statement"),
        ("ATTACH 'other.db' AS other", "expected exactly one SELECT statement"),
        ("PRAGMA user_version", "expected exactly one SELECT statement"),
        (
            "SELECT load_extension('x') AS id",
            "the query is not valid: not authorized to use function: load_extension",
        ),
        ("SELECT * FROM userz", "the query is not valid: no such table: userz"),
        ("SELECT users.seatz FROM users", "the query is not valid: no such column: users.seatz"),
        ('SELECT "canary7Q" AS id FROM users', "the query is not valid: no such column: …"),
        ('SELECT id FROM users WHERE plan = "a""`canary7Q"', "the query is not valid: no such column: …"),
        ("SELECT lowr('canary7Q') AS id", "the query is not valid: no such function: lowr"),
        ("SELCT 1", "the query is not valid: near SELCT: syntax error"),
        ("SELECT 1 'canary7Q' 'canary7Q'", "the query is not valid: near …: syntax error"),
        ("SELECT 'canary7Q", "the query is not valid: unrecognized token: …"),
        ("SELECT json_extract('{canary7Q', '$.a') AS id", "cannot be read: malformed JSON"),
        ("SELECT json_extract('{}', 'canary7Q') AS id", "cannot be read: JSON path error near …"),
        ("SELECT abs(-9223372036854775808) AS id", "cannot be read: integer overflow"),
        ("SELECT raise(abort, 'canary7Q') AS id", "cannot be read: SQLITE_ERROR"),
        ("SELECT 1 AS a, 2 AS a", "has the column a more than once; rename or remove all but one"),
    ],
)
def test_reports_invalid_queries(path: Path, sql: str, problem: str) -> None:
    """SQLite's own words are shown, without values."""
    error = failure(sql, path)

    assert str(error) == f"the query: {problem}"
    assert TEXT not in chain(error)
    assert query("SELECT count(*) AS id FROM users", path) == [Row(1, UserTraits("2"))]


def test_a_fault_ends_after_the_rows_before_it(path: Path) -> None:
    """It is raised when its row is reached; the module reads one row ahead."""
    sql = """SELECT 'u1' AS id, 1 AS a UNION ALL SELECT 'u2', 2
        UNION ALL SELECT id, json_extract('canary7Q' || id, '$') FROM users"""
    rows = read_query(sql, path)

    assert next(rows) == Row(1, UserTraits("u1", traits={"a": 1}))
    with pytest.raises(SourceError, match="malformed JSON") as caught:
        next(rows)
    assert TEXT not in chain(caught.value)


def test_names_in_double_quotes_are_names(path: Path) -> None:
    """Comments and texts that hold a quote do not confuse this."""
    sql = """SELECT "id", '"' AS a, [plan] AS "b c", `seats` -- "
        FROM "users" /* " */ WHERE "plan" IS NOT NULL"""

    (row,) = query(sql, path)

    assert row == Row(1, UserTraits("7", traits={"a": '"', "b c": "pro", "seats": 3}))


def test_waits_for_a_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not forever."""
    monkeypatch.setattr(database_reader, "SQLITE_TIMEOUT", 0.01)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")

    problem = failure("SELECT * FROM users", path).problem

    writer.close()
    assert problem == "cannot be read: another process has locked the database for 0.01 seconds"
    assert len(query("SELECT * FROM users", path)) == 2


def unreadable_databases(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield databases that cannot be opened, and why."""
    (folder / "cut.db").write_bytes(database_reader.SQLITE_MAGIC + b"x" * 1000)
    yield str(folder / "cut.db"), "cannot be read: file is not a database"
    yield f"sqlite:///{folder}/no.db", "cannot be read: No such file"
    for url in ("sqlite://", "sqlite:///", "sqlite://host/app.db", "sqlite:///app.db?mode=rwc"):
        yield url, "expected sqlite:///relative/path or sqlite:////absolute/path, without settings"


def test_says_why_a_database_cannot_be_opened(tmp_path: Path) -> None:
    """None is created."""
    for database, problem in unreadable_databases(tmp_path):
        assert failure("SELECT 1 AS id", database).problem == problem
    assert [child.name for child in tmp_path.iterdir()] == ["cut.db"]


def test_a_name_that_no_file_can_have_is_missing() -> None:
    """It is not taken for a database."""
    assert not database_reader.is_database("a\0b")


def test_reads_rows_one_by_one(path: Path) -> None:
    """A result without an end can be read from."""
    sql = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n"
    rows: Any = read_query(sql, path)

    assert [next(rows).user.user_id for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "database",
    [
        "mysql://ada:canary-7Q@127.0.0.1/app",
        "postgresql+psycopg://ada:canary-7Q@127.0.0.1/app",
        "jdbc:postgresql://127.0.0.1/app?password=canary-7Q",
        "host=127.0.0.1 password=canary-7Q",
        "postgresql:/ada:canary-7Q@127.0.0.1/app",
        "postgres//ada:canary-7Q@127.0.0.1/app",
    ],
)
def test_a_secret_in_an_unknown_name_is_not_shown(database: str) -> None:
    """It could be the password of a database that cannot be read."""
    with pytest.raises(SourceError) as caught:
        next(read_query("SELECT 1 AS id", database))

    assert "expected a file, or a URL" in str(caught.value)
    assert "canary-7Q" not in str(caught.value)
