"""Map PostHog's responses to outcomes, event by event or for a request as a whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_posthog import PostHog

from replay_identity import RetryPolicy
from replay_identity.adapters import (
    Accepted,
    Misconfigured,
    NoResponse,
    Outcome,
    Rejected,
    Request,
    Response,
    Skipped,
    SkipReason,
    Unavailable,
    Unknown,
    UserTraits,
    Violation,
)
from replay_identity.outcomes import explain
from replay_identity.testing import ScriptedTransport, responses

KEY = "phc_canary"
BACKEND = PostHog(KEY, capture="v1")
ANN, BOB, CAT = (UserTraits(user_id, name=f"{user_id} canary") for user_id in ("ann", "bob", "cat"))
OK = Accepted("posthog")
UNREADABLE = Unknown("posthog", "HTTP 200 with an unexpected body", status=200)
ONCE = RetryPolicy(attempts=1)
KEY_HINT = "Check the API key: it is the project's own (phc_…), of the region of base_url."
BILLING_HINT = "Raise the billing limit of the PostHog project, or wait for its next billing period."
V1_HINT = 'Check base_url, or set capture="v0": a self-hosted server may not have version 1.'
HEADERS_HINT = "Check the proxies between here and PostHog: one changed the headers of the request."


def events_of(request: Request) -> list[dict[str, Any]]:
    """Return the events in a request."""
    events: list[dict[str, Any]] = orjson.loads(request.body or b"")["batch"]
    return events


def ids_of(requests: Sequence[Request]) -> list[list[str]]:
    """Return the user ids in each of *requests*."""
    return [[event["distinct_id"] for event in events_of(request)] for request in requests]


def with_results(
    by_user: Mapping[str, Any], *, headers: Mapping[str, str] | None = None, default: Any = "ok"
) -> Callable[[Request], Response]:
    """Return a responder with a result for each user, by default ok."""

    def respond(request: Request) -> Response:
        by_event = {event["uuid"]: by_user.get(event["distinct_id"], default) for event in events_of(request)}
        results = {uuid: {"result": item} if isinstance(item, str) else item for uuid, item in by_event.items()}
        return Response(200, headers or {}, orjson.dumps({"results": results}))

    return respond


def in_turn(*responders: Callable[[Request], Response] | Response) -> Callable[[Request], Response]:
    """Return a responder for one request after another."""
    remaining = list(responders)

    def respond(request: Request) -> Response:
        responder = remaining.pop(0)
        return responder if isinstance(responder, Response) else responder(request)

    return respond


def identify(
    respond: Callable[[Request], Response] | Response, *users: UserTraits, retry: RetryPolicy = ONCE
) -> tuple[tuple[Outcome, ...], ScriptedTransport]:
    """Send *users* together."""
    transport = ScriptedTransport(
        respond=(lambda _: respond) if isinstance(respond, Response) else respond, retry=retry
    )
    return transport.run(BACKEND.identify_many(users)), transport


def rejected(status: int, tag: str, description: str = "text") -> Response:
    """Return PostHog's error response to a request."""
    return Response(status, body=orjson.dumps({"error": tag, "error_description": description}))


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("ok", OK),
        ({"result": "ok", "details": "anything"}, OK),
        (
            {"result": "drop", "details": "distinct_id_too_large"},
            Rejected("posthog", (), "drop", "distinct_id_too_large"),
        ),
        ("drop", Rejected("posthog", code="drop")),
        (
            {"result": "drop", "details": "billing_limit_exceeded"},
            Misconfigured("posthog", "billing_limit_exceeded", BILLING_HINT),
        ),
        (
            {"result": "ok", "details": "person_processing_disabled"},
            Rejected("posthog", code="person_processing_disabled"),
        ),
        (
            {"result": "warning", "details": "person_processing_disabled"},
            Unavailable("posthog", "warning person_processing_disabled", status=200),
        ),
        ("warning", Unavailable("posthog", "warning", status=200)),
        ("maybe", Unknown("posthog", "HTTP 200 with an undocumented result", status=200)),
        ({"result": None}, Unknown("posthog", "HTTP 200 with an undocumented result", status=200)),
        ({}, Unknown("posthog", "HTTP 200 with an undocumented result", status=200)),
        (None, Unknown("posthog", "HTTP 200 with an undocumented result", status=200)),
        (["ok"], Unknown("posthog", "HTTP 200 with an undocumented result", status=200)),
    ],
)
def test_each_result_has_its_outcome(result: Any, outcome: Outcome) -> None:
    """Of that user alone: the other one is accepted, and nothing is sent twice."""
    outcomes, transport = identify(with_results({"ann": result}), ANN, BOB)

    assert outcomes == (outcome, OK)
    assert len(transport.requests) == 1


