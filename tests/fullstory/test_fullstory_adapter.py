from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchanges import run

from replay_identity import (
    Accepted,
    ConfigurationError,
    Fullstory,
    InvalidTraitsError,
    Misconfigured,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
    Violation,
)
from replay_identity.adapters import (
    Comparison,
    KeyInfo,
    NoResponse,
    Operation,
    Page,
    Request,
    Response,
    StoredUser,
    SupportsDelete,
    SupportsRead,
    SupportsVerify,
)
from replay_identity.fullstory.adapter import UserFilter
from replay_identity.outcomes import SkipReason, explain
from replay_identity.testing import responses, user_traits
from replay_identity.traits import fingerprint

KEY = "na1.by11Qcanary/DEMO"
BACKEND = Fullstory(KEY)
BIG = "7449164135934483470"
ANN = UserTraits("u1", name="Ann Canary", email="canary@example.com", traits={"plan": "canary-pro", "days": 43})
CREATED = Response(200, body=b'{"id": "987654321"}')
ERROR_HINTS = {
    401: "Check the API key and its realm; pass the key exactly as Fullstory shows it.",
    403: "Writing users needs a Standard key; reading and deleting them, and reading the results of a batch or of a "
    "streamed user, an Architect or Admin key.",
}


def error_body(code: str, message: str) -> bytes:
    """Return the documented error body."""
    return orjson.dumps({"message": message, "code": code})


def method_and_path(request: Request) -> tuple[str, str]:
    """Return the method and the URL without the host."""
    return request.method, request.url.removeprefix("https://api.fullstory.com")


def test_a_user_with_a_uid_is_upserted() -> None:
    """POST to the collection with an idempotency header; the response has the id."""
    outcome, requests = run(BACKEND.identify(UserTraits("u1", name="Ann")), CREATED)

    assert outcome == Accepted("fullstory", "987654321")
    assert requests == [
        Request(
            "identify",
            "POST",
            "https://api.fullstory.com/v2/users",
            {"accept": "application/json", "authorization": f"Basic {KEY}", "content-type": "application/json"},
            b'{"uid":"u1","display_name":"Ann"}',
            "idempotency-key",
            spent_key_statuses=frozenset({500}),
        )
    ]


def test_a_user_without_a_uid_is_created() -> None:
    """The Fullstory id is the only way to refer to an anonymous user later."""
    outcome, requests = run(
        BACKEND.identify(UserTraits(traits={"plan": "pro"})), Response(200, body=b'{"id": "%s"}' % BIG.encode())
    )

    assert outcome == Accepted("fullstory", BIG)
    assert method_and_path(requests[0]) == ("POST", "/v2/users")
    assert requests[0].body == b'{"properties":{"plan":"pro"}}'
    assert requests[0].idempotency_header == "idempotency-key"


@pytest.mark.parametrize(
    ("vendor_id", "segment"), [(BIG, BIG), ("a/b", "a%2Fb"), ("abd123=", "abd123%3D"), ("é?#", "%C3%A9%3F%23")]
)
def test_a_user_with_a_fullstory_id_is_updated_by_it(vendor_id: str, segment: str) -> None:
    """POST to the user, for which no idempotency key is documented; the uid is sent as well."""
    user = UserTraits("u1", vendor_ids={"fullstory": vendor_id, "other": "8"})

    outcome, requests = run(BACKEND.identify(user), Response(200, body=b'{"id": "99"}'))

    assert outcome == Accepted("fullstory", "99")
    assert method_and_path(requests[0]) == ("POST", f"/v2/users/{segment}")
    assert requests[0].body == b'{"uid":"u1"}'
    assert requests[0].idempotency_header is None


def test_the_fullstory_id_is_found_by_the_backends_name() -> None:
    """Two organisations have two ids for one user."""
    europe = Fullstory("eu1.key", name="fs-eu")
    user = UserTraits("u1", vendor_ids={"fullstory": "1", "fs-eu": "2"})

    plan = europe.plan(user)

    assert plan.backend == "fs-eu"
    assert plan.request is not None
    assert plan.request.url == "https://api.eu1.fullstory.com/v2/users/2"


