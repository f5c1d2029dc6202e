"""Open files of other machines by their URL, through fsspec."""

import glob
import importlib
import io
import os
import re
import ssl
from collections.abc import Collection, Generator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import unquote

import attrs

from ..errors import ConfigurationError, SourceError, shown_source
from .compression import HEAD, buffer

# The files in it would be left out in silence.
MATCHED_FOLDER: Final = "is a folder that the pattern matches; write a pattern for the files in it"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)
URL_SETTINGS: Final = re.compile(r"[?#].*", re.DOTALL)

_EXTRA: Final = "'replay-identity[files]'"
# The package that opens the files of a protocol.
_PACKAGES: Final[Mapping[str, str]] = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hdfs": "pyarrow",
    "http": _EXTRA,
    "https": _EXTRA,
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "ssh": "paramiko",
}
_DATABASES: Final = frozenset({"postgresql", "postgres", "sqlite", "mysql", "duckdb", "snowflake", "bigquery"})
_WEB: Final = frozenset({"http", "https"})
# Seconds without a byte. A large file may take as long as it needs.
SILENCE: Final = 60


def is_url(source: str) -> bool:
    """Return True if *source* is the URL of a file on another machine."""
    return _URL.match(source) is not None


@attrs.frozen
class RemoteContent:
    """A file on another machine.

    Attributes:
        name: Its URL without anything secret.
        file_name: Its path, which may end in the suffix of a format.
        is_rereadable: Whether it can be read more than once, which transfers it once more.
    """

    filesystem: Any = attrs.field(repr=False)
    address: str = attrs.field(repr=False)
    name: str
    file_name: str
    path: None = None
    is_rereadable: bool = True

    @contextmanager
    def open(self) -> Generator[io.BufferedReader]:
        """Open the file.

        Raises:
            SourceError: It cannot be opened; also raised while it is read.
        """
        # One request for the whole file. Else each block is one, and a missing block passes for the end of the file.
        options = {"block_size": 0, "size": 1} if _protocol(self.name) in _WEB else {}
        try:
            file = self.filesystem.open(self.address, "rb", **options)
        except Exception as error:  # noqa: BLE001  # Each library behind fsspec raises its own.
            raise SourceError(self.name, _problem(error)) from None

        def read() -> object:
            try:
                return file.read(HEAD)
            except Exception as error:  # noqa: BLE001  # As above.
                raise SourceError(self.name, _problem(error)) from None

        with closing(file):
            yield buffer(read, self.name)


def find_remote(url: str) -> list[RemoteContent]:
    """Return the file at *url*, or the files that match it as a pattern, ordered by name.

    Raises:
        SourceError: The protocol is unknown, or no file matches the pattern.
        ConfigurationError: A package for the protocol is not installed.
    """
    name = shown_source(url)
    filesystem, address = _filesystem(url, name)
    if _protocol(url) in _WEB:  # Web servers do not list their files, and a question mark begins the query.
        return [RemoteContent(filesystem, address, name, unquote(URL_SETTINGS.sub("", url)))]
    try:
        is_pattern = glob.has_magic(address) and not filesystem.exists(address)
        found = filesystem.glob(address, detail=True) if is_pattern else {address: filesystem.info(address)}
    except Exception as error:  # noqa: BLE001  # Each library behind fsspec raises its own.
        raise SourceError(name, _problem(error)) from None
    folders = sorted(match for match, details in found.items() if details["type"] == "directory")
    matches = sorted(found.keys() - set(folders))
    if not matches:
        raise SourceError(name, "matches no files" if is_pattern else "is a folder; write a pattern for its files")
    if folders and not matches_all_below(address):
        raise SourceError(shown_source(filesystem.unstrip_protocol(folders[0])), MATCHED_FOLDER)
    names = [shown_source(filesystem.unstrip_protocol(match)) for match in matches] if is_pattern else [name]
    return [RemoteContent(filesystem, match, shown, match) for match, shown in zip(matches, names, strict=True)]


def matches_all_below(pattern: str) -> bool:
    """Return True if *pattern* also matches the files in each folder that it matches."""
    *_, above, last = ("", *pattern.split("/"))
    return last == "**" or (above, last) == ("**", "*")


def _filesystem(url: str, name: str) -> tuple[Any, str]:
    """Return what opens the files of a protocol, and the address of *url* there."""
    protocol = _protocol(url)
    url = f"{protocol}{url[len(protocol) :]}"
    if "::" in url:
        raise SourceError(name, "expected a URL with one protocol")
    try:
        fsspec = importlib.import_module("fsspec")
        _check_protocol(protocol, fsspec.available_protocols(), name)
        # A URL with escaped characters may be signed, so it is sent as it is.
        options = {"client_kwargs": _web_settings(), "encoded": "%" in url} if protocol in _WEB else {}
        filesystem, address = fsspec.url_to_fs(url, skip_instance_cache=True, **options)
    except ImportError as error:
        missing = _EXTRA if error.name == "fsspec" else _PACKAGES.get(protocol)
        hint = f"install it with: pip install {missing}" if missing else "see the documentation of fsspec"
        raise ConfigurationError("source", f"{protocol} needs a package that is not installed", hint) from None
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001  # Each library behind fsspec raises its own.
        raise SourceError(name, _problem(error)) from None
    return filesystem, address


def _check_protocol(protocol: str, known: Collection[str], name: str) -> None:
    if protocol in _DATABASES:
        raise SourceError(name, "is a database; read it with a query (--sql)")
    if protocol not in known:
        raise SourceError(name, "has an unknown protocol; write for example https, s3 or gs")


def _web_settings() -> dict[str, Any]:
    """Return the settings of the HTTP client. It uses the proxy that the environment names."""
    aiohttp = importlib.import_module("aiohttp")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    return {"timeout": timeout, "trust_env": True}


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _problem(error: Exception) -> str:
    """Return why a file cannot be read. The text of *error* is not used: it may quote the URL with its keys."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"cannot be read: HTTP {status}"
    if isinstance(error, FileNotFoundError):
        return "cannot be read: No such file"
    if isinstance(error, TimeoutError):
        return "cannot be read: timed out"
    if type(error).__name__ == "ClientPayloadError":
        return "is cut off: the connection ended too early"
    # OpenSSL has its own numbers, and so has the search for the address of a name.
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    return f"cannot be read: {os.strerror(number) if number and number > 0 else type(error).__name__}"