def test_a_user_without_a_result_is_accepted() -> None:
    """As in PostHog's own SDKs."""
    assert identify(Response(200, body=b'{"results": {}}'), ANN)[0] == (OK,)


def test_an_accepted_user_is_never_verified() -> None:
    """PostHog only queues events."""
    outcome = ScriptedTransport(respond=with_results({})).run(
        BACKEND.identify(UserTraits("u1", traits={"t": UUID(int=0)}))
    )

    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert [adjustment.rule for adjustment in outcome.adjustments] == ["uuid-as-text"]


def test_only_events_to_retry_are_sent_again() -> None:
    """With the same ids and creation time, as the next attempt, after a pause."""
    first = with_results({"ann": "retry", "bob": "drop"}, headers={"retry-after": "1"})

    outcomes, transport = identify(in_turn(first, with_results({})), ANN, BOB, CAT)

    assert outcomes == (OK, Rejected("posthog", code="drop"), OK)
    assert ids_of(transport.requests) == [["ann", "bob", "cat"], ["ann"]]
    before, after = transport.requests
    assert events_of(after)[0] == events_of(before)[0]
    assert [orjson.loads(request.body or b"")["created_at"] for request in (before, after)].count(
        orjson.loads(before.body or b"")["created_at"]
    ) == 2
    assert [request.headers["posthog-attempt"] for request in (before, after)] == ["1", "2"]
    assert before.headers["posthog-request-id"] == after.headers["posthog-request-id"]
    assert transport.waits == [1.0]


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({}, [1.0, 2.0, 4.0]),
        ({"retry-after": "1"}, [1.0, 2.0, 4.0]),
        ({"retry-after": "3"}, [3.0, 3.0, 4.0]),
        ({"retry-after": "3600"}, [30.0, 30.0, 30.0]),
        ({"retry-after": "soon"}, [1.0, 2.0, 4.0]),
    ],
)
def test_at_most_four_attempts(headers: dict[str, str], waits: list[float]) -> None:
    """The pauses grow; at least what PostHog asks for, at most 30 seconds."""
    result = {"result": "retry", "details": "not_persisted"}

    outcomes, transport = identify(with_results({"ann": result}, headers=headers), ANN, BOB)

    asked = None if headers.get("retry-after", "soon") == "soon" else float(headers["retry-after"])
    assert outcomes == (Unavailable("posthog", "retry not_persisted", asked, status=200), OK)
    assert ids_of(transport.requests) == [["ann", "bob"], ["ann"], ["ann"], ["ann"]]
    assert [request.headers["posthog-attempt"] for request in transport.requests] == ["1", "2", "3", "4"]
    assert transport.waits == waits


def test_another_attempt_can_fail_as_a_whole() -> None:
    """Earlier outcomes stay."""
    outcomes, _ = identify(
        in_turn(with_results({"ann": "retry"}), Response(0, no_response=NoResponse.TIMED_OUT)), ANN, BOB
    )

    assert outcomes == (Unknown("posthog", "no response in time"), OK)


