"""Files of other machines, by their URL."""

import gzip
import io
import logging
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import pytest
import trustme
from support.servers import responding, serving, silent_port, tls_for

from replay_identity.errors import ConfigurationError, SourceError
from replay_identity.sources import read_users, remote
from replay_identity.sources.files import SourceFile, find_files

CSV: Final = b"user_id,plan\nu1,pro\n"
SECRET: Final = "canary-7Q"

MEMORY: Final[Any] = import_module("fsspec").filesystem("memory")


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    """The file system in memory is one for the whole process."""
    yield
    MEMORY.store.clear()
    MEMORY.pseudo_dirs[:] = [""]


def put(**files: bytes) -> None:
    """Write files to the file system in memory; a double underscore is a slash, a single one a dot."""
    for name, content in files.items():
        MEMORY.pipe_file("/" + name.replace("__", "/").replace("_", "."), content)


def text(file: SourceFile) -> bytes:
    """Return the whole text of a file."""
    with file.open_text() as stream:
        return stream.read()


def response(content: bytes, status: str = "200 OK") -> bytes:
    """Return the response of a web server."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@pytest.mark.parametrize("content", [CSV, gzip.compress(CSV, mtime=0), CSV.decode().encode("utf-16")])
def test_reads_a_file_of_a_web_server(content: bytes) -> None:
    """As a file on this machine; each time it is transferred in one request."""
    with serving(lambda _: response(content)) as server:
        (file,) = find_files(f"{server.url}/users.csv?key={SECRET}")

        assert text(file) == CSV

    assert (file.name, file.format) == (f"{server.url}/users.csv", "csv")
    assert file.is_rereadable
    assert server.request_lines == [f"GET /users.csv?key={SECRET} HTTP/1.1"] * 2


@pytest.mark.parametrize("name", ["users.csv", "users.csv?key=a", "*.csv"])
def test_ids_of_a_url_are_not_read_beforehand(name: str) -> None:
    """It would be transferred once more."""
    rows = read_users(f"memory://{name}")

    assert list(rows.read_ids()) == []


def test_sends_escaped_urls_as_they_are() -> None:
    """Such a URL may be signed."""
    with serving(lambda _: response(CSV)) as server:
        assert find_files(f"{server.url}/a%20b.csv?signature=a%2Fb")
        assert find_files(f"{server.url}/a b*.csv")

    assert [line.split()[1] for line in server.request_lines] == ["/a%20b.csv?signature=a%2Fb", "/a%20b*.csv"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (response(b"", "404 Not Found"), "cannot be read: No such file"),
        (response(SECRET.encode(), "403 Forbidden"), "cannot be read: HTTP 403"),
        (response(b"<html><body>Log in</body></html>"), "is an HTML page"),
        (None, "cannot be read: Server"),
    ],
)
def test_reports_what_a_web_server_responds(content: bytes | None, problem: str) -> None:
    """Without the secrets of the URL."""
    with serving(lambda _: content) as server, pytest.raises(SourceError, match=problem) as caught:
        find_files(f"{server.url.replace('//', f'//user:{SECRET}@')}/users.csv?key={SECRET}")

    assert caught.value.source == f"{server.url}/users.csv"
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_reports_a_connection_that_ends_too_early() -> None:
    """It is not taken for the end of the file. How many rows are read before depends on the HTTP client."""
    with (
        responding(response(CSV * 9_999)[:-9]) as url,
        pytest.raises(SourceError, match="is cut off: the connection ended too early"),
    ):
        text(find_files(f"{url}/users.csv")[0])


def test_reports_a_server_that_never_responds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer may take long, but not without a byte."""
    monkeypatch.setattr(remote, "SILENCE", 0.01)

    with silent_port() as port, pytest.raises(SourceError, match="cannot be read: timed out"):
        find_files(f"http://127.0.0.1:{port}/users.csv")


def test_refuses_a_certificate_that_is_not_trusted() -> None:
    """As every client does."""
    with (
        serving(lambda _: response(CSV), tls_for(trustme.CA())) as server,
        pytest.raises(SourceError, match="cannot be read: ClientConnectorCertificateError"),
    ):
        find_files(f"{server.url}/users.csv")


