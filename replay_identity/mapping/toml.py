"""Read and write mappings as TOML."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypeGuard

import attrs

from .._text import escape_controls
from .._toml import read_toml, structure
from .._values import is_list, is_nested
from ..errors import ConfigurationError, printable
from .rules import FieldRule, RowMapping

_FIELDS: Final = "fields"


def load_mapping(path: str | Path) -> RowMapping:
    """Return the mapping in the TOML file at *path*.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or has a setting that is not valid.
    """
    return structure(read_toml(Path(path)), RowMapping, f"{path}: ")


def mapping_text(mapping: RowMapping, notes: Mapping[str, str] | None = None) -> str:
    """Return *mapping* as TOML.

    Args:
        mapping: The mapping.
        notes: Comments to write above fields, by path.

    Raises:
        ConfigurationError: A default has a type that TOML does not have.
    """
    tables = ["".join(f"{line}\n" for line in _settings(mapping, RowMapping(), ""))]
    for path, rule in mapping.fields.items():
        comment = f"# {notes[path]}\n" if notes and path in notes else ""
        settings = _settings(rule, FieldRule(), f"{_FIELDS}.{printable(path)}.")
        tables.append(f"{comment}[{_FIELDS}.{_quoted(path)}]\n" + "".join(f"{line}\n" for line in settings))
    return "\n".join(filter(None, tables))


def rule_settings(rule: FieldRule) -> str:
    """Return the settings of *rule* that are not the default, as TOML in one line."""
    return ", ".join(_settings(rule, FieldRule(), ""))


def _settings(rules: RowMapping | FieldRule, defaults: RowMapping | FieldRule, prefix: str) -> Iterator[str]:
    """Yield a line for each setting in *rules* that differs from *defaults*."""
    for field in attrs.fields(type(rules)):
        value = getattr(rules, field.name)
        if field.name != _FIELDS and value != getattr(defaults, field.name):
            yield f"{field.name} = {_value(value, prefix + field.name)}"


def _value(value: Any, setting: str) -> str:  # noqa: ANN401  # A default can be anything.
    if is_nested(value):
        pairs = [f"{_quoted(name)} = {_value(item, setting)}" for name, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if is_list(value) or _is_list(value):
        return f"[{', '.join([_value(item, setting) for item in value])}]"
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int() | float():
            return repr(value)
        case datetime():
            return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
        case date():
            return value.isoformat()
        case _:
            raise ConfigurationError(setting, "has a type that TOML does not have")


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _quoted(text: str) -> str:
    # TOML quotes strings as JSON does, but for one control character.
    return escape_controls(json.dumps(text, ensure_ascii=False))
