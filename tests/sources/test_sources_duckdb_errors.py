"""What DuckDB says about a query that fails, without a value."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.errors import SourceError
from replay_identity.sources import read_query
from replay_identity.sources.duckdb_errors import query_problem

# A text that no message may show, and the same as a number.
TEXT = "canary7Q"
NUMBER = "7234507"

FILES = {
    "wide.csv": f"id,seats,since\nu1,1,2026-01-01\nu2,{TEXT},2026-01-02\n",
    "late.csv": "id,seats\n" + "".join(f"u{i},{i}\n" for i in range(30_000)) + f"u9,{TEXT}\n",
    "ragged.csv": f"id,seats\nu1,1\nu2,{TEXT},3,4\n",
    "quote.csv": f'id,seats\nu1,"{TEXT}\nu2,3\n',
    "mimic.csv": f'id,seats\nu1,"1"\n"Column {TEXT} is being converted as type INTEGER\nfile = {TEXT}",x\n',
    "lines.jsonl": f'{{"id": "u1"}}\n{{"id": {TEXT}}}\n',
    "text.json": f'{{"id": "{TEXT}"\n{{{{',
    "text.parquet": TEXT,
    "long.parquet": TEXT * 100,
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    Path("bytes.csv").write_bytes(f"id,seats\nu1,{TEXT}\xff\n".encode("latin-1"))


def failure(sql: str) -> SourceError:
    """Return the error of a query."""
    with pytest.raises(SourceError) as caught:
        list(read_query(sql, anonymous=True))
    return caught.value


def chain(error: BaseException | None) -> str:
    """Return all texts of an error and of those behind it."""
    if error is None:
        return ""
    return "\n".join([str(error), repr(error), str(error.args), chain(error.__cause__), chain(error.__context__)])


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "SELECT x::INT FROM (VALUES ('a')) t(x)",
            "Could not convert string … to INT32 when casting from source column x",
        ),
        ("SELECT 'a'::DECIMAL(4, 2)", "Could not convert string … to DECIMAL(4,2)"),
        ("SELECT 'a'::ENUM('b')", "Could not convert string … to ENUM(…)"),
        ("SELECT \n'a'::INT", "Could not convert string … to INT32 (line 2 of the query)"),
        ("SELECT 'a'::DATE", "invalid date field format: …, expected format is (YYYY-MM-DD)"),
        (
            "SELECT 300::TINYINT",
            "Type INT32 with value … can't be cast because the value is out of range for the destination type INT8",
        ),
        ("SELECT x * x FROM (VALUES (9223372036854775807)) t(x)", "Overflow in multiplication of INT64 (…)!"),
        (
            "SELECT x % 0 FROM (VALUES (1)) t(x)",
            "Division by zero in expression …. Use TRY(...) to return NULL for this expression",
        ),
        ("SELECT strptime('a', '%Y')", "Could not parse string … according to format specifier …"),
        ("SELECT json_extract('a', '$.b')", "Malformed JSON at byte 0 of input: unexpected character."),
        ("SELECT regexp_matches('a', '(b')", "missing ): …"),
        (
            "FROM read_csv('wide.csv', types = {'seats': 'INT'})",
            "wide.csv, line 3: Could not convert column seats to INTEGER; set its type, or all_varchar = true",
        ),
        (
            "FROM 'late*.csv'",
            "late.csv, line 30002: Could not convert column seats to BIGINT; set its type, or all_varchar = true",
        ),
        (
            "FROM read_csv('ragged.csv', header = 1, auto_detect = false, columns = {'id': 'TEXT', 'seats': 'TEXT'})",
            "ragged.csv, line 3: Expected Number of Columns: 2 Found: 3",
        ),
        ("FROM 'bytes.csv'", "bytes.csv, line 2: Invalid unicode (byte sequence mismatch) detected; set encoding"),
        ("FROM 'lines.jsonl'", "Malformed JSON in file lines.jsonl, at byte 8 in line 3: unexpected character."),
        ("FROM 'no-*.parquet'", "No files found that match the pattern no-*.parquet"),
        ("FROM 'long.parquet'", "No magic bytes found at end of file long.parquet"),
        (
            "FROM 'https://u:p@example.com/x.csv?k=1'",
            "File https://example.com/x.csv requires the extension httpfs to be loaded",
        ),
    ],
)
def test_says_why_a_query_fails(sql: str, problem: str) -> None:
    """The kind, the types, the column, the file and the line are shown."""
    assert failure(sql).problem == f"cannot be read: {problem}"


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "SELECT seatz FROM (SELECT 1 AS seats)",
            'Binder Error: Referenced column "seatz" not found in FROM clause; did you mean seats?',
        ),
        (
            "SELECT t.seatz FROM 'late.csv' t",
            'Binder Error: Table "t" does not have a column named "seatz"; did you mean seats?',
        ),
        ("SELECT lowr('a')", "Catalog Error: Scalar Function with name lowr does not exist; did you mean lower?"),
        (
            "SELECT {'plan': 1}['plam']",
            "Binder Error: Could not find key … in struct",
        ),
        ("SELECT 1 FROM x WHERE", 'Parser Error: syntax error at or near "WHERE"'),
        ("SELECT (1", "Parser Error: syntax error at or near …"),
        ("SELECT 1 )", 'Parser Error: syntax error at or near ")"'),
        (
            "FROM (PIVOT (SELECT 'Ada' AS x) ON x IN ('Ada')) SELECT Adam",
            'Binder Error: Referenced column "Adam" not found in FROM clause',
        ),
    ],
)
def test_says_why_a_query_is_not_valid(sql: str, problem: str) -> None:
    """Names that the query has outside of quotes are shown, and similar ones; a column that is a value is not."""
    assert failure(sql).problem == f"the query is not valid: {problem}"


def test_shows_the_types_of_a_call() -> None:
    """They are DuckDB's words, even inside quotes."""
    call = "'upper(STRING_LITERAL, INTEGER_LITERAL)'"

    assert f"No function matches the given name and argument types {call}. You" in str(failure("SELECT upper('a', 1)"))


