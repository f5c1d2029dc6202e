"""The exceptions, which are for the caller's mistakes; what a vendor answers is an outcome, not an exception.

::

    ReplayIdentityError
    ├── ConfigurationError      a setting is missing or cannot be used
    ├── InvalidTraitsError      a value cannot be a user's trait at any vendor
    ├── SourceError             a file of users cannot be read at all
    ├── LedgerError             the ledger cannot be read or written
    ├── NotAcceptedError        one backend did not take the user (only inside an IdentifyError)
    └── IdentifyError           what `IdentifyReport.raise_for_status` raises: a group of NotAcceptedError

No message quotes a trait value, a user id or a key: they name the field or the setting instead.
"""

from collections.abc import Sequence
from typing import Any, Self

import attrs


class ReplayIdentityError(Exception):
    """Be the root of everything this library raises."""


@attrs.frozen
class ConfigurationError(ReplayIdentityError):
    """Say which setting cannot be used, why, and what to do.

    Attributes:
        setting: Name of the argument, environment variable or path in the configuration file.
        problem: What is wrong with it, without its value.
        hint: What to do next.
    """

    setting: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}" + (f" ({self.hint})" if self.hint else "")


def check_positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    """Raise ConfigurationError unless *value* is greater than 0 or None, as a validator of attrs."""
    if value is not None and not value > 0:  # Written so that NaN fails too.
        raise ConfigurationError(attribute.name, "must be greater than 0")


@attrs.frozen
class InvalidTraitsError(ReplayIdentityError):
    """Say which field of a user cannot be used, and why.

    Attributes:
        path: Dotted path of the field, for example ``traits.company.size``.
        problem: What is wrong with it, without its value.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


@attrs.frozen
class SourceError(ReplayIdentityError):
    """Say why a file of users cannot be read.

    Attributes:
        source: Name of the file.
        problem: What is wrong with it, without its content.
    """

    source: str
    problem: str

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


@attrs.frozen
class LedgerError(ReplayIdentityError):
    """Say why the ledger cannot be used.

    Attributes:
        path: The file.
        problem: What is wrong with it.
        hint: What to do next.
    """

    path: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" + (f" ({self.hint})" if self.hint else "")


@attrs.frozen
class NotAcceptedError(ReplayIdentityError):
    """Say which backend did not take a user, and why.

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
    """Gather what the required backends did not accept, one NotAcceptedError each."""

    def derive(self, excs: Sequence[NotAcceptedError], /) -> Self:  # type: ignore[override]
        """Return a group like this one of *excs*, as `except*` needs it."""
        return type(self)(self.message, excs)


def printable(name: str) -> str:
    """Return a trait *name* that is safe in any message: at most 100 characters, no control characters."""
    shown = name[: MAX_SHOWN + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in shown)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 1]}…"


MAX_SHOWN = 100
