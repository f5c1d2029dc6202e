"""The two classes of pycurl that we use, described for the type checkers: it has no type hints of its own."""

from collections.abc import Sequence
from typing import Protocol


class Easy(Protocol):
    """`pycurl.Curl`, in part."""

    def setopt(self, option: int, value: object, /) -> None:
        """Tell it one thing; it remembers."""
        ...

    def unsetopt(self, option: int, /) -> None:
        """Forget one thing, a built-in default among them."""
        ...

    def getinfo(self, info: int, /) -> int:
        """Ask about the last answer."""
        ...


class Multi(Protocol):
    """`pycurl.CurlMulti`, in part."""

    def add_handle(self, easy: Easy, /) -> None:
        """Begin a request."""
        ...

    def remove_handle(self, easy: Easy, /) -> None:
        """End a request."""
        ...

    def perform(self) -> object:
        """Send and read what can be without waiting."""
        ...

    def select(self, timeout: float, /) -> object:
        """Wait for a socket."""
        ...

    def info_read(self) -> tuple[int, Sequence[Easy], Sequence[tuple[Easy, int, str]]]:
        """Return what has ended: well, and otherwise with an error's number and its text."""
        ...

    def close(self) -> None:
        """Free it and its connections."""
        ...
