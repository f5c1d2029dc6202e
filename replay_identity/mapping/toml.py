"""A mapping written as the TOML that `load_mapping` reads."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypeGuard

import attrs

from .._toml import read_toml, structure
from .._values import is_list, is_nested
from ..errors import ConfigurationError, printable
from .rules import FieldRule, RowMapping

_FIELDS: Final = "fields"


def mapping_text(mapping: RowMapping, notes: Mapping[str, str] | None = None) -> str:
    """Return *mapping* as TOML.

    Args:
        mapping: The mapping.
        notes: By path, a line of comment to stand above the field.

    Raises:
        ConfigurationError: A default is of a type that TOML does not have.
    """
    tables = ["".join(f"{line}\n" for line in _settings(mapping, RowMapping(), ""))]
    for path, rule in mapping.fields.items():
        comment = f"# {notes[path]}\n" if notes and path in notes else ""
        settings = _settings(rule, FieldRule(), f"{_FIELDS}.{printable(path)}.")
        tables.append(f"{comment}[{_FIELDS}.{_text(path)}]\n" + "".join(f"{line}\n" for line in settings))
    return "\n".join(filter(None, tables))


def _settings(said: RowMapping | FieldRule, unsaid: RowMapping | FieldRule, place: str) -> Iterator[str]:
    """Yield a line for each setting that is not as it is by default."""
    for field in attrs.fields(type(said)):
        value = getattr(said, field.name)
        if field.name != _FIELDS and value != getattr(unsaid, field.name):
            yield f"{field.name} = {_value(value, place + field.name)}"


def _value(value: Any, place: str) -> str:  # noqa: ANN401  # A default can be anything.
    if is_nested(value):
        pairs = [f"{_text(name)} = {_value(item, place)}" for name, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if is_list(value) or _is_list(value):
        return f"[{', '.join([_value(item, place) for item in value])}]"
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case datetime():
            return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
        case date():
            return value.isoformat()
        case _:
            raise ConfigurationError(place, "is of a type that TOML does not have")


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _text(text: str) -> str:
    """Return *text* as TOML quotes it, which is how JSON does, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def load_mapping(path: Path) -> RowMapping:
    """Return the mapping that the TOML file at *path* holds.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or has a setting that cannot be used.
    """
    return structure(read_toml(path), RowMapping, f"{path}: ")
