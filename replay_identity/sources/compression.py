"""Read bytes that are compressed with gzip, Zstandard, bzip2 or xz, or that are in a zip archive."""

import bz2
import importlib
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from ..errors import ConfigurationError, SourceError

HEAD: Final = 64 * 1024
_CUT_OFF: Final = "is cut off: its compressed data ends too early"
_DAMAGED: Final = "is damaged: its compressed data is not valid"
MAX_LAYERS: Final = 3

# The longest mark that a file of some kind begins with. A program that writes row by row would wait for its first row
# to be read if more were needed.
_LONGEST_MARK: Final = 16
_ZIP: Final = re.compile(rb"PK(\x03\x04|\x05\x06)")
_ENCRYPTED: Final = 0x1
# Some programs for Windows write the other one.
_SLASH: Final = re.compile(r"[/\\]")
_WORKBOOK: Final = "xl/workbook.xml"
_OTHER_DOCUMENTS: Final = frozenset(
    {"xl/workbook.bin", "word/document.xml", "ppt/presentation.xml", "mimetype", "Index/Document.iwa"}
)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecompressor:
    """zlib's decompressor for gzip, with the interface that those of bzip2, xz and Zstandard have."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        content = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = len(content) < max_length
        return content


@attrs.frozen
class _Compression:
    """A kind of compression: the mark at its start, its decompressor, and what that raises."""

    mark: re.Pattern[bytes]
    decompressor: Callable[[], _Decompressor]
    error: Callable[[], type[Exception]]


def _zstd() -> Any:  # noqa: ANN401  # A module that mypy cannot find in every version of Python.
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        hint = "install it with: pip install 'replay-identity[files]'"
        raise ConfigurationError("source", "Zstandard needs backports.zstd, which is not installed", hint) from None


_COMPRESSIONS: Final[Sequence[_Compression]] = (
    _Compression(re.compile(rb"\x1f\x8b\x08"), _GzipDecompressor, lambda: zlib.error),
    _Compression(
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        lambda: _zstd().ZstdDecompressor(),
        lambda: _zstd().ZstdError,
    ),
    _Compression(re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"), bz2.BZ2Decompressor, lambda: OSError),
    _Compression(re.compile(rb"\xfd7zXZ\x00"), lzma.LZMADecompressor, lambda: lzma.LZMAError),
)


class _Chunks(io.RawIOBase):
    """A raw stream of the chunks that a function returns."""

    def __init__(self, read: Callable[[], Any], name: str) -> None:
        super().__init__()
        self._read = read
        self._name = name
        self._rest = b""
        self._is_first = True

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:  # noqa: ANN401  # The type has no name before Python 3.12.
        chunk = self._rest or self._next()
        size = min(len(chunk), len(target))
        target[:size] = chunk[:size]
        self._rest = chunk[size:]
        return size

    def _next(self) -> bytes:
        chunk = self._checked()
        if self._is_first:
            self._is_first = False
            while chunk and len(chunk) < _LONGEST_MARK and b"\n" not in chunk and (more := self._checked()):
                chunk += more
        return chunk

    def _checked(self) -> bytes:
        try:
            chunk = self._read()
        except (OSError, ValueError) as error:
            raise SourceError(self._name, read_problem(error)) from None  # Its text may quote the file.
        if isinstance(chunk, bytes):
            return chunk
        if isinstance(chunk, str):
            raise SourceError(self._name, "expected a binary stream, got a text stream; open the file in binary mode")
        raise SourceError(self._name, "expected a stream that waits for its content, got one that does not block")


def buffer(read: Callable[[], Any], name: str) -> io.BufferedReader:
    """Return a stream of the chunks that *read* returns until one is empty.

    Its methods raise a SourceError if `read` does, after they have returned what came before.
    """
    return io.BufferedReader(_Chunks(read, name), HEAD)


def read_problem(error: Exception) -> str:
    """Return why a file cannot be read. The text of *error* is not used: it may quote the file or its address."""
    strerror = error.strerror if isinstance(error, OSError) and isinstance(error.errno, int) else None
    return f"cannot be read: {strerror or type(error).__name__}"


def decompress(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    """Return a stream of what is compressed in *stream*, or *stream* itself if it begins as no compressed file does.

    Raises:
        SourceError: The content is compressed too many times.
        ConfigurationError: A package for it is not installed.
    """
    for _ in range(MAX_LAYERS + 1):
        head = stream.peek()
        compression = next((known for known in _COMPRESSIONS if known.mark.match(head)), None)
        if compression is None:
            return stream
        stream = buffer(partial(next, _decompressed(stream, compression, name), b""), name)
    raise SourceError(name, f"is compressed more than {MAX_LAYERS} times")


def _decompressed(stream: io.BufferedReader, compression: _Compression, name: str) -> Iterator[bytes]:
    """Yield the content of one compressed stream after the other, as `cat a.gz b.gz` makes them."""
    decompressor, data, is_inside = compression.decompressor(), b"", False
    while True:
        if not data and decompressor.needs_input:
            data = stream.read1(HEAD)
        if not is_inside:
            data = data.lstrip(b"\0")  # Tapes and xz fill up with these.
        if not data and decompressor.needs_input:
            break
        is_inside = True
        try:
            content = decompressor.decompress(data, HEAD)
        except compression.error():
            raise SourceError(name, _DAMAGED) from None
        data = b""
        if content:
            yield content
        if decompressor.eof:
            data, decompressor, is_inside = decompressor.unused_data, compression.decompressor(), False
    if is_inside:
        raise SourceError(name, _CUT_OFF)


def is_zip(head: bytes) -> bool:
    """Return True if *head* is the start of a zip archive, which an Excel workbook is, too."""
    return _ZIP.match(head) is not None


@attrs.frozen
class Archive:
    """A zip archive.

    Attributes:
        path: Path of the archive.
        name: Shown name of the archive.
    """

    path: Path
    name: str

    def members(self) -> list[zipfile.ZipInfo] | None:
        """Return the files in the archive, ordered by name, or None if it is an Excel workbook.

        What macOS adds to archives is left out.

        Raises:
            SourceError: The archive is damaged, encrypted, or a document of another program.
        """
        with self._opened() as archive:
            names = set(archive.namelist())
            if _WORKBOOK in names:
                return None
            if names & _OTHER_DOCUMENTS:
                raise SourceError(self.name, "is a document of an office program; save it as .xlsx or CSV")
            members = [member for member in archive.infolist() if not _is_ignored(member)]
        if any(member.flag_bits & _ENCRYPTED for member in members):
            raise SourceError(self.name, "is protected by a password; unpack it first")
        if not members:
            raise SourceError(self.name, "holds no files")
        return sorted(members, key=lambda member: member.filename)

    @contextmanager
    def open(self, member: zipfile.ZipInfo, name: str) -> Generator[io.BufferedReader]:
        """Open *member*, which is shown as *name*.

        Raises:
            SourceError: The member is damaged; also raised while it is read.
        """
        # An archive whose member is still open would leave its file open as well.
        with self._opened() as archive, closing(_member_chunks(archive, member, name)) as chunks:
            yield buffer(partial(next, chunks, b""), name)

    @contextmanager
    def _opened(self) -> Generator[zipfile.ZipFile]:
        try:
            archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError):
            raise SourceError(self.name, "is cut off or damaged: it has no valid list of its files") from None
        except OSError as error:
            raise SourceError(self.name, read_problem(error)) from None
        with archive:
            yield archive


def _member_chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Generator[bytes]:
    try:
        with archive.open(member) as stream:
            while chunk := stream.read(HEAD):
                yield chunk
    except NotImplementedError:
        raise SourceError(name, "is compressed in a way that Python cannot read; compress it with gzip") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        is_damage = not isinstance(error, OSError) or error.errno is None
        raise SourceError(name, _DAMAGED if is_damage else read_problem(error)) from None


def _is_ignored(member: zipfile.ZipInfo) -> bool:
    """Return True for folders, and for what macOS adds: all else is read or refused, hidden files as well."""
    parts = _SLASH.split(member.filename)
    return member.is_dir() or "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")
