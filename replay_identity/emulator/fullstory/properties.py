"""How Fullstory validates and types users and their properties (2026-11-21, https://developer.fullstory.com/server/users/create-user/)."""

import functools
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Literal, TypeAlias

import attrs
import orjson

from ..http import JsonObject, JsonValue, parse_json
from .errors import FullstoryHttpError, invalid

# Policy: a character is a Unicode code point, as in the JSON Schema that states these limits.
MAX_CHARACTERS: Final = {"uid": 256, "display_name": 256, "email": 128}

FIELDS: Final = {*MAX_CHARACTERS, "properties", "schema"}

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MAX_PATH: Final = 512  # Characters of the dotted name. Policy: inclusive; "under the length limit of 512" is unclear.
MAX_PROPERTIES: Final = 500
MAX_BYTES: Final = 8192

# A tree whose JSON has at most this many bytes has no oversized value and not too many properties, since each takes
# at least six bytes ("a":1 and a comma). Most requests need no further checks.
SURELY_VALID_BYTES: Final = 6 * MAX_PROPERTIES

# Policy: a value that is too large fails the request ("reject"). The documents say "the property will be
# rejected", which may also mean that only this property is silently lost ("drop").
Oversized: TypeAlias = Literal["reject", "drop"]

Tree: TypeAlias = dict[str, JsonValue]


@attrs.frozen
class TypedProperties:
    """The properties of one request, and the type of each, by dotted path."""

    tree: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)
    types: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen(kw_only=True)