@pytest.mark.parametrize("on_violation", ["reject", "adapt"])
@pytest.mark.parametrize("vendor_id", [".", ".."])
def test_an_id_of_dots_is_rejected(vendor_id: str, on_violation: Any) -> None:
    """Percent-encoding does not change dots."""
    backend = Fullstory(KEY, on_violation=on_violation)

    outcome, requests = run(backend.identify(UserTraits("u1", vendor_ids={"fullstory": vendor_id})))

    assert outcome == Rejected("fullstory", (Violation("vendor_ids.fullstory", "dot-segment"),))
    assert requests == []


def test_a_user_with_a_violation_is_not_sent() -> None:
    """The outcome has the violation."""
    outcome, requests = run(BACKEND.identify(UserTraits("u" * 257)))

    assert outcome == Rejected("fullstory", (Violation("user_id", "uid-length", 256, 257, "characters"),))
    assert requests == []


def test_adjustments_are_on_the_outcome() -> None:
    """They are the plan's adjustments."""
    backend = Fullstory(KEY, on_violation="adapt")
    user = UserTraits("u1", traits={"a b": "x" * 9000})

    outcome, _ = run(backend.identify(user), CREATED)

    assert isinstance(outcome, Accepted)
    assert [each.kind for each in outcome.adjustments] == ["renamed", "truncated"]
    assert outcome.adjustments == backend.plan(user).adjustments


@pytest.mark.parametrize(
    ("key", "options", "url", "region"),
    [
        ("na1.key", {}, "https://api.fullstory.com", "na1"),
        ("key-of-old", {}, "https://api.fullstory.com", "na1"),
        ("eu1.key/DEMO", {}, "https://api.eu1.fullstory.com", "eu1"),
        ("eu1", {}, "https://api.fullstory.com", "na1"),
        ("eu1key.x", {}, "https://api.fullstory.com", "na1"),
        ("eu1.key", {"base_url": "https://proxy.example.com/fs/"}, "https://proxy.example.com/fs", "eu1"),
        ("na1.key", {"base_url": "http://127.0.0.1:8801"}, "http://127.0.0.1:8801", "na1"),
        ("na1.key", {"base_url": "http://fs.internal", "allow_insecure": True}, "http://fs.internal", "na1"),
    ],
)
def test_the_host_is_that_of_the_keys_realm(key: str, options: Any, url: str, region: str) -> None:
    """base_url takes precedence."""
    backend = Fullstory(key, **options)

    plan = backend.plan(UserTraits("u1"))

    assert plan.request is not None
    assert plan.request.url == f"{url}/v2/users"
    assert backend.region == region


def test_the_key_is_sent_verbatim() -> None:
    """It is not base64-encoded like a user and a password."""
    plan = Fullstory("na1.a:b/c==").plan(UserTraits("u1"))

    assert plan.request is not None
    assert plan.request.headers["authorization"] == "Basic na1.a:b/c=="


def test_sends_the_integration_source() -> None:
    """It is in every request."""
    backend = Fullstory(KEY, integration_source="acme-sync")

    _, requests = run(backend.verify(), Response(500))

    assert requests[0].headers["integration-source"] == "acme-sync"
    assert "integration-source" not in run(BACKEND.verify(), Response(500))[1][0].headers


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": None}, "api_key"),
        ({"api_key": "Basic key"}, "api_key"),
        ({"api_key": "key\n"}, "api_key"),
        ({"base_url": "http://api.fullstory.com"}, "base_url"),
        ({"base_url": "api.fullstory.com"}, "base_url"),
        ({"integration_source": "a\r\nx: y"}, "integration_source"),
        ({"on_violation": "truncate"}, "on_violation"),
    ],
)
def test_an_invalid_setting_raises_without_its_value(options: Any, setting: str) -> None:
    """The error names the setting when the backend is made."""
    settings: dict[str, Any] = {"api_key": "k", **options}

    with pytest.raises(ConfigurationError) as caught:
        Fullstory(**settings)

    assert caught.value.setting == setting


