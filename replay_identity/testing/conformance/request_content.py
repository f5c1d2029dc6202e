"""Extract every value from a request, without knowing the vendor's format."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from ..._values import is_list, is_nested
from ...adapters.exchange import Request

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[+-]?\d{1,500}(\.\d{1,500})?([eE][+-]?\d{1,3})?")
_DATETIME: Final = re.compile(r"\d{4}-\d\d-\d\d([T ][0-9:.]{5,}(Z|[+-]\d\d:?\d\d)?)?")


@attrs.frozen
class RequestContent:
    """The values in a request's path, query and body.

    Attributes:
        texts: All names and strings.
        numbers: All numbers, including those written as strings.
        datetimes: All dates and times; a date counts as its midnight in UTC.
        literals: All true, false and null.
    """

    texts: frozenset[str] = attrs.field(repr=False)
    numbers: frozenset[Decimal] = attrs.field(repr=False)
    datetimes: frozenset[datetime] = attrs.field(repr=False)
    literals: frozenset[bool | None] = attrs.field(repr=False)

    def contains(self, value: Any) -> bool:  # noqa: ANN401  # Any trait value.
        """Return True if the request contains *value*, in any type that means the same."""
        if is_nested(value):
            return all(self.contains(item) for item in value.values())
        if is_list(value):
            return all(self.contains(item) for item in value)
        if isinstance(value, bool):
            return value in self.literals or str(value).lower() in self.texts
        if isinstance(value, int | float | Decimal):
            return Decimal(str(value)) in self.numbers
        if isinstance(value, date):
            return self._contains_datetime(value)
        return str(value) in self.texts

    def _contains_datetime(self, value: date) -> bool:
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        microseconds = Decimal((moment - _EPOCH) // (datetime.resolution))
        return moment in self.datetimes or not self.numbers.isdisjoint({microseconds / 1000, microseconds / 1_000_000})


def read_request_content(request: Request) -> RequestContent:
    """Return all values in *request*."""
    scalars = [*_url_values(request.url), *_leaves(_parse_body(request.body or b""))]
    texts = [scalar for scalar in scalars if isinstance(scalar, str)]
    numbers = [scalar for scalar in scalars if isinstance(scalar, Decimal)]
    return RequestContent(
        texts=frozenset(texts),
        numbers=frozenset([*numbers, *(Decimal(text) for text in texts if _NUMBER.fullmatch(text))]),
        datetimes=frozenset(moment for text in texts if (moment := _parse_datetime(text)) is not None),
        literals=frozenset(scalar for scalar in scalars if scalar is None or isinstance(scalar, bool)),
    )


def _url_values(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield from (unquote(segment) for segment in parts.path.split("/"))
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        yield from (name, value)


def _parse_body(body: bytes) -> Any:  # noqa: ANN401  # JSON, or the fields of a form.
    text = body.decode()
    content = _parse_json(text)
    return dict(parse_qsl(text, keep_blank_values=True)) if content is None else content


def _parse_json(text: str) -> Any:  # noqa: ANN401  # As above.
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None


def _leaves(content: Any) -> Iterator[str | Decimal | bool | None]:  # noqa: ANN401  # As above.
    """Yield every name and scalar of JSON *content*, and of JSON inside its strings."""
    if is_nested(content):
        for name, value in content.items():
            yield name
            yield from _leaves(value)
    elif _is_array(content):
        for value in content:
            yield from _leaves(value)
    else:
        yield content
        if isinstance(content, str) and content[:1] in {"{", "["}:
            yield from _leaves(_parse_json(content))


def _is_array(content: object) -> TypeGuard[list[Any]]:
    return isinstance(content, list)


def _parse_datetime(text: str) -> datetime | None:
    if not _DATETIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
