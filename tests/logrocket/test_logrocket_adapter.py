from typing import Any

import orjson
import pytest
from hypothesis import given
from support.exchanges import run

from replay_identity import (
    Accepted,
    ConfigurationError,
    InvalidTraitsError,
    LogRocket,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
    Violation,
)
from replay_identity.adapters import NoResponse, Plan, Request, Response, SupportsDelete, SupportsRead, SupportsVerify
from replay_identity.outcomes import SkipReason, explain
from replay_identity.testing import responses, user_traits

KEY = "acme:shop:canary"
BACKEND = LogRocket(KEY)
ANN = UserTraits("u1", name="Ann Canary", email="canary@example.com", traits={"plan": "canary-pro", "age": 43})
HINTS = {
    401: "Check the API key; pass the whole key, org:app:secret.",
    403: "Check the API key, and that the plan includes the User Identification API (Pro or Enterprise).",
    404: "Check org and app: LogRocket creates users who do not exist, so 404 is not about the user.",
}


def url_of(backend: LogRocket, user_id: str = "u1") -> str:
    """Return the URL that a user would be sent to."""
    plan = backend.plan(UserTraits(user_id, name="Ann"))
    assert plan.request is not None
    return plan.request.url


def response_showing(**changes: Any) -> Response:
    """Return a response that shows ANN as sent, except for *changes*."""
    user = {
        "userID": "u1",
        "name": "Ann Canary",
        "email": "canary@example.com",
        "traits": {"plan": "canary-pro", "age": "43", "favoriteColor": "blue"},
    }
    return Response(200, body=orjson.dumps(user | changes))


def test_puts_a_user() -> None:
    """The whole key follows "token"; there is no trailing slash and no idempotency key."""
    _, requests = run(BACKEND.identify(UserTraits("u1", traits={"age": 43})), response_showing())

    assert requests == [
        Request(
            "identify",
            "PUT",
            "https://api.logrocket.com/v1/orgs/acme/apps/shop/users/u1",
            {"accept": "application/json", "authorization": f"token {KEY}", "content-type": "application/json"},
            b'{"traits":{"age":"43"}}',
        )
    ]


@pytest.mark.parametrize(
    ("user_id", "segment"),
    [
        ("1234", "1234"),
        ("a/b", "a%2Fb"),
        ("google-oauth2|abc123", "google-oauth2%7Cabc123"),
        ("ann@example.com", "ann%40example.com"),
        ("%2F", "%252F"),
        (" a b ", "%20a%20b%20"),
        ("é日😀", "%C3%A9%E6%97%A5%F0%9F%98%80"),
        ("?#;", "%3F%23%3B"),
        ("...", "..."),
        ("..a", "..a"),
        ("a\nb", "a%0Ab"),
    ],
)
def test_the_id_is_percent_encoded(user_id: str, segment: str) -> None:
    """As in a browser, nothing is trimmed, and nothing changes the path."""
    assert url_of(BACKEND, user_id) == f"https://api.logrocket.com/v1/orgs/acme/apps/shop/users/{segment}"


@pytest.mark.parametrize(
    ("key", "options", "base"),
    [
        ("acme:shop:s", {}, "https://api.logrocket.com/v1/orgs/acme/apps/shop"),
        ("acme:shop:s", {"app": "blog"}, "https://api.logrocket.com/v1/orgs/acme/apps/blog"),
        ("acme:shop:s", {"org": "a b", "app": "c/d"}, "https://api.logrocket.com/v1/orgs/a%20b/apps/c%2Fd"),
        ("s3cret", {"org": "acme", "app": "shop"}, "https://api.logrocket.com/v1/orgs/acme/apps/shop"),
        ("a:b:c:d", {"org": "acme", "app": "shop"}, "https://api.logrocket.com/v1/orgs/acme/apps/shop"),
        ("acme:shop:s", {"base_url": "http://localhost:8802/"}, "http://localhost:8802/v1/orgs/acme/apps/shop"),
        (
            "acme:shop:s",
            {"base_url": "http://lr.internal", "allow_insecure": True},
            "http://lr.internal/v1/orgs/acme/apps/shop",
        ),
    ],
)
def test_org_and_app_default_to_the_keys(key: str, options: Any, base: str) -> None:
    """The key has the form org:app:secret."""
    assert url_of(LogRocket(key, **options)) == f"{base}/users/u1"