def test_supports_the_optional_protocols() -> None:
    """Fullstory can read, delete and verify."""
    assert isinstance(BACKEND, SupportsRead)
    assert isinstance(BACKEND, SupportsDelete)
    assert isinstance(BACKEND, SupportsVerify)
    assert BACKEND.limits.user_id is not None
    assert BACKEND.limits.user_id.maximum == 256


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (
            Response(400, body=error_body("required_field", "uid is required")),
            Rejected("fullstory", code="required_field", message="uid is required"),
        ),
        (
            Response(400, body=error_body("invalid_argument", "events must have a non-empty name")),
            Rejected("fullstory", code="invalid_argument", message="events must have a non-empty name"),
        ),
        (
            Response(400, body=error_body("invalid_parameter", "The provided uid parameter can not be empty")),
            Rejected("fullstory", code="invalid_parameter", message="The provided uid parameter can not be empty"),
        ),
        (
            Response(401, body=error_body("unauthorized", "access is unauthorized")),
            Misconfigured("fullstory", "HTTP 401 unauthorized", ERROR_HINTS[401]),
        ),
        (
            Response(403, body=error_body("forbidden", "insufficient permissions")),
            Misconfigured("fullstory", "HTTP 403 forbidden", ERROR_HINTS[403]),
        ),
        (
            Response(404, body=error_body("resource_not_found", "Requested resource does not exist")),
            Rejected("fullstory", code="resource_not_found", message="Requested resource does not exist"),
        ),
        (
            Response(404, body=error_body("user_not_found", "User with that ID does not exist")),
            Rejected("fullstory", code="user_not_found", message="User with that ID does not exist"),
        ),
        (Response(409), Unknown("fullstory", "HTTP 409, an earlier attempt may still be running", status=409)),
        (Response(413, body=b"<html>Too large</html>"), Rejected("fullstory", code="HTTP 413")),
        (
            Response(429, {"retry-after": "30"}, error_body("too_many_requests", "Too many requests.")),
            Unavailable("fullstory", "HTTP 429 too_many_requests", 30.0, status=429),
        ),
        (
            Response(429, {"retry-after": "Sat, 21 Nov 2026 08:01:00 GMT", "date": "Sat, 21 Nov 2026 08:00:00 GMT"}),
            Unavailable("fullstory", "HTTP 429", 60.0, status=429),
        ),
        (
            Response(500, body=error_body("server_error", "Server error was encountered")),
            Unavailable("fullstory", "HTTP 500 server_error", status=500),
        ),
        (Response(502), Unknown("fullstory", "HTTP 502", status=502)),
        (Response(503), Unavailable("fullstory", "HTTP 503", status=503)),
        (Response(504), Unknown("fullstory", "HTTP 504", status=504)),
        (
            Response(302, {"location": "https://evil.example"}),
            Misconfigured("fullstory", "HTTP 302, a redirect, which is never followed", "Check base_url."),
        ),
        (
            Response(200, body=b"<html>Log in</html>"),
            Unknown("fullstory", "HTTP 200 with an unexpected body", status=200),
        ),
        (Response(200), Accepted("fullstory")),
        (Response(204), Accepted("fullstory")),
        (Response(200, body=b" \r\n"), Accepted("fullstory")),
        (Response(202, body=b"{}"), Accepted("fullstory")),
        (Response(200, body=b'{"id": "7", "error": "no"}'), Accepted("fullstory", "7")),
        (Response(200, body=b'{"error": "no", "message": "no"}'), Rejected("fullstory", code="HTTP 200", message="no")),
        (Response(200, body=b'{"success": false, "code": "bad"}'), Rejected("fullstory", code="bad")),
        (
            Response(200, body=b'["9876"]'),
            Unknown("fullstory", "HTTP 200 with an unexpected body", status=200),
        ),
        (
            Response(200, body=b'{"id": "9876'),
            Unknown("fullstory", "HTTP 200 with an unexpected body", status=200),
        ),
        (Response(200, body=b'{"id": 7}'), Accepted("fullstory")),
        (Response(200, body=b'{"id": ""}'), Accepted("fullstory")),
        (Response(400, body=b'{"message": 7, "code": null}'), Rejected("fullstory", code="HTTP 400")),
        (Response(400, body=b'["no"]'), Rejected("fullstory", code="HTTP 400")),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("fullstory", "the vendor could not be reached")),
        (
            Response(0, no_response=NoResponse.CONNECTION_LOST),
            Unknown("fullstory", "the connection was lost before the response"),
        ),
        (Response(0, no_response=NoResponse.TOO_LARGE), Unknown("fullstory", "the response exceeded the size limit")),
        (
            Response(0, no_response=NoResponse.DEADLINE_PASSED),
            Unavailable("fullstory", "the deadline passed before the request was sent"),
        ),
    ],
)
def test_every_response_has_an_outcome(response: Response, outcome: Outcome) -> None:
    """Documented and undocumented responses are mapped."""
    assert run(BACKEND.identify(UserTraits("u1")), response)[0] == outcome


