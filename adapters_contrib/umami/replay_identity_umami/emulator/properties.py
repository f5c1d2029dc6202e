"""Store a value in the columns of a property (3.1.0 with PostgreSQL 15, tested 2026-11-21)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal, TypeAlias

import attrs
import orjson

from replay_identity.emulator.http import JsonObject, JsonValue

from .errors import database_error, http_error

Kind: TypeAlias = Literal["string", "number", "boolean", "date", "array"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(Z|\+\d\d:\d\d))?", re.ASCII)
_MAX_LENGTH: Final = 500
_NUMBER_LIMIT: Final = 10**15
_PRECISION: Final = Decimal("0.0001")


@attrs.frozen(kw_only=True)
class Property:
    """One property of a session; a number is stored as text, too."""

    kind: Kind
    text: str = attrs.field(repr=False)
    number: Decimal | None = attrs.field(default=None, repr=False)

    def as_json(self) -> JsonObject:
        """Return the property as JSON, for debugging and comparison."""
        return {"dataType": self.kind, "stringValue": self.text}


def flatten(data: JsonObject, parent: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield every value with its dotted name; an empty object yields nothing."""
    for name, value in data.items():
        full_name = f"{parent}.{name}" if parent else name
        if isinstance(value, dict):
            yield from flatten(value, full_name)
        else:
            yield full_name, value


def check_name(name: str) -> None:
    """Raise UmamiHttpError if the database cannot store *name*."""
    _check_text(name)


def read_property(value: JsonValue) -> Property:
    """Return *value* as the database stores it, or raise UmamiHttpError."""
    match value:
        case bool():
            return Property(kind="boolean", text="true" if value else "false")
        case int() | float():
            return _read_number(value)
        case str() if _DATE.fullmatch(value):
            return Property(kind="date", text=_read_date(value))
        case str():
            _check_text(value)
            return Property(kind="string", text=value)
        case _:
            # Null is an object in JavaScript, so it is stored as the text "null".
            text = orjson.dumps(value).decode()
            _check_text(text)
            return Property(kind="array", text=text)


def _read_number(value: float) -> Property:
    number = float(value)  # As JavaScript parses it.
    if abs(number) >= _NUMBER_LIMIT:
        raise database_error("P2020")
    rounded = Decimal(repr(number)).quantize(_PRECISION, ROUND_HALF_UP)
    return Property(kind="number", text=str(rounded), number=rounded)


def _read_date(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Policy: JavaScript's toISOString throws for an invalid date, and Umami responds to any exception with 500.
        raise http_error(500, errorObject={"name": "RangeError", "message": "Invalid time value"}) from None
    # Policy: a datetime without a zone is in the server's own zone, which is UTC here.
    in_utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{in_utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _check_text(text: str) -> None:
    if len(text) > _MAX_LENGTH:
        raise database_error("P2000")
    if "\0" in text:
        raise database_error("P2039")