@pytest.mark.parametrize(
    ("key", "options", "setting"),
    [
        ("s3cret", {}, "api_key"),
        ("s3cret", {"org": "acme"}, "api_key"),
        ("acme:s3cret", {}, "api_key"),
        ("a:b:c:d", {}, "api_key"),
        (":shop:s", {}, "api_key"),
        ("acme::s", {}, "api_key"),
        ("..:shop:s", {}, "api_key"),
        ("acme:.:s", {}, "api_key"),
        ("acme:shop:s", {"org": ".."}, "org"),
        ("", {}, "api_key"),
        (None, {}, "api_key"),
        (b"acme:shop:s", {}, "api_key"),
        ("token acme:shop:s", {}, "api_key"),
        ("acme:shop:s\n", {}, "api_key"),
        ("acme:shop:s", {"base_url": "http://api.logrocket.com"}, "base_url"),
        ("acme:shop:s", {"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_an_invalid_setting_raises_without_its_value(key: Any, options: Any, setting: str) -> None:
    """The error names the setting when the backend is made."""
    with pytest.raises(ConfigurationError) as caught:
        LogRocket(key, **options)

    assert caught.value.setting == setting
    assert "s3cret" not in str(caught.value)


def test_cannot_read_or_delete_users() -> None:
    """No endpoint to read is documented, and exclusion does more than delete."""
    assert not isinstance(BACKEND, SupportsRead | SupportsDelete | SupportsVerify)
    assert BACKEND.limits.user_id is not None
    assert BACKEND.limits.user_id.maximum == 1024


@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
@pytest.mark.parametrize(
    ("user_id", "violation"),
    [
        (None, Violation("user_id", "anonymous-user")),
        (".", Violation("user_id", "dot-segment")),
        ("..", Violation("user_id", "dot-segment")),
        ("u" * 1025, Violation("user_id", "user-id-length", 1024, 1025, "UTF-16 units")),
    ],
)
def test_an_id_of_dots_is_always_rejected(user_id: str | None, violation: Violation, on_violation: Any) -> None:
    """Another id would make another user."""
    backend = LogRocket(KEY, on_violation=on_violation)

    outcome, requests = run(backend.identify(UserTraits(user_id, name="Ann")))

    assert outcome == Rejected("logrocket", (violation,))
    assert requests == []


def test_a_user_without_values_is_skipped() -> None:
    """LogRocket does not document what it makes of an empty object."""
    outcome, requests = run(BACKEND.identify(UserTraits("u1")))

    assert outcome == Skipped("logrocket", SkipReason.NOTHING_TO_SEND)
    assert BACKEND.plan(UserTraits("u1")) == Plan("logrocket", None, fields={})
    assert requests == []


def test_a_user_with_nothing_left_is_rejected() -> None:
    """All traits were dropped, which skipping would hide."""
    backend = LogRocket(KEY, on_violation="adapt")

    plan = backend.plan(UserTraits("u1", email="e" * 1025))

    assert plan.violations == (Violation("traits", "nothing-left"),)
    assert [each.kind for each in plan.adjustments] == ["dropped"]


@pytest.mark.parametrize(
    ("user", "response", "verified"),
    [
        (ANN, response_showing(), True),
        (ANN, response_showing(userID="other"), False),
        (ANN, response_showing(name="Ann"), False),
        (ANN, response_showing(name=None), False),
        (ANN, response_showing(email=""), False),
        (ANN, response_showing(traits={"plan": "canary-pro"}), False),
        (ANN, response_showing(traits={"plan": "canary-pro", "age": 43}), False),
        (ANN, response_showing(traits=None), False),
        (UserTraits("u1", traits={"gone": ""}), response_showing(), True),
        (UserTraits("u1", traits={"plan": ""}), response_showing(), False),
        (UserTraits("u1", traits={"plan": ""}), response_showing(traits={"plan": ""}), True),
        (UserTraits("u1", name=""), response_showing(), False),
        (UserTraits("u1", name=""), response_showing(name=None), True),
    ],
)
def test_a_response_with_all_values_verifies(user: UserTraits, response: Response, verified: bool) -> None:  # noqa: FBT001
    """Further traits do not matter; a removed one is absent or blank."""
    outcome, _ = run(BACKEND.identify(user), response)

    assert isinstance(outcome, Accepted)
    assert outcome.verified == verified
    assert outcome.adjustments == BACKEND.plan(user).adjustments
    assert outcome.vendor_id is None


@pytest.mark.parametrize(
    ("user_id", "verified"), [(42, True), ("42", True), (42.0, False), (True, False), (["42"], False), (43, False)]
)
def test_numeric_id_counts_as_shown(user_id: Any, verified: bool) -> None:  # noqa: FBT001
    """LogRocket may take the digits for a number."""
    response = response_showing(userID=user_id, traits={"age": "43"})

    outcome, _ = run(BACKEND.identify(UserTraits("42", traits={"age": 43})), response)

    assert isinstance(outcome, Accepted)
    assert outcome.verified is verified


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "Malformed request", "message": "m", "detail": "d"}', "Malformed request"),
        (b'{"message": "Malformed request", "detail": "d"}', "Malformed request"),
        (b'{"detail": "token signature is invalid"}', "token signature is invalid"),
        (b'{"error": "", "message": "bad"}', "bad"),
        (b'{"error": {"message": "x"}, "detail": "bad"}', "bad"),
        (b"{}", None),
        (b'{"other": "x"}', None),
        (b"Malformed request\n", "Malformed request"),
        (b'"Malformed request"', '"Malformed request"'),
        (b"<html>\n<h1>Bad</h1></html>", "<html> •••"),
        (b"\xff\xfeab", "•••"),
        (b"", None),
        (b" \n", None),
        (b"bad " * 250_000, "bad " * 124 + "bad…"),
    ],
)
def test_finds_the_message_in_any_format(body: bytes, message: str | None) -> None:
    """It is in error, message or detail, or is the whole body."""
    outcome, _ = run(BACKEND.identify(UserTraits("u1", name="Ann")), Response(400, body=body))

    assert outcome == Rejected("logrocket", code="HTTP 400", message=message)


@pytest.mark.parametrize(
    "message",
    [
        "Missing request body",
        "Malformed request",
        "userID too large (max 1024 characters)",
        "email too large (max 1024 characters)",
        "name too large (max 1024 characters)",
        "user trait value too large (max 1024 characters)",
        "user trait key too large",
    ],
)
def test_keeps_every_documented_message(message: str) -> None:
    """The same traits will fail again."""
    outcome, _ = run(BACKEND.identify(ANN), Response(400, body=orjson.dumps({"error": message})))

    assert outcome == Rejected("logrocket", code="HTTP 400", message=message)


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (
            Response(500, body=b'{"error": "Error processing user data"}'),
            Unavailable("logrocket", "HTTP 500", status=500),
        ),
        (Response(401), Misconfigured("logrocket", "HTTP 401", HINTS[401])),
        (Response(403, body=b'{"detail": "no"}'), Misconfigured("logrocket", "HTTP 403", HINTS[403])),
        (Response(404), Misconfigured("logrocket", "HTTP 404", HINTS[404])),
        (Response(409), Rejected("logrocket", code="HTTP 409")),
        (Response(413, body=b"too large"), Rejected("logrocket", code="HTTP 413", message="too large")),
        (Response(429), Unavailable("logrocket", "HTTP 429", status=429)),
        (Response(429, {"retry-after": "12"}), Unavailable("logrocket", "HTTP 429", 12.0, status=429)),
        (Response(502), Unknown("logrocket", "HTTP 502", status=502)),
        (Response(503), Unavailable("logrocket", "HTTP 503", status=503)),
        (Response(504), Unknown("logrocket", "HTTP 504", status=504)),
        (
            Response(301),
            Misconfigured("logrocket", "HTTP 301, a redirect, which is never followed", "Check base_url."),
        ),
        (
            Response(200, body=b"<html>Log in</html>"),
            Unknown("logrocket", "HTTP 200 with an unexpected body", status=200),
        ),
        (Response(200), Accepted("logrocket")),
        (Response(204), Accepted("logrocket")),
        (Response(200, body=b"\n"), Accepted("logrocket")),
        (Response(200, body=b"{}"), Accepted("logrocket")),
        (Response(200, body=b'{"success": true}'), Accepted("logrocket")),
        (Response(201, body=b'{"userID": 1, "traits": {}}'), Accepted("logrocket")),
        (Response(200, body=b'{"user": {"name": "x"}, "error": null}'), Accepted("logrocket")),
        (Response(200, body=b'{"userID": "u1", "error": "x"}'), Accepted("logrocket")),
        (Response(200, body=b'{"success": false}'), Rejected("logrocket", code="HTTP 200")),
        (
            Response(200, body=b'{"userID": "u1", "success": false, "message": "no"}'),
            Rejected("logrocket", code="HTTP 200", message="no"),
        ),
        (Response(200, body=b'{"error": "no"}'), Rejected("logrocket", code="HTTP 200", message="no")),
        (Response(200, body=b"[]"), Unknown("logrocket", "HTTP 200 with an unexpected body", status=200)),
        (
            Response(200, body=b'{"userID": "u'),
            Unknown("logrocket", "HTTP 200 with an unexpected body", status=200),
        ),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("logrocket", "the vendor could not be reached")),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("logrocket", "no response in time")),
    ],
)
def test_every_response_has_an_outcome(response: Response, outcome: Outcome) -> None:
    """404 is about the application, since a PUT creates the user."""
    assert run(BACKEND.identify(UserTraits("u1", name="Ann")), response)[0] == outcome


