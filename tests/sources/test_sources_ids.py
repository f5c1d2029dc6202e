"""The ids of a source, which are read before its rows."""

import io
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given

from replay_identity.errors import SourceError
from replay_identity.mapping import FieldRule, RowMapping
from replay_identity.sources import Row, Rows, read_query, read_rows, read_users
from replay_identity.testing import IdentityFile, identity_files


def ids(path: Path | str, mapping: RowMapping | None = None) -> list[Any]:
    """Return the ids in a file."""
    return list(read_users(path, mapping=mapping).read_ids())


def ids_of_rows(path: Path | str, mapping: RowMapping | None = None) -> list[Any]:
    """Return the ids of the valid rows in a file."""
    return [row.user.user_id for row in read_users(path, mapping=mapping) if isinstance(row, Row)]


def write(path: Path, content: str) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content.encode())
    return path


@given(file=identity_files())
def test_no_id_of_a_valid_row_is_missing(tmp_path_factory: pytest.TempPathFactory, file: IdentityFile) -> None:
    """Whatever is wrong with other rows."""
    path = tmp_path_factory.mktemp("ids") / file.name
    path.write_bytes(file.content)

    assert Counter(ids_of_rows(path)) <= Counter(ids(path))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"user_id": "u1", "plan": "pro"}', ["u1"]),
        ('  { "user_id" : "ü1" }', ["ü1"]),
        ('{"plan": "pro", "user_id": "u1"}', ["u1"]),
        (r'{"user_id": "u\u0031"}', ["u1"]),
        ('{"uid": "u1", "id": "7"}', ["u1"]),
        ('{"id": "7", "uid": "u1"}', ["u1"]),
        ('{"uid": "7", "user_id": "u1"}', ["u1"]),
        (r'{"id": "7", "user\u005fid": "u1"}', ["u1"]),
        ('{"id": "7", "user_id": null}', []),
        ('{"id": "u1", "last_user_id": "7"}', ["u1"]),
        ('{"company": {"user_id": "7"}, "id": "u1"}', ["u1"]),
        ('{"user_id": "u1", "score": NaN}', ["u1"]),
        ('{"user_id": 7}', ["7"]),
        ('{"userId": "u1", "id": "7"}', ["u1"]),
        ('{"id": "7", "User ID": "u1"}', ["u1"]),
        ('{"plan": "pro"}', []),
        ('["user_id"]', []),
        ('{"user_id": "u1"', ["u1"]),
        ("{" + "[" * 100_000, []),
    ],
)
def test_finds_the_id_on_a_line(tmp_path: Path, line: str, found: list[str]) -> None:
    """As the row has it, wherever it is; a bad row may have one or not."""
    path = write(tmp_path / "users.jsonl", f"{line}\n\n")

    assert ids(path) == found
    assert set(ids_of_rows(path)) <= set(found)


def test_skips_an_id_that_is_not_utf8(tmp_path: Path) -> None:
    """It is a bad row."""
    path = tmp_path / "users.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"user_id": "u1"}\n{"user_id": "\xff"}\n')

    assert ids(path) == ["u1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("user_id,plan\nu1,pro\nu2,\n", ["u1", "u2"]),
        ("plan,user_id\r\npro,u1\r\n", ["u1"]),
        ('plan,user_id\n"a,b","u,""1"\n', ['u,"1']),
        ('user_id,plan\nu1,"two\nlines"\nu2,x\n', ["u1", "u2"]),
        ("id,uid\n7,u1\n", ["u1"]),
        ("plan,id\npro\npro,\npro,u1\n", ["u1"]),
        ('user_id\n"u1"x\nu2\n', ["u2"]),
        ("plan,seats\npro,3\n", []),
    ],
)
def test_finds_the_ids_in_csv(tmp_path: Path, text: str, found: list[str]) -> None:
    """With quotes, line breaks and short records."""
    path = write(tmp_path / "users.csv", text)

    assert ids(path) == found


AS_TEXT = FieldRule(cast="str")