def test_messages_are_redacted() -> None:
    """Vendors quote what they reject; the code is kept, the key is not."""
    quoting = error_body("invalid", f"Ann Canary <canary@example.com> has CANARY-PRO and days 43, key {KEY}")

    outcome, _ = run(BACKEND.identify(ANN), Response(400, body=quoting))

    assert outcome == Rejected("fullstory", code="invalid", message="••• has ••• and days ••• key •••")


@pytest.mark.parametrize(
    "response",
    [
        Response(502),
        Response(200, body=b"<html>"),
        Response(0, no_response=NoResponse.TIMED_OUT),
        Response(503, uncertain=True),
    ],
)
def test_a_lost_anonymous_creation_is_not_retryable(response: Response) -> None:
    """Sending it again could create a second user; by uid or by id it could not."""
    anonymous, _ = run(BACKEND.identify(UserTraits(traits={"plan": "pro"})), response)
    by_uid, _ = run(BACKEND.identify(UserTraits("u1")), response)
    by_id, _ = run(BACKEND.identify(UserTraits(vendor_ids={"fullstory": "7"})), response)

    assert isinstance(anonymous, Unknown)
    assert [anonymous.retryable, by_uid.retryable, by_id.retryable] == [False, True, True]


def test_a_409_without_a_key_is_a_rejection() -> None:
    """Only a random key shows that an earlier attempt of ours holds it."""
    anonymous, _ = run(BACKEND.identify(UserTraits(name="x")), Response(409))
    by_id, _ = run(BACKEND.identify(UserTraits("u2", vendor_ids={"fullstory": "7"})), Response(409))

    assert anonymous == Unknown(
        "fullstory", "HTTP 409, an earlier attempt may still be running", retryable=False, status=409
    )
    assert by_id == Rejected("fullstory", code="HTTP 409")


SHOWN = {
    "id": BIG,
    "uid": "u1",
    "display_name": "Ann",
    "email": "a@example.com",
    "is_being_deleted": False,
    "properties": {"plan": "pro", "days": 43},
    "schema": {"properties": {"days": "int"}},
    "type_conflicts": {"properties": {"plan": ["str", "int"]}},
    "app_url": "https://app.fullstory.com/x?url_source=api",
}
STORED = StoredUser(
    backend="fullstory",
    vendor_id=BIG,
    user_id="u1",
    name="Ann",
    email="a@example.com",
    traits={"plan": "pro", "days": 43},
    types={"days": "int"},
    type_conflicts={"plan": ["str", "int"]},
    url="https://app.fullstory.com/x?url_source=api",
)


def test_gets_a_user_by_fullstory_id() -> None:
    """The schema and conflicts are read, and ids of any length are strings."""
    user, requests = run(BACKEND.get_by_id(BIG), Response(200, body=orjson.dumps(SHOWN)))

    assert user == STORED
    assert method_and_path(requests[0]) == ("GET", f"/v2/users/{BIG}?include_schema=true")
    assert (requests[0].body, requests[0].idempotency_header) == (None, None)


