"""Find the files that a source names, and open each as UTF-8 text or as a file on this machine."""

import fnmatch
import glob
import io
import os
import re
import shutil
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal, TextIO, TypeAlias, get_args

import attrs

from ..errors import URL_HINT, ConfigurationError, SourceError, printable, shown_source
from .compression import HEAD, MAX_LAYERS, Archive, buffer, decompress, is_zip, read_problem
from .encoding import check_encoding, decode_head, to_utf8
from .remote import MATCHED_FOLDER, RemoteContent, find_remote, is_url, matches_all_below

Format: TypeAlias = Literal["jsonl", "json", "csv", "parquet", "xlsx", "sql"]

Source: TypeAlias = str | Path | IO[bytes]

STDIN: Final = "-"
_STDIN_NAME: Final = "standard input"
_DESCRIPTORS: Final = Path("/dev/fd")

_FORMATS: Final[Mapping[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".psv": "csv",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".sql": "sql",
}
_DELIMITERS: Final[Mapping[str, str]] = {".tsv": "\t", ".psv": "|"}
# Files of an archive that an error lists.
_MAX_LISTED: Final = 10
_COMPRESSED: Final = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip"})

# Files that begin with one of these have no rows that can be read.
_FOREIGN: Final[Sequence[tuple[re.Pattern[bytes], str]]] = (
    (re.compile(rb"SQLite format 3\0"), "is an SQLite database; read it with a query"),
    (re.compile(rb".{8}DUCK", re.DOTALL), "is a DuckDB database; read it with a query"),
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "is an old Excel workbook (.xls), or one with a password; save it as .xlsx or CSV",
    ),
    (re.compile(rb".{257}ustar", re.DOTALL), "is a tar archive; unpack it first"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "is a 7z archive; unpack it first"),
    (re.compile(rb"Rar!\x1a\x07"), "is a RAR archive; unpack it first"),
    (re.compile(rb"\x04\x22\x4d\x18"), "is compressed with LZ4; use gzip or Zstandard"),
    (re.compile(rb"%PDF-"), "is a PDF document; export the data as CSV"),
    (re.compile(rb"\{\\rtf"), "is a document with formatting (RTF); save it as plain text"),
    (re.compile(rb"Obj\x01"), "is an Avro file; convert it to Parquet or JSON Lines"),
    (re.compile(rb"ORC[^\x20-\x7e]"), "is an ORC file; convert it to Parquet"),
    (re.compile(rb"ARROW1\0\0|FEA1"), "is an Arrow file; convert it to Parquet"),
)
# No line of text goes on with a control character.
_PARQUET: Final = re.compile(rb"PAR[1E][^\x20-\x7e\r\n\t]")
_IN_ARCHIVE: Final = re.compile(r"zip://(.+?)::(.+)", re.IGNORECASE | re.DOTALL)
_HTML: Final = re.compile(r"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML: Final = re.compile(r"\s*<\?xml\b")


@attrs.frozen
class _LocalContent:
    """A file on this machine. *owner* is what keeps a temporary copy."""

    path: Path
    name: str
    file_name: str
    owner: object = None
    is_rereadable: bool = True

    @contextmanager
    def open(self) -> Generator[io.BufferedReader]:
        with _open(self.path, self.name) as stream:
            yield stream


@attrs.frozen
class _StreamContent:
    """A stream, which can be read only once."""

    stream: io.BufferedReader
    name: str
    file_name: str
    path: None = None
    is_rereadable: bool = False

    @contextmanager
    def open(self) -> Generator[io.BufferedReader]:
        yield self.stream


@attrs.frozen
class _MemberContent:
    """A file in a zip archive. *owner* is what keeps a temporary copy of the archive."""

    archive: Archive
    member: zipfile.ZipInfo
    name: str
    file_name: str
    owner: object
    path: None = None
    is_rereadable: bool = True

    def open(self) -> AbstractContextManager[io.BufferedReader]:
        return self.archive.open(self.member, self.name)


_Content: TypeAlias = _LocalContent | _StreamContent | _MemberContent | RemoteContent


@attrs.frozen(kw_only=True)
class SourceFile:
    """A file with rows.

    Attributes:
        name: Shown name, without anything secret.
        format: How the rows are written.
        delimiter: What separates the cells, if the name of the file says so.
        is_rereadable: Whether the file can be read more than once.
        content: Where its bytes come from.
        encoding: Encoding of its text as the caller gave it.
        is_compressed: Whether the bytes are compressed.
        hint: How to leave it out, if it is one of several files in an archive, or nothing.
    """

    name: str
    format: Format
    delimiter: str | None
    is_rereadable: bool
    content: _Content = attrs.field(repr=False)
    encoding: str | None = None
    is_compressed: bool = False
    hint: str = ""

    @contextmanager
    def open_text(self) -> Generator[io.BufferedReader]:
        """Open the text in UTF-8, with line feeds as line ends. It may begin with a byte order mark.

        Bytes that are not UTF-8 are passed on, unless the encoding was given or is UTF-16 or UTF-32.

        Raises:
            SourceError: The file cannot be opened; also raised while it is read.
        """
        with self.content.open() as stream:
            yield to_utf8(decompress(stream, self.name), self.encoding, self.name)

    @contextmanager
    def open_local(self) -> Generator[Path]:
        """Give the path of a file on this machine with the content, which is a temporary copy if it has to be.

        Raises:
            SourceError: The file cannot be read or copied.
        """
        if self.content.path is not None and not self.is_compressed:
            yield self.content.path
            return
        with self.content.open() as stream:
            copy = _copy(decompress(stream, self.name), self.name, f".{self.format}")
        try:
            yield copy.path
        finally:
            copy.remove()


def find_files(
    source: Source | Sequence[Source],
    *,
    format: Format | None = None,  # noqa: A002  # The name that callers expect.
    encoding: str | None = None,
) -> list[SourceFile]:
    """Return the files that *source* names, each with its format.

    Compressed files and zip archives are looked into, so a file is read up to its first 64 KiB.

    Args:
        source: A file, ``-`` for standard input, a pattern such as ``users-*.csv``, a URL, a stream,
            ``zip://users.csv::export.zip`` for a file in an archive, or a list of them.
        format: Format of all files; by default chosen by content and suffix, or JSON Lines for a stream without one.
        encoding: Encoding of text; by default UTF-8, or UTF-16 and UTF-32 where the file is in one of these.

    Raises:
        SourceError: A file does not exist, cannot be read, or is of a kind that cannot be read.
        ConfigurationError: The encoding is unknown, or a package for a file is not installed.
    """
    check_encoding(encoding)
    sources = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    if not sources:
        raise ConfigurationError("source", "expected at least one file, got an empty list")
    chosen = list(map(split_member, sources))
    if sum(_is_stdin(each) for _, each in chosen) > 1:
        raise ConfigurationError("source", "standard input can be read only once")
    expanded = [(_Search(format, encoding, member), path) for member, each in chosen for path in _expanded(each)]
    return [file for search, path in expanded for file in search.files(_content(path))]


def split_member(source: Source) -> tuple[str | None, Source]:
    """Return the file and the archive that a *source* such as ``zip://users.csv::export.zip`` names."""
    found = _IN_ARCHIVE.fullmatch(source) if isinstance(source, str) else None
    return (None, source) if found is None else (found[1], found[2])


@attrs.frozen
class _Copy:
    """A temporary file, which only its owner can read. It is removed when nothing refers to this any more."""

    path: Path
    remove: Callable[[], object] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "remove", weakref.finalize(self, self.path.unlink, missing_ok=True))