def test_messages_are_redacted() -> None:
    """Vendors quote what they reject."""
    quoting = f"Ann Canary canary@example.com canary-pro 43 {KEY} u1".encode()

    outcome, _ = run(BACKEND.identify(ANN), Response(400, body=quoting))

    assert outcome == Rejected("logrocket", code="HTTP 400", message="•••")


@pytest.mark.parametrize(("method", "action"), [("exclude", "exclusion"), ("include", "inclusion")])
@pytest.mark.parametrize("named", [{"user_id": "9387576103484576"}, {"email": "a@example.com"}])
def test_excludes_and_includes_by_id_or_email(method: str, action: str, named: dict[str, str]) -> None:
    """The field is user_id, not userID, and the URL ends with a slash."""
    outcome, requests = run(getattr(BACKEND, method)(**named), Response(200, body=b"{}"))

    assert outcome == Accepted("logrocket")
    assert (requests[0].operation, requests[0].method) == (action, "POST")
    assert requests[0].url == f"https://api.logrocket.com/v1/orgs/acme/apps/shop/gdpr/{action}/"
    assert orjson.loads(requests[0].body or b"") == named
    assert requests[0].headers["authorization"] == f"token {KEY}"


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"user_id": ""},
        {"user_id": "u1", "email": "a@example.com"},
        {"user_id": 9387576103484576},
        {"email": "\ud800"},
    ],
)
def test_exclusion_needs_exactly_one_string(named: Any) -> None:
    """A number would lose its last digits on the way."""
    with pytest.raises(InvalidTraitsError):
        run(BACKEND.exclude(**named))


