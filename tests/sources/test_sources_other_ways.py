"""The samples by every other way in: a stream, a web server, other formats, databases, and rows from Python."""

import csv
import gzip
import importlib
import io
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from support.postgres import is_postgres_installed, running_postgres
from support.samples import Sample, load_samples, make_file
from support.servers import Served, serving

from replay_identity import ReplayIdentityError, UserTraits, read_rows
from replay_identity.cli.exit_codes import ExitCode
from replay_identity.mapping import RowMapping, load_mapping
from replay_identity.sources import BadRow, Row, read_query, read_users
from replay_identity.sources.files import find_files

# Without type stubs, and imported once.
pd: Any = importlib.import_module("pandas")
pl: Any = importlib.import_module("polars")
pa: Any = importlib.import_module("pyarrow")

ALL_SAMPLES: Final = load_samples()
ONE_FILE: Final = {
    name: sample
    for name, sample in ALL_SAMPLES.items()
    if len(sample.sources) == 1
    and sample.sources[0] in {*sample.files, *sample.make}
    and "--sql" not in sample.options
    and not (sample.refused is not None and sample.refused.exit == ExitCode.SETTINGS)
    and not sample.sources[0].endswith(".sql")
}
READ_WHOLE: Final = {name: sample for name, sample in ONE_FILE.items() if sample.refused is None and not sample.stopped}
# Without rows, or with something before the header.
NO_TABLES: Final = {
    *("header-only", "header-after-blank-rows", "blank-lines", "rows-in-quotes"),
    *("sep-comma", "sep-semicolon", "sep-with-mark"),
}
TABLES: Final = [
    name
    for name, sample in READ_WHOLE.items()
    if not {".csv", ".tsv"}.isdisjoint(Path(sample.sources[0]).suffixes) and name not in NO_TABLES
]
OBJECTS: Final = [name for name, sample in READ_WHOLE.items() if ".jsonl" in sample.sources[0]]


@attrs.frozen
class Found:
    """What was found in a source: users and problems by line, and why reading stopped."""

    rows: Mapping[int, UserTraits | str]
    error: str | None = None

    @property
    def users(self) -> Mapping[int, UserTraits]:
        """Return the users by line."""
        return {line: row for line, row in self.rows.items() if isinstance(row, UserTraits)}

    @property
    def bad(self) -> set[int]:
        """Return the lines of the bad rows."""
        return set(self.rows) - set(self.users)


def find(read: Callable[[], Iterator[Row | BadRow]], *, offset: int = 0) -> Found:
    """Return what a reader finds; lines count from *offset*."""
    rows: dict[int, UserTraits | str] = {}
    try:
        for row in read():
            rows[row.line - offset] = row.user if isinstance(row, Row) else row.problem
    except ReplayIdentityError as error:
        return Found(rows, getattr(error, "problem"))  # noqa: B009
    return Found(rows)


@attrs.frozen
class Reading:
    """A sample in a folder, and how to read it.

    Attributes:
        path: Its file.
        mapping: Its mapping, or None.
        options: Its other options.
    """

    path: Path
    mapping: RowMapping | None
    options: Mapping[str, Any]

    @property
    def format(self) -> Any:
        """Return the format that a stream needs, because it has no name; a zip archive names its files."""
        suffix = next(suffix for suffix in self.path.suffixes if suffix not in {".gz", ".bz2", ".zst"})
        return {".zip": None, ".ndjson": "jsonl", ".tsv": "csv"}.get(suffix, suffix[1:])

    def read(self, source: Any, **options: Any) -> Found:
        """Return what a file, a stream or a URL has."""
        return find(lambda: read_users(source, mapping=self.mapping, **{**self.options, **options}))


def reading(sample: Sample, folder: Path) -> Reading:
    """Write a sample."""
    arguments = sample.write(folder)
    options = dict(zip(sample.options[::2], sample.options[1::2], strict=True))
    preset = options.pop("--preset", None)
    mapping = load_mapping(folder / "mapping.toml") if "--mapping" in arguments else None
    return Reading(
        folder / sample.sources[0],
        RowMapping.preset(preset) if preset else mapping,
        {name.removeprefix("--"): value for name, value in options.items()},
    )


@pytest.mark.parametrize("name", ONE_FILE)
def test_no_id_of_a_user_is_missing(tmp_path: Path, name: str) -> None:
    """The ids that are read beforehand are those of the users, in their order, and perhaps those of bad rows."""
    sample = reading(ONE_FILE[name], tmp_path)
    users = sample.read(sample.path).users.values()
    ids = find_ids(sample)

    assert all(user.user_id in ids for user in users)


def find_ids(sample: Reading) -> Iterator[Hashable]:
    """Return the ids in a file, up to where it cannot be read."""
    with suppress(ReplayIdentityError):
        yield from read_users(sample.path, mapping=sample.mapping, **sample.options).read_ids()


