"""Check and copy trait values: a few exact types, so that adapters need not check again."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeGuard
from uuid import UUID

from .errors import InvalidTraitsError, printable


class Removal(Enum):
    """The type of `REMOVE`, the value that clears a trait at the vendor."""

    REMOVE = "REMOVE"

    def __repr__(self) -> str:
        return self.name


REMOVE: Final = Removal.REMOVE

Scalar: TypeAlias = str | int | float | bool | datetime | date | Decimal | UUID
# Typed loosely below the first level: with a recursive alias, type checkers reject plain dict literals.
TraitValue: TypeAlias = Scalar | Mapping[str, Any] | list[Any] | tuple[Any, ...] | Literal[Removal.REMOVE] | None

MAX_DEPTH: Final = 32
# No vendor stores a number beyond a 64-bit float's 1e308, and formatting 10**1_000_000 would be a denial of service.
MAX_EXPONENT: Final = 400
_MAX_INT: Final = 10**MAX_EXPONENT
_STRING_ONLY: Final = frozenset({str})
_TYPE_PHRASES: Final[Mapping[type, str]] = {str: "a string", bytes: "bytes", type(None): "None"}


def is_nested(value: object) -> TypeGuard[dict[str, Any]]:
    """Return True if a trait's value is a mapping of further traits."""
    return type(value) is dict


def is_list(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Return True if a trait's value is a list, which `UserTraits` stores as a tuple."""
    return type(value) is tuple


def iso8601(moment: date) -> str:
    """Return a date as ``2026-11-21`` and an aware datetime in UTC as ``2026-11-21T08:30:00Z``."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC).isoformat().removesuffix('+00:00')}Z"
    return moment.isoformat()


def hash_key(value: object) -> Hashable:
    """Return a hashable stand-in for a trait's value in which 1, 1.0 and True differ."""
    if _is_mapping(value):
        return frozenset((name, hash_key(item)) for name, item in value.items())
    if _is_sequence(value):
        return tuple(hash_key(item) for item in value)
    # 0.0 equals -0.0 and Decimal("1.0") equals Decimal("1.00"), but vendors receive them differently.
    return type(value), str(value) if isinstance(value, float | Decimal) else value


def checked_traits(traits: object) -> dict[str, Any]:
    """Return a copy of *traits* in which every value has one of the exact types, or raise InvalidTraitsError."""
    return _checked_mapping(checked_mapping_type(traits, "traits"), "traits", (traits,))


def checked_mapping_type(value: object, path: str) -> Mapping[Any, Any]:
    """Return *value* if it is a mapping, or raise InvalidTraitsError for *path*."""
    if is_nested(value) or _is_mapping(value):
        return value
    raise InvalidTraitsError(path, f"expected a mapping, got {describe_type(value)}")


def checked_id(user_id: object) -> str:
    """Return *user_id* as a plain string, or raise InvalidTraitsError."""
    if type(user_id) is str and user_id and user_id.isascii():
        return user_id
    if not isinstance(user_id, str):
        raise InvalidTraitsError("user_id", f"expected a string, got {describe_type(user_id)}; convert it with str()")
    if not user_id:
        raise InvalidTraitsError("user_id", "the id is empty; leave it out for an anonymous user")
    return _checked_text(user_id, "user_id")


def checked_key(key: object, path: str) -> str:
    """Return the trait name *key* as a plain string, or raise InvalidTraitsError for *path*."""
    if not isinstance(key, str):
        raise InvalidTraitsError(path, f"expected every name to be a string, got {describe_type(key)}")
    return _checked_text(key, f"{path}.{printable(key)}")


def checked_string(text: object, path: str) -> str:
    """Return *text* as a plain string of valid Unicode, or raise InvalidTraitsError for *path*."""
    if type(text) is str and text.isascii():
        return text
    if not isinstance(text, str):
        raise InvalidTraitsError(path, f"expected a string, got {describe_type(text)}")
    return _checked_text(text, path)


def checked_datetime(moment: object, path: str) -> datetime:
    """Return the aware datetime *moment* in UTC, or raise InvalidTraitsError for *path*."""
    if not isinstance(moment, datetime):
        raise InvalidTraitsError(path, f"expected a datetime, got {describe_type(moment)}")
    if moment.utcoffset() is None:
        raise InvalidTraitsError(path, "the datetime has no time zone; add one, or set timezone in a mapping")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise InvalidTraitsError(path, "expected a year from 1 to 9999 in UTC") from None
    # In UTC, since datetimes of one zone compare equal even if their folds differ; rebuilt to drop a subclass (pandas).
    return utc if type(utc) is datetime else datetime(*utc.timetuple()[:6], utc.microsecond, tzinfo=UTC)


def describe_type(value: object) -> str:
    """Return the type of *value* with an article, for an error text."""
    name = type(value).__name__
    article = "an" if name.lower().startswith(tuple("aeiou")) else "a"
    return _TYPE_PHRASES.get(type(value), f"{article} {name}")


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, (list, tuple))


