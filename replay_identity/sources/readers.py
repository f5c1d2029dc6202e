"""Read users from a source of any supported format."""

import codecs
import glob
import io
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias, get_args

import attrs

from ..errors import ConfigurationError, SourceError
from ..mapping import Inference, RowMapping
from .conversion import RowConverter
from .csv_reader import csv_ids, csv_rows
from .database_reader import database_rows, is_database
from .excel_reader import excel_ids, excel_rows
from .files import Format, Source, SourceFile, find_files, split_member
from .frames import FrameLike, is_frame
from .json_reader import read_elements
from .jsonl_reader import element_rows, json_ids, json_rows
from .lines import line_chunks, read_lines
from .python_rows import RowLike, rows_of
from .remote import is_url
from .rows import BadRow, Row, Rows, SourceNotes

_QUERY: Final = "the query"
# Formats whose rows hold dates and times, not only text.
_WITH_DATETIMES: Final[frozenset[Format]] = frozenset({"parquet", "sql", "xlsx"})


def read_users(
    source: Source | Sequence[Source],
    *,
    format: Format | None = None,  # noqa: A002  # The name that callers expect.
    anonymous: bool = False,
    mapping: RowMapping | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    path: str | None = None,
) -> Rows[Row | BadRow]:
    """Return the users in a file or in several, which are read one by one, in constant memory.

    A row that is not a valid user is yielded as a BadRow. In JSON Lines each line is an object. In CSV all values are
    strings and an empty cell is ignored. Blank rows are skipped. Files may be compressed (gzip, Zstandard, bzip2, zip),
    and text may be UTF-8, UTF-16 or in *encoding*. Nothing is opened before the first row is requested. Of
    several files, the headers are all checked before it is returned.

    The ids in files can be read beforehand, so that `sync` merges all rows about a user. Standard input, a stream, a
    URL and a query are read only once.

    The columns of the user id, the name and the e-mail address are found without regard to case, spaces, ``_`` and
    ``-``; `Rows.notes` says which.

    Args:
        source: A file, a pattern for several such as ``users-*.csv``, a URL, ``-`` for standard input, a binary stream,
            which is not closed, or a list of these. An SQL file holds one query. All files in a zip archive are read;
            ``zip://users.csv::export.zip`` is one of them, or those that match a pattern.
        format: ``"jsonl"``, ``"json"``, ``"csv"``, ``"parquet"``, ``"xlsx"`` or ``"sql"``; by default chosen by the
            suffix and the content, and JSON Lines for a source without a name.
        anonymous: Whether to accept rows without an id as anonymous users. By default they are bad rows: usually the
            id has another name in the file, and each run would create all users at Fullstory again.
        mapping: Rules for the fields of a row; by default fields become traits under their own names.
        delimiter: The character between the cells of CSV; by default it is found in the header.
        encoding: Encoding of text by its name in Python, such as ``"windows-1252"``.
        path: Where the array of users is in a JSON document, such as ``"data.users"`` or ``"pages.0.users"``, or the
            sheet of a workbook.

    Raises:
        SourceError: A file cannot be read or decoded, or has no valid header; or the query fails.
        ConfigurationError: An argument is invalid, or an extra is not installed.
    """
    options = _Options(
        format=format, anonymous=anonymous, mapping=mapping, delimiter=delimiter, encoding=encoding, path=path
    )
    return _users_in(source, options)


def read_query(
    sql: str, database: str | Path | None = None, *, anonymous: bool = False, mapping: RowMapping | None = None
) -> Rows[Row | BadRow]:
    """Return the users that a query returns, in constant memory, as `read_users` does for a file.

    The query is one SELECT. Without a database, DuckDB runs it, and it may name files:
    ``SELECT * FROM 'users/*.parquet'``. Databases are opened read-only, no extension is loaded, and the time zone is
    UTC.

    Args:
        sql: The query, in the database's own SQL.
        database: A DuckDB or SQLite file, or a URL: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or
            ``postgresql://host/database``. By default the query reads only files that it names.
        anonymous: Whether to accept rows without an id as anonymous users.
        mapping: Rules for the columns; by default columns become traits under their own names.

    Raises:
        SourceError: The database cannot be opened, or the query fails.
        ConfigurationError: The extra ``warehouse``, or ``postgres`` for PostgreSQL, is not installed.
    """
    return _query_users(sql, database, _Options(anonymous=anonymous, mapping=mapping))


