"""Opening user sources of every kind."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any, Literal

import pytest

from replay_identity import InvalidTraitsError, UserTraits
from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.mapping import RowMapping
from replay_identity.sources import Row, nest_fields, read_query, read_rows, read_users
from replay_identity.sources.lines import read_lines

JSON = b'{"id": "u1"}\n'
CSV = b"id\nu1\n"
USER = UserTraits("u1")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", JSON), ("a.NDJSON", JSON), ("a.json", JSON), ("a.csv", CSV), ("a.CSV", CSV)],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_the_suffix_selects_the_format(tmp_path: Path, name: str, content: bytes, kind: type) -> None:
    """Upper case works, too."""
    path = tmp_path / name
    path.write_bytes(content)

    assert [row.user for row in read_users(kind(path)) if isinstance(row, Row)] == [USER]


def test_an_explicit_format_overrides_the_suffix(tmp_path: Path) -> None:
    """An unknown suffix needs one."""
    path = tmp_path / "users.txt"
    path.write_bytes(CSV)

    assert list(read_users(path, format="csv")) == [Row(2, USER)]
    with pytest.raises(SourceError, match=r"expected a name ending in \.jsonl, .*; or set format"):
        list(read_users(path))


def test_chooses_a_file_in_an_archive(tmp_path: Path) -> None:
    """The error for another one says how, and the ids are read beforehand as those of any file."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("orders.csv", "order,plan\n1,pro\n")
        archive.writestr("users.csv", CSV)
    rows = read_users(f"zip://users.csv::{path}")

    with pytest.raises(SourceError, match=r"orders\.csv: has no column.*write zip://users\.csv:: before its name$"):
        list(read_users(path))
    assert list(rows.read_ids()) == [USER.user_id]
    assert list(rows) == [Row(2, USER)]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON Lines by default."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JSON + b"[]")))

    rows = list(read_users("-"))

    assert rows[0] == Row(1, USER)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(SourceError, match=r"^standard input: is empty"):
        list(read_users(Path("-"), format="csv"))


def test_leaves_streams_open() -> None:
    """The caller closes them."""
    stream = io.BytesIO(JSON)

    assert list(read_users(stream)) == [Row(1, USER)]
    assert not stream.closed


def test_reads_rows_lazily() -> None:
    """A file of any size fits into memory."""
    stream = io.BytesIO(JSON * 100_000)
    rows = read_users(stream)

    next(rows)

    assert stream.tell() < 200_000


@pytest.mark.parametrize(
    ("name", "problem"), [("no.csv", "No such file"), ("", "Is a directory"), ("a\0.csv", "Value")]
)
def test_reports_files_that_cannot_be_opened(tmp_path: Path, name: str, problem: str) -> None:
    """The error gives the reason."""
    with pytest.raises(SourceError, match=problem):
        list(read_users(f"{tmp_path}/{name}"))


def test_reports_errors_while_reading() -> None:
    """The error gives only the kind, because the text may quote the file."""

    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object, /) -> int:
            del buffer
            raise OSError("canary-7Q")

    with pytest.raises(SourceError) as caught:
        list(read_users(io.BufferedReader(Failing())))

    assert str(caught.value) == "stream: cannot be read: OSError"


def test_rejects_text_streams(tmp_path: Path) -> None:
    """They hide bytes that are not UTF-8."""
    path = tmp_path / "users.jsonl"
    path.write_bytes(JSON)

    with path.open(encoding="utf-8") as stream, pytest.raises(SourceError) as caught:
        list(read_users(stream))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert str(caught.value) == f"{path}: expected a binary stream, got a text stream; open the file in binary mode"


def test_nest_fields_nests_dotted_names() -> None:
    """It treats them like columns of CSV."""
    assert nest_fields([("a.b", 1), ("a.c", None), ("d", "x")]) == {"a": {"b": 1, "c": None}, "d": "x"}
    assert nest_fields([("Phone No.", 1), ("Phone No", 2)]) == {"Phone No.": 1, "Phone No": 2}