def test_reads_an_anonymous_user_with_nulls() -> None:
    """Properties, schema and conflicts may be null; a uid may be null or blank."""
    content = {
        "id": "7",
        "uid": "",
        "properties": None,
        "schema": None,
        "type_conflicts": None,
        "is_being_deleted": True,
    }

    user, _ = run(BACKEND.get_by_id("7"), Response(200, body=orjson.dumps(content)))

    assert user == StoredUser(backend="fullstory", vendor_id="7", being_deleted=True)


def test_repr_of_a_stored_user_shows_no_value() -> None:
    """It shows names of traits and fingerprints."""
    assert repr(STORED) == (
        f"StoredUser(backend='fullstory', vendor_id={fingerprint(BIG)}, user_id={fingerprint('u1')}, "
        "traits=[plan, days], being_deleted=False)"
    )


@pytest.mark.parametrize("code", ["resource_not_found", "user_not_found"])
def test_a_missing_user_is_none(code: str) -> None:
    """Fullstory responds with 404 or an empty page."""
    missing = Response(404, body=error_body(code, "no"))

    assert run(BACKEND.get_by_id("7"), missing)[0] is None
    assert run(BACKEND.get("u1"), missing)[0] is None
    assert run(BACKEND.get("u1"), Response(200, body=b'{"results": [], "total_records": "0"}'))[0] is None


def test_an_unknown_page_token_is_a_failure() -> None:
    """It must not look like the end of the list."""
    missing = Response(404, body=error_body("resource_not_found", "Requested resource does not exist"))

    result, _ = run(BACKEND.list_page(page_token="old"), missing)

    assert result == Rejected("fullstory", code="resource_not_found", message="Requested resource does not exist")


@pytest.mark.parametrize("body", [b"", b"<html>404</html>", b"{}", b'{"error": "not found"}'])
def test_a_404_without_a_code_is_misconfigured(body: bytes) -> None:
    """Another server at a wrong address must not look like a missing user."""
    response = Response(404, body=body)

    outcomes = [
        run(exchange, response)[0]
        for exchange in (
            BACKEND.identify(ANN),
            BACKEND.create_job(b'{"requests":[]}', idempotency_key="k"),
            BACKEND.poll_job("j"),
            BACKEND.get("u1"),
            BACKEND.get_by_id("7"),
            BACKEND.delete("u1"),
            BACKEND.list_page(),
        )
    ]

    assert outcomes == [Misconfigured("fullstory", "HTTP 404", "Check base_url: this response is not Fullstory's.")] * 7


def test_gets_a_user_by_uid_from_the_list() -> None:
    """Only an exact match of the uid counts."""
    other = {**SHOWN, "id": "8", "uid": "U1"}

    user, requests = run(
        BACKEND.get("u1"), Response(200, body=orjson.dumps({"results": [other, SHOWN], "total_records": "2"}))
    )

    assert user == STORED
    assert method_and_path(requests[0]) == ("GET", "/v2/users?uid=u1&include_schema=true")


@pytest.mark.parametrize("is_first", [True, False])
def test_gets_the_user_who_is_not_being_deleted(*, is_first: bool) -> None:
    """During a deletion, a user created again is listed next to the old one."""
    deleted = {**SHOWN, "id": "8", "is_being_deleted": True}
    results = [deleted, SHOWN] if is_first else [SHOWN, deleted]
    response = Response(200, body=orjson.dumps({"results": results, "total_records": "2"}))

    assert run(BACKEND.get("u1"), response)[0] == STORED
    assert run(BACKEND.compare(UserTraits("u1", name="Bob")), response)[0] == Comparison(
        "fullstory", differing=("name",), extra=("email", "traits.days", "traits.plan")
    )


def test_a_failure_to_get_is_returned() -> None:
    """The outcome has a hint."""
    forbidden = Response(403, body=error_body("forbidden", "insufficient permissions"))

    for exchange in (BACKEND.get("u1"), BACKEND.get_by_id("7"), BACKEND.list_page()):
        assert run(exchange, forbidden)[0] == Misconfigured("fullstory", "HTTP 403 forbidden", ERROR_HINTS[403])


