from typing import Any

import orjson
import pytest
from replay_identity_umami import Umami

from replay_identity.adapters import (
    Accepted,
    Misconfigured,
    NoResponse,
    Outcome,
    Rejected,
    Response,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.testing import ScriptedTransport

WEBSITE = "a2c1f0de-5b7e-4c7f-9d0a-3f1e2b4c5d6e"
BACKEND = Umami(WEBSITE, base_url="https://umami.example.com")
ADA = UserTraits("canary-id", name="Canary Finch", traits={"plan": "canary-plan"})
SESSION = Response(200, body=b'{"cache":"ey.a.token","sessionId":"f0e1","visitId":"a9b8"}')
BOT = Response(200, body=b'{"beep":"boop"}')
PARTLY_STORED = "and some traits may be stored"


def error(status: int, message: str = "Server error", **more: Any) -> Response:
    """Return an error response like Umami's."""
    return Response(status, body=orjson.dumps({"error": {"message": message, "status": status, "code": "x", **more}}))


def identified(response: Response) -> Outcome:
    """Return the outcome of a user if Umami always sends *response*."""
    return ScriptedTransport(response).run(BACKEND.identify(ADA))


def attempts(response: Response) -> int:
    """Return how often a user is sent if Umami always sends *response*."""
    transport = ScriptedTransport(response)
    transport.run(BACKEND.identify(ADA))
    return len(transport.requests)


def test_a_session_is_a_success() -> None:
    """Its id is Umami's own for the user; no values are shown."""
    assert identified(SESSION) == Accepted("umami", "f0e1")


def test_invalid_and_empty_users_need_no_request() -> None:
    """They are rejected or skipped."""
    transport = ScriptedTransport(SESSION)

    outcomes = [transport.run(BACKEND.identify(UserTraits(user_id))) for user_id in ("u" * 51, "u1")]

    assert [type(outcome) for outcome in outcomes] == [Rejected, Skipped]
    assert transport.requests == []


def test_being_taken_for_a_bot_is_misconfigured() -> None:
    """Umami responds with 200 and stores nothing."""
    outcome = identified(BOT)

    assert isinstance(outcome, Misconfigured)
    assert "replaces the User-Agent" in outcome.hint


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"sessionId":null}', b'{"sessionId":7}', b'{"sessionId":""}', b'{"beep":"bop"}']
)
def test_success_without_a_session_is_accepted(body: bytes) -> None:
    """Without an id."""
    assert identified(Response(200, body=body)) == Accepted("umami")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"sessionId'])
def test_any_other_200_is_unknown(body: bytes) -> None:
    """Another server may have responded."""
    assert identified(Response(200, body=body)) == Unknown("umami", "HTTP 200 with an unexpected body", status=200)


@pytest.mark.parametrize(
    ("error_object", "code"),
    [
        ({"code": "P2000"}, "P2000"),
        ({"code": "P2020"}, "P2020"),
        ({"code": "P2039"}, "P2039"),
        ({"code": "P2010", "meta": {"code": "22001"}}, "P2010"),
        ({"code": "P2010", "meta": {"driverAdapterError": {"cause": {"originalCode": "22001"}}}}, "P2010"),
        ({"code": "P2010", "meta": [{"code": "22001"}]}, "P2010"),
        ({"code": "P2010", "message": "Raw query failed. Code: `22001`. Message: `too long`"}, "P2010"),
    ],
)
def test_a_500_about_the_user_is_rejected_and_not_retried(error_object: dict[str, Any], code: str) -> None:
    """The same traits would fail again."""
    response = error(500, errorObject=error_object)

    assert identified(response) == Rejected("umami", code=code, message="Server error")
    assert attempts(response) == 1


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (Response(500), "HTTP 500"),
        (error(500), "HTTP 500"),
        (error(500, errorObject={"code": "P2024"}), "HTTP 500 P2024"),
        (error(500, errorObject={"code": "P1001"}), "HTTP 500 P1001"),
        (error(500, errorObject={"code": "P2010", "meta": {"code": "40P01"}}), "HTTP 500 P2010"),
        (error(500, errorObject={"code": "P2010", "meta": {"value": "22001"}}), "HTTP 500 P2010"),
        (error(500, errorObject={"code": 2000}), "HTTP 500"),
        (error(500, errorObject={"code": "P2000 canary-id"}), "HTTP 500"),
        (error(500, errorObject="P2000"), "HTTP 500"),
        (error(500, errorObject={"name": "RangeError"}), "HTTP 500"),
    ],
)
def test_any_other_500_is_retried_and_unknown(response: Response, cause: str) -> None:
    """Umami writes one property after another, so some may be stored."""
    assert identified(response) == Unknown("umami", f"{cause}, {PARTLY_STORED}", status=500)
    assert attempts(response) == 5


def test_database_codes_matter_only_in_a_500() -> None:
    """With another status, they are ignored."""
    assert attempts(error(503, errorObject={"code": "P2000"})) == 5


def test_an_unknown_website_is_misconfigured() -> None:
    """Umami responds with 400, as for invalid users."""
    assert identified(error(400, "Website not found.")) == Misconfigured(
        "umami", "HTTP 400", "Check api_key: base_url has no website with that id."
    )
    assert identified(error(400, "Bad request")) == Rejected("umami", code="HTTP 400", message="Bad request")


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "credentials"), (403, "IGNORE_IP"), (404, "base_url"), (405, "base_url")]
)
def test_wrong_settings_are_misconfigured(status: int, hint: str) -> None:
    """With a hint."""
    outcome = identified(error(status, "no"))

    assert isinstance(outcome, Misconfigured)
    assert hint in outcome.hint


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (Response(503, {"retry-after": "600"}), Unavailable("umami", "HTTP 503", 600.0, status=503)),
        (Response(429), Unavailable("umami", "HTTP 429", status=429)),
        (Response(502), Unknown("umami", "HTTP 502", status=502)),
        (Response(413), Rejected("umami", code="HTTP 413")),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("umami", "the vendor could not be reached")),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("umami", "no response in time")),
    ],
)
def test_other_responses_have_the_usual_outcomes(response: Response, outcome: Outcome) -> None:
    """A proxy in front of Umami responds like any other."""
    assert identified(response) == outcome


def test_sent_values_are_redacted_from_messages() -> None:
    """The website's id as well."""
    response = error(400, f"canary-id Canary Finch canary-plan {WEBSITE}")

    assert identified(response) == Rejected("umami", code="HTTP 400", message="•••")
