"""Find the ends of JSON values in a stream, by their brackets and quotes."""

import codecs
import json
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import IO, Any, Final, TypeAlias

import attrs

from ..errors import SourceError
from .lines import MAX_LINE, TOO_LONG

# The numbers of the first and the last line, and the bytes of an element, or None if it is longer than `MAX_LINE`.
Element: TypeAlias = tuple[int, int, bytes | None]

_CHUNK: Final = 1024 * 1024
# How much of a value is scanned strictly, which takes about ten times as much memory.
_MAX_STRICT: Final = 4 * _CHUNK
# The length of -Infinity.
_MAX_LITERAL: Final = 9

# The bytes of UTF-8 that are not the first one of a character.
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s,:"\[\]{}]*+')
# What stands between two brackets. Python's `re` passes over it faster than the scanner of `json`, which builds values.
_BETWEEN: Final = rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+'
_RUN: Final = re.compile(_BETWEEN, re.DOTALL)


def _brackets(inner: bytes) -> bytes:
    return rb"(?:\{" + _BETWEEN + inner + rb"\}|\[" + _BETWEEN + inner + rb"\])"


def _any_number(pattern: bytes) -> bytes:
    return rb"(?:" + pattern + _BETWEEN + rb")*+"


# An object or array whose values are nested at most two levels deep.
_SHALLOW: Final = re.compile(_brackets(_any_number(_brackets(_any_number(_brackets(b""))))), re.DOTALL)
# What the end of a stream may leave of a literal, a number or an escape.
_CUT_OFF: Final = re.compile(
    rb"t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|N(?:a)?|-?(?:I(?:n(?:f(?:i(?:n(?:it?)?)?)?)?)?)?"
    rb"|\.|[eE][+-]?|\\?u?[0-9a-fA-F]{0,4}"
)
NEXT_OBJECT: Final = re.compile(rb"[ \t\r\n]*+(?=\{)")
COMMA_AND_OBJECT: Final = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")
_decoder: Final[Any] = json.JSONDecoder(parse_int=str, parse_float=str)


class ScanFault(Enum):
    """Why a value has no end."""

    INVALID = auto()
    CUT_OFF = auto()
    TOO_LONG = auto()