@pytest.mark.parametrize(
    ("matching", "token", "query"),
    [
        (UserFilter(), None, "include_schema=true"),
        (UserFilter(uid="a/b c&d"), None, "uid=a%2Fb%20c%26d&include_schema=true"),
        (UserFilter(email="a+b@example.com"), None, "email=a%2Bb%40example.com&include_schema=true"),
        (UserFilter(display_name="Zoë"), None, "display_name=Zo%C3%AB&include_schema=true"),
        (UserFilter(is_identified=True), None, "is_identified=true&include_schema=true"),
        (UserFilter(is_identified=False), "asd543=", "is_identified=false&include_schema=true&page_token=asd543%3D"),
        (
            UserFilter(uid="u", email="e", display_name="d", is_identified=True),
            "t",
            "uid=u&email=e&display_name=d&is_identified=true&include_schema=true&page_token=t",
        ),
    ],
)
def test_lists_users_by_every_filter(matching: UserFilter, token: str | None, query: str) -> None:
    """Only fields that are set are sent, percent-encoded."""
    _, requests = run(BACKEND.list_page(matching, page_token=token), Response(500))

    assert method_and_path(requests[0]) == ("GET", f"/v2/users?{query}")


def test_a_filter_is_validated_and_redacted() -> None:
    """It may contain personal data."""
    assert "canary" not in repr(UserFilter(uid="canary", email="canary", display_name="canary"))
    with pytest.raises(InvalidTraitsError, match=r"^email: not valid Unicode"):
        UserFilter(email="\ud800")


@pytest.mark.parametrize(
    ("page", "token", "total"),
    [
        ({"results": [], "total_records": "1200", "next_page_token": "asd543="}, "asd543=", 1200),
        ({"results": [], "total_records": "0", "next_page_token": ""}, None, 0),
        ({"results": [], "total_records": "1", "next_page_token": None}, None, 1),
        ({"results": []}, None, None),
        ({"results": [], "total_records": 7}, None, None),
        ({"results": [], "total_records": "many"}, None, None),
        ({"results": [], "total_records": "9" * 18}, None, 10**18 - 1),
        ({"results": [], "total_records": "9" * 19}, None, None),
        ({"results": [], "total_records": "9" * 5000}, None, None),
    ],
)
def test_reads_a_page(page: dict[str, Any], token: str | None, total: int | None) -> None:
    """The total is a string; the token of a last page is blank, null or missing."""
    assert run(BACKEND.list_page(), Response(200, body=orjson.dumps(page)))[0] == Page((), token, total)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"results": null}',
        b'{"results": {}}',
        b'{"results": [7]}',
        b'{"results": [{"uid": "u1"}]}',
        b"[]",
        b"<html>",
    ],
)
def test_an_invalid_page_is_unknown(body: bytes) -> None:
    """No user is skipped silently."""
    assert isinstance(run(BACKEND.list_page(), Response(200, body=body))[0], Unknown)


def page_of(*ids: str, token: str | None) -> Response:
    """Return a page of users."""
    return Response(200, body=orjson.dumps({"results": [{"id": each} for each in ids], "next_page_token": token}))


@pytest.mark.parametrize("last", ["", None])
def test_pages_follow_tokens_to_the_end(last: str | None) -> None:
    """The last page has a blank token or none; the filter stays the same."""
    scripted = [page_of("1", token="t1"), page_of("2", token="t2"), page_of("3", token=last)]
    paths: list[str] = []
    ids: list[str] = []

    for exchange, response in zip(BACKEND.pages(UserFilter(is_identified=True)), scripted, strict=True):
        page, requests = run(exchange, response)
        assert isinstance(page, Page)
        ids += [user.vendor_id for user in page.users]
        paths.append(method_and_path(requests[0])[1])

    assert ids == ["1", "2", "3"]
    query = "/v2/users?is_identified=true&include_schema=true"
    assert paths == [query, f"{query}&page_token=t1", f"{query}&page_token=t2"]


def test_pages_end_with_a_failure() -> None:
    """They can be resumed from the last good token."""
    pages = BACKEND.pages(page_token="t7")

    failure, requests = run(next(pages), Response(503))

    assert failure == Unavailable("fullstory", "HTTP 503", status=503)
    assert requests[0].url.endswith("page_token=t7")
    assert next(pages, None) is None