def test_the_transports_retries_are_not_attempts() -> None:
    """They send the same bytes with the same ids, so PostHog stores each event once."""
    respond = in_turn(Response(503), Response(0, no_response=NoResponse.CONNECTION_LOST), with_results({}))

    outcomes, transport = identify(respond, ANN, retry=RetryPolicy())

    assert outcomes == (OK,)
    assert len(transport.requests) == 3
    assert len({(request.body, request.headers["posthog-attempt"]) for request in transport.requests}) == 1


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (rejected(401, "invalid_api_token"), Misconfigured("posthog", "HTTP 401 invalid_api_token", KEY_HINT)),
        (Response(402), Misconfigured("posthog", "HTTP 402", "Check the billing of the PostHog organisation.")),
        (
            rejected(429, "billing_limit_exceeded"),
            Misconfigured("posthog", "HTTP 429 billing_limit_exceeded", BILLING_HINT),
        ),
        (rejected(429, "rate_limited"), Unavailable("posthog", "HTTP 429 rate_limited", status=429)),
        (
            rejected(400, "missing_required_headers"),
            Misconfigured("posthog", "HTTP 400 missing_required_headers", HEADERS_HINT),
        ),
        (rejected(400, "invalid_batch", "no batch"), Rejected("posthog", code="invalid_batch", message="no batch")),
        (Response(400, body=b"Bad"), Rejected("posthog", code="HTTP 400")),
        (Response(413), Rejected("posthog", code="HTTP 413")),
        (
            Response(415),
            Misconfigured(
                "posthog",
                "HTTP 415",
                "Check the proxies between here and PostHog: one changed the content type of the request.",
            ),
        ),
        (Response(404), Misconfigured("posthog", "HTTP 404", V1_HINT)),
        (Response(408), Unavailable("posthog", "HTTP 408", status=408)),
        (rejected(500, "internal_error"), Unavailable("posthog", "HTTP 500 internal_error", status=500)),
        (Response(502), Unknown("posthog", "HTTP 502", status=502)),
        (Response(503), Unavailable("posthog", "HTTP 503", status=503)),
        (Response(504), Unknown("posthog", "HTTP 504", status=504)),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("posthog", "the vendor could not be reached")),
        (Response(200), OK),
        (Response(204), OK),
        (Response(200, body=b'{"status": "Ok"}'), OK),
        (Response(200, body=b'{"results": []}'), OK),
        (Response(200, body=b'{"error": "no"}'), Rejected("posthog", code="no")),
        (Response(200, body=b"[]"), UNREADABLE),
        (Response(200, body=b"<html>"), UNREADABLE),
    ],
)
def test_each_response_has_its_outcome(response: Response, outcome: Outcome) -> None:
    """A response that cannot be read is not retried."""
    outcomes, transport = identify(response, ANN)

    assert outcomes == (outcome,)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [404, 408, 429, 500, 502, 503, 504])
def test_temporary_failures_are_retried(status: int) -> None:
    """404 is one of them: it is a proxy's, not PostHog's."""
    outcomes, transport = identify(in_turn(Response(status), with_results({})), ANN, retry=RetryPolicy())

    assert outcomes == (OK,)
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    "response",
    [
        Response(400),
        Response(401),
        Response(402),
        Response(413),
        Response(415),
        rejected(429, "billing_limit_exceeded"),
    ],
)
def test_permanent_failures_are_not_retried(response: Response) -> None:
    """A quota lasts for weeks, whatever Retry-After says."""
    _, transport = identify(response, ANN, retry=RetryPolicy())

    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_rejected_request_is_halved(status: int) -> None:
    """No user is rejected because of another."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(8)]

    def respond(request: Request) -> Response:
        poisoned = any(event["distinct_id"] == "u5" for event in events_of(request))
        return Response(status) if poisoned else with_results({})(request)

    outcomes, transport = identify(respond, *users)

    assert outcomes == tuple(
        Rejected("posthog", code=f"HTTP {status}") if user.user_id == "u5" else OK for user in users
    )
    assert ids_of(transport.requests) == [
        ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"],
        ["u0", "u1", "u2", "u3"],
        ["u4", "u5", "u6", "u7"],
        ["u4", "u5"],
        ["u4"],
        ["u5"],
        ["u6", "u7"],
    ]
    assert len({request.headers["posthog-request-id"] for request in transport.requests}) == 7


@pytest.mark.parametrize(
    "response",
    [Response(401), Response(503), Response(0, no_response=NoResponse.TIMED_OUT), Response(200, body=b"<html>")],
)
def test_a_general_failure_applies_to_every_user(response: Response) -> None:
    """With one request: halves would get the same response."""
    outcomes, transport = identify(response, ANN, BOB)

    assert len(set(map(repr, outcomes))) == 1
    assert not isinstance(outcomes[0], Accepted | Rejected)
    assert len(transport.requests) == 1


def test_invalid_and_empty_users_are_not_sent() -> None:
    """Each has an outcome, in its place."""
    outcomes, transport = identify(with_results({}), UserTraits("system", name="x"), ANN, UserTraits("u1"), BOB)

    assert outcomes == (
        Rejected("posthog", (Violation("user_id", "illegal-distinct-id"),)),
        OK,
        Skipped("posthog", SkipReason.NOTHING_TO_SEND),
        OK,
    )
    assert ids_of(transport.requests) == [["ann", "bob"]]


@pytest.mark.parametrize("users", [[], [UserTraits("u1")], [UserTraits(None, name="x")]])
def test_no_user_means_no_request(users: list[UserTraits]) -> None:
    """Not even an empty batch, which PostHog rejects."""
    outcomes, transport = identify(with_results({}), *users)

    assert len(outcomes) == len(users)
    assert transport.requests == []


def test_a_request_has_at_most_100_users() -> None:
    """The others are in the next one."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(101)]

    outcomes, transport = identify(with_results({}), *users)

    assert outcomes == (OK,) * 101
    assert [len(ids) for ids in ids_of(transport.requests)] == [100, 1]


