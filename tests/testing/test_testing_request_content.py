"""Extracting the values of a request."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from replay_identity.adapters import Request
from replay_identity.testing.conformance import read_request_content

MOMENT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
UUID_ = UUID("12345678-1234-5678-1234-567812345678")


def request(body: bytes, url: str = "https://vendor.example/v1/users/a%2Fb?id=q%20r") -> Request:
    """Return a request."""
    return Request("identify", "POST", url, {}, body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", "a/b"),
        (b"{}", "q r"),
        (b'{"plan": "pro"}', "plan"),
        (b'{"plan": ["pro"]}', "pro"),
        (b'{"traits": "{\\"plan\\": [\\"pro\\", 7]}"}', ("pro", 7)),
        (b"plan=pro&seats=7", "pro"),
        (b"plan=pro&seats=7", 7),
        (b'[{"seats": 7}]', 7),
        (b'{"rate": "9.90"}', Decimal("9.9")),
        (b'{"rate": 1e-7}', 1e-7),
        (b'{"large": 9007199254740993}', 2**53 + 1),
        (b'{"is_new": true}', True),
        (b'{"is_new": "false"}', False),
        (b'{"since": "2026-11-21T08:30:00Z"}', MOMENT),
        (b'{"since": "2026-11-21T09:30:00+01:00"}', MOMENT),
        (b'{"since": 1795249800000}', MOMENT),
        (b'{"since": 1795249800}', MOMENT),
        (b'{"on": "2026-11-21"}', date(2026, 11, 21)),
        (b'{"on": "2026-11-21T00:00:00"}', date(2026, 11, 21)),
        (b'{"id": "12345678-1234-5678-1234-567812345678"}', UUID_),
        (b'{"list": [{"a": "x"}]}', ({"a": "x"},)),
    ],
)
def test_content_contains_sent_values(body: bytes, value: Any) -> None:
    """Values are found in any type that means the same."""
    assert read_request_content(request(body)).contains(value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", "a"),
        (b'{"plan": "pro"}', "pr"),
        (b'{"plan": ["pro"]}', ("pro", "free")),
        (b'{"seats": 7}', 8),
        (b'{"seats": 7.5}', 7),
        (b'{"rate": 0.1}', Decimal("0.1") ** 2),
        (b'{"large": 9007199254740992}', 2**53 + 1),
        (b'{"is_new": true}', False),
        (b'{"since": "2026-11-21T08:30:01Z"}', MOMENT),
        (b'{"since": "2026-99-21T08:30:00Z"}', MOMENT),
        (b'{"on": "2026-11-22"}', date(2026, 11, 21)),
        (b'{"text": "{not json"}', "not json"),
        (b'{"list": [{"a": "x"}]}', ({"a": "y"},)),
    ],
)
def test_content_lacks_similar_values(body: bytes, value: Any) -> None:
    """Similar values are not found."""
    assert not read_request_content(request(body)).contains(value)