def _checked_mapping(mapping: Mapping[Any, Any], path: str, ancestors: tuple[object, ...]) -> dict[str, Any]:
    """Return a copy of *mapping* without None and empty mappings, or raise InvalidTraitsError."""
    copy: dict[str, Any] = {}
    for key, value in mapping.items():
        # Inlined because most traits are plain strings and numbers, and a call for each would take most of the time.
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        name = key if type(key) is str and key.isascii() else checked_key(key, path)
        if (
            (kind is str and (value.isascii() or _is_unicode(value)))
            or kind is bool
            or (kind is int and -_MAX_INT < value < _MAX_INT)
            or (kind is float and -math.inf < value < math.inf)
            or kind is date
            or (kind is datetime and value.tzinfo is UTC)
        ):
            copy[name] = value
        elif value is not None:
            checked = _checked_value(value, f"{path}.{printable(name)}", ancestors)
            if checked != {}:
                copy[name] = checked
    return copy


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked_value(value: object, path: str, ancestors: tuple[object, ...]) -> Any:  # noqa: ANN401  # A TraitValue.
    """Return *value*, which is not None, as one of the exact types, or raise InvalidTraitsError."""
    if value is REMOVE:
        return value
    kind: type[object] = type(value)
    if kind is not dict and kind is not list and (check := _check_of(kind)) is not None:
        return check(value, path)
    # isinstance(value, Mapping) takes longer than copying a short list, so plain lists skip it.
    if is_nested(value) or (kind is not list and _is_mapping(value)):
        return _checked_mapping(value, path, _with_ancestor(value, path, ancestors))
    if _is_sequence(value):
        return _checked_list(value, path, _with_ancestor(value, path, ancestors))
    hint = "use a list" if kind in {set, frozenset} else "convert it first"
    raise InvalidTraitsError(path, f"expected a trait value, got {describe_type(value)}; {hint}")


def _with_ancestor(value: object, path: str, ancestors: tuple[object, ...]) -> tuple[object, ...]:
    """Return *ancestors* and *value*, or raise InvalidTraitsError for a cycle or too many levels."""
    for ancestor in ancestors:
        if value is ancestor:
            raise InvalidTraitsError(path, "the value contains itself")
    if len(ancestors) >= MAX_DEPTH:
        raise InvalidTraitsError(path, f"the value is nested deeper than {MAX_DEPTH} levels")
    return (*ancestors, value)


def _checked_list(items: Sequence[Any], path: str, ancestors: tuple[object, ...]) -> tuple[Any, ...]:
    if _STRING_ONLY.issuperset(map(type, items)) and "".join(items).isascii():
        return tuple(items)  # Most lists are like this.
    return tuple(_checked_item(item, f"{path}[{index}]", ancestors) for index, item in enumerate(items))


def _checked_item(item: object, path: str, ancestors: tuple[object, ...]) -> Any:  # noqa: ANN401
    if item is None or item is REMOVE:
        raise InvalidTraitsError(path, f"{item!r} has no meaning inside a list; leave it out")
    checked = _checked_value(item, path, ancestors)
    if is_nested(checked) and _contains_removal(checked):
        raise InvalidTraitsError(path, f"{REMOVE!r} has no meaning inside a list; leave it out")
    return checked


def _contains_removal(traits: Mapping[str, Any]) -> bool:
    return any(value is REMOVE or (is_nested(value) and _contains_removal(value)) for value in traits.values())


def _checked_text(text: str, path: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = f"not valid Unicode: a lone surrogate at character {error.start}"
            raise InvalidTraitsError(path, problem) from None  # The cause quotes the text.
    return text if type(text) is str else str.__str__(text)


def _checked_date(day: date, _path: str) -> date:
    return date(day.year, day.month, day.day)


def _checked_int(number: int, path: str) -> int:
    if abs(number) >= _MAX_INT:
        raise InvalidTraitsError(path, f"expected an integer of at most {MAX_EXPONENT} digits")
    return int(number)


def _checked_float(number: float, path: str) -> float:
    if not math.isfinite(number):
        raise InvalidTraitsError(path, "expected a finite number")
    return float(number)


def _checked_decimal(number: Decimal, path: str) -> Decimal:
    if not number.is_finite():
        raise InvalidTraitsError(path, "expected a finite number")
    exponent = number.as_tuple().exponent
    if not (-MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT and int(exponent) >= -MAX_EXPONENT):
        raise InvalidTraitsError(path, f"expected an exponent from -{MAX_EXPONENT} to {MAX_EXPONENT}")
    return Decimal(number)


def _checked_bool(value: bool, _path: str) -> bool:  # noqa: FBT001  # The value is the subject.
    return value


def _checked_uuid(value: UUID, _path: str) -> UUID:
    return value if type(value) is UUID else UUID(int=value.int)


_CHECKS: Final[Mapping[type[object], Callable[[Any, str], Any]]] = {
    str: _checked_text,
    bool: _checked_bool,
    int: _checked_int,
    float: _checked_float,
    datetime: checked_datetime,
    date: _checked_date,
    Decimal: _checked_decimal,
    UUID: _checked_uuid,
}


def _check_of(kind: type[object]) -> Callable[[Any, str], Any] | None:
    """Return the check for *kind* or its nearest scalar base, so that an enum of strings is a string."""
    return _CHECKS.get(kind) or next((_CHECKS[base] for base in kind.__mro__ if base in _CHECKS), None)
