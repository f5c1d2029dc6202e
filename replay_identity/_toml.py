"""Read TOML files into attrs classes, with errors that name the path of a setting and never its value."""

import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote

from .errors import ConfigurationError, printable

T = TypeVar("T")

# A number written as a string is a mistake to report, so nothing is converted.
_ACCEPTED_TYPES: Final[Mapping[type, tuple[type, ...]]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}
_TYPE_NAMES: Final[Mapping[object, str]] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
# Settings that are one text or a list of texts; a text alone would otherwise be read as a list of its characters.
_TEXTS: Final[tuple[object, ...]] = (tuple[str, ...], tuple[str, ...] | None, str | tuple[str, ...] | None)
# A table or a setting whose name has blanks or signs, and no quotes.
_BARE_NAME: Final = re.compile(r"""\s*(?:\[[^\]"']*(?:[^\s\w.\]"'\[-]|\w\s+\w)|[^"'=\[#{]*\w\s+\w[^=]*=)""", re.ASCII)
_POSITION: Final = re.compile(r"at (line \d+, column \d+)")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of the TOML file at *path*.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML.
    """
    return _parse(_read(path), str(path))


def structure(data: Mapping[str, Any], cls: type[T], source: str, *, given: Collection[str] = ()) -> T:
    """Return *data* as an instance of the attrs class *cls*.

    Args:
        data: A parsed table.
        cls: An attrs class with a parameter for every key.
        source: Path of *data*, for errors, for example ``replay-identity.toml: backends``.
        given: Keys that are not from the table, and that errors do not suggest.

    Raises:
        ConfigurationError: A value is invalid; only the first is reported.
    """
    try:
        return _CONVERTER.structure(data, cls)
    except Exception as error:  # noqa: BLE001  # cattrs, and the class itself, may raise anything.
        # Without the cause: its text quotes the values.
        raise _first_problem(error, source, None, given) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(
            str(path), "not valid UTF-8", "save the file as UTF-8"
        ) from None  # It quotes the file.
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else None
        raise ConfigurationError(str(path), f"cannot be read: {problem or type(error).__name__}") from None


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        problem = f"not valid TOML at {position[1]}" if position else "not valid TOML: the file ends too early"
        hint = 'a name with blanks or signs is in quotes: [fields."First Name"]' if _has_bare_name(text) else ""
        raise ConfigurationError(source, problem, hint) from None  # The cause may quote the file.
    except RecursionError:
        raise ConfigurationError(source, "nested too deeply") from None


def _has_bare_name(text: str) -> bool:
    """Return True if a table or a setting has a name that must be in quotes."""
    return any(map(_BARE_NAME.match, text.splitlines()))


def _first_problem(
    error: BaseException, path: str, expected_type: object, given: Collection[str]
) -> ConfigurationError:
    if isinstance(error, cattrs.BaseValidationError):
        first = error.exceptions[0]
        return _first_problem(first, *_location(first, path), given)
    if isinstance(error, ConfigurationError):
        return ConfigurationError(_join(path, error.setting), error.problem, error.hint)
    if isinstance(error, ForbiddenExtraKeysError):
        return _unknown_setting(error, path, given)
    return ConfigurationError(path, _describe(error, expected_type))


def _location(error: BaseException, path: str) -> tuple[str, object]:
    """Return the path at which *error* was raised, and the type expected there."""
    notes: list[Any] = getattr(error, "__notes__", [])
    match notes:
        case [AttributeValidationNote(name=str(name), type=expected_type), *_]:
            return _join(path, name), expected_type
        case [IterableValidationNote(index=index, type=expected_type), *_]:
            return _join(path, printable(str(index))), expected_type
        case _:
            return path, None


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if path.endswith(" ") else f"{path}.{name}"


def _unknown_setting(error: ForbiddenExtraKeysError, path: str, given: Collection[str]) -> ConfigurationError:
    name = min(error.extra_fields)
    known = [field.alias for field in attrs.fields(error.cl) if field.init and field.alias not in given]
    spelling = name.casefold().replace("-", "_")
    near = [each for each in known if each.endswith(f"_{spelling}")] or get_close_matches(spelling, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return ConfigurationError(_join(path, printable(name)), "unknown setting", f"{hint}use one of {', '.join(known)}")


def _describe(error: BaseException, expected_type: object) -> str:
    choices = _choices(expected_type)
    if choices:
        # Before the test for KeyError, which cattrs also raises for an unknown choice.
        return f"expected one of {', '.join(choices)}"
    if isinstance(error, KeyError):
        return "the setting is missing"
    if get_origin(expected_type) is Mapping or attrs.has(_class(expected_type)):
        return "expected a table"

    if expected_type in _TEXTS:
        return "expected a string or a list of strings"

    # An optional setting is described by its type when it is set.
    types = (part for part in get_args(expected_type) or (expected_type,) if part is not type(None))
    name = _TYPE_NAMES.get(next(types, None))
    return f"expected {name}" if name else "invalid value"


def _choices(expected_type: object) -> list[str]:
    if get_origin(expected_type) is Literal:
        return [str(choice) for choice in get_args(expected_type)]
    cls = _class(expected_type)
    return [str(choice.value) for choice in cls] if issubclass(cls, Enum) else []


def _class(expected_type: object) -> type:
    return expected_type if isinstance(expected_type, type) else type(None)


def _structure_exactly(value: object, cls: type) -> Any:  # noqa: ANN401  # An instance of *cls*.
    if not isinstance(value, _ACCEPTED_TYPES[cls]) or (isinstance(value, bool) and cls is not bool):
        raise TypeError
    return cls(value)


def _structure_texts(value: object, _type: object) -> Any:  # noqa: ANN401  # A string or strings.
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        raise TypeError
    return tuple(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # All are strings.


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True, use_alias=True)
    for cls in _ACCEPTED_TYPES:
        converter.register_structure_hook(cls, _structure_exactly)
    converter.register_structure_hook_func(lambda cls: cls in _TEXTS, _structure_texts)
    return converter


_CONVERTER: Final = _make_converter()
