import orjson
import pytest
from hypothesis import given
from replay_identity_mixpanel import Mixpanel

from replay_identity import RetryPolicy
from replay_identity.adapters import (
    REMOVE,
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
from replay_identity.testing import ScriptedTransport, responses

KEY = "canary-token"
BACKEND = Mixpanel(KEY)
ANN = UserTraits("canary-id", name="Ann Canary", email="canary@example.com", traits={"plan": "canary-pro", "age": 43})
TWO_UPDATES = UserTraits("u1", traits={"plan": "pro", "old": REMOVE})
NOT_DOCUMENTED = Unknown("mixpanel", "HTTP 200 with an unexpected body", status=200)


def outcome_of(response: Response, user: UserTraits = ANN) -> Outcome:
    """Return the outcome of *user* if Mixpanel sends *response* to the only attempt."""
    return ScriptedTransport(response, retry=RetryPolicy(attempts=1)).run(BACKEND.identify(user))


def ok_with(content: object) -> Response:
    """Return a 200 with *content* as JSON."""
    return Response(200, body=orjson.dumps(content))


@pytest.mark.parametrize(
    "response",
    [
        ok_with({"status": 1, "error": None}),
        ok_with({"status": 1, "error": ""}),
        ok_with({"status": 1}),
        ok_with({"status": 1, "error": None, "num_good_events": 1}),
        Response(200, body=b"1"),
        Response(200, body=b"1\n"),
    ],
)
def test_a_one_is_accepted_and_never_verified(response: Response) -> None:
    """It means that the update is valid, not that the token is."""
    assert outcome_of(response) == Accepted("mixpanel", adjustments=BACKEND.plan(ANN).adjustments, verified=False)


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (ok_with({"status": 0, "error": "bad record"}), "status 0", "bad record"),
        (ok_with({"status": 0, "error": None}), "status 0", None),
        (ok_with({"status": 0}), "status 0", None),
        (Response(200, body=b"0"), "status 0", None),
        (ok_with({"status": 1, "error": "bad record"}), "status 1", "bad record"),
        (ok_with({"status": 1, "error": {"0": "bad"}}), "status 1", '{"0":"bad"}'),
        (ok_with({"status": 1, "error": None, "num_good_events": 0}), "status 1", None),
    ],
)
def test_a_200_can_be_a_rejection(response: Response, code: str, message: str | None) -> None:
    """Of all updates or of some, in any shape of error."""
    assert outcome_of(response) == Rejected("mixpanel", code=code, message=message)


def test_a_plain_one_confirms_a_single_update() -> None:
    """With two updates one may be lost, so it is not a success."""
    cause = "HTTP 200 that confirms one of several updates"

    assert outcome_of(Response(200, body=b"1"), TWO_UPDATES) == Unknown("mixpanel", cause, status=200)
    assert outcome_of(ok_with({"status": 1, "error": None}), TWO_UPDATES) == Accepted("mixpanel")
    assert isinstance(outcome_of(ok_with({"status": 1, "num_good_events": 1}), TWO_UPDATES), Rejected)


@pytest.mark.parametrize(
    "body",
    [
        b"2",
        b"11",
        b"true",
        b"[1]",
        b'"1"',
        b'{"status": 1',
        b"<html>Log in</html>",
    ],
)
def test_any_other_200_is_unknown(body: bytes) -> None:
    """A proxy may have responded."""
    assert outcome_of(Response(200, body=body)) == NOT_DOCUMENTED


@pytest.mark.parametrize("body", [b"", b"{}", b'{"status": true}', b'{"status": "1"}', b'{"status": 2}'])
def test_success_without_a_known_status_is_accepted(body: bytes) -> None:
    """The HTTP status says so, for one update and for several."""
    assert isinstance(outcome_of(Response(200, body=body)), Accepted)
    assert isinstance(outcome_of(Response(200, body=body), TWO_UPDATES), Accepted)


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_success_without_a_status_covers_all_users(body: bytes) -> None:
    """Nobody is sent again alone."""
    transport = ScriptedTransport(Response(200, body=body), retry=RetryPolicy(attempts=1))

    outcomes = transport.run(BACKEND.identify_many([ANN, TWO_UPDATES]))

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
    assert len(transport.requests) == 1


