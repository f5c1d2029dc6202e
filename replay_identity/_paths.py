"""Dotted paths to values in nested dicts, such as ``company.address.city``."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Self, TypeGuard

import attrs

from ._values import is_nested
from .errors import InvalidTraitsError, printable


class Missing(Enum):
    """The type of `MISSING`, which means "no value" where None is a value."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING
_HAS_WORD: Final = re.compile(r"\w").search

# No list of a row is longer.
_MAX_INDEX_DIGITS: Final = 9


@attrs.frozen
class FieldPath:
    """A parsed dotted path.

    Attributes:
        name: The whole path.
        parents: Names of the enclosing dicts, the outermost first.
        key: Name in the innermost dict.
    """

    name: str
    parents: tuple[str, ...]
    key: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the path written as *name*; dots that separate no names, as in ``Phone No.``, belong to the name."""
        *parents, key = split_path(name)
        return cls(name, tuple(parents), key)

    @classmethod
    def column(cls, name: str, *, is_flat: bool) -> Self:
        """Return where the values of the column called *name* go; a flat name is not a path, even if it has dots."""
        return cls(name, (), name) if is_flat else cls.parse(name)

    @property
    def has_index(self) -> bool:
        """Return True if a part of the path may be the index of a list's item."""
        return any(map(_is_index, (*self.parents, self.key)))

    def get(self, row: Mapping[str, Any]) -> Any:  # noqa: ANN401  # Any value that a row can hold.
        """Return the value in *row*, or MISSING."""
        flat = row.get(self.name, MISSING)
        return self._get_nested(row) if flat is MISSING and self.parents else flat

    def pop(self, row: dict[str, Any]) -> Any:  # noqa: ANN401  # As above.
        """Remove the value from *row* and return it, or return MISSING.

        A row may hold it in nested dicts, or under the whole path as one flat name. Dicts that this leaves empty are
        removed. A list is never changed: the value of one of its items is only returned.

        Raises:
            InvalidTraitsError: The row has both.
        """
        flat = row.pop(self.name, MISSING)
        if not self.parents:
            return flat
        inner = row
        for parent in self.parents:
            value = inner.get(parent)
            if not is_nested(value):
                nested: Any = self._get_nested(row) if _is_sequence(value) else MISSING
                break
            inner = value
        else:
            nested = inner.pop(self.key, MISSING)
            if nested is not MISSING and not inner:
                self._remove_empty(row)
        if flat is MISSING or nested is MISSING:
            return nested if flat is MISSING else flat
        raise InvalidTraitsError(printable(self.name), "is given twice: as one dotted name and as a nested field")

    def set(self, row: dict[str, Any], value: object) -> None:
        """Set the value in *row*; no parent may hold anything but a dict."""
        for parent in self.parents:
            row = row.setdefault(parent, {})
        row[self.key] = value

    def insert(self, row: dict[str, Any], value: object) -> None:
        """Set the value in *row* without overwriting another one.

        Raises:
            InvalidTraitsError: The path, or a parent of it, has another value.
        """
        for parent in self.parents:
            row = row.setdefault(parent, {})
            if not is_nested(row):
                raise InvalidTraitsError(printable(self.name), not_nestable(parent))
        if row.get(self.key) is not None:
            raise InvalidTraitsError(printable(self.name), "is given twice: another field is renamed to it")
        row[self.key] = value

    def _get_nested(self, row: Mapping[str, Any]) -> Any:  # noqa: ANN401  # As above.
        value: Any = row
        for part in (*self.parents, self.key):
            if is_nested(value):
                value = value.get(part, MISSING)
            elif _is_sequence(value) and _is_index(part) and int(part) < len(value):
                value = value[int(part)]
            else:
                return MISSING
        return value

    def _remove_empty(self, row: dict[str, Any]) -> None:
        """Remove the dicts on the path that are empty, from the innermost on."""
        outer = [row]
        for parent in self.parents:
            outer.append(outer[-1][parent])
        while len(outer) > 1 and not outer.pop():
            del outer[-1][self.parents[len(outer) - 1]]


def parse_paths(names: Iterable[str]) -> tuple[FieldPath, ...]:
    """Return the paths written as *names*, which must be distinct.

    Raises:
        InvalidTraitsError: A path is the parent of another one.
    """
    paths = tuple(map(FieldPath.parse, names))
    known = {path.name for path in paths}
    for path in paths:
        for parent in parents_of(path.name) if path.parents else ():
            if parent in known:
                raise InvalidTraitsError(printable(path.name), not_nestable(parent))
    return paths


def nest_fields(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return *fields* as nested dicts: ``company.id`` becomes ``id`` inside ``company``.

    Raises:
        InvalidTraitsError: A path is empty, is given twice, or is the parent of another one.
    """
    values: dict[str, Any] = {}
    for name, value in fields:
        if not name:
            raise InvalidTraitsError("traits", "a name is empty")
        if name in values:
            raise InvalidTraitsError(printable(name), "is given twice")
        values[name] = value
    row: dict[str, Any] = {}
    for path in parse_paths(values):
        path.set(row, values[path.name])
    return row


def leaves(traits: Mapping[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value in *traits* that is not a dict, with the names that lead to it, the outermost first."""
    for name, value in traits.items():
        if is_nested(value):
            yield from leaves(value, (*parents, name))
        else:
            yield (*parents, name), value


def prefixes(path: str) -> list[str]:
    """Return the parents of *path*, the outermost first, and *path* itself."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def split_path(path: str) -> list[str]:
    """Return the parts of a dotted *path*; a name whose dots do not separate names is a single part."""
    parts = path.split(".")
    return parts if all(map(_is_name, parts)) else [path]


def _is_name(part: str) -> bool:
    """Return True if *part* of a dotted name can be a name: it has no blanks around it, and no half of a bracket."""
    return bool(part) and part == part.strip() and part.count("(") == part.count(")") and _HAS_WORD(part) is not None


def parents_of(path: str) -> list[str]:
    """Return the parents of *path*, the outermost first."""
    return prefixes(path)[:-1]


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _MAX_INDEX_DIGITS


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def not_nestable(parent: str) -> str:
    """Return the problem of a path whose *parent* holds a value."""
    return f"cannot be nested in {printable(parent)}, which has a value of its own"