def test_names_an_extension_that_is_not_loaded() -> None:
    """Extensions are never fetched."""
    problem = "Table Function with name read_xlsx is not in the catalog, but it exists in the excel extension."

    assert failure("FROM read_xlsx('a')").problem == f"the query is not valid: Catalog Error: {problem}"


def test_a_reason_may_follow_another_sentence() -> None:
    """DuckDB 1.4 writes one if rows have been read before the failure."""
    sentence = "Invalid Input Error: Attempting to fetch from an unsuccessful or closed streaming query result"
    error = duckdb.InvalidInputException(f"{sentence}\nError: Conversion Error: Could not convert string 'x' to INT32")

    assert query_problem(error, "SELECT 1") == "cannot be read: Could not convert string … to INT32"


ATTACKS = """
{cast}
SELECT [1, 2][{number}:'{text}']
SELECT ['{text}', 1]::INT[]
SELECT x::STRUCT(a INT) FROM (VALUES ('{{a: {text}}}')) t(x)
SELECT x::INT[] FROM (VALUES ('[1, {text}]')) t(x)
SELECT x::MAP(INT, INT) FROM (VALUES ('{text}')) t(x)
SELECT x::ENUM('{text}') FROM (VALUES ('{text}2')) t(x)
SELECT x::DECIMAL(4, 2) FROM (VALUES ({number}.5)) t(x)
SELECT x::TINYINT FROM (VALUES ({number})) t(x)
SELECT x::JSON FROM (VALUES ('{{{text}')) t(x)
SELECT x::VARIANT::INT FROM (VALUES ('{text}')) t(x)
SELECT 'x'' to DATE when casting from source column {text}'::INT
SELECT '{{"a": {text}'::JSON
SELECT hash('{text}')::TINYINT
SELECT x * x * x FROM (VALUES ({number}{number})) t(x)
SELECT chr({number}00)
SELECT make_date({number}, 13, 1)
SELECT error('{text}')
SELECT error('Could not convert string x to {text}')
SELECT "error"(x) FROM (VALUES ('CSV Error on Line: {number}\n')) t(x)
SELECT "error"('File {text} too small to be a Parquet file')
FROM query('SELECT error(''Malformed JSON at byte {number} of input: x'')')
SELECT strptime(x, '%Y-%m-%d') FROM (VALUES ('{text}')) t(x)
SELECT strptime('2026-01-01', '{text}%Q')
SELECT regexp_matches('a', '({text}')
SELECT regexp_matches('a', x) FROM (VALUES ('[{text}')) t(x)
SELECT json_extract(x, '$.a') FROM (VALUES ('{text}')) t(x)
SELECT json_extract('{{}}', '$.{text}[')
SELECT json_transform_strict('{{"a": "{text}"}}', '{{"a": "INTEGER"}}')
SELECT json_transform('{{"a": 1}}', '{{"a": "{text}"}}')
SELECT list_extract('{text}', [1])
SELECT list_aggregate([1], '{text}')
SELECT struct_extract({{'{text}': 1}}, '{text}2')
SELECT {{'{text}': 1}}.b
SELECT union_extract(union_value(k := '{text}'), '{text}')
SELECT MAP(['{text}', '{text}'], [1, 2])
SELECT (SELECT x FROM (VALUES ('{text}'), ('b')) t(x))
SELECT date_part('{text}', DATE '2026-01-01')
SELECT TIMESTAMPTZ '2026-01-01' AT TIME ZONE '{text}'
SELECT from_hex('zz{text}')
SELECT from_base64('{text}!')
SELECT decode('\\xFF'::BLOB || '{text}'::BLOB)
SELECT format('{text} {{:d}}', 'x')
SELECT current_setting('{text}')
SELECT nextval('{text}')
SELECT INTERVAL '{text}'
SELECT '{text}' + DATE '2026-01-01'
SELECT CAST('a' AS INT) FROM (SELECT '{text}' AS x)
SELECT '{text}' '{text}'
SELECT '{text}
SELECT 'it's {text}' AS x
SELECT 1 WHERE x = 'O'{text}'
SELECT 1 WHERE x = 'O' {text}'
SELECT $${text}$$::INT
SELECT $tag${text}$tag$ $tag${text}$tag$
SELECT E'{text}\\'' '{text}'
SELECT 1 -- {text}
SELECT 1 /* {text} */ x y z
SELECT * FROM (SELECT 1 AS id) WHERE name = "{text}"
SELECT "{text}" FROM (SELECT 1 AS id)
SELECT x FROM (SELECT 1 AS x) WHERE x = '{text}'
SELECT x FROM (SELECT DATE '2026-01-01' AS x) WHERE x = '{text}'
SELECT x FROM (VALUES (1)) t(x) LIMIT '{text}'
SELECT x FROM (VALUES (1)) t(x) LIMIT -{number}
SELECT x FROM (VALUES (1)) t(x) ORDER BY {number}
SELECT x FROM (VALUES (1)) t(x) USING SAMPLE {number}%
SELECT COLUMNS('{text}') FROM (SELECT 1 AS id)
FROM query('SELECT {text}')
FROM query('SELECT 1 {text} x {text}')
FROM query_table('{text}')
FROM (PIVOT (SELECT '{text}' AS x) ON x IN ('{text}')) SELECT zzz
FROM range(1, 2, '{text}')
FROM read_csv('wide.csv', types = {{'seats': 'INT'}})
FROM read_csv('wide.csv', types = {{'{text}': 'INT'}})
FROM read_csv('wide.csv', types = {{'seats': '{text}'}})
FROM read_csv('wide.csv', names = ['{text}']) SELECT zzz
FROM read_csv('wide.csv', encoding = '{text}')
FROM read_csv('wide.csv', delim = '{text}')
FROM read_csv('wide.csv', skip = '{text}')
FROM read_csv('wide.csv', columns = {{'id': 'INT', 'seats': 'INT', 'since': 'INT'}}, auto_detect = false)
FROM read_csv('ragged.csv', columns = {{'id': 'TEXT', 'seats': 'TEXT'}}, header = true, auto_detect = false)
FROM read_csv('ragged.csv', columns = {{'{text}': 'TEXT'}}, header = true, delim = ',')
FROM read_csv('quote.csv', columns = {{'id': 'TEXT', 'seats': 'INT'}}, header = true, delim = ',', quote = '"')
FROM read_csv('mimic.csv', columns = {{'id': 'TEXT', 'seats': 'INT'}}, header = true, auto_detect = false)
FROM read_csv('wide.csv', header = false) SELECT seats
FROM 'late.csv'
SELECT seats::INT FROM 'wide.csv'
FROM 'bytes.csv'
FROM 'lines.jsonl'
FROM 'text.json'
FROM read_json('lines.jsonl', columns = {{'id': 'INT'}})
FROM read_json('lines.jsonl', format = '{text}')
FROM 'text.parquet'
FROM 'long.parquet'
FROM read_parquet('wide.csv')
FROM read_text('bytes.csv')
FROM sqlite_scan('{text}', '{text}')
FROM postgres_scan('password={text}', 'public', 't')
FROM 'https://{text}:{number}@example.com/a.csv?token={text}'
FROM '{text}@example.com'
SELECT zzz FROM read_json('keys.json')
"""
_CASTS = (
    *("INT", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "INTERVAL", "BOOLEAN"),
    *("UUID", "BIT", "DECIMAL(4, 2)", "UTINYINT", "BIGNUM", "BLOB", "JSON"),
)