def test_error_without_a_known_status_is_a_rejection() -> None:
    """Mixpanel says so for other endpoints."""
    assert isinstance(outcome_of(Response(200, body=b'{"status": "error", "error": "x"}')), Rejected)


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_is_misconfigured(status: int) -> None:
    """In the cases that Mixpanel does notice."""
    outcome = outcome_of(Response(status, body=b'{"error": "canary-token is unknown", "status": "error"}'))

    assert isinstance(outcome, Misconfigured)
    assert outcome.problem == f"HTTP {status}"
    assert outcome.hint.startswith("Check api_key")


@pytest.mark.parametrize("status", [404, 405])
def test_a_url_without_mixpanel_is_misconfigured(status: int) -> None:
    """An update creates its profile, so a missing user cannot be the reason."""
    outcome = outcome_of(Response(status))

    assert outcome == Misconfigured("mixpanel", f"HTTP {status}", "Check base_url: there is no /engage below it.")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (
            Response(400, body=b'{"error": "bad", "status": "error"}'),
            Rejected("mixpanel", code="HTTP 400", message="bad"),
        ),
        (Response(400, body=b"bad\n"), Rejected("mixpanel", code="HTTP 400", message="bad")),
        (Response(400), Rejected("mixpanel", code="HTTP 400")),
        (Response(400, body=b'{"status": 0}'), Rejected("mixpanel", code="HTTP 400", message='{"status": 0}')),
        (Response(413), Rejected("mixpanel", code="HTTP 413")),
        (Response(429), Unavailable("mixpanel", "HTTP 429", status=429)),
        (Response(429, {"retry-after": "12"}), Unavailable("mixpanel", "HTTP 429", 12.0, status=429)),
        (Response(500), Unavailable("mixpanel", "HTTP 500", status=500)),
        (Response(501), Unavailable("mixpanel", "HTTP 501", status=501)),
        (Response(502), Unknown("mixpanel", "HTTP 502", status=502)),
        (Response(520, {"retry-after": "3"}), Unavailable("mixpanel", "HTTP 520", 3.0, status=520)),
        (Response(520, uncertain=True), Unknown("mixpanel", "HTTP 520", status=520)),
        (Response(599), Unavailable("mixpanel", "HTTP 599", status=599)),
        (Response(600), Rejected("mixpanel", code="HTTP 600")),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("mixpanel", "the vendor could not be reached")),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("mixpanel", "no response in time")),
    ],
)
def test_each_failure_has_its_outcome(response: Response, outcome: Outcome) -> None:
    """Every 5xx is temporary and not about the user."""
    assert outcome_of(response) == outcome


@pytest.mark.parametrize(
    ("response", "is_retried"),
    [
        (Response(429), True),
        (Response(500), True),
        (Response(507), True),
        (Response(599), True),
        (Response(0, no_response=NoResponse.CONNECTION_LOST), True),
        (Response(400), False),
        (Response(401), False),
        (Response(200, body=b"0"), False),
        (Response(0, no_response=NoResponse.UNTRUSTED), False),
    ],
)
def test_temporary_failures_are_retried(response: Response, is_retried: bool) -> None:  # noqa: FBT001  # As pytest gives it.
    """Setting and unsetting are idempotent."""
    transport = ScriptedTransport(response, Response(200, body=b"1"))

    outcome = transport.run(BACKEND.identify(ANN))

    assert (len(transport.requests), isinstance(outcome, Accepted)) == ((2, True) if is_retried else (1, False))


QUOTED = f"Ann Canary canary@example.com canary-pro 43 {KEY} canary-id"


@pytest.mark.parametrize(
    "response",
    [
        ok_with({"status": 0, "error": QUOTED}),
        ok_with({"status": 1, "error": [QUOTED]}),
        Response(400, body=orjson.dumps({"error": QUOTED})),
        Response(400, body=QUOTED.encode()),
    ],
)
def test_sent_values_are_redacted_from_messages(response: Response) -> None:
    """Vendors quote what they reject."""
    outcome = outcome_of(response)

    assert isinstance(outcome, Rejected)
    assert (outcome.message or "").strip('[]"') == "•••"


@given(response=responses())
def test_only_a_success_without_a_zero_is_accepted(response: Response) -> None:
    """Whatever the response is."""
    outcome = outcome_of(response)

    is_one = response.is_success and response.body.strip() == b"1"
    is_zero = (response.json_object() or {}).get("status") == 0
    assert not isinstance(outcome, Accepted) or is_one or (response.confirms and not response.refuses and not is_zero)
