from typing import Any

import pytest
from hypothesis import given

from replay_identity import Misconfigured, Rejected, Unavailable, Unknown
from replay_identity.adapters.exchange import NoResponse, Response
from replay_identity.adapters.responses import failure_outcome
from replay_identity.outcomes import explain
from replay_identity.testing import responses

HINTS = {401: "Check the key."}


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (Response(200), Unknown("acme", "HTTP 200 with an unexpected body", status=200)),
        (Response(200, body=b"<html>"), Unknown("acme", "HTTP 200 with an unexpected body", status=200)),
        (Response(200, body=b'{"success": false}'), Rejected("acme", code="HTTP 200")),
        (Response(201, body=b'{"error": {"a": 1}}'), Rejected("acme", code="HTTP 201")),
        (Response(400), Rejected("acme", code="HTTP 400")),
        (Response(401), Misconfigured("acme", "HTTP 401", "Check the key.")),
        (Response(404), Rejected("acme", code="HTTP 404")),
        (Response(413), Rejected("acme", code="HTTP 413")),
        (Response(429, {"retry-after": "7"}), Unavailable("acme", "HTTP 429", 7.0, 429)),
        (Response(503), Unavailable("acme", "HTTP 503", status=503)),
        (Response(503, uncertain=True), Unknown("acme", "HTTP 503", status=503)),
        (Response(502), Unknown("acme", "HTTP 502", status=502)),
        (Response(504), Unknown("acme", "HTTP 504", status=504)),
        (
            Response(302),
            Misconfigured("acme", "HTTP 302, a redirect, which is never followed", "Check base_url."),
        ),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("acme", "the vendor could not be reached")),
        (
            Response(0, no_response=NoResponse.NOT_SENT, uncertain=True),
            Unknown("acme", "the vendor could not be reached"),
        ),
        (
            Response(0, no_response=NoResponse.CONNECTION_LOST),
            Unknown("acme", "the connection was lost before the response"),
        ),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("acme", "no response in time")),
        (Response(0, no_response=NoResponse.TOO_LARGE), Unknown("acme", "the response exceeded the size limit")),
        (
            Response(0, no_response=NoResponse.DEADLINE_PASSED),
            Unavailable("acme", "the deadline passed before the request was sent"),
        ),
        (
            Response(0, no_response=NoResponse.CLOSED),
            Unavailable("acme", "the transport was closed before the request was sent"),
        ),
        (
            Response(0, no_response=NoResponse.UNTRUSTED),
            Misconfigured(
                "acme",
                "the server's TLS certificate is not trusted",
                "Check base_url, or point SSL_CERT_FILE at your certificates.",
            ),
        ),
    ],
)
def test_maps_failures_to_outcomes(response: Response, outcome: object) -> None:
    """The table is the same for every vendor."""
    assert failure_outcome("acme", response, hints=HINTS) == outcome


def test_keeps_a_vendors_code_and_message() -> None:
    """They say why the vendor rejected the user."""
    outcome = failure_outcome("acme", Response(400), hints=HINTS, code="required_field", message="uid is required")

    assert outcome == Rejected("acme", code="required_field", message="uid is required")


def test_misconfigured_keeps_the_vendors_code() -> None:
    """The outcome also has the status and the hint."""
    outcome = failure_outcome("acme", Response(401), hints=HINTS, code="unauthorized")

    assert outcome == Misconfigured("acme", "HTTP 401 unauthorized", "Check the key.")


def test_unavailable_keeps_the_vendors_code() -> None:
    """The outcome also has the status."""
    outcome = failure_outcome("acme", Response(429), hints=HINTS, code="too_many_requests")

    assert outcome == Unavailable("acme", "HTTP 429 too_many_requests", status=429)


@pytest.mark.parametrize(
    ("status", "kind"), [(299, Unknown), (300, Misconfigured), (399, Misconfigured), (199, Rejected)]
)
def test_a_redirect_is_misconfigured(status: int, kind: type[object]) -> None:
    """Every 3xx, and no other status."""
    assert type(failure_outcome("acme", Response(status), hints=HINTS)) is kind


@given(response=responses())
def test_every_response_maps_to_one_failure(response: Response) -> None:
    """Its explanation is one line."""
    outcome: Any = failure_outcome("acme", response, hints=HINTS)

    assert isinstance(outcome, Rejected | Misconfigured | Unavailable | Unknown)
    assert outcome.retryable == isinstance(outcome, Unavailable | Unknown)
    assert explain(outcome)


@given(response=responses())
def test_a_request_perhaps_applied_is_never_unavailable(response: Response) -> None:
    """Unavailable promises that the vendor did not apply it."""
    outcome = failure_outcome("acme", response, hints=HINTS)

    if response.uncertain or response.may_have_applied:
        assert not isinstance(outcome, Unavailable)