def test_a_request_has_at_most_five_mebibytes() -> None:
    """In as few requests as possible."""
    users = [UserTraits(f"u{number}", traits={"t": "x" * 900_000}) for number in range(11)]

    outcomes, transport = identify(with_results({}), *users)

    assert outcomes == (OK,) * 11
    sizes = [len(request.body or b"") for request in transport.requests]
    assert [len(ids) for ids in ids_of(transport.requests)] == [5, 5, 1]
    assert max(sizes) <= 5 * 1024 * 1024


def test_a_body_can_be_exactly_at_the_limit() -> None:
    """With one byte more, there are two requests."""
    users = [UserTraits(f"u{number}", traits={"t": "x" * 900_000}) for number in range(5)]
    _, transport = identify(with_results({}), *users, UserTraits("u9", traits={"t": "y"}))
    room = 5 * 1024 * 1024 - len(transport.requests[0].body or b"")

    for more, requests in ((0, 1), (1, 2)):
        last = UserTraits("u9", traits={"t": "y" * (1 + room + more)})
        _, transport = identify(with_results({}), *users, last)
        assert len(transport.requests) == requests
        assert len(transport.requests[0].body or b"") == 5 * 1024 * 1024 or more


def test_a_request_has_each_user_once() -> None:
    """If only the older of two events were sent again, it would win."""
    older, newer = UserTraits("u1", traits={"plan": "a"}), UserTraits("u1", traits={"plan": "b"})

    outcomes, transport = identify(
        in_turn(with_results({"u1": "retry"}), with_results({}), with_results({})), older, ANN, newer, ANN
    )

    assert outcomes == (OK,) * 4
    assert ids_of(transport.requests) == [["u1", "ann"], ["u1"], ["u1", "ann"]]
    assert [events_of(request)[0]["properties"]["$set"]["plan"] for request in transport.requests] == ["a", "a", "b"]


@pytest.mark.parametrize("text", ["ann canary", f"of {KEY}", "bob canary"])
def test_no_outcome_has_a_users_values(text: str) -> None:
    """Even of another user in the same request, and in PostHog's tags."""
    users = [UserTraits(user_id, traits={"t": f"{user_id} canary"}) for user_id in ("ann", "bob")]

    for respond in (
        with_results({}, default={"result": "drop", "details": text}),
        with_results({}, default={"result": "retry", "details": text}),
        rejected(503, text, text),
        rejected(401, text, text),
    ):
        for outcome in identify(respond, *users)[0]:
            assert "canary" not in f"{outcome!r} {explain(outcome)}"


def test_sent_values_are_redacted_from_messages() -> None:
    """The rest of the message stays."""
    outcomes, _ = identify(rejected(400, "invalid_batch", f"ann canary with {KEY} is not valid"), ANN)

    assert outcomes == (Rejected("posthog", code="invalid_batch", message="••• with ••• is not valid"),)