def _copy(stream: IO[bytes], name: str, suffix: str) -> _Copy:
    try:
        descriptor, path = tempfile.mkstemp(prefix="replay-identity-", suffix=suffix)
        copy = _Copy(Path(path))
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(stream, file, HEAD)
    except OSError as error:
        raise SourceError(name, f"cannot be copied to a temporary file: {error.strerror}") from None
    return copy


@attrs.frozen
class _Search:
    """What the caller said about files.

    Attributes:
        format: Format of all files.
        encoding: Encoding of their text.
        member: Name, or pattern for the names, of the files in an archive.
    """

    format: Format | None
    encoding: str | None
    member: str | None = None

    def files(self, content: _Content, archives: int = 0) -> Iterator[SourceFile]:
        """Yield the files in *content*, which is inside that many *archives*."""
        name = content.name
        with content.open() as stream:
            decompressed = decompress(stream, name)
            head = decompressed.peek()
            if not is_zip(head):
                if self.member is not None:
                    raise SourceError(name, "is not a zip archive")
                yield self._file(content, head, is_compressed=decompressed is not stream)
                return
            if content.path is not None and decompressed is stream:
                copy, path = None, content.path
            else:
                copy = _copy(decompressed, name, ".zip")
                path = copy.path
        yield from self._archived(_LocalContent(path, name, content.file_name, copy), archives + 1)

    def _archived(self, content: _LocalContent, archives: int) -> Iterator[SourceFile]:
        """Yield the files in a zip archive."""
        if archives > MAX_LAYERS:
            raise SourceError(content.name, f"is inside more than {MAX_LAYERS} archives")
        archive = Archive(content.path, content.name)
        members = archive.members()
        if self.member is not None:
            members = _chosen(members or [], self.member, content.name)
        if members is None:
            self._check_format("xlsx", content.name)
            yield self._source_file(content, "xlsx")
            return
        search = attrs.evolve(self, member=None)
        for member in members:
            # The member of users.csv.zip may be called anything.
            outer = _suffix(content.file_name)
            inner = member.filename if _suffix(member.filename) in _FORMATS else f"{member.filename}{outer}"
            shown = f"{content.name}: {printable(member.filename)}"
            hint = _choice(member, members)
            inside = _MemberContent(archive, member, shown, inner, content.owner)
            try:
                files = list(search.files(inside, archives))
            except SourceError as error:
                raise SourceError(error.source, f"{error.problem}{hint}") from None
            yield from (attrs.evolve(file, hint=hint) for file in files)

    def _file(self, content: _Content, head: bytes, *, is_compressed: bool) -> SourceFile:
        """Return the file with the decompressed content that begins with *head*."""
        for mark, problem in _FOREIGN:
            if mark.match(head):
                raise SourceError(content.name, problem)
        if _PARQUET.match(head):
            self._check_format("parquet", content.name)
            return self._source_file(content, "parquet", is_compressed=is_compressed)
        text = decode_head(head, self.encoding, content.name)
        format_ = self.format or _named_format(content, text)
        if format_ in {"parquet", "xlsx"}:
            kind = "a Parquet file" if format_ == "parquet" else "an Excel workbook"
            raise SourceError(content.name, f"is not {kind}" if head else "is empty")
        if _HTML.match(text):
            raise SourceError(content.name, "is an HTML page, perhaps one to log in; download the data itself")
        if _XML.match(text):
            raise SourceError(content.name, "is XML; save it as CSV or JSON Lines")
        return self._source_file(content, format_, is_compressed=is_compressed)

    def _check_format(self, format: Format, name: str) -> None:  # noqa: A002
        """Raise SourceError if the caller said that a file of this *format* has another one."""
        if self.format is not None and self.format != format:
            raise SourceError(name, f"is {format}, not {self.format}; leave format out")

    def _source_file(self, content: _Content, format: Format, *, is_compressed: bool = False) -> SourceFile:  # noqa: A002
        return SourceFile(
            name=content.name,
            format=format,
            delimiter=_DELIMITERS.get(_suffix(content.file_name)) if format == "csv" else None,
            is_rereadable=content.is_rereadable,
            content=content,
            encoding=self.encoding,
            is_compressed=is_compressed,
        )


