"""Finding the files of a source, and opening each as text or as a local file."""

import bz2
import gc
import gzip
import io
import lzma
import os
import stat
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.sources.encoding import likely_encoding
from replay_identity.sources.files import Format, SourceFile, find_files

CSV: Final = b"user_id,plan\nu1,pro\n"
LINES: Final = b'{"user_id": "u1"}\n'
CANARY: Final = b"canary-7Q"


def gzip_compress(content: bytes) -> bytes:
    """Return *content* compressed with gzip, without the time of now: it would change the names of tests."""
    return gzip.compress(content, mtime=0)


def zstd_compress(content: bytes) -> bytes:
    """Return *content* compressed with Zstandard."""
    zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    compressed = zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: True})  # As the command does.
    assert isinstance(compressed, bytes)
    return compressed


COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    ".gz": gzip_compress,
    ".zst": zstd_compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of *members*."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, compression)  # Without the time of now.
    return archive.getvalue()


WORKBOOK: Final = zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""})


def find(source: Any, *, format: Format | None = None, encoding: str | None = None) -> SourceFile:  # noqa: A002
    """Return the only file of a source."""
    (file,) = find_files(source, format=format, encoding=encoding)
    return file


def text(file: SourceFile) -> bytes:
    """Return the whole text of a file."""
    with file.open_text() as stream:
        return stream.read()