def test_skipping_a_page_raises() -> None:
    """Without its token, a short list would look complete."""
    pages = BACKEND.pages()
    next(pages).close()

    with pytest.raises(RuntimeError, match="not run"):
        next(pages)


def test_a_repeated_token_ends_in_a_failure() -> None:
    """Going on would read one page without end."""
    scripted = [page_of("1", token="t1"), page_of("2", token="t1")]
    pages = BACKEND.pages()
    for exchange, response in zip(pages, scripted, strict=False):
        run(exchange, response)
        if response is scripted[-1]:
            break

    failure, requests = run(next(pages))

    assert isinstance(failure, Unknown)
    assert requests == []
    assert list(pages) == []


@pytest.mark.parametrize(
    ("exchange", "path"),
    [
        (BACKEND.delete("a/b&c"), "/v2/users?uid=a%2Fb%26c"),
        (BACKEND.delete(".."), "/v2/users?uid=.."),
        (BACKEND.delete_by_id("abd123="), "/v2/users/abd123%3D"),
    ],
)
def test_deletes_a_user_by_uid_or_id(exchange: Any, path: str) -> None:
    """A deletion without either raises an error."""
    outcome, requests = run(exchange, Response(200, body=b"{}"))

    assert outcome == Accepted("fullstory")
    assert method_and_path(requests[0]) == ("DELETE", path)
    assert requests[0].body is None


def test_deleting_a_missing_user_is_skipped() -> None:
    """There is nothing to delete."""
    missing = Response(404, body=error_body("user_not_found", "User with that ID does not exist"))

    assert run(BACKEND.delete("u1"), missing)[0] == Skipped("fullstory", SkipReason.NOT_FOUND)


@pytest.mark.parametrize("response", [Response(200), Response(204), Response(202, body=b"\n")])
def test_deletion_needs_no_body(response: Response) -> None:
    """Fullstory's own clients take these for a success."""
    assert run(BACKEND.delete("u1"), response)[0] == Accepted("fullstory")
    assert run(BACKEND.delete_by_id("7"), response)[0] == Accepted("fullstory")


@pytest.mark.parametrize("response", [Response(200), Response(204), Response(200, body=b"{}")])
def test_anonymous_creation_needs_no_id(response: Response) -> None:
    """The user exists, though nothing shows by which id."""
    assert run(BACKEND.identify(UserTraits(traits={"plan": "pro"})), response)[0] == Accepted("fullstory")


@pytest.mark.parametrize("response", [Response(200), Response(204), Response(200, body=b"{}")])
def test_reading_needs_content(response: Response) -> None:
    """An empty success shows neither a user nor a page nor a key."""
    exchanges = (BACKEND.get("u1"), BACKEND.get_by_id("7"), BACKEND.list_page(), BACKEND.verify())

    assert all(isinstance(run(exchange, response)[0], Unknown) for exchange in exchanges)


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b"{"])
def test_an_unconfirmed_deletion_is_unknown(body: bytes) -> None:
    """A login page confirms nothing, and a second request does no harm."""
    outcome, _ = run(BACKEND.delete("u1"), Response(200, body=body))

    assert isinstance(outcome, Unknown)
    assert outcome.retryable


def test_a_rejected_deletion_hides_the_id() -> None:
    """Fullstory's message quotes the id."""
    outcome, _ = run(BACKEND.delete("canary-id"), Response(400, body=error_body("bad", "uid canary-id is bad")))

    assert outcome == Rejected("fullstory", code="bad", message="uid ••• is bad")


@pytest.mark.parametrize("bad", ["", 7, "\ud800"])
def test_an_invalid_id_raises(bad: Any) -> None:
    """The error does not quote it."""
    for exchange in (BACKEND.get(bad), BACKEND.delete(bad), BACKEND.get_by_id(bad), BACKEND.delete_by_id(bad)):
        with pytest.raises(InvalidTraitsError):
            run(exchange)