# The same bytes


@pytest.mark.parametrize("name", ONE_FILE)
def test_a_stream_has_what_the_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also on standard input, and compressed: the same users, problems and errors."""
    sample = reading(ONE_FILE[name], tmp_path)
    content = sample.path.read_bytes()
    expected = sample.read(sample.path)

    assert sample.read(io.BytesIO(content), format=sample.format) == expected
    for stdin in (content, gzip.compress(content)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        assert sample.read("-", format=sample.format) == expected


@pytest.fixture(scope="module")
def web() -> Iterator[tuple[Served, dict[str, bytes]]]:
    """Run a web server, and return it with the files that it has."""
    files: dict[str, bytes] = {}

    def respond(request: bytes) -> bytes:
        content = files[request.split()[1].decode()]
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content

    with serving(respond) as served:
        yield served, files


@pytest.mark.parametrize("name", ONE_FILE)
def test_a_web_server_has_what_the_file_has(web: tuple[Served, dict[str, bytes]], tmp_path: Path, name: str) -> None:
    """The name in the URL says as much as that of a file."""
    sample = reading(ONE_FILE[name], tmp_path)
    served, files = web
    files[f"/{sample.path.name}"] = sample.path.read_bytes()

    assert sample.read(f"{served.url}/{sample.path.name}") == sample.read(sample.path)


# The same cells in another format


@attrs.frozen
class Table:
    """The cells of a CSV file as Python's own reader finds them.

    Attributes:
        names: The header.
        rows: The cells of each row; an empty one is None.
        lines: The line of each row.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    lines: Sequence[int]

    @property
    def objects(self) -> list[dict[str, str | None]]:
        """Return each row by name."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]

    @property
    def sql(self) -> str:
        """Return a query for the rows, which every database understands."""
        selects = (
            ", ".join(f"CAST({_literal(cell)} AS text) AS {_quoted(name)}" for name, cell in row.items())
            for row in self.objects
        )
        return " UNION ALL ".join(f"SELECT {number} AS row_number, {each}" for number, each in enumerate(selects))

    @property
    def query(self) -> str:
        """Return a query for the rows in their order."""
        return f"SELECT {', '.join(map(_quoted, self.names))} FROM ({self.sql}) AS cells ORDER BY row_number"  # noqa: S608


def _literal(cell: str | None) -> str:
    return "NULL" if cell is None else "'" + cell.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def table_of(sample: Reading) -> Table:
    """Return the rows with a cell for each column."""
    (file,) = find_files(sample.path, encoding=sample.options.get("encoding"))
    with file.open_text() as stream:
        text = stream.read().decode(errors="replace").replace("\ufeff", "")
    header = text.partition("\n")[0]
    delimiter = sample.options.get("delimiter") or max(",;\t|", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines, table = [1], list[list[str]]()
    for cells in reader:
        table.append(cells)
        lines.append(reader.line_num + 1)
    (names, *rows), width = table, len(header.rstrip(delimiter).split(delimiter))
    kept = [
        (line, [cell or None for cell in row[:width]])
        for line, row in zip(lines[1:], rows, strict=False)
        if len(row) >= width and "\0" not in "".join(row) and any(row)
    ]
    return Table([name.strip() for name in names[:width]], [row for _, row in kept], [line for line, _ in kept])


def _frame(make: Callable[[Table], Any]) -> Callable[[Table, Path, RowMapping | None], Found]:
    return lambda table, _folder, mapping: find(lambda: read_rows(make(table), mapping=mapping), offset=1)


def _columns(table: Table) -> dict[str, list[str | None]]:
    return {name: [row[index] for row in table.rows] for index, name in enumerate(table.names)}


def _arrow(table: Table) -> Any:
    return pa.table(_columns(table), schema=pa.schema([(name, pa.string()) for name in table.names]))


def _from_parquet(table: Table, folder: Path, mapping: RowMapping | None) -> Found:
    make_file(folder / "way.parquet", {"parquet": table.query})
    return find(lambda: read_users(folder / "way.parquet", mapping=mapping), offset=1)


def _from_excel(table: Table, folder: Path, mapping: RowMapping | None) -> Found:
    rows = [[cell or "" for cell in row] for row in table.rows]
    make_file(folder / "way.xlsx", {"sheet": [table.names, *rows]})
    return find(lambda: read_users(folder / "way.xlsx", mapping=mapping), offset=2)


def _from_lines(table: Table, folder: Path, mapping: RowMapping | None) -> Found:
    path = folder / "way.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table.objects), encoding="utf-8")
    return find(lambda: read_users(path, mapping=mapping), offset=1)


def _from_array(table: Table, folder: Path, mapping: RowMapping | None) -> Found:
    path = folder / "way.json"
    path.write_text("[" + ",\n".join(map(json.dumps, table.objects)) + "]", encoding="utf-8")
    return find(lambda: read_users(path, mapping=mapping), offset=1)


def _from_sqlite(table: Table, folder: Path, mapping: RowMapping | None) -> Found:
    make_file(folder / "way.sqlite", {"sqlite": "CREATE TABLE people (id)"})
    return find(lambda: read_query(table.query, folder / "way.sqlite", mapping=mapping), offset=1)


def _from_duckdb(table: Table, _folder: Path, mapping: RowMapping | None) -> Found:
    return find(lambda: read_query(table.query, mapping=mapping), offset=1)


# Ways that have columns, in which dotted names are nested as they are in CSV, and ways that have objects.
WITH_COLUMNS: Final[Mapping[str, Callable[[Table, Path, RowMapping | None], Found]]] = {
    "pandas": _frame(lambda table: pd.DataFrame(_columns(table))),
    "pandas objects": _frame(lambda table: pd.DataFrame(_columns(table), dtype=object)),
    "polars": _frame(lambda table: pl.DataFrame(_columns(table), schema=dict.fromkeys(table.names, pl.String))),
    "Arrow": _frame(_arrow),
    "Parquet": _from_parquet,
    "Excel": _from_excel,
    "SQLite": _from_sqlite,
    "DuckDB": _from_duckdb,
}
WITH_OBJECTS: Final[Mapping[str, Callable[[Table, Path, RowMapping | None], Found]]] = {
    "dicts": _frame(lambda table: table.objects),
    "generator": _frame(lambda table: iter(table.objects)),
    "JSON Lines": _from_lines,
    "JSON array": _from_array,
}


@pytest.mark.parametrize("name", TABLES)
def test_other_formats_have_what_csv_has(tmp_path: Path, name: str) -> None:
    """A row that is a user in CSV is the same user in each; a row that is left out is left out."""
    sample = reading(ONE_FILE[name], tmp_path)
    table = table_of(sample)
    ways = WITH_COLUMNS if any("." in name for name in table.names) else {**WITH_COLUMNS, **WITH_OBJECTS}

    assert_same_users({way: read(table, tmp_path, sample.mapping) for way, read in ways.items()}, sample, table)


def assert_same_users(found: Mapping[str, Found], sample: Reading, table: Table) -> None:
    """Each way has the users of the file. Rows that are wrong only in CSV do not count."""
    in_csv = sample.read(sample.path)
    expected = {table.lines.index(line): user for line, user in in_csv.users.items()}

    for way, other in found.items():
        assert other.error is None, way
        assert {index: row for index, row in other.rows.items() if table.lines[index] not in in_csv.bad} == expected, (
            way
        )


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Return the URL of a database of a real PostgreSQL server."""
    if not is_postgres_installed():
        pytest.skip("initdb and pg_ctl, which make and start a PostgreSQL server, are not installed")
    with running_postgres() as url:
        yield url