class UserFields:
    """The fields of a user in a request; None is a field that the request does not contain."""

    uid: str | None = attrs.field(default=None, repr=False)
    display_name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    properties: TypedProperties = attrs.field(factory=TypedProperties)


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*.

    Raises:
        FullstoryHttpError: The body is not a JSON object (400).
    """
    try:
        value = parse_json(body)
    except ValueError:
        # Policy: nesting has no documented limit.
        raise invalid("The body is not JSON, or nested too deeply") from None

    if not isinstance(value, dict):
        raise invalid("The body must be an object")
    return value


def read_user(value: Mapping[str, JsonValue], *, oversized: Oversized) -> UserFields:
    """Return the fields of a user.

    Raises:
        FullstoryHttpError: A field is unknown or invalid (400).
    """
    # Policy: unknown fields are rejected; the documents do not say.
    unknown = value.keys() - FIELDS
    if unknown:
        raise invalid(f"Unknown field {min(unknown)}")

    strings = {name: _read_string(value[name], name) for name in MAX_CHARACTERS if name in value}
    if strings.get("uid") == "":
        raise invalid("The provided uid parameter can not be empty", code="invalid_parameter")

    declared = read_schema(value.get("schema", {"properties": {}}))
    properties = read_properties(value.get("properties", {}), declared=declared, oversized=oversized)
    return UserFields(**strings, properties=properties)


def _read_string(value: JsonValue, name: str) -> str:
    # Policy: null is a wrong type here; the documents do not say.
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string")

    if len(value) > MAX_CHARACTERS[name]:
        raise invalid(f"{name} must have at most {MAX_CHARACTERS[name]} characters")
    return value


def read_properties(value: JsonValue, *, declared: Mapping[str, str], oversized: Oversized) -> TypedProperties:
    """Return the properties in *value*.

    Raises:
        FullstoryHttpError: The properties break a rule (400).
    """
    if not isinstance(value, dict):
        raise invalid("properties must be an object")

    if len(value) > MAX_PROPERTIES:
        raise too_many_properties()

    tree = value
    if len(orjson.dumps(tree)) > SURELY_VALID_BYTES:
        tree = _within_size(_clean(tree), oversized)
        check_property_count(tree)
    types: dict[str, str] = {}
    return TypedProperties(_typed(tree, declared, types), types)


def check_property_count(tree: Mapping[str, JsonValue]) -> None:
    """Check that there are at most 500 properties.

    Policy: nested properties count, and the limit applies to a request as well as to the resulting user.

    Raises:
        FullstoryHttpError: There are more (400).
    """
    if _count(tree) > MAX_PROPERTIES:
        raise too_many_properties()


def too_many_properties() -> FullstoryHttpError:
    """Return the exception for more than 500 properties."""
    return invalid(f"Up to {MAX_PROPERTIES} unique properties are allowed")


def merge(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> Tree:
    """Return *old* with *new* merged into it.

    Policy: objects are merged name by name at every depth; the documents only say that properties are merged.
    """
    merged = dict(old)
    for name, value in new.items():
        previous = old.get(name)
        if isinstance(previous, dict) and isinstance(value, dict):
            merged[name] = merge(previous, value)
        else:
            merged[name] = value
    return merged


@functools.lru_cache(maxsize=10_000)
def _path(parent: str, name: str) -> str:
    # Every user has the same names, and a cache is cheaper than validating them again.
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
            _check_one_type(value, path)
        # Policy: null is ignored; the documents have no way to unset a property.
        if value is not None:
            cleaned[name] = _clean(value, path) if isinstance(value, dict) else value
    return cleaned


def _check_one_type(values: list[JsonValue], path: str) -> None:
    # "We don't currently support arrays of objects." Policy: nor of arrays, nulls or mixed types.
    types_seen = {INFERRED.get(type(value)) for value in values}
    if None in types_seen or len(types_seen) > 1:
        raise invalid(f"The array {path} must hold values of one type: string, number or boolean")


def _within_size(tree: Tree, oversized: Oversized, parent: str = "") -> Tree:
    kept: Tree = {}
    for name, value in tree.items():
        path = _path(parent, name)
        kept_value = _within_size(value, oversized, path) if isinstance(value, dict) else value
        if _size(kept_value) <= MAX_BYTES:
            kept[name] = kept_value
        elif oversized == "reject":
            raise invalid(f"The value of {path} is larger than {MAX_BYTES} bytes")
    return kept


def _size(value: JsonValue) -> int:
    # Policy: the size of a string is that of its UTF-8; that of a list or an object is that of its JSON. An object
    # counts as well, since it is the value of a property, too.
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
            _check_one_type(value, path)
        type_name = type_of(path, value, declared)
        if type_name is not None:
            types[path] = type_name
        typed[name] = convert(value, type_name)
    return typed


# All numbers are inferred as real, even whole ones.
# Policy: a string that looks like a date is inferred as str; the documents do not say.
INFERRED: Final[Mapping[type, str]] = {bool: "bool", int: "real", float: "real", str: "str"}

INT64: Final = range(-(2**63), 2**63)

TypeCheck: TypeAlias = Callable[[JsonValue], bool]


def _is_string(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_bool(value: JsonValue) -> bool:
    return isinstance(value, bool)


def _is_number(value: JsonValue) -> bool:
    return INFERRED.get(type(value)) == "real"


def _is_int(value: JsonValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # JSON has one kind of number, so 2.0 is an integer. Policy: of 64 bits.
    return float(value).is_integer() and int(value) in INT64


def _is_date(value: JsonValue) -> bool:
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


TYPE_CHECKS: Final[Mapping[str, TypeCheck]] = {
    "str": _is_string,
    "int": _is_int,
    "real": _is_number,
    "bool": _is_bool,
    "date": _is_date,
}


def read_schema(value: JsonValue) -> Mapping[str, str]:
    """Return the declared type of each dotted path.

    Raises:
        FullstoryHttpError: The schema is invalid (400).
    """
    properties = value.get("properties") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(properties, dict):
        raise invalid("schema must hold properties")

    declared: dict[str, str] = {}
    for path, name in properties.items():
        # The browser API nests objects here; the server API expects dotted paths.
        if not isinstance(name, str) or name.removesuffix("s") not in TYPE_CHECKS:
            raise invalid(f"The schema type of {path} is unknown")
        declared[path] = name
    return declared


def type_of(path: str, value: JsonValue, declared: Mapping[str, str]) -> str | None:
    """Return the declared or inferred type of a leaf, or None for an undeclared empty list.

    Raises:
        FullstoryHttpError: The value does not have its declared type (400).
    """
    name = declared.get(path)
    if name is None:
        return _infer(value)

    # Policy: a value that does not have its declared type fails the request; the documents do not say.
    if not has_type(value, name):
        raise invalid(f"The value of {path} is not of type {name}")
    return name


def convert(value: JsonValue, name: str | None) -> JsonValue:
    """Return the value as a property of that type stores it: reals are doubles."""
    if name == "real" and isinstance(value, int):
        return float(value)
    if name == "reals" and isinstance(value, list):
        return [convert(item, "real") for item in value]
    return value


def _infer(value: JsonValue) -> str | None:
    if not isinstance(value, list):
        return INFERRED[type(value)]
    return f"{INFERRED[type(value[0])]}s" if value else None


def has_type(value: JsonValue, name: str) -> bool:
    """Return True if *value* has the type *name*."""
    check = TYPE_CHECKS[name.removesuffix("s")]
    if isinstance(value, list):
        return name.endswith("s") and all(check(item) for item in value)
    return not name.endswith("s") and check(value)