def test_nest_fields_rejects_duplicates() -> None:
    """One of the values would be lost."""
    with pytest.raises(InvalidTraitsError, match=r"^a\.b: is given twice$"):
        nest_fields([("a.b", 1), ("a.b", 2)])
    with pytest.raises(InvalidTraitsError, match=r"^a\.b: cannot be nested in a"):
        nest_fields([("a", 1), ("a.b", 2)])


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("users.jsonl", {"delimiter": ";"}, "delimiter: only CSV has a delimiter; leave it out, or set format to csv"),
        ("users.csv", {"path": "users"}, "path: only JSON documents and workbooks have one; leave it out"),
        ("users.csv", {"format": "tsv"}, "format: expected one of jsonl, json, csv, parquet, xlsx, sql"),
    ],
)
def test_an_option_of_another_format_is_refused(
    tmp_path: Path, name: str, options: dict[str, Any], problem: str
) -> None:
    """It would do nothing."""
    path = tmp_path / name
    path.write_text("id\nu1\n", encoding="utf-8")

    with pytest.raises(ConfigurationError) as caught:
        next(read_users(path, **options))

    assert str(caught.value) == problem


@pytest.mark.parametrize("name", ["users.json", "users.jsonl"])
def test_a_filter_leaves_rows_of_json_out(tmp_path: Path, name: str) -> None:
    """The notes count them."""
    path = tmp_path / name
    path.write_text('[{"id": "u1", "kind": "a"}, {"id": "u2", "kind": "b"}]', encoding="utf-8")
    rows = read_users(path, mapping=RowMapping(where={"kind": "a"}))

    assert [row.user.user_id for row in rows if isinstance(row, Row)] == ["u1"]
    assert rows.notes.left_out == 1
    assert rows.notes.lines() == ["1 row left out by where"]


def test_other_text_on_a_stream_is_refused_once() -> None:
    """Nothing says its format."""
    with pytest.raises(SourceError, match=r"^stream: is not JSON; set format to one of jsonl, json, csv"):
        next(read_users(io.BytesIO(b"id,plan\nu1,pro\nu2,pro\n")))


def test_an_encoding_of_no_text_is_refused(tmp_path: Path) -> None:
    """It would do nothing."""
    path = tmp_path / "users.parquet"
    path.write_bytes(b"PAR1\x15\x00")

    with pytest.raises(ConfigurationError, match=r"^encoding: only text has one; leave it out$"):
        next(read_users(path, encoding="utf-8"))


def test_a_filter_that_leaves_out_every_row_is_a_problem() -> None:
    """Values of CSV are texts, so a number never equals one."""
    mapping = RowMapping(where={"seats": 5})
    rows = read_users(io.BytesIO(b"id,seats\nu1,5\n"), format="csv", mapping=mapping)

    assert list(rows) == []
    assert rows.notes.has_problem
    assert rows.notes.lines()[-1] == "where leaves out every row; in CSV, all values are texts"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ('{"userId": "u1", "plan": "pro"}', "where leaves out every row; no row has traits, type"),
        ('{"userId": "u1", "type": "track"}', "where leaves out every row; no row has traits"),
        ('{"userId": "u1", "type": "identify"}', "no row has traits, whose fields the mapping lifts"),
        ("userId,plan\nu1,pro\n", "where leaves out every row; no row has traits, type"),
    ],
)
def test_notes_what_a_preset_looks_for_in_vain(content: str, note: str) -> None:
    """The field of its filter, or the object that it lifts."""
    stream, mapping = io.BytesIO(content.encode()), RowMapping.preset("segment")
    rows = read_users(stream, format="jsonl" if content.startswith("{") else "csv", mapping=mapping)

    found = [row.user.user_id for row in rows if isinstance(row, Row)]

    assert found == (["u1"] if "whose" in note else [])
    assert rows.notes.lines()[-1] == note


