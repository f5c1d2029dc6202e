"""The types of property values (2026-11-21, https://developer.fullstory.com/server/custom-properties)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from ..answer import JsonValue
from .refusal import invalid

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