@given(results=st.lists(st.sampled_from(["ok", "drop", "retry", "warning", "?", 400, 413]), max_size=5))
def test_users_sent_together_have_their_own_outcomes(results: list[str | int]) -> None:
    """Whatever the results of the others, and if the whole request is rejected."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(len(results))]
    by_user = {user.user_id or "": result for user, result in zip(users, results, strict=True)}

    def respond(request: Request) -> Response:
        current = {event["distinct_id"]: by_user[event["distinct_id"]] for event in events_of(request)}
        statuses = [result for result in current.values() if isinstance(result, int)]
        return Response(statuses[0]) if statuses else with_results(current)(request)

    together, _ = identify(respond, *users)

    assert together == tuple(identify(respond, user)[0][0] for user in users)


@given(response=responses())
def test_every_response_is_an_outcome_for_each_user(response: Response) -> None:
    """Without any values."""
    for outcome in identify(response, ANN, BOB)[0]:
        assert outcome.backend == "posthog"
        assert "canary" not in f"{outcome!r} {explain(outcome)}"


V0 = PostHog(KEY)


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (Response(200, body=b'{"status": 1}'), OK),
        (Response(200, body=b'{"status": "Ok"}'), OK),
        (Response(200, body=b'{"status": 1, "quota_limited": []}'), OK),
        (Response(200), OK),
        (Response(204), OK),
        (
            Response(200, body=b'{"status": 1, "quota_limited": ["events"]}'),
            Misconfigured("posthog", "HTTP 200 billing_limit_exceeded", BILLING_HINT),
        ),
        (Response(200, body=b"<html>"), UNREADABLE),
        (Response(200, body=b"1"), UNREADABLE),
        (Response(401, body=b"API key is not valid"), Misconfigured("posthog", "HTTP 401", KEY_HINT)),
        (Response(404), Misconfigured("posthog", "HTTP 404", "Check base_url: there is no /batch/ below it.")),
        (Response(429, body=b"rate limited"), Unavailable("posthog", "HTTP 429", status=429)),
        (Response(503, body=b"transient error"), Unavailable("posthog", "HTTP 503", status=503)),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("posthog", "no response in time")),
    ],
)
def test_v0_is_about_all_users(response: Response, outcome: Outcome) -> None:
    """With one request, and nobody is verified."""
    transport = ScriptedTransport(response, retry=ONCE)

    outcomes = transport.run(V0.identify_many((ANN, BOB)))

    assert outcomes == (outcome, outcome)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_v0_finds_the_user_that_it_rejects(status: int) -> None:
    """In halves of the request."""

    def respond(request: Request) -> Response:
        return Response(status if "bob" in ids_of([request])[0] else 200)

    transport = ScriptedTransport(respond=respond, retry=ONCE)

    outcomes = transport.run(V0.identify_many((ANN, BOB, CAT)))

    assert outcomes == (OK, Rejected("posthog", code=f"HTTP {status}"), OK)
    assert ids_of(transport.requests) == [["ann", "bob", "cat"], ["ann"], ["bob", "cat"], ["bob"], ["cat"]]


@pytest.mark.parametrize(("status", "count"), [(404, 1), (401, 1), (429, 2), (503, 2)])
def test_v0_is_retried_after_temporary_failures(status: int, count: int) -> None:
    """A 404 is none: every PostHog has this address."""
    transport = ScriptedTransport(Response(status), Response(200))

    transport.run(V0.identify(ANN))

    assert len(transport.requests) == count


def test_a_v0_body_is_within_five_mebibytes() -> None:
    """With the key that is in it."""
    users = [UserTraits(f"u{number}", traits={"t": "x" * 900_000}) for number in range(5)]
    transport = ScriptedTransport(respond=lambda _: Response(200))
    transport.run(V0.identify_many((*users, UserTraits("u9", traits={"t": "y"}))))
    room = 5 * 1024 * 1024 - len(transport.requests[0].body or b"")

    for more, requests in ((0, 1), (1, 2)):
        transport = ScriptedTransport(respond=lambda _: Response(200))
        transport.run(V0.identify_many((*users, UserTraits("u9", traits={"t": "y" * (1 + room + more)}))))
        assert len(transport.requests) == requests
        assert len(transport.requests[0].body or b"") == 5 * 1024 * 1024 or more