def read_converted(  # The arguments of `read_users` and `read_query`.
    converter_type: type[RowConverter],
    source: Source | Sequence[Source] | None,
    *,
    sql: str | None = None,
    format: Format | None = None,  # noqa: A002  # As in `read_users`.
    delimiter: str | None = None,
    encoding: str | None = None,
    path: str | None = None,
) -> Rows[Row | BadRow]:
    """Return the rows that a converter of another type makes of files, or of what the query *sql* returns.

    Raises:
        SourceError: As for `read_users` and `read_query`.
        ConfigurationError: An argument is invalid, or an extra is not installed.
    """
    options = _Options(format=format, delimiter=delimiter, encoding=encoding, path=path, converter_type=converter_type)
    if sql is None:
        if source is None:
            raise ConfigurationError("source", "expected files, or a query", "name a file, or pass sql")
        return _users_in(source, options)
    if options != _Options(converter_type=converter_type):
        hint = "leave out format, delimiter, encoding and path"
        raise ConfigurationError("sql", "a query names its files and says how to read them", hint)
    if source is not None and not isinstance(source, str | Path):
        raise ConfigurationError("source", "expected one database", "name the files in the query")
    return _query_users(sql, source, options)


def infer_mapping(
    rows: Iterable[Row | BadRow | RowLike | FrameLike] | FrameLike, *, mapping: RowMapping | None = None
) -> Inference:
    """Return the types inferred from the users in *rows*. Bad rows are ignored.

    Args:
        rows: What `read_users` or `read_rows` returned, or anything that `read_rows` can read.
        mapping: The mapping with which they were read, which the inferred one then extends.
    """
    inference = Inference(mapping or RowMapping())
    for row in rows_of(rows, anonymous=True):
        if isinstance(row, Row):
            inference.add(row.user, row.line)
    return inference


@attrs.frozen(kw_only=True)
class _Options:
    """How to read a source."""

    format: Format | None = None
    anonymous: bool = False
    mapping: RowMapping | None = None
    delimiter: str | None = None
    encoding: str | None = None
    path: str | None = None
    converter_type: type[RowConverter] = RowConverter

    def converter(self, source: str, notes: SourceNotes, *, has_datetimes: bool = False) -> RowConverter:
        """Return the converter of the rows of one file."""
        return self.converter_type(source, self.mapping, notes, anonymous=self.anonymous, has_datetimes=has_datetimes)


_Read: TypeAlias = Callable[[SourceFile, RowConverter, _Options], Iterator[Row | BadRow]]
_ReadIds: TypeAlias = Callable[[SourceFile, RowConverter, _Options], Iterator[str]]


def _users_in(source: Source | Sequence[Source], options: _Options) -> Rows[Row | BadRow]:
    if is_frame(source):  # Callers may not check types.
        raise ConfigurationError("source", "expected files, got a frame", "read it with read_rows")
    if options.format not in {None, *get_args(Format)}:
        raise ConfigurationError("format", f"expected one of {', '.join(get_args(Format))}")
    _check_delimiter(options.delimiter)
    notes = SourceNotes()
    return Rows(_read_users(source, options, notes), partial(_read_ids, source, options), notes)


def _query_users(sql: str, database: str | Path | None, options: _Options) -> Rows[Row | BadRow]:
    notes = SourceNotes()
    return Rows(_query_rows(sql, database, options, notes), notes=notes)


def _read_users(source: Source | Sequence[Source], options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    files = find_files(source, format=options.format, encoding=options.encoding)
    _check_options(files, options)
    if len(files) == 1:
        yield from _rows_of(files[0], options, notes)
        return
    # A file that cannot be read, or has no valid header, is an error before the users of another one are read.
    begun = [_begun(file, options, notes) for file in files]
    for file, rows in zip(files, begun, strict=True):
        for row in rows:
            yield attrs.evolve(row, file=file.name) if isinstance(row, BadRow) else row


def _rows_of(file: SourceFile, options: _Options, notes: SourceNotes) -> Generator[Row | BadRow]:
    converter = options.converter(file.name, notes, has_datetimes=file.format in _WITH_DATETIMES)
    yield from notes.watch(_ROWS[file.format](file, converter, options), file.name)
    converter.finish()


def _begun(file: SourceFile, options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    """Return the rows of *file* after reading the first one. A file that can be read again is closed until then."""
    try:
        return _begin(file, options, notes)
    except SourceError as error:
        raise SourceError(error.source, f"{error.problem}{file.hint}") from None


def _begin(file: SourceFile, options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    if file.is_rereadable and file.format in _IDS:
        with closing(_rows_of(file, options, SourceNotes())) as rows:
            next(rows, None)
        return _rows_of(file, options, notes)
    rows = _rows_of(file, options, notes)
    return chain(list(islice(rows, 1)), rows)


def _read_ids(source: Source | Sequence[Source], options: _Options) -> Iterator[str]:
    """Yield the user ids in *source* if it can be read again afterwards."""
    if not _are_files(source):
        return
    files = find_files(source, format=options.format, encoding=options.encoding)
    if not all(file.is_rereadable and file.format in _IDS for file in files):
        return
    # A file without ids is an error when its rows are read.
    lenient = attrs.evolve(options, anonymous=True)
    for file in files:
        converter = lenient.converter(file.name, SourceNotes(), has_datetimes=file.format in _WITH_DATETIMES)
        yield from _IDS[file.format](file, converter, options)


def _are_files(source: Source | Sequence[Source]) -> bool:
    """Return True if *source* names only files of this machine, or patterns for them.

    Of a pipe, even the first bytes can be read only once, and a URL would be transferred twice.
    """
    sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    files = [file for _, file in map(split_member, sources)]
    paths = [Path(each) for each in files if isinstance(each, str | Path) and not is_url(str(each))]
    return len(paths) == len(sources) and all(path.is_file() or glob.has_magic(str(path)) for path in paths)


def _check_options(files: Sequence[SourceFile], options: _Options) -> None:
    """Raise ConfigurationError for an option that applies to none of the *files*."""
    formats = {file.format for file in files}
    if options.delimiter is not None and "csv" not in formats:
        raise ConfigurationError("delimiter", "only CSV has a delimiter", "leave it out, or set format to csv")
    if options.encoding is not None and formats <= {"parquet", "xlsx"}:
        raise ConfigurationError("encoding", "only text has one", "leave it out")
    if options.path is not None and formats.isdisjoint({"json", "jsonl", "xlsx"}):
        raise ConfigurationError("path", "only JSON documents and workbooks have one", "leave it out")


def _check_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ConfigurationError("delimiter", "expected one character, and no quote or line break")


def _query_rows(sql: str, database: str | Path | None, options: _Options, notes: SourceNotes) -> Iterator[Row | BadRow]:
    converter = options.converter(_QUERY, notes, has_datetimes=True)
    if database is not None and is_database(database):
        rows = database_rows(sql, _QUERY, converter, database)
    else:
        path = None if database is None else Path(database)
        rows = _duckdb_reader().query_rows(sql, _QUERY, converter, path)
    yield from notes.watch(rows)
    converter.finish()


def _json_rows(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[Row | BadRow]:
    with file.open_text() as stream:
        if _has_lines(file, stream, options):
            yield from json_rows(read_lines(stream, file.name), converter)
        else:
            yield from element_rows(read_elements(stream, file.name, path=options.path), converter)


def _has_lines(file: SourceFile, stream: io.BufferedReader, options: _Options) -> bool:
    """Return True if *stream* is JSON Lines, which no array is, whatever the name of the file."""
    begins_array = stream.peek().removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    return file.format == "jsonl" and options.path is None and not begins_array


def _csv_rows(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[Row | BadRow]:
    with file.open_text() as stream:
        delimiter = options.delimiter or file.delimiter
        yield from csv_rows(read_lines(stream, file.name), file.name, converter, delimiter=delimiter)


def _parquet_rows(file: SourceFile, converter: RowConverter, _options: _Options) -> Iterator[Row | BadRow]:
    with file.open_local() as path:
        yield from _duckdb_reader().parquet_rows(path, file.name, converter)


def _excel_rows(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[Row | BadRow]:
    with file.open_local() as path:
        yield from excel_rows(path, file.name, converter, sheet=options.path)


def _sql_rows(file: SourceFile, converter: RowConverter, _options: _Options) -> Iterator[Row | BadRow]:
    with file.open_text() as stream:
        content = b"".join(line_chunks(stream))
    try:
        sql = content.decode()
    except UnicodeDecodeError:
        raise SourceError(file.name, "not valid UTF-8") from None  # The cause quotes the file.
    yield from _duckdb_reader().query_rows(sql, file.name, converter)


def _json_ids(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[str]:
    with file.open_text() as stream:
        if _has_lines(file, stream, options):
            yield from json_ids(line_chunks(stream), converter)
        else:
            elements = read_elements(stream, file.name, path=options.path)
            yield from json_ids((content for _, _, content in elements if content is not None), converter)


def _csv_ids(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[str]:
    with file.open_text() as stream:
        delimiter = options.delimiter or file.delimiter
        yield from csv_ids(read_lines(stream, file.name), file.name, converter, delimiter=delimiter)


def _excel_ids(file: SourceFile, converter: RowConverter, options: _Options) -> Iterator[str]:
    with file.open_local() as path:
        yield from excel_ids(path, file.name, converter, sheet=options.path)


def _parquet_ids(file: SourceFile, converter: RowConverter, _options: _Options) -> Iterator[str]:
    with file.open_local() as path:
        yield from _duckdb_reader().parquet_ids(path, file.name, converter)


_ROWS: Final[Mapping[Format, _Read]] = {
    "jsonl": _json_rows,
    "json": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "xlsx": _excel_rows,
    "sql": _sql_rows,
}
# A query may read a stream, so it is run only once.
_IDS: Final[Mapping[Format, _ReadIds]] = {
    "jsonl": _json_ids,
    "json": _json_ids,
    "csv": _csv_ids,
    "parquet": _parquet_ids,
    "xlsx": _excel_ids,
}


def _duckdb_reader() -> ModuleType:
    try:
        from . import duckdb_reader  # noqa: PLC0415  # CSV and JSON Lines must work without the extra.
    except ImportError as error:
        if error.name != "duckdb":
            raise
        hint = "install it with: pip install 'replay-identity[warehouse]'"
        raise ConfigurationError("format", "Parquet and SQL need DuckDB, which is not installed", hint) from None
    return duckdb_reader
