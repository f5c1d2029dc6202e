"""Exceptions for the caller's mistakes. What a vendor responds is an outcome, not an exception.

::

    ReplayIdentityError
    ├── ConfigurationError      a setting is missing or invalid
    ├── InvalidTraitsError      a value is not valid in a `UserTraits`
    ├── SourceError             a source of users cannot be read at all
    ├── LedgerError             the ledger cannot be read or written
    ├── NotAcceptedError        one backend did not accept the user; always inside an IdentifyError
    └── IdentifyError           raised by `IdentifyReport.raise_for_status`: a group of NotAcceptedError

No message contains a trait value, a user id or a key. Messages name the field or the setting instead.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Self

import attrs

MAX_SHOWN: Final = 100
_URL: Final = re.compile(
    r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:@\[\]\\]*)(:[0-9]*)?", re.IGNORECASE)
URL_HINT: Final = "write a URL as protocol://user:password@host/path, and / ? # @ in a password as %2F %3F %23 %40"
# Their URLs have no password, and their files may have an @ in the name.
_WITHOUT_PASSWORD: Final = frozenset({"s3", "s3a", "gs", "gcs", "file", "memory"})
# What a mistyped URL or the settings of a connection have, and hardly any name of a file.
_MAY_BE_SECRET: Final = re.compile(
    r"://|:(?! ).*@|^[\w+.-]+//.*@|\?[\w.-]+=|(password|passwd|pwd|secret|token)\s*=", re.IGNORECASE | re.DOTALL
)


def shown_source(name: str) -> str:
    """Return the *name* of a source without user, password and settings: of a URL the protocol, host and path at most.

    Where a password may have characters that a URL must not have, or if the URL is mistyped, nothing of it is shown.
    """
    url = _URL.fullmatch(name)
    if url is None:
        return "…" if _MAY_BE_SECRET.search(name) else name
    protocol, authority, path = url["protocol"], url["authority"], url["path"]
    hosts = authority.rpartition("@")[2]
    can_have_password = ":" in authority or protocol.lower() not in _WITHOUT_PASSWORD
    if (can_have_password and "@" in path + url["rest"]) or not all(map(_HOST.fullmatch, hosts.split(","))):
        return f"{protocol}://…"
    return printable(f"{protocol}://{hosts}{path}")


class ReplayIdentityError(Exception):
    """Base class of every exception that this library raises."""


@attrs.frozen
class ConfigurationError(ReplayIdentityError):
    """A setting is missing or invalid.

    The text is ``setting: problem; hint``, for example
    ``only: expected a set of names, got a string; write only={"plan"}``.

    Attributes:
        setting: Name of the argument, environment variable or path in the configuration file.
        problem: What is wrong, without the value.
        hint: What to do about it, as an imperative.
    """

    setting: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return _message(self.setting, self.problem, self.hint)


@attrs.frozen
class InvalidTraitsError(ReplayIdentityError):
    """A field of a user is invalid.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        problem: What is wrong, without the value.
        hint: What to set so that such a value is accepted, or an empty string.
    """

    path: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return _message(self.path, self.problem, self.hint)


@attrs.frozen
class SourceError(ReplayIdentityError):
    """A source of users cannot be read.

    Attributes:
        source: Name of the file, or URL without the user, the password and the settings.
        problem: What is wrong, without the file's content.
    """

    source: str = attrs.field(converter=shown_source)
    problem: str

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


@attrs.frozen
class LedgerError(ReplayIdentityError):
    """The ledger cannot be read or written.

    Attributes:
        path: Path of the ledger's file.
        problem: What is wrong.
        hint: What to do about it, as an imperative.
    """

    path: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return _message(self.path, self.problem, self.hint)


@attrs.frozen
class NotAcceptedError(ReplayIdentityError):
    """One backend did not accept a user.

    Attributes:
        backend: Name of the backend.
        outcome: Name of its outcome, for example ``Unavailable``.
        problem: The outcome in one sentence, without values.
    """

    backend: str
    outcome: str
    problem: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.outcome}: {self.problem}"


class IdentifyError(ReplayIdentityError, ExceptionGroup[NotAcceptedError]):
    """A required backend did not accept the user. Holds one NotAcceptedError per such backend."""

    def derive(self, excs: Sequence[NotAcceptedError], /) -> Self:  # type: ignore[override]
        """Return a group of *excs* of this class; `except*` and `split` need it."""
        return type(self)(self.message, excs)


def check_positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    """Validate an attrs field: raise ConfigurationError unless *value* is None or greater than 0."""
    if value is not None and not value > 0:  # Written so that NaN fails too.
        raise ConfigurationError(attribute.name, "expected a number greater than 0")


def printable(name: str) -> str:
    """Return a trait *name* that is safe in any message: at most 100 characters, no control characters."""
    shown = name[: MAX_SHOWN + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in shown)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 1]}…"


def _message(subject: str, problem: str, hint: str) -> str:
    return f"{subject}: {problem}; {hint}" if hint else f"{subject}: {problem}"
