"""What a fake vendor answers."""

from collections.abc import Mapping
from typing import TypeAlias

import attrs
import orjson

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

JSON_TYPE = "application/json"


@attrs.frozen(kw_only=True)
class Answer:
    """One HTTP response, and whether the vendor's state changed for it."""

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    applied: bool = False


def json_answer(status: int, value: JsonValue, *, applied: bool = False) -> Answer:
    """Return an answer that holds *value* as JSON."""
    headers = {"content-type": JSON_TYPE}
    return Answer(status=status, body=orjson.dumps(value), headers=headers, applied=applied)


def parse_json(body: bytes) -> JsonValue:
    """Return the JSON in *body*.

    Raises:
        ValueError: The body is not JSON.
    """
    value: JsonValue = orjson.loads(body)
    return value