@attrs.define
class JsonText:
    """The part of a stream that is in memory, and a position in it.

    Attributes:
        stream: The rest of the stream.
        source: Name of the file.
        buffer: The bytes in memory.
        position: Index of the next byte.
        line: Number of the line at *counted*.
        counted: Index in the buffer up to which line breaks are counted.
        columns: Number of characters on the first line of the buffer that are no longer in memory.
        last_line: Number of the last line of the last element, or 0.
        has_own_lines: Whether each element so far was alone on its line, as in JSON Lines.
    """

    stream: IO[bytes]
    source: str
    buffer: bytes = b""
    position: int = 0
    line: int = 1
    counted: int = 0
    columns: int = 0
    last_line: int = 0
    has_own_lines: bool = True

    def grow(self) -> bool:
        """Read more, and forget what is before the position. Return False at the end of the stream."""
        self.line_at(self.position)
        self.columns = self._column(self.position) - 1
        rest = self.buffer[self.position :]
        try:
            # As much as there is, so that the time for an element is linear in its length.
            chunk = self.stream.read(max(_CHUNK, len(rest)))
        except (OSError, ValueError) as error:
            # A ValueError may quote content, for example from a stream that decodes.
            raise SourceError(self.source, f"cannot be read: {type(error).__name__}") from None
        if not isinstance(chunk, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SourceError(
                self.source, "expected a binary stream that waits for bytes; open the file in binary mode"
            )
        self.buffer, self.position, self.counted = rest + chunk, 0, 0
        return bool(chunk)

    def line_at(self, index: int) -> int:
        """Return the number of the line at *index*, which is at or after the last one asked for."""
        self.line += self.buffer.count(b"\n", self.counted, index)
        self.counted = index
        return self.line

    def peek(self) -> bytes:
        """Return the next byte that is not white space, or nothing at the end of the stream."""
        while True:
            self.position = _end(_SPACE.match(self.buffer, self.position))
            if self.position < len(self.buffer) or not self.grow():
                return self.buffer[self.position : self.position + 1]

    def peek_document(self) -> bytes:
        """Return the first byte of the next document, without a byte order mark."""
        while self.peek() == codecs.BOM_UTF8[:1]:
            while len(self.buffer) - self.position < len(codecs.BOM_UTF8) and self.grow():
                pass
            if not self.buffer.startswith(codecs.BOM_UTF8, self.position):
                break
            self.position += len(codecs.BOM_UTF8)
        return self.peek()

    def take(self, expected: bytes) -> bool:
        """Return True if the next byte is *expected*, and move behind it."""
        is_next = self.peek() == expected
        self.position += is_next
        return is_next

    def name(self) -> str:
        """Return the name of a member of an object, and move to its value."""
        if self.peek() != b'"':
            raise self.unexpected()
        end = self.find_end()
        if isinstance(end, ScanFault):
            raise self.error(end)
        quoted = self.buffer[self.position : end]
        self.position = end
        if not self.take(b":"):
            raise self.unexpected()
        self.peek()
        try:
            return str(json.loads(quoted))
        except ValueError:
            return quoted.decode(errors="replace")

    def members(self) -> Iterator[str]:
        """Yield the name of each member of the object at the position, which is then at the value to be consumed."""
        self.position += 1
        if self.take(b"}"):
            return
        yield self.name()
        while self.take(b","):
            yield self.name()
        if not self.take(b"}"):
            raise self.unexpected()

    def items(self) -> Iterator[str]:
        """Yield the index of each element of the array at the position, which is then at the value to be consumed."""
        self.position += 1
        if self.take(b"]"):
            return
        index = 0
        while True:
            if self.peek() in {b"", b"]"}:
                raise self.unexpected()
            yield str(index)
            index += 1
            if self.take(b"]"):
                return
            if not self.take(b","):
                raise self.unexpected()

    def element(self) -> Element:
        """Return the value at the position, and move behind it."""
        first = self.line_at(self.position)
        end = self.find_end()
        start = self.position
        if end is ScanFault.TOO_LONG and self.strict_fault() is None:
            self.skip()
            content = None
        elif isinstance(end, ScanFault):
            raise self.error(ScanFault.INVALID if end is ScanFault.TOO_LONG else end)
        else:
            content = self.buffer[start:end] if end - start <= MAX_LINE else None
            self.position = end
        last = self.line_at(self.position)
        self.note_lines(first, last)
        return first, last, content

    def note_lines(self, first: int, last: int) -> None:
        """Remember the lines of an element."""
        self.has_own_lines = self.has_own_lines and self.last_line < first == last
        self.last_line = last

    def rest_of_line(self) -> Element:
        """Return what is left of the line as an element, and move to its end, after `is_broken_line`."""
        start, end = self.position, self.buffer.find(b"\n", self.position)
        if end < 0:
            end = len(self.buffer)
        if end - start > MAX_LINE:
            raise self.unexpected()
        self.position = end
        self.last_line = self.line_at(start)
        return self.last_line, self.last_line, self.buffer[start:end]

    def objects(self, find_next: "re.Pattern[bytes]") -> Iterator[Element]:
        """Yield the ordinary objects in memory that another one follows, and move to the first that is not yielded.

        This is three times as fast as `element`. An object is simple, so that `re` is not needed to find its end, if it
        has one opening brace, no array, and an even number of quotes before its first closing brace, which is then not
        inside a string.
        """
        buffer, start, line = self.buffer, self.position, self.line_at(self.position)
        own_lines, last = self.has_own_lines, self.last_line
        find, match = buffer.find, find_next.match
        while buffer.startswith(b"{", start):
            end = find(b"}", start) + 1
            content = buffer[start:end]
            if (
                content.count(b"{") != 1
                or content.count(b'"') & 1
                or b"\\" in content
                or b"[" in content
                or b"]" in content
            ):
                found = _SHALLOW.match(buffer, start)
                if found is None:
                    break
                content, end = found[0], found.end()
            following = match(buffer, end)
            breaks = content.count(b"\n")
            # In JSON Lines, an object over several lines needs a closer look.
            if following is None or len(content) > MAX_LINE or (breaks and own_lines):
                break
            own_lines = own_lines and last < line
            last = line + breaks
            yield line, last, content
            start = following.end()
            line = last + buffer.count(b"\n", end, start)
        self.position = self.counted = start
        self.line, self.last_line, self.has_own_lines = line, last, own_lines

    def beginning(self) -> tuple[bytes, bool]:
        """Return the beginning of the value at the position, and whether all of it is in memory."""
        end = self.find_end()
        known = end if isinstance(end, int) else len(self.buffer)
        return self.buffer[self.position : min(known, self.position + _MAX_STRICT)], isinstance(end, int)

    def is_broken_line(self) -> bool:
        """Return True if the value at the position, unless it is a literal, is not valid up to the end of its line."""
        while not self._is_line_in_memory():
            if self._grow_value() is not None:
                break
        first = self.buffer[self.position]
        found = (_STRING if first in b'"' else _SHALLOW).match(self.buffer, self.position)
        if first not in b'{["' or (found is not None and b"\n" not in found[0]):
            return False
        fault = self.strict_fault()
        return fault is not None and fault <= self._next_line()

    def skip(self) -> None:
        """Move behind the value at the position, however long it is."""
        end = self.find_end(keep=False)
        if end is ScanFault.INVALID:
            raise self.unexpected()
        if isinstance(end, ScanFault):
            raise self.error(end)
        self.position = end

    def find_end(self, *, keep: bool = True) -> "int | ScanFault":
        """Return the index behind the value at the position. Unless *keep* is True, the position may move into it."""
        if self.position == len(self.buffer):
            return ScanFault.CUT_OFF
        first = self.buffer[self.position]
        if first in b"{[":
            found = _SHALLOW.match(self.buffer, self.position)
            return self._find_bracket(keep=keep) if found is None else found.end()
        if first in b'"':
            while (string := _STRING.match(self.buffer, self.position)) is None:
                if fault := self._grow_value():
                    return fault
            return string.end()
        while (end := _end(_SCALAR.match(self.buffer, self.position))) == len(self.buffer):
            if fault := self._grow_value():
                return end if fault is ScanFault.CUT_OFF else fault
        return end if end > self.position else ScanFault.INVALID

    def error(self, fault: ScanFault) -> SourceError:
        """Return the error that the rest of the stream cannot be read, because the value at the position has no end."""
        if fault is ScanFault.TOO_LONG:
            return self._error(f"has a string that {TOO_LONG}", self.position)
        strict = self.strict_fault()
        if strict is not None:
            return self._error("is not valid JSON", strict)
        if fault is ScanFault.CUT_OFF and self.peek():
            return self._error("is cut off inside the value that begins", self.position)
        return self.unexpected()

    def unexpected(self) -> SourceError:
        """Return the error that the rest of the stream cannot be read, because of the next byte or the end."""
        return self._error("is not valid JSON" if self.peek() else "is cut off: the file ends", self.position)

    def strict_fault(self) -> int | None:
        """Return the index of the first fault in the value at the position, or None if there is none in memory.

        A value that is cut off has no fault.
        """
        rest = self.buffer[self.position : self.position + _MAX_STRICT] or b" "
        index = _scan_strictly(rest)
        if index is None or _CUT_OFF.fullmatch(rest[index:].rstrip()):
            return None
        if rest[index] in b'"' and _STRING.match(rest, index) is None and _scan_strictly(rest + b'x"') != index:
            return None  # The fault is only that this string is cut off.
        return self.position + index

    def _next_line(self) -> int:
        """Return the index of the first byte after the line that is not white space."""
        end = self.buffer.find(b"\n", self.position)
        return len(self.buffer) if end < 0 else _end(_SPACE.match(self.buffer, end))

    def _is_line_in_memory(self) -> bool:
        return self._next_line() + _MAX_LITERAL < len(self.buffer)

    def _grow_value(self) -> ScanFault | None:
        if len(self.buffer) - self.position > MAX_LINE:
            return ScanFault.TOO_LONG
        return None if self.grow() else ScanFault.CUT_OFF

    def _find_bracket(self, *, keep: bool) -> "int | ScanFault":
        """Return the index behind the bracket that closes the one at the position."""
        opened = bytearray()
        offset = 0
        while True:
            offset = _end(_RUN.match(self.buffer, self.position + offset)) - self.position
            bracket = self.buffer[self.position + offset : self.position + offset + 1]
            if bracket in {b"", b'"'}:  # The buffer ends here or inside this string.
                if not keep:
                    self.position += offset
                    offset = 0
                if fault := self._grow_value():
                    return fault
                continue
            if bracket in b"{[":
                opened += bracket
            elif opened.pop() != (ord("{") if bracket == b"}" else ord("[")):
                if not keep:
                    self.position += offset
                return ScanFault.INVALID
            offset += 1
            if not opened:
                return self.position + offset

    def _error(self, problem: str, index: int) -> SourceError:
        line = self.line + self.buffer.count(b"\n", self.counted, index) - self.buffer.count(b"\n", index, self.counted)
        place = f"at line {line}, column {self._column(index)}"
        return SourceError(self.source, f"{problem} {place}; the rest was not read")

    def _column(self, index: int) -> int:
        start = self.buffer.rfind(b"\n", 0, index) + 1
        # A character may be cut in two here, so the bytes that only continue one are not counted.
        characters = len(self.buffer[start:index].translate(None, delete=_CONTINUATION))
        return characters + 1 + (0 if start else self.columns)


def _scan_strictly(text: bytes) -> int | None:
    """Return where *text* stops being the beginning of a JSON value, or None if it does not."""
    try:
        # In Latin-1 each byte is a character, so that bytes that are not UTF-8 do not matter here.
        _decoder.scan_once(text.decode("latin-1"), 0)
    except json.JSONDecodeError as error:
        return error.pos
    except StopIteration as error:
        return int(error.value)
    except RecursionError:
        return None
    return None


def _end(found: "re.Match[bytes] | None") -> int:
    """Return where the match of a pattern that matches everywhere ends."""
    return found.end() if found is not None else -1
