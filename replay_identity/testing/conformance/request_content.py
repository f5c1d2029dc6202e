"""All that a request says, wherever it says it: found without knowing the vendor's words."""

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
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ][0-9:.]{5,}(Z|[+-]\d\d:?\d\d)?)?")


@attrs.frozen
class RequestContent:
    """What stands in a request's path, query and body: names, texts, numbers and moments.

    Attributes:
        texts: Every name and every text.
        numbers: Every number, those written as texts too.
        moments: Every moment; a day is its midnight in UTC.
        words: Every true, false and null.
    """

    texts: frozenset[str] = attrs.field(repr=False)
    numbers: frozenset[Decimal] = attrs.field(repr=False)
    moments: frozenset[datetime] = attrs.field(repr=False)
    words: frozenset[bool | None] = attrs.field(repr=False)

    def says(self, value: Any) -> bool:  # noqa: ANN401  # Whatever a trait can be.
        """Tell whether *value* can be read from the request, as any type that means the same."""
        if is_nested(value):
            return all(self.says(item) for item in value.values())
        if is_list(value):
            return all(self.says(item) for item in value)
        if isinstance(value, bool):
            return value in self.words or str(value).lower() in self.texts
        if isinstance(value, int | float | Decimal):
            return Decimal(str(value)) in self.numbers
        if isinstance(value, date):
            return self._says_moment(value)
        return str(value) in self.texts

    def _says_moment(self, value: date) -> bool:
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        microseconds = Decimal((moment - _EPOCH) // (datetime.resolution))
        return moment in self.moments or not self.numbers.isdisjoint({microseconds / 1000, microseconds / 1_000_000})


def read_request_content(request: Request) -> RequestContent:
    """Return all that *request* says."""
    scalars = [*_address(request.url), *_leaves(_content(request.body or b""))]
    texts = [scalar for scalar in scalars if isinstance(scalar, str)]
    numbers = [scalar for scalar in scalars if isinstance(scalar, Decimal)]
    return RequestContent(
        texts=frozenset(texts),
        numbers=frozenset([*numbers, *(Decimal(text) for text in texts if _NUMBER.fullmatch(text))]),
        moments=frozenset(moment for text in texts if (moment := _moment(text)) is not None),
        words=frozenset(scalar for scalar in scalars if scalar is None or isinstance(scalar, bool)),
    )


def _address(url: str) -> Iterator[str]:
    """Yield what the path and the query of *url* say."""
    parts = urlsplit(url)
    yield from (unquote(segment) for segment in parts.path.split("/"))
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        yield from (name, value)


def _content(body: bytes) -> Any:  # noqa: ANN401  # JSON.
    """Return *body* as JSON, or as a form's fields."""
    text = body.decode()
    found = _json(text)
    return dict(parse_qsl(text, keep_blank_values=True)) if found is None else found


def _json(text: str) -> Any:  # noqa: ANN401  # As above.
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None


def _leaves(content: Any) -> Iterator[str | Decimal | bool | None]:  # noqa: ANN401  # As above.
    """Yield every name and every scalar of JSON *content*, and those of JSON that stands in its texts."""
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
            yield from _leaves(_json(content))


def _is_array(content: object) -> TypeGuard[list[Any]]:
    return isinstance(content, list)


def _moment(text: str) -> datetime | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