@pytest.mark.parametrize("bad", [".", ".."])
def test_a_fullstory_id_of_dots_raises(bad: str) -> None:
    """HTTP clients would request another path."""
    for exchange in (BACKEND.get_by_id(bad), BACKEND.delete_by_id(bad)):
        with pytest.raises(InvalidTraitsError, match=r"^vendor_id: expected an id other than"):
            run(exchange)


@pytest.mark.parametrize("role", ["ADMIN", "USER", "VIEW_ONLY", "ARCHITECT", "SOMETHING_NEW"])
def test_verifies_a_key(role: str) -> None:
    """GET /me returns the organisation and the role; the e-mail address is not kept."""
    body = orjson.dumps({"email": "canary@example.com", "orgId": "o1", "role": role})

    credentials, requests = run(Fullstory("eu1.k").verify(), Response(200, body=body))

    assert isinstance(credentials, KeyInfo)
    assert attrs.evolve(credentials, operations=None) == KeyInfo("fullstory", "eu1", role, "o1")
    assert (requests[0].method, requests[0].url) == ("GET", "https://api.eu1.fullstory.com/me")
    assert "canary" not in repr(credentials)


def test_a_bad_key_is_misconfigured() -> None:
    """The hint says what to check."""
    outcome, _ = run(BACKEND.verify(), Response(401, body=error_body("unauthorized", "access is unauthorized")))

    assert outcome == Misconfigured("fullstory", "HTTP 401 unauthorized", ERROR_HINTS[401])


@pytest.mark.parametrize(
    ("role", "operations"),
    [
        ("USER", (Operation.WRITE, Operation.BATCH)),
        ("ARCHITECT", tuple(Operation)),
        ("ADMIN", tuple(Operation)),
        ("VIEW_ONLY", ()),
        ("UMBRELLA_MANAGER", None),
        ("UNKNOWN", None),
        ("SOMETHING_NEW", None),
        ("", None),
        (None, None),
    ],
)
def test_role_decides_what_the_key_permits(role: str | None, operations: Any) -> None:
    """What is not documented is not known."""
    info, _ = run(BACKEND.verify(), Response(200, body=orjson.dumps({"orgId": "o1", "role": role})))

    assert info == KeyInfo("fullstory", "na1", role or None, "o1", operations)


@pytest.mark.parametrize("body", [b"{}", b'{"role": 7}', b'{"role": "", "orgId": ""}', b"<html>"])
def test_a_response_without_role_and_organisation_is_unknown(body: bytes) -> None:
    """It does not prove that the key is valid."""
    assert isinstance(run(BACKEND.verify(), Response(200, body=body))[0], Unknown)


OUTCOMES = (Accepted, Skipped, Rejected, Misconfigured, Unavailable, Unknown)


@given(response=responses(), user=user_traits())
def test_identify_never_raises(response: Response, user: UserTraits) -> None:
    """Any response leads to an outcome, which can be printed."""
    backend = Fullstory(KEY, on_violation="adapt")
    sends = backend.plan(user).request is not None

    outcome, requests = run(backend.identify(user), *[response] * sends)

    assert isinstance(outcome, OUTCOMES)
    assert outcome.backend == "fullstory"
    assert len(requests) == sends
    assert explain(outcome)
    assert KEY not in repr(outcome) + explain(outcome)


@given(
    response=responses(), which=st.sampled_from(["get", "get_by_id", "list_page", "delete", "delete_by_id", "verify"])
)
def test_reads_never_raise(response: Response, which: str) -> None:
    """Any response leads to a result or a failure."""
    method = getattr(BACKEND, which)
    exchange = method() if which in {"list_page", "verify"} else method("u1")

    result, _ = run(exchange, response)

    assert result is None or isinstance(result, (*OUTCOMES, StoredUser, Page, KeyInfo))
    assert response.is_success or not isinstance(result, Accepted | StoredUser | KeyInfo)


def test_repr_shows_no_key() -> None:
    """Backends with the same settings are equal."""
    assert "canary" not in repr(BACKEND)
    assert Fullstory(KEY) == BACKEND != attrs.evolve(BACKEND, on_violation="adapt")