def test_a_rejected_exclusion_hides_the_id() -> None:
    """LogRocket's message quotes it."""
    outcome, _ = run(BACKEND.exclude(user_id="canary-id"), Response(400, body=b'{"error": "no user canary-id"}'))

    assert outcome == Rejected("logrocket", code="HTTP 400", message="no user •••")


@given(response=responses(), user=user_traits())
def test_identify_never_raises(response: Response, user: UserTraits) -> None:
    """Any response leads to an outcome, which can be printed."""
    backend = LogRocket(KEY, on_violation="adapt")
    sends = backend.plan(user).request is not None

    outcome, requests = run(backend.identify(user), *[response] * sends)

    assert isinstance(outcome, Accepted | Skipped | Rejected | Misconfigured | Unavailable | Unknown)
    assert outcome.backend == "logrocket"
    assert len(requests) == sends
    assert explain(outcome)
    assert KEY not in repr(outcome) + explain(outcome)


@given(response=responses())
def test_exclude_never_raises(response: Response) -> None:
    """It is accepted only if LogRocket says so, not if an HTML page does."""
    outcome, _ = run(BACKEND.exclude(user_id="u1"), response)

    said_so = response.confirms and not response.refuses
    assert isinstance(outcome, Accepted) == said_so


def test_repr_shows_no_key() -> None:
    """Neither the organisation nor the application of the key is shown."""
    assert [part for part in KEY.split(":") if part in repr(BACKEND)] == []
    assert LogRocket(KEY) == BACKEND
