"""What a trait's value can be: a few exact types, checked once and copied, so that adapters need not ask again."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeGuard
from uuid import UUID

from .errors import InvalidTraitsError, printable


class Removal(Enum):
    """The one value that is no value: clear this trait at the vendor."""

    REMOVE = "REMOVE"

    def __repr__(self) -> str:
        return self.name


REMOVE: Final = Removal.REMOVE

Scalar: TypeAlias = str | int | float | bool | datetime | date | Decimal | UUID
# Typed loosely below the first level: a recursive alias makes type checkers refuse plain dict literals.
TraitValue: TypeAlias = Scalar | Mapping[str, Any] | list[Any] | tuple[Any, ...] | Literal[Removal.REMOVE] | None

MAX_DEPTH: Final = 32
# No vendor keeps a number beyond a 64-bit float's 1e308, and writing out 10**1_000_000 would be an attack on ourselves.
MAX_EXPONENT: Final = 400
_TEXTS: Final = frozenset({str})
_TOO_LARGE: Final = 10**MAX_EXPONENT


def checked_traits(traits: object) -> dict[str, Any]:
    """Return a copy of *traits* in which every value has one of the exact types, or raise InvalidTraitsError."""
    return _checked_mapping(checked_mapping_type(traits, "traits"), "traits", (traits,))


def checked_mapping_type(given: object, path: str) -> Mapping[Any, Any]:
    """Return *given* if it is a mapping, or raise InvalidTraitsError by *path*."""
    if is_nested(given) or _is_mapping(given):
        return given
    raise InvalidTraitsError(path, f"is {_article(type(given).__name__)}, not a mapping")


def checked_id(user_id: object) -> str:
    """Return *user_id* as a plain string, or raise InvalidTraitsError."""
    if type(user_id) is str and user_id and user_id.isascii():
        return user_id
    if not isinstance(user_id, str):
        problem = f"is {_article(type(user_id).__name__)}; a user id is a string, so pass str(...)"
        raise InvalidTraitsError("user_id", problem)
    if not user_id:
        raise InvalidTraitsError("user_id", "is empty; an anonymous user has no id at all")
    return _checked_text(user_id, "user_id")


def checked_moment(moment: object) -> datetime:
    """Return *moment* in UTC, or raise InvalidTraitsError."""
    if not isinstance(moment, datetime):
        raise InvalidTraitsError("observed_at", f"is {_article(type(moment).__name__)}, not a datetime")
    return _checked_datetime(moment, "observed_at")


def strict(value: object) -> Hashable:
    """Return a hashable stand-in for *value* in which 1, 1.0 and True differ."""
    if _is_mapping(value):
        return frozenset((name, strict(item)) for name, item in value.items())
    if _is_sequence(value):
        return tuple(strict(item) for item in value)
    # 0.0 equals -0.0 and Decimal("1.0") equals Decimal("1.00"), but they are not sent alike.
    return type(value), str(value) if isinstance(value, float | Decimal) else value


def iso8601(moment: date) -> str:
    """Return a date as ``2026-11-21`` and an aware datetime in UTC as ``2026-11-21T08:30:00Z``."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC).isoformat().removesuffix('+00:00')}Z"
    return moment.isoformat()


