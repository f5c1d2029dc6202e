"""The rules for properties (2026-11-21, https://developer.fullstory.com/server/users/create-user/)."""

import functools
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs
import orjson

from ..answer import JsonValue
from .refusal import invalid
from .value_types import INFERRED, convert, type_of

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MAX_PATH = 512  # Characters of the dotted name. Policy: inclusive; "under the length limit of 512" is unclear.
MAX_PROPERTIES = 500
MAX_BYTES = 8192

# A tree whose JSON has at most so many bytes can hold neither a value that is too large nor one property too
# many, as each takes six ("a":1 and a comma). Most requests need not be looked at any further.
SURELY_FITS = 6 * MAX_PROPERTIES

# Policy: objects are merged name by name at every depth; the documents only say that properties are merged.
DEEP_MERGE = True

# Policy: a value that is too large fails the request ("refuse"). The documents say "the property will be
# rejected", which may also mean that only this property is lost, without a word ("drop").
Oversized: TypeAlias = Literal["refuse", "drop"]

Tree: TypeAlias = dict[str, JsonValue]


@attrs.frozen
class Properties:
    """The properties of one request, and the type of each by dotted path."""

    tree: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)
    types: Mapping[str, str] = attrs.field(factory=dict[str, str])


def read_properties(value: JsonValue, *, declared: Mapping[str, str], oversized: Oversized) -> Properties:
    """Return what Fullstory takes of *value*, or refuse it."""
    if not isinstance(value, dict):
        raise invalid("properties must be an object")

    if len(value) > MAX_PROPERTIES:
        raise too_many()

    tree = value
    if len(orjson.dumps(tree)) > SURELY_FITS:
        tree = _within_size(_clean(tree), oversized)
        require_room(tree)
    types: dict[str, str] = {}
    return Properties(_typed(tree, declared, types), types)


def require_room(tree: Mapping[str, JsonValue]) -> None:
    """Refuse more than 500 properties.

    Policy: nested ones count each, and the limit holds for a request as well as for the user it makes.
    """
    if _count(tree) > MAX_PROPERTIES:
        raise too_many()


def too_many() -> Exception:
    """Return the refusal of more than 500 properties."""
    return invalid(f"Up to {MAX_PROPERTIES} unique properties are allowed")


def merge(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], *, deep: bool = DEEP_MERGE) -> Tree:
    """Return *old* with the values of *new* over it."""
    merged = dict(old)
    for name, value in new.items():
        former = old.get(name)
        if deep and isinstance(former, dict) and isinstance(value, dict):
            merged[name] = merge(former, value)
        else:
            merged[name] = value
    return merged


@functools.lru_cache(maxsize=10_000)
def _path(parent: str, name: str) -> str:
    # The same names come with every user: remembering them is cheaper than to look at them again.
    path = f"{parent}.{name}" if parent else name
    if not NAME.fullmatch(name) or len(path) > MAX_PATH:
        raise invalid(f"The property name {path} is invalid")
    return path


def _count(tree: Mapping[str, JsonValue]) -> int:
    nested = [value for value in tree.values() if isinstance(value, dict)]
    return len(tree) - len(nested) + sum(map(_count, nested))


def _clean(tree: Tree, parent: str = "") -> Tree:
    cleaned: Tree = {}
    for name, value in tree.items():
        path = _path(parent, name)
        if isinstance(value, list):
            _require_one_kind(value, path)
        # Policy: null says nothing; the documents know no way to unset a property.
        if value is not None:
            cleaned[name] = _clean(value, path) if isinstance(value, dict) else value
    return cleaned


def _require_one_kind(values: list[JsonValue], path: str) -> None:
    # "We don't currently support arrays of objects." Policy: nor of arrays, nulls or mixed types.
    kinds = {INFERRED.get(type(value)) for value in values}
    if None in kinds or len(kinds) > 1:
        raise invalid(f"The array {path} must hold values of one type: string, number or boolean")


def _within_size(tree: Tree, oversized: Oversized, parent: str = "") -> Tree:
    kept: Tree = {}
    for name, value in tree.items():
        path = _path(parent, name)
        small = _within_size(value, oversized, path) if isinstance(value, dict) else value
        if _size(small) <= MAX_BYTES:
            kept[name] = small
        elif oversized == "refuse":
            raise invalid(f"The value of {path} is larger than {MAX_BYTES} bytes")
    return kept


def _size(value: JsonValue) -> int:
    # Policy: a string counts as its UTF-8, a list as its JSON, and so does a whole object, since it is the
    # value of a property, too.
    return len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))


def _typed(tree: Tree, declared: Mapping[str, str], types: dict[str, str], parent: str = "") -> Tree:
    typed: Tree = {}
    for name, value in tree.items():
        path = _path(parent, name)
        if value is None:
            continue

        if isinstance(value, dict):
            if path in declared:
                raise invalid(f"The value of {path} is an object and has no type")
            typed[name] = _typed(value, declared, types, path)
            continue

        if isinstance(value, list):
            _require_one_kind(value, path)
        type_name = type_of(path, value, declared)
        if type_name is not None:
            types[path] = type_name
        typed[name] = convert(value, type_name)
    return typed
