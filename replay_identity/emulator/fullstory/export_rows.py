"""The rows of an export of individuals, and the formats of its file.

Fields: 2026-11-30, https://developer.fullstory.com/server/v1/segments/export-fields.
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import orjson

from ..http import JsonObject, JsonValue
from .errors import invalid
from .jobs import rfc3339
from .properties import TYPE_CHECKS, has_type
from .users import FullstoryUser

Column: TypeAlias = Callable[[FullstoryUser], JsonValue]


def _cookie_of(user: FullstoryUser) -> int:
    # "UserId (int64, a cookie)": another number than the id of the individual.
    return int.from_bytes(hashlib.sha256(user.id.encode()).digest()[:8]) >> 1


STANDARD_FIELDS: Final[Mapping[str, Column]] = {
    "IndvId": lambda user: int(user.id),
    "UserId": _cookie_of,
    "UserAppKey": lambda user: user.uid,
    "UserDisplayName": lambda user: user.display_name,
    "UserEmail": lambda user: user.email,
    "UserCreated": lambda user: rfc3339(user.created),
}

ALL_CUSTOM: Final = "user_*"
CUSTOM_FIELD: Final = re.compile(rf"user_.+_(?:{'|'.join(TYPE_CHECKS)})s?")


def read_fields(value: JsonValue) -> Sequence[str]:
    """Return the names of fields in a request.

    Raises:
        FullstoryHttpError: A name is unknown (400).
    """
    if not isinstance(value, list):
        raise invalid("fields must be a list")

    names = [name for name in value if isinstance(name, str) and _is_known(name)]
    # Policy: an unknown field is rejected; the documents do not say.
    if len(names) < len(value):
        raise invalid("fields has an unknown field")
    return tuple(dict.fromkeys(names))


def _is_known(name: str) -> bool:
    return name in STANDARD_FIELDS or name == ALL_CUSTOM or CUSTOM_FIELD.fullmatch(name) is not None


@attrs.frozen
class IndividualTable:
    """The rows of an export: the names of its fields, and each user's values by name."""

    names: Sequence[str]
    rows: Sequence[JsonObject] = attrs.field(repr=False)

    def without_nulls(self) -> Sequence[JsonObject]:
        """Return the rows without the fields that have no value."""
        return [{name: value for name, value in row.items() if value is not None} for row in self.rows]


def tabulate(users: Iterable[FullstoryUser], fields: Sequence[str]) -> IndividualTable:
    """Return the *fields* of *users*; `user_*` stands for the custom fields that any of the users has."""
    values = [_values(user) for user in users]
    custom = sorted({name for row in values for name in row if name not in STANDARD_FIELDS})
    expanded = [name for field in fields for name in (custom if field == ALL_CUSTOM else [field])]
    names = tuple(dict.fromkeys(expanded))
    return IndividualTable(names, [{name: row.get(name) for name in names} for row in values])


def _values(user: FullstoryUser) -> JsonObject:
    standard = {name: read(user) for name, read in STANDARD_FIELDS.items()}
    return {**standard, **dict(_custom_values(user))}


def _custom_values(user: FullstoryUser) -> Iterator[tuple[str, JsonValue]]:
    for path, value in _leaves(user.properties):
        # Policy: of several types of a property, the newest that fits the value; an untyped empty list has no field.
        types = (name for name in reversed(user.types.get(path, ())) if has_type(value, name))
        name = next(types, None)
        if name is not None:
            # Policy: a nested property has its dotted path as its name, as in the schema.
            yield f"user_{path}_{name}", value


def _leaves(tree: Mapping[str, JsonValue], parent: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, value in tree.items():
        path = f"{parent}{name}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def as_ndjson(rows: Sequence[JsonObject], _: Sequence[str]) -> bytes:
    """Return one JSON object a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def as_json(rows: Sequence[JsonObject], _: Sequence[str]) -> bytes:
    """Return a JSON list of objects."""
    return orjson.dumps(rows)


def as_csv(rows: Sequence[JsonObject], names: Sequence[str]) -> bytes:
    """Return a header and one line a row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode()


def _cell(value: JsonValue) -> str:
    # Policy: a missing value is an empty cell, and all but text is written as JSON.
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