def test_notes_what_no_file_has(tmp_path: Path) -> None:
    """One of several files is enough, and an empty one says nothing of fields."""
    for name, content in [("a", '{"id": "u1"}'), ("b", ""), ("c", '{"id": "u2", "kind": "x"}'), ("d", '{"id": "u3"}')]:
        (tmp_path / f"{name}.jsonl").write_text(content)
    rows = read_users(str(tmp_path / "*.jsonl"), mapping=RowMapping(where={"kind": "y", "age": 5}, strict=False))

    assert list(rows) == []
    assert rows.notes.lines() == [
        f"{tmp_path / 'b.jsonl'} has no rows",
        "3 rows left out by where",
        "where leaves out every row; no row has age",
    ]


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "jsonl"), (b"\n \n", "jsonl"), (b"id,plan\n", "csv"), (b"[]", "json"), (b'{"users": []}', "json")],
)
def test_a_source_without_rows_is_noted(content: bytes, kind: Literal["jsonl", "csv", "json"]) -> None:
    """The export of last night may be broken."""
    rows = read_users(io.BytesIO(content), format=kind, path="users" if b"users" in content else None)
    others = [read_rows([]), read_query("SELECT 1 AS id WHERE false")]

    assert list(rows) == []
    assert (rows.notes.lines(), rows.notes.has_problem) == (["stream has no rows"], False)
    assert rows.notes.as_dict()["without_rows"] == ["stream"]
    assert [[*other, *other.notes.lines()] for other in others] == [["the source has no rows"]] * 2


def test_a_bad_row_is_a_row() -> None:
    """And so is a row that the mapping leaves out."""
    mapping = RowMapping(where={"plan": "pro"})
    sources = [read_users(io.BytesIO(b"id,plan\n,pro\nu1,free\n"), format="csv", mapping=mapping) for _ in range(2)]
    sources[1] = read_users(io.BytesIO(b"id,plan\nu1,free\n"), format="csv", mapping=mapping)

    assert [len(list(rows)) for rows in sources] == [1, 0]
    assert [rows.notes.without_rows for rows in sources] == [[], []]


def test_a_stream_that_fails_is_a_source_error() -> None:
    """The cause may quote its content."""
    stream = io.BytesIO(b"x")
    stream.close()

    with pytest.raises(SourceError, match=r"^users.csv: cannot be read: ValueError$"):
        next(read_lines(stream, "users.csv"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("b.csv", b"email,plan\na@example.com,pro\n", "has no column for the user id"),
        ("b.csv", b"", "is empty"),
        ("b.json", b'{"users": [{"id": "u1"}]}', "set path"),
        ("b.jsonl.gz", b"\x1f\x8b\x08\x00", "is cut off"),
    ],
)
def test_all_files_are_checked_before_the_first_row(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """A mistake in the last file would be found after the users of the others are sent."""
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=problem):
        next(read_users([tmp_path / "a.csv", tmp_path / name]))


def test_streams_are_checked_before_the_first_row() -> None:
    """Their first rows are not lost."""
    with pytest.raises(SourceError, match="has no column for the user id"):
        next(read_users([io.BytesIO(CSV), io.BytesIO(b"email\na@example.com\n")], format="csv"))

    rows = list(read_users([io.BytesIO(b"id\nu1\nu2\n"), io.BytesIO(b"id\nu3\nu4\n")], format="csv"))
    assert [row.user.user_id for row in rows if isinstance(row, Row)] == ["u1", "u2", "u3", "u4"]


def test_notes_of_several_files_count_each_row_once(tmp_path: Path) -> None:
    """Also the first row, which is read twice."""
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(b'{"id": "u1", "type": "x"}\n{"id": "u2", "type": "y"}\n')
    mapping = RowMapping(where={"type": "y"})

    rows = read_users(str(tmp_path / "*.jsonl"), mapping=mapping)

    assert [row.user.user_id for row in rows if isinstance(row, Row)] == ["u2", "u2"]
    assert (rows.notes.left_out, rows.notes.selected) == (2, 2)
