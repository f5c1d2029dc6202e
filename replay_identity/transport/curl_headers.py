"""Headers as libcurl takes them and as it gives them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from .wire import HEADERS

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~]*")


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return *headers* as libcurl takes them.

    Raises:
        ValueError: A name or a value has a character that would end the line or that HTTP does not know.
    """
    # A name with nothing after the colon is a header that libcurl would add and must not.
    lines = ["expect:"]
    if "content-type" not in headers:
        lines.append("content-type:")
    for name, value in ({"user-agent": HEADERS["user-agent"]} | dict(headers)).items():
        lines.append(f"{checked_token(name)}: {_checked(_VALUE, value)}" if value else f"{checked_token(name)};")
    return lines


def checked_token(text: str) -> str:
    """Return *text* if it is a token, as a method and a header's name are; else raise ValueError."""
    return _checked(_TOKEN, text)


def _checked(form: re.Pattern[str], text: str) -> str:
    if form.fullmatch(text) is None:
        raise ValueError("a method, a header name or a header value has a character that HTTP does not allow there")
    return text


@attrs.define(eq=False)
class Headers(Mapping[str, str]):
    """The headers of an answer, read when somebody asks for one: of a success nobody does."""

    _lines: Sequence[bytes] = attrs.field(repr=False)
    _read: dict[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = read_headers(self._lines)
        return self._read

    def __getitem__(self, name: str) -> str:
        """Return the value of one header."""
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all())


def read_headers(lines: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of the answer among *lines*, in lower case, those that repeat joined with commas.

    Before it may stand interim answers and a proxy's own, each from a status line to an empty line; after it trailers.
    """
    headers: dict[str, str] = {}
    is_open = False
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers, is_open = {}, True
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            is_open = False
        elif is_open:
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