def test_names_no_secrets_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Unless the caller asks fsspec for details."""
    caplog.set_level(logging.INFO)
    with serving(lambda _: response(b"", "403 Forbidden")) as server, pytest.raises(SourceError):
        find_files(f"{server.url}/users.csv?key={SECRET}")

    assert SECRET not in caplog.text


def test_pattern_names_several_remote_files() -> None:
    """They are ordered by name."""
    put(data__b_csv=CSV, data__a_csv_gz=gzip.compress(CSV), data__c_jsonl=b"")

    files = find_files("memory://data/*.csv*")

    assert [(file.name, text(file)) for file in files] == [
        ("memory:///data/a.csv.gz", CSV),
        ("memory:///data/b.csv", CSV),
    ]


def test_a_pattern_skips_no_remote_folder() -> None:
    """Spark writes a folder of files under the name of one."""
    put(data__a_csv=CSV, data__b_csv__x_csv=CSV)

    with pytest.raises(SourceError, match=r"memory:///data/b\.csv: is a folder that the pattern matches"):
        find_files("memory://data/*.csv")
    assert [file.name for file in find_files("memory://data/**")] == [
        "memory:///data/a.csv",
        "memory:///data/b.csv/x.csv",
    ]


@pytest.mark.parametrize("protocol", ["http", "HTTP", "Http"])
def test_a_protocol_may_be_written_in_capitals(protocol: str) -> None:
    """As in the URLs that people copy."""
    with serving(lambda _: response(CSV)) as server:
        (file,) = find_files(server.url.replace("http", protocol, 1) + "/users.csv")

        assert text(file) == CSV


def test_existing_remote_file_wins_over_the_pattern() -> None:
    """As one on this machine does."""
    MEMORY.pipe_file("/a[1].csv", CSV)

    assert text(find_files("memory://a[1].csv")[0]) == CSV


def test_reads_a_remote_archive() -> None:
    """It is copied to this machine."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("u.csv", CSV)
        writer.writestr("README.txt", b"")
    put(users_zip=archive.getvalue())

    (file,) = find_files("zip://u.csv::memory://users.zip")

    assert (file.name, file.is_rereadable, text(file)) == ("memory://users.zip: u.csv", True, CSV)


def test_remote_file_is_copied() -> None:
    """For a reader that needs a file on this machine."""
    content = b"PAR1\x15" + bytes(9)
    put(u_parquet=content)

    with find_files("memory://u.parquet")[0].open_local() as local:
        assert local.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://no.csv", "cannot be read: No such file"),
        ("memory://no*.csv", "matches no files"),
        ("memory:///", "is a folder; write a pattern"),
        (f"mysql://user:{SECRET}@host/app", r"is a database; read it with a query \(--sql\)"),
        (f"nothing://user:{SECRET}@host/x.csv", "has an unknown protocol"),
        (f"simplecache://x::https://user:{SECRET}@host/x.zip", "expected a URL with one protocol"),
        ("http://127.0.0.1:1/x.csv", "cannot be read: Connection refused"),
        (f"ftp://user:{SECRET}@127.0.0.1:1/x.csv", "cannot be read: Connection refused"),
    ],
)
def test_reports_urls_that_cannot_be_opened(url: str, problem: str) -> None:
    """At once."""
    with pytest.raises(SourceError, match=problem) as caught:
        find_files(url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (TimeoutError(SECRET), "cannot be read: timed out"),
        (PermissionError(13, SECRET), "cannot be read: Permission denied"),
        (OSError(SECRET), "cannot be read: OSError"),
        (RuntimeError(SECRET), "cannot be read: RuntimeError"),
    ],
)
def test_text_of_an_error_is_not_quoted(monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str) -> None:
    """A library may quote the URL with its keys."""
    put(u_csv=CSV)

    def failing(*_: object, **__: object) -> None:
        raise error

    for method, url in (("open", "memory://u.csv"), ("glob", "memory://*.csv"), ("info", "memory://u.csv")):
        monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{method}", failing)
        with pytest.raises(SourceError, match=f": {problem}$"):
            find_files(url)


@pytest.mark.parametrize(
    ("url", "module", "packages"),
    [
        ("s3://bucket/u.csv", "s3fs", "s3fs"),
        ("gs://bucket/u.csv", "gcsfs", "gcsfs"),
        ("https://host/u.csv", "aiohttp", "'replay-identity[files]'"),
        ("s3://bucket/u.csv", "fsspec", "'replay-identity[files]'"),
    ],
)
def test_names_the_missing_package_of_a_protocol(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, packages: str
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match="needs a package that is not installed") as caught:
        find_files(url)

    assert caught.value.hint == f"install it with: pip install {packages}"


def test_package_of_a_rare_protocol_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documentation of fsspec knows it."""
    monkeypatch.setitem(sys.modules, "requests", None)

    with pytest.raises(ConfigurationError) as caught:
        find_files("github://owner/u.csv")

    assert caught.value.hint == "see the documentation of fsspec"
