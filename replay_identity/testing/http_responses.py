"""Strategies for everything that a vendor, or a proxy in front of it, may respond."""

import json
from typing import Final

from hypothesis import strategies as st

from ..adapters.exchange import NoResponse, Response

# Names that occur in vendors' responses.
_NAMES: Final = (
    *("id", "uid", "user_id", "userID", "name", "traits", "properties", "schema", "role", "orgId", "sessionId"),
    *("status", "code", "error", "errors", "message", "detail", "details", "results", "result", "retry"),
    *("total_records", "next_page_token", "processed", "size", "index", "response", "errorObject"),
)
_STATUSES: Final = (
    *(200, 202, 204, 301, 302, 400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 429),
    *(500, 501, 502, 503, 504, 100, 599, 999),
)
_DATES: Final = (
    *("Sat, 21 Nov 2026 08:00:00 GMT", "Sat, 21 Nov 2026 08:00:30 GMT", "", "soon"),
    "Mon, 01 Jan 2024 00:00:00 +" + "9" * 20,
)


def responses() -> st.SearchStrategy[Response]:
    """Return a strategy for responses, valid or garbage, and for every way in which there is no response."""
    answered = st.builds(Response, st.sampled_from(_STATUSES), headers(), bodies(), uncertain=st.booleans())
    no_response = st.builds(Response, st.just(0), no_response=st.sampled_from(NoResponse), uncertain=st.booleans())
    return st.one_of(answered, answered, answered, no_response)


def bodies() -> st.SearchStrategy[bytes]:
    """Return a strategy for bodies: almost as documented, those of proxies, and garbage."""
    scalar: st.SearchStrategy[object] = st.one_of(st.text(max_size=8), st.integers(), st.sampled_from(_JSON_VALUES))
    value = st.one_of(scalar, scalar.map(_in_list), scalar.map(_in_object))
    objects = st.dictionaries(st.sampled_from(_NAMES), value, max_size=2)
    return st.one_of(objects.map(_json), st.sampled_from(_GARBAGE), st.binary(max_size=40))


def _in_list(value: object) -> object:
    return [value]


def _in_object(value: object) -> object:
    return {"code": value, "id": value}


_JSON_VALUES: Final[tuple[object, ...]] = (None, True, "ok", "retry", "drop", [], {})
_GARBAGE: Final = (
    *(b"", b"<html>Log in</html>", b"1", b'"ok"', b"null", b"[]", b"[[]]", b"[{}]", b'{"id"', b"\xff", b"[" * 500),
    b'{"a":' * 500,
    b'{"id": ' + b"9" * 5000 + b"}",
)


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def headers() -> st.SearchStrategy[dict[str, str]]:
    """Return a strategy for the headers that matter: Retry-After and Date."""
    waits = st.one_of(st.integers(-5, 10**30).map(str), st.sampled_from(_DATES), st.text(max_size=8))
    return st.one_of(st.just(dict[str, str]()), waits.map(lambda wait: {"retry-after": wait, "date": _DATES[0]}))