def incompressible(size: int) -> bytes:
    """Return lines that hardly get smaller, so that a file is larger than one chunk."""
    return b"".join(b"%s\n" % os.urandom(16).hex().encode() for _ in range(size // 33))


@pytest.mark.parametrize(
    ("name", "expected", "delimiter"),
    [
        ("u.jsonl", "jsonl", None),
        ("u.NDJSON", "jsonl", None),
        ("u.json", "json", None),
        ("u.csv", "csv", None),
        ("u.TSV", "csv", "\t"),
        ("u.psv", "csv", "|"),
        ("u.sql", "sql", None),
        ("u.tsv.gz", "csv", "\t"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_suffix_says_format_and_delimiter(
    tmp_path: Path, name: str, expected: str, delimiter: str | None, kind: type
) -> None:
    """Suffixes of compression are looked through, whether the file is compressed or not."""
    path = write(tmp_path / name, CSV)

    file = find(kind(path))

    assert (file.name, file.format, file.delimiter, file.is_rereadable) == (str(path), expected, delimiter, True)
    assert text(file) == CSV


@pytest.mark.parametrize("name", ["users.txt", "users", "users.gz", "users.xls"])
def test_unknown_suffix_needs_a_format(tmp_path: Path, name: str) -> None:
    """A given format overrides the suffix."""
    path = write(tmp_path / name, CSV)

    with pytest.raises(
        SourceError, match=r"expected a name ending in \.jsonl, .*; or set format to one of jsonl, .* \(--format\)"
    ):
        find(path)
    assert find(path, format="csv").format == "csv"
    assert find(path, format="jsonl").delimiter is None


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", ["users.csv{}", "users.csv"])
def test_reads_compressed_files(tmp_path: Path, suffix: str, name: str) -> None:
    """The first bytes say how a file is compressed, whatever its name is."""
    content = CSV + incompressible(300_000)
    path = write(tmp_path / name.format(suffix), COMPRESSIONS[suffix](content))

    file = find(path)

    assert (file.format, file.is_compressed, file.is_rereadable) == ("csv", True, True)
    assert text(file) == text(file) == content


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_reads_concatenated_compressed_files(tmp_path: Path, suffix: str) -> None:
    """Programs that compress in parallel write one stream after the other, and some fill up with zeros."""
    compress = COMPRESSIONS[suffix]
    path = write(tmp_path / "users.csv", compress(CSV) + compress(b"u2,free\n") + bytes(8))

    assert text(find(path)) == CSV + b"u2,free\n"


def test_reads_zstandard_with_a_skippable_frame(tmp_path: Path) -> None:
    """Parallel programs begin with one."""
    path = write(tmp_path / "users.csv", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd_compress(CSV))

    assert text(find(path)) == CSV


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_content_that_expands_a_lot_is_read_in_chunks(tmp_path: Path, suffix: str) -> None:
    """The content of a small file does not have to fit into memory at once."""
    size = 64 * 1024 * 1024
    path = write(tmp_path / "users.csv", COMPRESSIONS[suffix](bytes(size)))

    with find(path).open_text() as stream:
        assert len(stream.read1(1 << 30)) <= 64 * 1024
        assert sum(map(len, iter(lambda: stream.read(1 << 20), b""))) >= size - 64 * 1024


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_reports_a_cut_off_file_after_its_rows(tmp_path: Path, suffix: str) -> None:
    """The rows before the end are read."""
    content = incompressible(2_000_000)
    compressed = COMPRESSIONS[suffix](content)
    path = write(tmp_path / f"users.csv{suffix}", compressed[: -len(compressed) // 4])

    with find(path).open_text() as stream:
        first = stream.readline()
        with pytest.raises(SourceError, match="is cut off"):
            list(stream)

    assert content.startswith(first)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_reports_a_damaged_file(tmp_path: Path, suffix: str) -> None:
    """Damage is not taken for the end of the file."""
    damaged = bytearray(COMPRESSIONS[suffix](incompressible(300_000)))
    damaged[len(damaged) // 2] ^= 0xFF
    path = write(tmp_path / f"users.csv{suffix}", bytes(damaged))

    with find(path).open_text() as stream, pytest.raises(SourceError, match="is damaged"):
        stream.read()


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_what_follows_compressed_content_is_not_ignored(tmp_path: Path, suffix: str) -> None:
    """It may be the damaged start of more rows."""
    path = write(tmp_path / f"users.csv{suffix}", COMPRESSIONS[suffix](CSV) + CANARY * 100)

    with find(path).open_text() as stream, pytest.raises(SourceError, match="is damaged"):
        list(stream)


@given(st.binary(), st.lists(st.sampled_from(sorted(COMPRESSIONS)), min_size=1, max_size=3))
def test_any_content_survives_compression(content: bytes, suffixes: list[str]) -> None:
    """In a file and in a stream."""
    content = b"user_id\n" + content
    compressed = content
    for suffix in suffixes:
        compressed = COMPRESSIONS[suffix](compressed)

    assert text(find(io.BytesIO(compressed), format="csv", encoding="utf-8")) == content


@given(st.data())
def test_chunks_of_a_stream_do_not_matter(data: st.DataObject) -> None:
    """A pipe gives the content in any pieces, and a decoder gets them so."""
    content = TEXT.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32-be"])))
    compressed = data.draw(st.sampled_from([bytes, *COMPRESSIONS.values()]))(content)
    rest = io.BytesIO(compressed)

    class Pieces:
        def read(self, _: int) -> bytes:
            return rest.read(data.draw(st.integers(16, 40)))

    assert text(find(Pieces(), format="csv")).decode() == TEXT


def test_compression_is_nested_a_few_times(tmp_path: Path) -> None:
    """A file cannot make the reader look deeper and deeper."""
    content = CSV
    for _ in range(3):
        content = gzip_compress(content)
    assert text(find(write(tmp_path / "a.csv", content))) == CSV

    path = write(tmp_path / "b.csv", gzip_compress(content))
    with pytest.raises(SourceError, match="is compressed more than 3 times"):
        find(path)


def test_names_the_missing_package_of_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in an extra."""
    path = write(tmp_path / "users.csv.zst", zstd_compress(CSV))
    for name in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigurationError) as caught:
        find(path)

    assert caught.value.hint == "install it with: pip install 'replay-identity[files]'"


def test_pattern_names_several_files(tmp_path: Path) -> None:
    """They are ordered by name."""
    (tmp_path / "a").mkdir()
    for name in ("users-2.csv", "users-1.csv", "users-3.jsonl", "a/users-0.csv.gz"):
        write(tmp_path / name, CSV)

    flat = find_files(tmp_path / "users-*.csv")
    deep = find_files(f"{tmp_path}/**/users-*.csv*")

    assert [file.name for file in flat] == [f"{tmp_path}/users-1.csv", f"{tmp_path}/users-2.csv"]
    assert [Path(file.name).name for file in deep] == ["users-0.csv.gz", "users-1.csv", "users-2.csv"]


def test_a_pattern_skips_no_folder(tmp_path: Path) -> None:
    """Spark writes a folder of files under the name of one."""
    (tmp_path / "users-2.csv").mkdir()
    paths = [write(tmp_path / name, CSV) for name in ("users-1.csv", "users-2.csv/part-1.csv")]

    for pattern in ("users-*.csv", "**/users-*.csv"):
        with pytest.raises(SourceError, match=r"users-2\.csv: is a folder that the pattern matches"):
            find_files(f"{tmp_path}/{pattern}")
    for pattern in ("**", "**/*", "**/*-1.csv"):
        assert [file.name for file in find_files(f"{tmp_path}/{pattern}")] == list(map(str, paths))


def test_existing_file_wins_over_the_pattern(tmp_path: Path) -> None:
    """A browser names a second download like this."""
    write(tmp_path / "users1.csv", CSV)
    path = write(tmp_path / "users[1].csv", CSV)

    assert [file.name for file in find_files(path)] == [str(path)]


def test_list_names_several_sources(tmp_path: Path) -> None:
    """Each of them may be of any kind, and they keep their order."""
    paths = [write(tmp_path / name, CSV) for name in ("b.csv", "a.csv")]

    files = find_files([*paths, io.BytesIO(LINES), f"{tmp_path}/a*.csv"])

    assert [file.format for file in files] == ["csv", "csv", "jsonl", "csv"]
    assert [file.name for file in files] == [*map(str, paths), "stream", str(paths[1])]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("no.csv", "No such file"), ("no*.csv", "matches no files"), ("", "Is a directory"), ("a\0.csv", "ValueError")],
)
def test_missing_file_is_reported_at_once(tmp_path: Path, name: str, problem: str) -> None:
    """No other file has been read by then."""
    stream = io.BytesIO(LINES)

    with pytest.raises(SourceError, match=problem):
        find_files([stream, f"{tmp_path}/{name}"])

    assert stream.tell() == 0


def test_unreadable_file_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, which can read everything."""
    path = write(tmp_path / "users.csv", CSV)

    def denied(*_: object) -> io.FileIO:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(io, "FileIO", denied)

    with pytest.raises(SourceError, match=r"users\.csv: cannot be read: Permission denied$"):
        find_files(path)


def test_file_that_disappears_is_reported(tmp_path: Path) -> None:
    """It was there when the files were searched for."""
    path = write(tmp_path / "users.csv", CSV)
    file = find(path)
    path.unlink()

    with pytest.raises(SourceError, match="cannot be read: No such file"), file.open_text():
        pass


def test_empty_list_is_refused() -> None:
    """A shell may expand a variable to nothing."""
    with pytest.raises(ConfigurationError, match="at least one file"):
        find_files([])


def test_standard_input_is_read_only_once() -> None:
    """The second would be empty."""
    with pytest.raises(ConfigurationError, match="standard input can be read only once"):
        find_files(["-", Path("-")])


@pytest.mark.parametrize(
    ("content", "expected"),
    [(LINES, "jsonl"), (b" \n[" + LINES + b"]", "json"), (b"\xef\xbb\xbf[]", "json"), (b"", "jsonl")],
)
def test_standard_input_is_json_lines_or_an_array(
    monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str
) -> None:
    """Its content says which."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    file = find("-")

    assert (file.name, file.format, file.is_rereadable) == ("standard input", expected, False)
    assert text(file) == content


def test_closed_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell closes it with `<&-`."""
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(SourceError, match="standard input: is closed"):
        find("-")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_standard_input_may_be_compressed(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The same as a file may."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(COMPRESSIONS[suffix](CSV * 30_000))))

    assert text(find("-", format="csv")) == CSV * 30_000


def test_stream_is_read_as_it_comes() -> None:
    """A program that writes rows slowly has its first row read before it writes the second."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb", buffering=0) as target:
        target.write(b'{"id"')  # The first bytes do not say what the file is.
        threading.Timer(0.05, target.write, [b':"1"}\n']).start()
        with find(source).open_text() as stream:
            first = stream.readline()

            target.write(LINES)
            assert (first, stream.readline()) == (b'{"id":"1"}\n', LINES)


def test_streams_stay_open(tmp_path: Path) -> None:
    """The caller closes them. A name that says the format is used."""
    path = write(tmp_path / "users.csv", CSV)

    with path.open("rb") as source:
        file = find(source)
        assert (file.name, file.format) == (str(path), "csv")
        assert text(file) == CSV
        assert not source.closed


def test_stream_without_buffer_is_read(tmp_path: Path) -> None:
    """Some have only `read`."""
    with write(tmp_path / "users.csv", CSV).open("rb", buffering=0) as source:
        assert text(find(source)) == CSV


def test_text_streams_are_refused() -> None:
    """They hide bytes that are not UTF-8."""
    with pytest.raises(SourceError, match="expected a binary stream, got a text stream; open the file in binary mode"):
        find_files(io.StringIO(CANARY.decode()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_streams_that_do_not_block_are_refused() -> None:
    """Nothing to read yet must not be taken for the end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    source, target = os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb")
    with source, target, pytest.raises(SourceError, match="does not block"):
        find(source)


def test_error_of_a_stream_is_not_quoted() -> None:
    """Its text may quote the content."""

    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, target: object, /) -> int:
            del target
            raise OSError(CANARY.decode())

    with pytest.raises(SourceError) as caught:
        find(io.BufferedReader(Failing()))

    assert str(caught.value) == "stream: cannot be read: OSError"


def test_named_pipe_is_opened_once(tmp_path: Path) -> None:
    """What was written would be lost if it were opened again."""
    path = tmp_path / "users.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[gzip_compress(CSV)])
    writer.start()

    file = find(path)

    assert (file.format, file.is_rereadable) == ("csv", False)
    assert text(file) == CSV
    writer.join()


def test_each_member_of_a_zip_archive_is_a_file(tmp_path: Path) -> None:
    """Members are ordered by name; folders and what macOS adds do not count."""
    members = {
        "b.csv": CSV,
        "a.jsonl": LINES,
        "c.csv.gz": gzip_compress(CSV),
        "folder/": b"",
        "folder/d.tsv": CSV,
        "__MACOSX/._b.csv": CANARY,
        ".DS_Store": CANARY,
        "folder/._d.tsv": CANARY,
        "./__MACOSX/x.csv": CANARY,
        r"__MACOSX\._x.csv": CANARY,
    }
    path = write(tmp_path / "users.zip", zipped(members))

    files = find_files(path)

    shown = [f"{path}: {name}" for name in ("a.jsonl", "b.csv", "c.csv.gz", "folder/d.tsv")]
    assert [file.name for file in files] == shown
    assert [file.format for file in files] == ["jsonl", "csv", "csv", "csv"]
    assert [text(file) for file in files] == [text(file) for file in files] == [LINES, CSV, CSV, CSV]
    assert all(file.is_rereadable for file in files)
    assert files[3].delimiter == "\t"


@pytest.mark.parametrize(
    "name", ["./a.csv", "../a.csv", "/a.csv", ".hidden.csv", ".folder/a.csv", "./.b/../a.csv", r".\a.csv", "a.csv/.csv"]
)
def test_no_member_of_an_archive_is_skipped(tmp_path: Path, name: str) -> None:
    """Programs write such names."""
    path = write(tmp_path / "users.csv.zip", zipped({name: CSV, "c.csv": CSV}))

    assert sorted(file.name for file in find_files(path)) == sorted([f"{path}: {name}", f"{path}: c.csv"])


@pytest.mark.parametrize("member", ["a/users.csv", "a/users*", "*s.csv", "[x].csv"])
def test_one_member_of_an_archive_can_be_chosen(tmp_path: Path, member: str) -> None:
    """The others are not looked at."""
    members = {
        "README.txt": CANARY,
        "[x].csv" if member == "[x].csv" else "a/users.csv": CSV,
        "x.bin": b"7z\xbc\xaf\x27\x1c",
    }
    path = write(tmp_path / "users.zip", zipped(members))

    (file,) = find_files(f"zip://{member}::{path}")

    assert (text(file), file.format, file.hint) == (CSV, "csv", "")


def test_a_chosen_archive_is_read_whole(tmp_path: Path) -> None:
    """A name is looked for in the outermost archive only."""
    path = write(tmp_path / "users.zip", zipped({"in.zip": zipped({"a.csv": CSV, "b.csv": CSV}), "README": CANARY}))

    assert [file.name for file in find_files(f"ZIP://in.zip::{path}")] == [
        f"{path}: in.zip: a.csv",
        f"{path}: in.zip: b.csv",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped({"a.csv": CSV, "b.csv": CSV}), r"users\.zip: holds no file u\.csv; found a\.csv, b\.csv$"),
        (zipped({f"{number:02}.csv": CSV for number in range(12)}), r"found 00\.csv, .*, 09\.csv and 2 more$"),
        (CSV, "is not a zip archive"),
        (WORKBOOK, "holds no file u.csv; found none"),
    ],
)
def test_reports_a_member_that_there_is_not(tmp_path: Path, content: bytes, problem: str) -> None:
    """The names of files may be shown."""
    with pytest.raises(SourceError, match=problem):
        find_files(f"zip://u.csv::{write(tmp_path / 'users.zip', content)}")


def test_a_bad_member_says_how_to_leave_it_out(tmp_path: Path) -> None:
    """An export has more files than the one with users."""
    path = write(tmp_path / "users.zip", zipped({"README.txt": CANARY, "users.csv": CSV}))

    with pytest.raises(SourceError, match=r"README\.txt: expected a name ending in") as caught:
        find_files(path)

    hint = "; the archive also holds users.csv: to read one file of it, write zip://users.csv:: before its name"
    assert str(caught.value).endswith(f"(--format){hint}")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_reads_each_compression_of_zip(tmp_path: Path, compression: int) -> None:
    """Python knows four."""
    path = write(tmp_path / "users.csv", zipped({"u.csv": CSV * 9_000}, compression))

    assert text(find(path)) == CSV * 9_000


def test_name_of_the_archive_may_say_the_format(tmp_path: Path) -> None:
    """The member of users.csv.zip may be called anything."""
    path = write(tmp_path / "users.csv.zip", zipped({"export": CSV}))

    assert find(path).format == "csv"


def zipped_again(archive: bytes) -> bytes:
    """Return an archive with another one."""
    return zipped({"inner.zip": archive})


@pytest.mark.parametrize("wrap", [bytes, gzip_compress, zipped_again])
@pytest.mark.parametrize("as_stream", [False, True])
def test_reads_archives_inside_others(tmp_path: Path, wrap: Callable[[bytes], bytes], *, as_stream: bool) -> None:
    """An archive that is not a file of its own is copied to a temporary file for as long as it is needed."""
    content = wrap(zipped({"u.csv": CSV}))
    source = io.BytesIO(content) if as_stream else write(tmp_path / "users.zip", content)

    file = find(source)

    assert text(file) == text(file) == CSV
    assert file.is_rereadable


def test_temporary_copy_of_an_archive_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there while a file needs it, and only its owner can read it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = find(io.BytesIO(zipped({"u.csv": CSV})))

    (copy,) = tmp_path.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert text(file) == CSV

    del file
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_archives_are_nested_a_few_times(tmp_path: Path) -> None:
    """There are archives that contain themselves."""
    content = CSV
    for _ in range(4):
        content = zipped({"a.zip": content})

    with pytest.raises(SourceError, match="is inside more than 3 archives"):
        find(write(tmp_path / "a.zip", content))


def encrypted() -> bytes:
    """Return an archive whose member is marked as encrypted."""
    content = bytearray(zipped({"u.csv": CSV}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def with_method(method: int) -> bytes:
    """Return an archive whose member is compressed with *method*."""
    content = bytearray(zipped({"u.csv": CSV}))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = method
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encrypted(), "is protected by a password"),
        (zipped({"u.csv": CSV})[:-30], "is cut off or damaged"),
        (zipped({}), "holds no files"),
        (zipped({"__MACOSX/a.csv": CSV, "b/": b""}), "holds no files"),
        (zipped({"word/document.xml": b""}), "is a document of an office program"),
        (zipped({"README.txt": CANARY}), r"users\.zip: README\.txt: expected a name ending in"),
        (with_method(9), "Python cannot read"),
    ],
)
def test_reports_archives_that_cannot_be_read(tmp_path: Path, content: bytes, problem: str) -> None:
    """Before any of their members is read."""
    path = write(tmp_path / "users.zip", content)

    with pytest.raises(SourceError, match=problem):
        find_files(path)


def damaged_member(change: Callable[[bytearray], None]) -> bytes:
    """Return an archive with a large member, the compressed bytes of which *change* alters."""
    content = bytearray(zipped({"u.csv": incompressible(300_000)}))
    change(content)
    return bytes(content)


def flip(content: bytearray) -> None:
    """Damage the middle."""
    content[len(content) // 2] ^= 0xFF


def flip_checksum(content: bytearray) -> None:
    """Damage the checksum in the archive's list of files."""
    content[content.index(b"PK\x01\x02") + 16] ^= 0xFF


def flip_header(content: bytearray) -> None:
    """Damage the header before the member, which gives its name again."""
    content[30] ^= 0x01


@pytest.mark.parametrize("change", [flip, flip_checksum, flip_header])
def test_reports_damaged_members(tmp_path: Path, change: Callable[[bytearray], None]) -> None:
    """Wherever the damage is."""
    path = write(tmp_path / "users.zip", damaged_member(change))

    with pytest.raises(SourceError, match=r"u\.csv: is damaged"):
        text(find(path))


def test_archive_that_disappears_is_reported(tmp_path: Path) -> None:
    """It was there when the files were searched for."""
    path = write(tmp_path / "users.zip", zipped({"u.csv": CSV}))
    file = find(path)
    path.unlink()

    with pytest.raises(SourceError, match="cannot be read: No such file"):
        text(file)


def tar() -> bytes:
    """Return a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        member = tarfile.TarInfo("u.csv")
        member.size = len(CSV)
        file.addfile(member, io.BytesIO(CSV))
    return archive.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"SQLite format 3\0" + CANARY, "SQLite database"),
        (bytes(8) + b"DUCK" + CANARY, "DuckDB database"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + CANARY, r"old Excel workbook \(\.xls\)"),
        (tar(), "tar archive"),
        (gzip_compress(tar()), "tar archive"),
        (b"7z\xbc\xaf\x27\x1c" + CANARY, "7z"),
        (b"Rar!\x1a\x07\x01" + CANARY, "RAR"),
        (b"\x04\x22\x4d\x18" + CANARY, "LZ4"),
        (b"%PDF-1.7\n" + CANARY, "PDF"),
        (rb"{\rtf1" + CANARY, "RTF"),
        (b"Obj\x01" + CANARY, "Avro"),
        (b"ORC\x01" + CANARY, "ORC"),
        (b"ARROW1\0\0" + CANARY, "Arrow"),
        (b"\n<!DOCTYPE html>" + CANARY, "HTML page"),
        (b"\xef\xbb\xbf<HTML lang=en>" + CANARY, "HTML page"),
        ('<?xml version="1.0"?>'.encode("utf-16") + CANARY, "XML"),
    ],
)
@pytest.mark.parametrize("format_", ["csv", "jsonl", None])
def test_says_what_a_file_without_rows_is(tmp_path: Path, content: bytes, problem: str, format_: Format | None) -> None:
    """A name or a format that says otherwise does not help."""
    path = write(tmp_path / "users.csv", content)

    with pytest.raises(SourceError, match=problem) as caught:
        find(path, format=format_)

    assert CANARY.decode() not in str(caught.value)


PARQUET: Final = b"PAR1\x15\x04" + bytes(20) + b"PAR1"


@pytest.mark.parametrize(("content", "expected"), [(PARQUET, "parquet"), (WORKBOOK, "xlsx")])
@pytest.mark.parametrize("name", ["users.csv", "users.parquet", "users.xlsx", "users"])
def test_content_says_binary_formats(tmp_path: Path, content: bytes, expected: Format, name: str) -> None:
    """Whatever the name is. A workbook is not an archive of files."""
    path = write(tmp_path / name, content)

    assert find(path).format == find(path, format=expected).format == expected
    with pytest.raises(SourceError, match=f"is {expected}, not csv"):
        find(path, format="csv")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("u.parquet", CSV, "is not a Parquet file"),
        ("u.xlsx", CSV, "is not an Excel workbook"),
        ("u.parquet", b"", "is empty"),
        ("u.xlsx.gz", gzip_compress(b""), "is empty"),
    ],
)
def test_content_must_be_as_the_name_says(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """A binary format cannot be anything else."""
    with pytest.raises(SourceError, match=problem):
        find(write(tmp_path / name, content))


def test_text_that_begins_like_parquet_is_text(tmp_path: Path) -> None:
    """A column may have such a name."""
    assert find(write(tmp_path / "u.csv", b"PAR1,id\n")).format == "csv"
    assert find(write(tmp_path / "v.csv", b"PAR1\nu1\n")).format == "csv"


def test_plain_file_is_local_already(tmp_path: Path) -> None:
    """It is not copied."""
    path = write(tmp_path / "u.parquet", PARQUET)

    with find(path).open_local() as local:
        assert local == path


@pytest.mark.parametrize(
    ("name", "content"),
    [("u.parquet.gz", gzip_compress(PARQUET)), ("u.zip", zipped({"u.parquet": PARQUET})), (None, PARQUET)],
)
def test_other_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, content: bytes
) -> None:
    """To a file that only its owner can read, and that is removed."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    source = io.BytesIO(content) if name is None else write(tmp_path / name, content)

    with find(source).open_local() as local:
        assert local.read_bytes() == PARQUET
        assert (local.suffix, local.parent) == (".parquet", folder)
        assert stat.S_IMODE(local.stat().st_mode) == 0o600

    assert not list(folder.iterdir())


def test_workbook_from_a_stream_is_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that was looked into is used."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = find(io.BytesIO(WORKBOOK))

    with file.open_local() as local:
        assert [local] == list(tmp_path.iterdir())


def test_damaged_file_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that is not complete is removed."""
    path = write(tmp_path / "u.parquet.gz", gzip_compress(PARQUET)[:-4])
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    with pytest.raises(SourceError, match="is cut off"), find(path).open_local():
        pass

    gc.collect()
    assert not list(folder.iterdir())


def test_copy_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    file = find(io.BytesIO(PARQUET))

    with pytest.raises(SourceError, match="cannot be copied to a temporary file: No such file"), file.open_local():
        pass


TEXT: Final = "user_id,name\nu1,Zoë\nu2,加藤\nu3,Анна\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("given", [None, "the same"])
def test_reads_unicode_with_a_mark(tmp_path: Path, encoding: str, given: str | None) -> None:
    """The encoding may be given, too."""
    path = write(tmp_path / "u.csv", TEXT.encode(encoding))

    content = text(find(path, encoding=given and encoding))

    assert content.decode("utf-8-sig") == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("given", [None, "family", "exact"])
def test_reads_unicode_without_a_mark(tmp_path: Path, encoding: str, given: str | None) -> None:
    """Where the zero bytes are says which it is."""
    path = write(tmp_path / "u.csv.gz", gzip_compress(TEXT.encode(encoding)))
    names = {None: None, "family": encoding[:6].upper(), "exact": encoding}

    assert text(find(path, encoding=names[given])).decode() == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_recognises_unicode_that_is_hardly_latin(tmp_path: Path, encoding: str) -> None:
    """Some characters, like the ideographic space, have the other byte zero."""
    rows = "id,氏名\n" + "12,加藤\u3000翔\n" * 9
    path = write(tmp_path / "u.csv", rows.encode(encoding))

    assert text(find(path)).decode() == rows


@pytest.mark.parametrize("content", [b"user_id\nu\x001\n", b"\0" * 100, b"\0", b"id\n\0\0\n", b"", b"\xff"])
def test_other_bytes_pass_as_they_are(tmp_path: Path, content: bytes) -> None:
    """A zero byte is not yet UTF-16. Rows report what is not UTF-8."""
    assert text(find(write(tmp_path / "u.csv", content))) == content


def test_unknown_byte_order_is_not_guessed(tmp_path: Path) -> None:
    """The error names the settings that say it."""
    path = write(tmp_path / "u.csv", "氏名".encode("utf-16-le"))

    with pytest.raises(SourceError, match="set encoding to utf-16-le or utf-16-be"):
        find(path, encoding="utf-16")


@pytest.mark.parametrize(
    ("marked", "given"), [("utf-8-sig", "windows-1252"), ("utf-16", "utf-8"), ("utf-32", "utf-16")]
)
def test_encoding_must_agree_with_the_mark(tmp_path: Path, marked: str, given: str) -> None:
    """The text would be garbled."""
    path = write(tmp_path / "u.csv", TEXT.encode(marked))

    with pytest.raises(SourceError, match="has the byte order mark of UTF"):
        find(path, encoding=given)


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("windows-1252", "id,name\nu1,Zoë\n"),
        ("CP1251", "id,name\nu1,Анна\n"),
        ("Shift_JIS", "id,name\nu1,加藤\n"),
        ("gb18030", "id,name\nu1,张伟\n"),
        ("iso2022_jp", "id,name\nu1,加藤\n"),
        ("mac-roman", "id,name\nu1,Zoë\n"),
    ],
)
def test_reads_any_encoding_that_is_given(tmp_path: Path, encoding: str, rows: str) -> None:
    """By any of its names, also where a character spans two chunks."""
    path = write(tmp_path / "u.csv", (rows * 9_999).encode(encoding))

    assert text(find(path, encoding=encoding)).decode() == rows * 9_999


@pytest.mark.parametrize("given", ["latin-1", "iso-8859-15", "L1"])
@pytest.mark.parametrize(
    ("written", "letters"), [("windows-1252", "5 \u20ac"), ("windows-1252", "\u2026"), ("utf-8", "\u00c0 \u00df")]
)
def test_control_characters_are_another_encoding(tmp_path: Path, given: str, written: str, letters: str) -> None:
    """In Latin-1 they would pass as text that nobody sees."""
    path = write(tmp_path / "u.csv", f"id,name\nu1,Zoe\nu2,{letters}\n".encode(written))

    with find(path, encoding=given).open_text() as stream:
        assert stream.readline() == b"id,name\n"
        with pytest.raises(SourceError, match=f"line 3 is not valid iso8859-.*; perhaps it is {written}"):
            stream.read()


@pytest.mark.parametrize("lines", [1, 2, 9_999])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_invalid_bytes_are_reported_with_their_line(tmp_path: Path, lines: int, end: str) -> None:
    """What comes before them is read."""
    before = f"u1,加藤{end}" * (lines - 1) + "u2,canary-7Q"
    path = write(tmp_path / "u.csv", before.encode("shift_jis") + b"\x81\xff" + end.encode() * 2)

    with find(path, encoding="shift_jis").open_text() as stream:
        read = [stream.readline() for _ in range(lines - 1)]
        with pytest.raises(SourceError, match=f"line {lines} is not valid shift_jis") as caught:
            stream.readline()

    assert b"".join(read).decode().replace("\r\n", "\n") == before.replace(end, "\n")[: -len("u2,canary-7Q")]
    assert "canary" not in str(caught.value)


def test_character_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    """The file ends inside of it."""
    path = write(tmp_path / "u.csv", "id\nu1".encode("utf-16")[:-1])

    with find(path).open_text() as stream, pytest.raises(SourceError, match=r"line 2 is not valid utf-16"):
        list(stream)


@pytest.mark.parametrize(
    ("encoding", "hint"),
    [
        ("windows1252x", "did you mean windows-1252?"),
        ("shift-jsi", "did you mean shift-jis?"),
        ("rot13", "write for example"),
        ("base64", "write for example"),
        ("punycode", "write for example"),
        ("a\0", "write for example"),
        ("", "write for example"),
    ],
)
def test_unknown_encoding_is_refused(encoding: str, hint: str) -> None:
    """So is one that is not of text."""
    with pytest.raises(ConfigurationError, match="is not an encoding of text") as caught:
        find(io.BytesIO(LINES), encoding=encoding)

    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("encoding", [None, "mac-roman"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id\ru1\r", b"id\nu1\n"),
        (b'id,bio\ru1,"a\nb"\r', b'id,bio\nu1,"a\nb"\n'),
        (b"id\r\nu1\r\n", b"id\r\nu1\r\n"),
        (b"id\n" + b"u\r1\r", b"id\n" + b"u\r1\r"),
        (b"id\r", b"id\r"),
    ],
)
def test_carriage_returns_alone_end_lines(
    tmp_path: Path, encoding: str | None, content: bytes, expected: bytes
) -> None:
    """Where no line ends otherwise, as old versions of Excel for Mac write them."""
    path = write(tmp_path / "u.csv", content)

    assert text(find(path, encoding=encoding)) == expected


def test_line_end_between_two_chunks_stays() -> None:
    """A carriage return at the end of what is there may be followed by a line feed."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb", buffering=0) as target:
        target.write(b'{"user_id": "u1"}\r')
        with find(source).open_text() as stream:
            target.write(b"\n")
            target.close()
            assert stream.read() == b'{"user_id": "u1"}\r\n'


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        ("u1,Zoë,pro", "windows-1252"),
        ("u1,José Peña,Málaga", "windows-1252"),
        ("u1,It\N{RIGHT SINGLE QUOTATION MARK}s €5", "windows-1252"),
        ("u1,Größe,Müßig", "windows-1252"),
        ("u1,Väätäinen", "windows-1252"),
        ("u1,Анна,про", "windows-1251"),
        ("u1,加藤,東京", "shift_jis"),
        ("u1,カトウ", "shift_jis"),
        ("u1,张伟,北京", "gb18030"),
        ("u1,陳大文,臺北", "big5"),
        ("user_id,name\nu1,Zoë", "utf-16"),
        ("user_id,name\nu1,Zoë", "utf-16-be"),
    ],
)
def test_likely_encoding_of_rows(rows: str, encoding: str) -> None:
    """One row is often enough."""
    assert likely_encoding(rows.encode(encoding)) == encoding


@pytest.mark.parametrize("content", [b"", b"u1,pro", "Zoë".encode(), "Zoë".encode()[:-1], b"\x81\x8d\xff\x8f"])
def test_likely_encoding_may_be_unknown(content: bytes) -> None:
    """UTF-8 has no other one, even if it is cut off inside a character."""
    assert likely_encoding(content) is None


def test_error_names_the_likely_encoding(tmp_path: Path) -> None:
    """The given one may be a mistake."""
    path = write(tmp_path / "u.csv", "id,name\nu1,Zoë\n".encode("windows-1252"))

    with pytest.raises(SourceError, match="line 2 is not valid ascii; perhaps it is windows-1252"):
        text(find(path, encoding="ascii"))