def attacks() -> list[str]:
    """Return queries that fail, most of them on a value of a row or of the query."""
    casts = "\n".join(f"SELECT x::{type_} FROM (VALUES ('{TEXT}\\')) t(x)" for type_ in _CASTS)  # noqa: S608  # Invented.
    filled = ATTACKS.format(cast=casts, text=TEXT, number=NUMBER)
    return filled.strip().splitlines()


@pytest.mark.parametrize("sql", attacks())
def test_no_value_is_in_any_error(sql: str) -> None:
    """Neither a value of a row nor one of the query is in the error, or in an error behind it."""
    try:
        list(read_query(sql, anonymous=True))
    except SourceError as error:
        texts = chain(error).lower()
        assert TEXT.lower() not in texts
        assert NUMBER not in texts


@given(
    value=st.text(min_size=1).filter(lambda value: " to " not in value),  # With it, the message is a known one.
    message=st.sampled_from(["", "Could not convert string '", "CSV Error on Line: 1\n"]),
)
def test_unknown_messages_are_hidden(value: str, message: str) -> None:
    """Whatever DuckDB says, only known words are shown."""
    error = duckdb.InvalidInputException(f"Invalid Input Error: {message}x{value}")

    problem = query_problem(error, "SELECT 1")

    assert problem in {
        "cannot be read: InvalidInputException; its message is not shown, because it may quote values",
        "cannot be read: line 1: its message is not shown, because it may quote values",
    }