def _chosen(members: Sequence[zipfile.ZipInfo], pattern: str, name: str) -> list[zipfile.ZipInfo]:
    """Return the *members* of the archive *name* that are called, or else match, *pattern*."""
    names = [member.filename for member in members]
    chosen = {pattern} if pattern in names else set(fnmatch.filter(names, pattern))
    if not chosen:
        raise SourceError(name, f"holds no file {printable(pattern)}; found {_listed(names) or 'none'}")
    return [member for member in members if member.filename in chosen]


def _choice(member: zipfile.ZipInfo, members: Sequence[zipfile.ZipInfo]) -> str:
    """Return how to choose others than *member* of the *members* of an archive."""
    others = [other.filename for other in members if other is not member]
    if not others:
        return ""
    example = next((other for other in others if _suffix(other) in _FORMATS), others[0])
    choice = f"write zip://{printable(example)}:: before its name"
    return f"; the archive also holds {_listed(others)}: to read one file of it, {choice}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"{', '.join(map(printable, names[:_MAX_LISTED]))}{more}"


def _expanded(source: Source) -> Iterator[Source | RemoteContent]:
    """Yield *source*, or the files that match it as a pattern. Local ones exist and can be opened."""
    if isinstance(source, str) and is_url(source):
        yield from find_remote(source)
        return
    if not isinstance(source, str | Path) or _is_stdin(source):
        yield source
        return
    pattern = str(source)
    is_pattern = glob.has_magic(pattern) and not os.path.lexists(pattern)
    paths = sorted(glob.glob(pattern, recursive=True)) if is_pattern else [pattern]  # noqa: PTH207
    folders = [path for path in paths if is_pattern and Path(path).is_dir()]
    paths = [path for path in paths if path not in folders]
    if shown_source(pattern) != pattern and not any(map(os.path.lexists, paths)):
        raise SourceError(pattern, f"is not the name of a file; {URL_HINT}")
    if not paths:
        raise SourceError(pattern, "matches no files")
    if folders and not matches_all_below(pattern):
        raise SourceError(folders[0], MATCHED_FOLDER)
    for path in paths:
        if Path(path).is_file() or Path(path).is_dir() or not Path(path).exists():  # A pipe can be opened only once.
            _open(path, path).close()
        yield path


