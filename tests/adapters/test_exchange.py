from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given

from replay_identity.adapters.exchange import AFTER_SLEEP, NoResponse, Request, Response
from replay_identity.testing import responses

SENT = "Sat, 21 Nov 2026 08:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 400}, 1e10),
        ({"retry-after": "Sat, 21 Nov 2026 08:00:30 GMT", "date": SENT}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 07:00:00 GMT", "date": SENT}, 0.0),
        ({"retry-after": "25, 7.5,30"}, 30.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": SENT}, 1e10),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359", "date": SENT}, 1e10),
        ({"retry-after": "Sat, 21 Nov 2026 08:00:30 GMT, Sat, 21 Nov 2026 08:00:50 GMT", "date": SENT}, 50.0),
        ({"retry-after": "Sat, 21 Nov 2026 08:00:50 GMT , 70,soon, 9", "date": SENT}, 70.0),
        ({"retry-after": "60, Sat, 21 Nov 2026 08:00:50 GMT", "date": SENT}, 60.0),
        ({"retry-after": "60, soon, -5"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 08:00:30 -0000", "date": SENT}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +" + "9" * 20, "date": SENT}, None),
        ({"retry-after": "1 Jan 99999999999999999999 00:00:00 GMT", "date": SENT}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "²"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """A date is relative to the server's clock, and an invalid value is None."""
    assert Response(429, headers).retry_after == seconds


@pytest.mark.parametrize("headers", [{}, {"date": "today"}])
def test_a_date_without_a_server_clock_uses_ours(headers: dict[str, str]) -> None:
    """Ignoring it would mean retrying too early."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    wait = Response(429, {"retry-after": later, **headers}).retry_after

    assert wait is not None
    assert 90 < wait <= 100


@pytest.mark.parametrize(
    ("status", "success", "retryable", "may_have_applied"),
    [
        (200, True, False, False),
        (204, True, False, False),
        (299, True, False, False),
        (199, False, False, False),
        (300, False, False, False),
        (400, False, False, False),
        (401, False, False, False),
        (408, False, True, False),
        (409, False, False, False),
        (425, False, True, False),
        (429, False, True, False),
        (500, False, True, False),
        (501, False, False, False),
        (502, False, True, True),
        (503, False, True, False),
        (504, False, True, True),
        (505, False, False, False),
    ],
)
def test_classifies_a_status(status: int, success: bool, retryable: bool, may_have_applied: bool) -> None:  # noqa: FBT001
    """Success, worth a retry, and applied although no response says so."""
    response = Response(status)

    assert (response.is_success, response.is_retryable, response.may_have_applied) == (
        success,
        retryable,
        may_have_applied,
    )


@pytest.mark.parametrize(
    ("no_response", "retryable", "may_have_applied"),
    [
        (NoResponse.NOT_SENT, True, False),
        (NoResponse.UNTRUSTED, False, False),
        (NoResponse.CONNECTION_LOST, True, True),
        (NoResponse.TIMED_OUT, True, True),
        (NoResponse.TOO_LARGE, False, True),
        (NoResponse.UNREADABLE, True, True),
        (NoResponse.DEADLINE_PASSED, False, False),
        (NoResponse.CLOSED, False, False),
    ],
)
def test_classifies_a_missing_response(no_response: NoResponse, retryable: bool, may_have_applied: bool) -> None:  # noqa: FBT001
    """The same three properties."""
    response = Response(0, no_response=no_response)

    assert (response.is_success, response.is_retryable, response.may_have_applied) == (
        False,
        retryable,
        may_have_applied,
    )


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b'{"id": "7"}', {"id": "7"}),
        (b"{}", {}),
        (b"[1]", None),
        (b'"text"', None),
        (b"null", None),
        (b"", None),
        (b'{"id": ', None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b'{"id": "\\ud800"}', None),
        (b"[" * 5000, None),
    ],
)
def test_a_body_is_a_json_object_or_none(body: bytes, content: object) -> None:
    """No body raises an exception."""
    assert Response(200, body=body).json_object() == content


@pytest.mark.parametrize(
    ("response", "confirms"),
    [
        (Response(200), True),
        (Response(204), True),
        (Response(202, body=b" \r\n"), True),
        (Response(200, body=b"{}"), True),
        (Response(201, body=b' {"success": false}\n'), True),
        (Response(200, body=b"<html></html>"), False),
        (Response(200, body=b"ok"), False),
        (Response(200, body=b'{"id": "u'), False),
        (Response(200, body=b"[{}]"), False),
        (Response(200, body=b'"u1"'), False),
        (Response(200, body=b"null"), False),
        (Response(200, body=b"\x00"), False),
        (Response(199, body=b"{}"), False),
        (Response(302), False),
        (Response(400, body=b"{}"), False),
        (Response(0, no_response=NoResponse.TIMED_OUT), False),
    ],
)
def test_success_is_nothing_or_an_object(response: Response, confirms: bool) -> None:  # noqa: FBT001
    """A proxy or a login page responds 200 too, with other text."""
    assert response.confirms is confirms


@pytest.mark.parametrize(
    ("body", "refuses"),
    [
        (b'{"success": false}', True),
        (b'{"ok": false, "user": {}}', True),
        (b'{"error": "no"}', True),
        (b'{"error": {"code": 7}}', True),
        (b'{"errors": ["no"]}', True),
        (b'{"error": true}', True),
        (b'{"errors": 2, "error": 0.5}', False),
        (b'{"success": true, "error": null, "errors": []}', False),
        (b'{"error": ""}', False),
        (b'{"error": false}', False),
        (b'{"success": 0}', False),
        (b"{}", False),
        (b"", False),
        (b'[{"error": "no"}]', False),
    ],
)
def test_a_success_may_refuse(body: bytes, refuses: bool) -> None:  # noqa: FBT001
    """Only the body says so; any other status needs none to refuse."""
    assert Response(200, body=body).refuses is refuses
    assert not Response(400, body=body).refuses


@given(response=responses())
def test_any_response_can_be_read(response: Response) -> None:
    """No header and no body raises an exception."""
    assert response.retry_after is None or response.retry_after >= 0
    assert isinstance(response.json_object(), dict | None)
    assert not (response.is_success and response.is_retryable)


def test_reprs_contain_no_key_id_or_body() -> None:
    """Requests and responses contain personal data."""
    request = Request("identify", "PUT", "https://api/users/canary", {"authorization": "canary"}, b"canary")
    response = Response(400, {"x": "canary"}, b"canary")

    assert "canary" not in repr(request) + repr(response)
    assert repr(response) == "Response(status=400, no_response=None, uncertain=False)"


def test_after_a_sleep_comes_a_success() -> None:
    """An exchange that sleeps receives no failure."""
    assert AFTER_SLEEP.is_success