@pytest.mark.parametrize("name", TABLES)
def test_postgres_has_what_csv_has(database: str, tmp_path: Path, name: str) -> None:
    """As in the other formats."""
    sample = reading(ONE_FILE[name], tmp_path)
    table = table_of(sample)

    found = find(lambda: read_query(table.query, database, mapping=sample.mapping), offset=1)

    assert_same_users({"PostgreSQL": found}, sample, table)


# The same objects


@pytest.mark.parametrize("name", OBJECTS)
def test_arrays_and_dicts_have_what_lines_have(tmp_path: Path, name: str) -> None:
    """An array has the same users and problems, and dicts the same users; NaN and repeated names are only in JSON."""
    sample = reading(ONE_FILE[name], tmp_path)
    expected = sample.read(sample.path)
    objects = objects_of(sample)
    array = tmp_path / "way.json"
    array.write_text("[" + ",\n".join(objects.values()) + "]", encoding="utf-8")
    dicts = list(map(json.loads, objects.values()))

    in_array = find(lambda: read_users(array, mapping=sample.mapping), offset=1)
    from_dicts = find(lambda: read_rows(dicts, mapping=sample.mapping), offset=1)

    lines = list(objects)
    assert {lines[index]: row for index, row in in_array.rows.items()} == {
        line: row for line, row in expected.rows.items() if line in objects
    }
    users = {lines[index]: user for index, user in from_dicts.users.items()}
    assert {
        line: user for line, user in users.items() if not isinstance(expected.rows.get(line), str)
    } == expected.users


def objects_of(sample: Reading) -> Mapping[int, str]:
    """Return the lines that hold an object, by their numbers."""
    (file,) = find_files(sample.path)
    with file.open_text() as stream:
        lines = stream.read().decode().replace("\ufeff", "").splitlines()
    return {number: line for number, line in enumerate(lines, 1) if _is_object(line)}


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