def _content(source: Source | RemoteContent) -> _Content:
    """Return where the bytes of *source* come from."""
    if isinstance(source, RemoteContent):
        return source
    if not isinstance(source, str | Path):
        name: object = getattr(source, "name", None)
        return _stream_content(source, name if isinstance(name, str) else "stream")
    name = str(source)
    if name == STDIN:
        stdin: TextIO | None = sys.stdin  # None if it is closed.
        if stdin is None:
            raise SourceError(_STDIN_NAME, "is closed")
        return _stream_content(stdin.buffer, _STDIN_NAME)
    path = Path(name)
    # Outside Linux, /dev/stdin shares its position with standard input, even if that is a regular file.
    if path.is_file() and path.resolve().parent != _DESCRIPTORS:
        return _LocalContent(path, name, name)
    stream = _open(path, name)
    content = _stream_content(stream, name)
    weakref.finalize(content, stream.close)
    return content


def _open(path: str | Path, name: str) -> io.BufferedReader:
    try:
        return io.BufferedReader(io.FileIO(path), HEAD)
    except (OSError, ValueError) as error:
        raise SourceError(name, read_problem(error)) from None


def _stream_content(stream: IO[bytes], name: str) -> _StreamContent:
    """Return the content of *stream*. It is decompressed only once, because that takes from the stream."""
    read: Callable[[int], object] = getattr(stream, "read1", stream.read)
    return _StreamContent(decompress(buffer(lambda: read(HEAD), name), name), name, name)


def _is_stdin(source: Source) -> bool:
    return isinstance(source, str | Path) and str(source) == STDIN


def _named_format(content: _Content, text: str) -> Format:
    """Return the format that the name of a file says. The text decides only if it has no name."""
    suffix = _suffix(content.file_name)
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    if isinstance(content, _StreamContent):
        first = text.lstrip()[:1]
        if first not in {"", "{", "["}:
            problem = f"is not JSON; set format to one of {', '.join(get_args(Format))} (--format)"
            raise SourceError(content.name, problem)
        return "json" if first == "[" else "jsonl"
    known = ", ".join(_FORMATS)
    problem = f"expected a name ending in {known}; or set format to one of {', '.join(get_args(Format))} (--format)"
    raise SourceError(content.name, problem)


def _suffix(name: str) -> str:
    """Return the suffix of *name* that says the format, in lower case."""
    path = PurePosixPath(name.lower())
    while path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix
