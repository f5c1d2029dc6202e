"""Read JSON documents element by element: an array, an array inside an object, or objects one after the other.

The bytes of an element are handed on as they are. Here only its end is found: by its brackets and quotes, so that an
element with a fault inside is one bad row, and the elements after it can be read.
"""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import IO, Final

import attrs

from ..errors import SourceError, printable
from .json_text import COMMA_AND_OBJECT, NEXT_OBJECT, Element, JsonText, ScanFault

_MAX_NAMES: Final = 1000
_MAX_SHOWN: Final = 10
_MAX_DEPTH: Final = 3

_LITERAL: Final = re.compile(rb"-?[0-9][0-9.eE+-]*+|-?Infinity|NaN|true|false|null").fullmatch
_ARRAY_OF_OBJECTS: Final = re.compile(rb"\[[ \t\r\n]*+\{").match


def read_elements(stream: IO[bytes], source: str, *, path: str | None = None) -> Iterator[Element]:
    """Yield the elements of a JSON document: those of each array at the top, and each other value there.

    Args:
        stream: The document, or several of them one after the other.
        source: Name of the file, for errors.
        path: Names of the objects that lead to the array, separated by dots; in an array, the index of an element. By
            default the elements are at the top; a document that is one object with arrays of objects is then an error.
            With ``""`` it is one element.

    Raises:
        SourceError: The stream cannot be read, or the rest of the document cannot be; it is empty; the path leads
            nowhere, or to anything but elements.
    """
    text = JsonText(stream, source)
    if not text.peek_document():
        raise SourceError(source, "is empty; expected an array or an object")
    if not path:
        yield from _elements_at_top(text, is_one_user=path is not None)
        return
    is_first = True
    while start := text.peek_document():
        if not is_first and start not in {b"{", b"["}:
            raise text.unexpected()
        is_first = False
        search = _PathSearch(text, path)
        yield from search.elements(path)
        if not search.is_found:
            raise SourceError(source, search.problem())


def _elements_at_top(text: JsonText, *, is_one_user: bool) -> Iterator[Element]:
    if text.peek_document() == b"{":
        yield _first_object(text, is_one_user=is_one_user)
    while start := text.peek_document():
        if start == b"[":
            yield from _array(text)
        else:
            yield from text.objects(NEXT_OBJECT)
            yield _value_or_line(text)


def _first_object(text: JsonText, *, is_one_user: bool) -> Element:
    """Return the object at the start; an only object must not look as if it held the users, unless it *is_one_user*."""
    if text.is_broken_line():
        problem = f"{text.error(ScanFault.INVALID).problem}; if each line is an object, set format to jsonl"
        raise SourceError(text.source, problem)
    beginning, is_whole = text.beginning()
    if not is_one_user and not is_whole:  # Better than after reading the rest of it.
        check_object(beginning, text.source, "")
    element = text.element()
    if not is_one_user and not text.peek_document():
        check_object(beginning, text.source, "")
    return element


def _value_or_line(text: JsonText) -> Element:
    """Return the value at the position, or its line if the value is not valid and those before it were JSON Lines."""
    is_line = 0 < text.last_line < text.line_at(text.position) and text.has_own_lines
    if is_line and text.is_broken_line():
        return text.rest_of_line()
    end = text.find_end()
    start = text.position
    is_value = text.buffer[start] in b'{["' or (isinstance(end, int) and _LITERAL(text.buffer, start, end) is not None)
    if is_value:
        return text.element()
    if is_line:
        return text.rest_of_line()
    raise text.unexpected()


def _array(text: JsonText) -> Iterator[Element]:
    """Yield the elements of the array at the position, and move behind it."""
    text.has_own_lines = False
    text.position += 1
    if text.take(b"]"):
        return
    if not text.peek():
        raise text.unexpected()
    while True:
        yield from text.objects(COMMA_AND_OBJECT)
        yield text.element()
        if text.take(b"]"):
            return
        if not text.take(b",") or text.peek() in {b"", b"]"}:
            raise text.unexpected()


@attrs.define
class _PathSearch:
    """Finds the elements at a path of one document.

    Attributes:
        text: The document.
        path: The whole path.
        is_found: Whether there was a value at the path.
        level: The path of the deepest object or array that was searched in vain.
        is_array: Whether it is an array.
        names: The names in it, not all if there are many.
        values: The first byte of each of their values.
    """

    text: JsonText
    path: str
    is_found: bool = False
    level: str = ""
    is_array: bool = False
    names: list[str] = attrs.field(factory=list[str])
    values: set[bytes] = attrs.field(factory=set[bytes])

    def elements(self, rest: str) -> Iterator[Element]:
        """Yield the elements at *rest* of the path in the value at the position, and move behind the value."""
        level = self.path[: len(self.path) - len(rest)].rstrip(".")
        names: list[str] = []
        values: set[bytes] = set()
        start = self.text.peek()
        if start in {b"{", b"["}:
            for name in self.text.members() if start == b"{" else self.text.items():
                if name == rest:
                    yield from self._elements_at_path()
                elif rest.startswith(f"{name}."):
                    yield from self.elements(rest[len(name) + 1 :])
                else:
                    values.add(self.text.peek())
                    self.text.skip()
                if len(names) < _MAX_NAMES:
                    names.append(name)
        else:
            self.text.skip()
        if len(level) >= len(self.level):
            self.level, self.is_array, self.names, self.values = level, start == b"[", names, values

    def problem(self) -> str:
        """Return why nothing was found."""
        missing = self.path[len(self.level) :].lstrip(".")
        level = printable(self.level) or "the document"
        if self.is_array:
            index, _, rest = missing.partition(".")
            example = printable(".".join(filter(None, [self.level, "0", rest if index.isdigit() else missing])))
            hint = f"has no {printable(missing)}; write the index of an element, such as {example}"
            return f"path leads nowhere: {level} is an array and {hint}{'' if self.level else ', or leave path out'}"
        if not self.values:
            return f"path leads nowhere: {level} is not an object that has {printable(missing)}"
        near = get_close_matches(missing, self.names, n=1) or get_close_matches(
            missing.partition(".")[0], self.names, n=1
        )
        if near:
            return f"path leads nowhere: {level} has no {printable(missing)}; did you mean {printable(near[0])}?"
        return f"path leads nowhere: {level} has no {printable(missing)}; {self._list_names()}"

    def _elements_at_path(self) -> Iterator[Element]:
        text = self.text
        if self.is_found:
            raise SourceError(text.source, f"has {printable(self.path)} twice; the rest was not read")
        self.is_found = True
        start = text.peek()
        if start == b"[":
            yield from _array(text)
        elif start == b"{":
            check_object(text.beginning()[0], text.source, self.path)
            yield text.element()
        elif start:
            raise SourceError(text.source, f"{printable(self.path)} is not an array of objects")
        else:
            raise text.unexpected()

    def _list_names(self) -> str:
        if self.values == {b"{"} and len(self.names) > 1:  # They may be the ids of users.
            return "it has only objects"
        shown = [printable(name) if "@" not in name and not name[:1].isdigit() else "…" for name in self.names]
        more = ", …" if len(shown) > _MAX_SHOWN else ""
        return f"found {', '.join(shown[:_MAX_SHOWN])}{more}"


def check_object(content: bytes, source: str, path: str) -> None:
    """Raise if the object that begins with *content* looks as if the users were inside it."""
    members: dict[str, Iterable[str] | None] = {}
    arrays: list[str] = []
    with contextlib.suppress(SourceError):  # It is cut off or not valid, which is found elsewhere.
        _look_inside(JsonText(io.BytesIO(), source, content), path, members, arrays)
    values = list(members.values())
    inner = [set(names) for names in values if names is not None]
    has_only_objects = bool(inner) and len(inner) == len(values)
    are_alike = len(inner) > 1 and bool(set[str].intersection(*inner))
    subject = f"{printable(path)} is" if path else "is"
    if has_only_objects and (are_alike or not arrays):
        problem = (
            f"{subject} an object of objects, perhaps one for each user id; write an array of users with their ids"
        )
        raise SourceError(source, problem)
    if arrays:
        shown = [printable(name) for name in arrays[:_MAX_SHOWN]]
        own = "" if path else '; if it is one user, set path to ""'
        problem = f"{subject} one object; its users may be in {', '.join(shown)}: set path (--path {shown[0]}){own}"
        raise SourceError(source, problem)


def _look_inside(
    text: JsonText, parent: str, members: dict[str, Iterable[str] | None], arrays: list[str], depth: int = 1
) -> None:
    """Add the members of the object at the position, with the names inside each, and the paths of arrays of objects."""
    for name in text.members():
        path = f"{parent}.{name}" if parent else name
        is_object = text.peek() == b"{"
        inner: dict[str, Iterable[str] | None] = {}
        members[name] = inner if is_object else None
        if _ARRAY_OF_OBJECTS(text.buffer, text.position):
            arrays.append(path)
        if is_object and depth < _MAX_DEPTH:
            _look_inside(text, path, inner, arrays, depth + 1)
        else:
            text.skip()
