"""Data out of a file into attrs classes: strictly, and with errors that name a path and never quote a value."""

import re
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote

from .errors import ConfigurationError, printable

T = TypeVar("T")

# A number written as text is a mistake to be told, not to be mended.
_EXACT: Final[Mapping[type, tuple[type, ...]]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
_WORDS: Final[Mapping[object, str]] = {
    str: "is not a string",
    bool: "is not true or false",
    int: "is not a whole number",
    float: "is not a number",
}


def structure(data: Mapping[str, Any], cls: type[T], source: str) -> T:
    """Return *data* as the attrs class *cls*.

    Args:
        data: What was read.
        cls: An attrs class; every key must be a parameter of its.
        source: Where *data* stands, as a path that ends before the first key.

    Raises:
        ConfigurationError: The first value that cannot be used, by path.
    """
    try:
        return _CONVERTER.structure(data, cls)
    except Exception as error:  # noqa: BLE001  # cattrs, and the class itself, may raise any.
        # The first problem in the file is enough, and no text of theirs: they quote the values.
        raise _problem(error, source, None) from None


def _exactly(value: object, kind: type) -> Any:  # noqa: ANN401  # Of that kind.
    if not isinstance(value, _EXACT[kind]) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return kind(value)


def _problem(error: BaseException, path: str, kind: object) -> ConfigurationError:
    """Return the first thing that cattrs found."""
    if isinstance(error, cattrs.BaseValidationError):
        first = error.exceptions[0]
        return _problem(first, *_place(first, path))
    if isinstance(error, ConfigurationError):
        return ConfigurationError(_join(path, error.setting), error.problem, error.hint)
    if isinstance(error, ForbiddenExtraKeysError):
        return _unknown_setting(error, path)
    return ConfigurationError(path, _describe(error, kind))


def _place(error: BaseException, path: str) -> tuple[str, object]:
    """Return where *error* was raised, and what was expected there."""
    notes: list[Any] = getattr(error, "__notes__", [])
    match notes:
        case [AttributeValidationNote(name=str(name), type=kind), *_]:
            return _join(path, name), kind
        case [IterableValidationNote(index=index, type=kind), *_]:
            return _join(path, printable(str(index))), kind
        case _:
            return path, None


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if path.endswith(" ") else f"{path}.{name}"


def _unknown_setting(error: ForbiddenExtraKeysError, path: str) -> ConfigurationError:
    name = min(error.extra_fields)
    settings = (
        field.alias for field in getattr(error.cl, "__attrs_attrs__", ()) if field.init and field.alias != "name"
    )
    return ConfigurationError(_join(path, printable(name)), "is not a setting", f"there are {', '.join(settings)}")


def _describe(error: BaseException, kind: object) -> str:
    choices = _choices(kind)
    # For a choice that there is not, cattrs raises the same as for a setting that is not there.
    if isinstance(error, KeyError) and not choices:
        return "is missing"
    if choices:
        return f"is none of {', '.join(choices)}"
    if get_origin(kind) is Mapping or attrs.has(_class(kind)):
        return "is not a table"
    # An optional setting is described by what it is when it is there.
    kinds = (part for part in get_args(kind) or (kind,) if part is not type(None))
    return _WORDS.get(next(kinds, None), "cannot be used")


def _choices(kind: object) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    cls = _class(kind)
    return [str(entry.value) for entry in cls] if issubclass(cls, Enum) else []


def _class(kind: object) -> type:
    return kind if isinstance(kind, type) else type(None)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True, use_alias=True)
    for kind in _EXACT:
        converter.register_structure_hook(kind, _exactly)
    return converter


_CONVERTER: Final = _converter()


_PLACE: Final = re.compile(r"at (line \d+, column \d+)")


def read_toml(path: Path) -> dict[str, Any]:
    """Return what the file at *path* holds.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML.
    """
    return _parse(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not UTF-8", "save it as UTF-8") from None  # The cause quotes the file.
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise ConfigurationError(str(path), f"cannot be read: {problem or type(error).__name__}") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f"is not TOML from {place[1]} on" if place else "is not TOML: it is cut off"
        raise ConfigurationError(source, where) from None  # The cause may quote the file.
    except RecursionError:
        raise ConfigurationError(source, "is nested too deeply") from None