@pytest.mark.parametrize(
    ("mapping", "count"),
    [
        (RowMapping(), 4),
        (RowMapping(user_id="account.id", name="id", fields={"account.id": AS_TEXT}), 3),
        (RowMapping(fields={"account.id": FieldRule(cast="str", rename="user_id")}), 3),
        (RowMapping(fields={"id": FieldRule(drop=True), "account.id": FieldRule(cast="str", rename="uid")}), 3),
        (RowMapping(unlisted="drop", null="remove", fields={"id": AS_TEXT, "seats": FieldRule(cast="int")}), 4),
        (RowMapping(user_id="plan", fields={"plan": FieldRule(cast="int")}), 0),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_finds_the_ids_that_a_mapping_makes(tmp_path: Path, mapping: RowMapping, count: int, kind: str) -> None:
    """Renamed, nested, cast and dropped fields are applied."""
    lines = [
        f'{{"id": "i{row}", "seats": "{row}", "account": {{"id": {"null" if row == 2 else row}}}, "plan": "pro"}}'
        for row in range(4)
    ]
    source = write(tmp_path / "users.jsonl", "\n".join(lines))
    path = tmp_path / f"users.{kind}"
    flat = 'SELECT id, seats, account.id AS "account.id", plan' if kind == "csv" else "SELECT *"
    if kind != "jsonl":
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({flat} FROM read_json('{source}')) TO '{path}' (FORMAT {kind})")

    assert Counter(ids_of_rows(path, mapping)) <= Counter(ids(path, mapping))
    assert len(ids(path, mapping)) == count


def test_reads_only_id_columns_of_parquet(tmp_path: Path) -> None:
    """A file without one has no ids, and others are still read."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 'pro' AS plan) TO '{tmp_path}/a.parquet' (FORMAT parquet)")
        connection.execute(f"COPY (SELECT 'u1' AS uid, 1 AS seats) TO '{tmp_path}/b.parquet' (FORMAT parquet)")

    assert ids(str(tmp_path / "*.parquet")) == ["u1"]


def test_a_stream_has_no_ids() -> None:
    """It can be read only once."""
    rows = read_users(io.BytesIO(b'{"user_id": "u1"}\n'))

    assert list(rows.read_ids()) == []
    assert len(list(rows)) == 1


def test_a_query_has_no_ids(tmp_path: Path) -> None:
    """It may read a stream."""
    sql = "SELECT 'u1' AS user_id"
    path = write(tmp_path / "users.sql", sql)

    assert [list(rows.read_ids()) for rows in (read_query(sql), read_users(path))] == [[], []]


@pytest.mark.parametrize("name", ["users.jsonl", "users.csv", "users.parquet"])
def test_a_pipe_has_no_ids(tmp_path: Path, name: str) -> None:
    """Opening it would take the rows away."""
    path = tmp_path / name
    os.mkfifo(path)

    assert ids(path) == []


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """Every row arrives."""
    path = tmp_path / "users.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[b'{"user_id": "u1"}\n'])
    writer.start()
    rows = read_users(path)

    assert list(rows.read_ids()) == []
    assert len(list(rows)) == 1
    writer.join()


def test_a_descriptor_has_no_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside Linux, it shares its position with standard input."""
    path = write(tmp_path / "users.jsonl", '{"user_id": "u1"}\n')
    monkeypatch.setattr("replay_identity.sources.files._DESCRIPTORS", tmp_path)

    assert ids(path) == []


def test_a_missing_file_fails_when_ids_are_read(tmp_path: Path) -> None:
    """Nothing is opened before."""
    rows = read_users(tmp_path / "users.csv")

    assert list(rows.read_ids()) == []
    with pytest.raises(SourceError):
        next(rows)


def test_wraps_rows_and_ids() -> None:
    """The ids are still those of the source."""
    rows = Rows(iter([1, 2, 3]), lambda: iter("abc"))

    odd = rows.through(lambda rows: (row for row in rows if row % 2), wrap_ids=lambda ids: (f"{each}!" for each in ids))

    assert list(odd.read_ids()) == ["a!", "b!", "c!"]
    assert list(rows.through(iter).read_ids()) == ["a", "b", "c"]
    assert list(odd) == [1, 3]


@pytest.mark.parametrize(
    "mapping",
    [
        RowMapping(where={"kind": "profile"}),
        RowMapping(where={"source.kind": "crm"}),
        RowMapping(lift="data", unlisted="lifted"),
        RowMapping(lift="data", user_id="key"),
    ],
    ids=["where", "nested where", "lift", "lifted id"],
)
def test_reads_what_decides_on_an_id(tmp_path: Path, mapping: RowMapping) -> None:
    """The columns of a filter, and the object that has the fields, beside the id itself."""
    row = """SELECT 1 AS seats, 'u1' AS id, 'profile' AS kind, 'crm' AS "source.kind", '{"key": "u1"}' AS data"""
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({row}) TO '{tmp_path}/a.parquet' (FORMAT parquet)")
        connection.execute(f"COPY ({row}) TO '{tmp_path}/a.csv' (HEADER)")
        frame = connection.sql(row).arrow().read_all()

    assert ids(tmp_path / "a.parquet", mapping) == ["u1"]
    assert ids(tmp_path / "a.csv", mapping) == ["u1"]
    assert list(read_rows(frame, mapping=mapping).read_ids()) == ["u1"]
