import orjson
import pytest
from hypothesis import given
from replay_identity_openpanel.responses import read_outcome

from replay_identity.adapters import (
    Accepted,
    Misconfigured,
    NoResponse,
    Outcome,
    Rejected,
    Response,
    Unavailable,
    Unknown,
    UserTraits,
)
from replay_identity.outcomes import explain
from replay_identity.testing import responses

KEY = "sec_canary"
CLIENT_ID = "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a90"
ADA = UserTraits("canary-id", name="Ada Canary", email="canary@example.com", traits={"plan": "canary-pro"})
CHECK_ID = "Check client_id: it is the id of a client of the project, under Settings, Clients."
NOT_DOCUMENTED = "HTTP 200 with an unexpected body"


def outcome_of(response: Response) -> Outcome:
    """Return the outcome of a user if OpenPanel sends *response*."""
    return read_outcome("openpanel", response, ADA, (), secrets=(KEY, CLIENT_ID))


@pytest.mark.parametrize(
    "body",
    [
        b'{"deviceId":"d","sessionId":"s"}',
        b'{"deviceId":"","sessionId":""}',
        b'{"deviceId":"d"}',
        b'{"sessionId":"s"}',
        b'{"deviceId":"d","sessionId":"s","more":1}',
        b'{"status":200}',
        b"{}",
        b"",
    ],
)
def test_any_object_or_nothing_means_accepted(body: bytes) -> None:
    """The device and the session are those of the request and do not matter."""
    assert outcome_of(Response(200, body=body)) == Accepted("openpanel")


@pytest.mark.parametrize("body", [b"ok", b"[]", b"<html>Log in</html>", b'{"deviceId'])
def test_any_other_success_is_unknown(body: bytes) -> None:
    """It is a proxy's, or that of an old server."""
    assert outcome_of(Response(200, body=body)) == Unknown("openpanel", NOT_DOCUMENTED, status=200)


def test_a_duplicate_is_unknown() -> None:
    """OpenPanel notes a request before it processes it, so the first may have failed."""
    outcome = outcome_of(Response(200, body=b"Duplicate event"))

    assert outcome == Unknown("openpanel", "HTTP 200, a duplicate of a request that may have failed", status=200)
    assert outcome.retryable


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"bot":{"name":"curl"}}', "HTTP 202, taken for a bot, and nothing was stored"),
        (b'{"bot":true}', "HTTP 202, taken for a bot, and nothing was stored"),
        (b'{"blocked":true}', "HTTP 202, the organisation is blocked, and nothing was stored"),
    ],
)
def test_a_202_is_misconfigured(body: bytes, problem: str) -> None:
    """Nothing is stored, for any user, until the settings change."""
    outcome = outcome_of(Response(202, body=body))

    assert isinstance(outcome, Misconfigured)
    assert outcome.problem == problem
    assert outcome.hint


def test_any_other_202_is_unknown() -> None:
    """Even with the keys of a success."""
    for body in (b"", b'{"deviceId":"d","sessionId":"s"}'):
        assert outcome_of(Response(202, body=body)) == Unknown(
            "openpanel", "HTTP 202 with an unexpected body", status=202
        )


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Missing client id", "Something between here and OpenPanel removes the header openpanel-client-id."),
        ("Client ID must be a valid UUIDv4", CHECK_ID),
        ("Invalid client id", CHECK_ID),
        ("Client has no project", "Assign the client to a project, or use the client_id and secret of another client."),
        ("IP address is blocked by project filter", "Remove this server's address from the project's filters."),
        ("Invalid cors or secret", "Check api_key: it is the secret of the client with this client_id."),
    ],
)
def test_a_401_names_the_wrong_setting(reason: str, hint: str) -> None:
    """With a hint."""
    outcome = outcome_of(Response(401, body=f"Ingestion: {reason}".encode()))

    assert outcome == Misconfigured("openpanel", f"HTTP 401 {reason}", hint)


@pytest.mark.parametrize(
    "body", [b"", b"Ingestion: no such canary-id", b'{"message":"Invalid client id"}', b"\xff", b"x" * 100_000]
)
def test_an_unknown_401_is_not_quoted(body: bytes) -> None:
    """Its text may quote anything."""
    assert outcome_of(Response(401, body=body)) == Misconfigured(
        "openpanel", "HTTP 401", "Check client_id and api_key."
    )


def test_a_401_about_a_profile_rejects_that_user() -> None:
    """The settings are valid, and other users are accepted."""
    outcome = outcome_of(Response(401, body=b"Ingestion: Profile id is blocked by project filter"))

    assert outcome == Rejected("openpanel", code="HTTP 401", message="Profile id is blocked by project filter")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (
            Response(400, body=b'{"status":400,"error":"Bad Request","message":"Alias is not supported"}'),
            Rejected("openpanel", code="HTTP 400", message="Alias is not supported"),
        ),
        (Response(400, body=b"<html>canary-id</html>"), Rejected("openpanel", code="HTTP 400")),
        (Response(400, body=b'{"message":["canary-id"]}'), Rejected("openpanel", code="HTTP 400")),
        (
            Response(403),
            Misconfigured("openpanel", "HTTP 403", "Check client_id, api_key and base_url."),
        ),
        (
            Response(404),
            Misconfigured("openpanel", "HTTP 404", "Check base_url: it is the URL of the API, not of the dashboard."),
        ),
        (Response(413), Rejected("openpanel", code="HTTP 413")),
        (
            Response(
                429,
                {"retry-after": "9"},
                b'{"status":429,"error":"Too Many Requests","message":"You have exceeded the rate limit."}',
            ),
            Unavailable("openpanel", "HTTP 429", 9.0, status=429),
        ),
        (Response(500, body=b"Internal server error"), Unavailable("openpanel", "HTTP 500", status=500)),
        (Response(502), Unknown("openpanel", "HTTP 502", status=502)),
        (Response(503), Unavailable("openpanel", "HTTP 503", status=503)),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("openpanel", "the vendor could not be reached")),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("openpanel", "no response in time")),
    ],
)
def test_each_response_has_its_outcome(response: Response, outcome: Outcome) -> None:
    """The responses are those of OpenPanel's code."""
    assert outcome_of(response) == outcome


def test_sent_values_are_redacted_from_messages() -> None:
    """A schema may quote what it rejects."""
    quoting = f"Ada Canary canary@example.com canary-pro {KEY} {CLIENT_ID} canary-id"

    outcome = outcome_of(Response(400, body=orjson.dumps({"message": quoting})))

    assert outcome == Rejected("openpanel", code="HTTP 400", message="•••")


@given(response=responses())
def test_only_a_success_that_stores_is_accepted(response: Response) -> None:
    """Every other response is a failure with an explanation."""
    outcome = outcome_of(response)

    is_accepted = response.confirms and not response.refuses and response.status != 202
    assert isinstance(outcome, Accepted) == is_accepted
    assert explain(outcome)