def is_nested(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a trait's value is a mapping of further traits."""
    return type(value) is dict


def is_list(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Tell whether a trait's value is a list, which `UserTraits` keeps as a tuple."""
    return type(value) is tuple


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, (list, tuple))


def _checked_mapping(mapping: Mapping[Any, Any], path: str, ancestors: tuple[object, ...]) -> dict[str, Any]:
    """Copy *mapping* without what says nothing, or raise by path."""
    copy: dict[str, Any] = {}
    for key, value in mapping.items():
        # Most traits are plain texts and numbers, and most time would go into asking them more than this.
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        name = key if type(key) is str and key.isascii() else checked_key(key, path)
        if (
            (kind is str and (value.isascii() or _is_unicode(value)))
            or kind is bool
            or (kind is int and -_TOO_LARGE < value < _TOO_LARGE)
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
    """Return *value*, which is not None, as one of the exact types that adapters know, or raise by *path*."""
    if value is REMOVE:
        return value
    kind: type[object] = type(value)
    if kind is not dict and kind is not list and (check := _check_of(kind)) is not None:
        return check(value, path)
    # To ask what is plainly a list whether it is a Mapping would take longer than to copy it.
    if is_nested(value) or (kind is not list and _is_mapping(value)):
        return _checked_mapping(value, path, _entered(value, path, ancestors))
    if _is_sequence(value):
        return _checked_list(value, path, _entered(value, path, ancestors))
    hint = "use a list" if kind in {set, frozenset} else "convert it first"
    raise InvalidTraitsError(path, f"is {_article(kind.__name__)}, which no trait can be; {hint}")


def _entered(value: object, path: str, ancestors: tuple[object, ...]) -> tuple[object, ...]:
    """Return the ancestors of what is in *value*, or raise by *path*."""
    for ancestor in ancestors:
        if value is ancestor:
            raise InvalidTraitsError(path, "contains itself")
    if len(ancestors) >= MAX_DEPTH:
        raise InvalidTraitsError(path, f"is nested deeper than {MAX_DEPTH} levels")
    return (*ancestors, value)


def _checked_list(items: Sequence[Any], path: str, ancestors: tuple[object, ...]) -> tuple[Any, ...]:
    if _TEXTS.issuperset(map(type, items)) and "".join(items).isascii():
        return tuple(items)  # As most lists are, and nothing is wrong with it.
    return tuple(_checked_item(item, f"{path}[{index}]", ancestors) for index, item in enumerate(items))


def _checked_item(item: object, path: str, ancestors: tuple[object, ...]) -> Any:  # noqa: ANN401
    if item is None or item is REMOVE:
        raise InvalidTraitsError(path, f"is {item!r}, which has no meaning inside a list")
    checked = _checked_value(item, path, ancestors)
    if is_nested(checked) and _holds_removal(checked):
        raise InvalidTraitsError(path, f"holds {REMOVE!r}, which has no meaning inside a list")
    return checked


def _holds_removal(traits: Mapping[str, Any]) -> bool:
    return any(value is REMOVE or (is_nested(value) and _holds_removal(value)) for value in traits.values())


def checked_key(key: object, path: str) -> str:
    """Return *key* as a plain string, or raise InvalidTraitsError by *path*."""
    if not isinstance(key, str):
        raise InvalidTraitsError(path, f"has a name that is {_article(type(key).__name__)}, not a string")
    return _checked_text(key, f"{path}.{printable(key)}")


def checked_string(text: object, path: str) -> str:
    """Return *text* as a plain string of valid Unicode, or raise InvalidTraitsError by *path*."""
    if type(text) is str and text.isascii():
        return text
    if not isinstance(text, str):
        raise InvalidTraitsError(path, f"is {_article(type(text).__name__)}, not a string")
    return _checked_text(text, path)


def _checked_text(text: str, path: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = f"is not valid Unicode text: a lone surrogate at character {error.start}"
            raise InvalidTraitsError(path, problem) from None  # The cause quotes the text.
    return text if type(text) is str else str.__str__(text)


def _checked_datetime(moment: datetime, path: str) -> datetime:
    if moment.utcoffset() is None:
        raise InvalidTraitsError(path, "is a datetime without a time zone; use datetime.now(UTC)")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise InvalidTraitsError(path, "is outside the years 1 to 9999 in UTC") from None
    # In UTC, since two moments of one zone are equal whatever their fold; without the class of a pandas Timestamp.
    return utc if type(utc) is datetime else datetime(*utc.timetuple()[:6], utc.microsecond, tzinfo=UTC)


def _checked_date(day: date, _path: str) -> date:
    return date(day.year, day.month, day.day)


def _checked_int(number: int, path: str) -> int:
    if abs(number) >= _TOO_LARGE:
        raise InvalidTraitsError(path, f"is an integer of more than {MAX_EXPONENT} digits")
    return int(number)


def _checked_float(number: float, path: str) -> float:
    if not math.isfinite(number):
        raise InvalidTraitsError(path, "is not a finite number")
    return float(number)


def _checked_decimal(number: Decimal, path: str) -> Decimal:
    if not number.is_finite():
        raise InvalidTraitsError(path, "is not a finite number")
    exponent = number.as_tuple().exponent
    if not (-MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT and int(exponent) >= -MAX_EXPONENT):
        raise InvalidTraitsError(path, f"has an exponent beyond {MAX_EXPONENT}")
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
    datetime: _checked_datetime,
    date: _checked_date,
    Decimal: _checked_decimal,
    UUID: _checked_uuid,
}


def _check_of(kind: type[object]) -> Callable[[Any, str], Any] | None:
    """Return the check of the nearest scalar type that *kind* is, so that an enum of strings is a string."""
    return _CHECKS.get(kind) or next((_CHECKS[base] for base in kind.__mro__ if base in _CHECKS), None)


def _article(type_name: str) -> str:
    return f"an {type_name}" if type_name.lower().startswith(tuple("aeiou")) else f"a {type_name}"
