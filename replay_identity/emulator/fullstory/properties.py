"""The rules for properties (2026-11-21, https://developer.fullstory.com/server/users/create-user/)."""

import functools
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, TypeAlias

import attrs
import orjson

from ..http import JsonObject, JsonValue, parse_json
from .errors import invalid

# All numbers are inferred as real, also those without a fraction.
# Policy: a string that looks like a date is inferred as str; the documents do not say.
INFERRED: Mapping[type, str] = {bool: "bool", int: "real", float: "real", str: "str"}

INT64 = range(-(2**63), 2**63)

Fits: TypeAlias = Callable[[JsonValue], bool]


def _is_string(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_bool(value: JsonValue) -> bool:
    return isinstance(value, bool)


def _is_number(value: JsonValue) -> bool:
    return INFERRED.get(type(value)) == "real"


def _is_int(value: JsonValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # JSON knows one kind of number, so 2.0 is an integer. Policy: of 64 bits.
    return float(value).is_integer() and int(value) in INT64


def _is_date(value: JsonValue) -> bool:
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


FITS: Mapping[str, Fits] = {
    "str": _is_string,
    "int": _is_int,
    "real": _is_number,
    "bool": _is_bool,
    "date": _is_date,
}


def read_schema(value: JsonValue) -> Mapping[str, str]:
    """Return the declared type of each dotted path, or refuse the schema."""
    properties = value.get("properties") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(properties, dict):
        raise invalid("schema must hold properties")

    declared: dict[str, str] = {}
    for path, name in properties.items():
        # A nested object here is how the browser API says it; the server API wants dotted paths.
        if not isinstance(name, str) or name.removesuffix("s") not in FITS:
            raise invalid(f"The schema type of {path} is unknown")
        declared[path] = name
    return declared


def type_of(path: str, value: JsonValue, declared: Mapping[str, str]) -> str | None:
    """Return the type of a leaf, declared or inferred; an undeclared empty list has none."""
    name = declared.get(path)
    if name is None:
        return _infer(value)

    # Policy: a value that does not fit its declared type fails the request; the documents do not say.
    if not _fits(value, name):
        raise invalid(f"The value of {path} is not of type {name}")
    return name


def convert(value: JsonValue, name: str | None) -> JsonValue:
    """Return the value as a property of that type holds it: reals are doubles."""
    if name == "real" and isinstance(value, int):
        return float(value)
    if name == "reals" and isinstance(value, list):
        return [convert(item, "real") for item in value]
    return value


def _infer(value: JsonValue) -> str | None:
    if not isinstance(value, list):
        return INFERRED[type(value)]
    return f"{INFERRED[type(value[0])]}s" if value else None


def _fits(value: JsonValue, name: str) -> bool:
    fits = FITS[name.removesuffix("s")]
    if isinstance(value, list):
        return name.endswith("s") and all(fits(item) for item in value)
    return not name.endswith("s") and fits(value)


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
class TypedProperties:
    """The properties of one request, and the type of each by dotted path."""

    tree: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue], repr=False)
    types: Mapping[str, str] = attrs.field(factory=dict[str, str])


def read_properties(value: JsonValue, *, declared: Mapping[str, str], oversized: Oversized) -> TypedProperties:
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
    return TypedProperties(_typed(tree, declared, types), types)


def require_room(tree: Mapping[str, JsonValue]) -> None:
    """Refuse more than 500 properties.

    Policy: nested ones count each, and the limit holds for a request as well as for the user it makes.
    """
    if _count(tree) > MAX_PROPERTIES:
        raise too_many()


def too_many() -> Exception:
    """Return the http_error of more than 500 properties."""
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


# Policy: a character is a Unicode code point, as in the JSON Schema that states these limits.
MAX_CHARACTERS = {"uid": 256, "display_name": 256, "email": 128}

FIELDS = {*MAX_CHARACTERS, "properties", "schema"}


@attrs.frozen(kw_only=True)
class UserFields:
    """What a request says about a user; None is a field it does not mention."""

    uid: str | None = attrs.field(default=None, repr=False)
    display_name: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    properties: TypedProperties = attrs.field(factory=TypedProperties)


def parse_object(body: bytes) -> JsonObject:
    """Return the JSON object in *body*, or refuse it."""
    try:
        value = parse_json(body)
        # Parts of it are answered again, and orjson reads deeper nesting than it writes.
        orjson.dumps([[[value]]])
    except (ValueError, orjson.JSONEncodeError):
        # Policy: nesting has no documented limit.
        raise invalid("The body is not JSON, or nested too deeply") from None

    if not isinstance(value, dict):
        raise invalid("The body must be an object")
    return value


def read_user(value: Mapping[str, JsonValue], *, oversized: Oversized) -> UserFields:
    """Return what *value* says about a user, or refuse it."""
    # Policy: unknown fields are refused; the documents do not say.
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
