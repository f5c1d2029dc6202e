"""What PostHog's answers mean: event by event, or for a request as a whole."""

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
BACKEND = PostHog(KEY)
ANN, BOB, CAT = (UserTraits(user_id, name=f"{user_id} canary") for user_id in ("ann", "bob", "cat"))
OK = Accepted("posthog")
UNREADABLE = Unknown("posthog", "HTTP 200 with an unexpected body", status=200)
ONCE = RetryPolicy(attempts=1)
KEY_HINT = "Check the API key: it is the project's own (phc_…), of the region that base_url is in."
BILLING_HINT = "Raise the billing limit of the PostHog project, or wait for its next billing period."
HEADERS_HINT = "Check what stands between here and PostHog: it changed the headers of what was sent."


def events_of(request: Request) -> list[dict[str, Any]]:
    """Return the events that a request sends."""
    events: list[dict[str, Any]] = orjson.loads(request.body or b"")["batch"]
    return events


def ids_of(requests: Sequence[Request]) -> list[list[str]]:
    """Return whom each of *requests* is about."""
    return [[event["distinct_id"] for event in events_of(request)] for request in requests]


def judged(
    verdicts: Mapping[str, Any], *, headers: Mapping[str, str] | None = None, default: Any = "ok"
) -> Callable[[Request], Response]:
    """Return what answers a request with the verdict on each user, by default ok."""

    def answer(request: Request) -> Response:
        said = {event["uuid"]: verdicts.get(event["distinct_id"], default) for event in events_of(request)}
        results = {uuid: {"result": word} if isinstance(word, str) else word for uuid, word in said.items()}
        return Response(200, headers or {}, orjson.dumps({"results": results}))

    return answer


def in_turn(*answers: Callable[[Request], Response] | Response) -> Callable[[Request], Response]:
    """Return what answers one request after another."""
    left = list(answers)

    def answer(request: Request) -> Response:
        one = left.pop(0)
        return one if isinstance(one, Response) else one(request)

    return answer


def identify(
    answer: Callable[[Request], Response] | Response, *users: UserTraits, retry: RetryPolicy = ONCE
) -> tuple[tuple[Outcome, ...], ScriptedTransport]:
    """Send *users* together."""
    transport = ScriptedTransport(respond=(lambda _: answer) if isinstance(answer, Response) else answer, retry=retry)
    return transport.run(BACKEND.identify_many(users)), transport


def rejected(status: int, tag: str, description: str = "words") -> Response:
    """Return how PostHog refuses a request."""
    return Response(status, body=orjson.dumps({"error": tag, "error_description": description}))


@pytest.mark.parametrize(
    ("verdict", "outcome"),
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
        ("maybe", Unknown("posthog", "HTTP 200 with a result that is not documented", status=200)),
        ({"result": None}, Unknown("posthog", "HTTP 200 with a result that is not documented", status=200)),
        ({}, Unknown("posthog", "HTTP 200 with a result that is not documented", status=200)),
        (None, Unknown("posthog", "HTTP 200 with a result that is not documented", status=200)),
        (["ok"], Unknown("posthog", "HTTP 200 with a result that is not documented", status=200)),
    ],
)
def test_each_verdict_is_one_outcome(verdict: Any, outcome: Outcome) -> None:
    """Of that user alone: the other one is taken, and nothing is asked twice."""
    outcomes, transport = identify(judged({"ann": verdict}), ANN, BOB)

    assert outcomes == (outcome, OK)
    assert len(transport.requests) == 1


def test_a_user_of_whom_posthog_says_nothing_is_accepted() -> None:
    """As its own SDKs have it."""
    assert identify(Response(200, body=b'{"results": {}}'), ANN)[0] == (OK,)


def test_an_accepted_user_is_never_verified() -> None:
    """PostHog only queues events."""
    outcome = ScriptedTransport(respond=judged({})).run(BACKEND.identify(UserTraits("u1", traits={"t": UUID(int=0)})))

    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert [adjustment.rule for adjustment in outcome.adjustments] == ["uuid-as-text"]


def test_only_what_posthog_asks_for_again_is_sent_again() -> None:
    """With the same ids and the time it was made, as the next attempt, after a pause."""
    first = judged({"ann": "retry", "bob": "drop"}, headers={"retry-after": "1"})

    outcomes, transport = identify(in_turn(first, judged({})), ANN, BOB, CAT)

    assert outcomes == (OK, Rejected("posthog", code="drop"), OK)
    assert ids_of(transport.requests) == [["ann", "bob", "cat"], ["ann"]]
    before, after = transport.requests
    assert events_of(after)[0] == events_of(before)[0]
    assert [orjson.loads(each.body or b"")["created_at"] for each in (before, after)].count(
        orjson.loads(before.body or b"")["created_at"]
    ) == 2
    assert [each.headers["posthog-attempt"] for each in (before, after)] == ["1", "2"]
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
def test_four_attempts_and_no_more(headers: dict[str, str], waits: list[float]) -> None:
    """Ever longer apart, at least as long as PostHog asks and at most 30 seconds."""
    verdict = {"result": "retry", "details": "not_persisted"}

    outcomes, transport = identify(judged({"ann": verdict}, headers=headers), ANN, BOB)

    asked = None if headers.get("retry-after", "soon") == "soon" else float(headers["retry-after"])
    assert outcomes == (Unavailable("posthog", "retry not_persisted", asked, status=200), OK)
    assert ids_of(transport.requests) == [["ann", "bob"], ["ann"], ["ann"], ["ann"]]
    assert [request.headers["posthog-attempt"] for request in transport.requests] == ["1", "2", "3", "4"]
    assert transport.waits == waits


def test_another_attempt_can_fail_as_a_whole() -> None:
    """What was settled before stays settled."""
    outcomes, _ = identify(in_turn(judged({"ann": "retry"}), Response(0, no_response=NoResponse.TIMED_OUT)), ANN, BOB)

    assert outcomes == (Unknown("posthog", "no response in time"), OK)


def test_the_transports_own_retries_are_no_attempts_of_ours() -> None:
    """They send the same bytes, ids included, so that PostHog takes each event once."""
    answers = in_turn(Response(503), Response(0, no_response=NoResponse.CONNECTION_LOST), judged({}))

    outcomes, transport = identify(answers, ANN, retry=RetryPolicy())

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
                "Check what stands between here and PostHog: it changed the type of what was sent.",
            ),
        ),
        (
            Response(404, {"retry-after": "5"}),
            Unavailable("posthog", "HTTP 404: is it PostHog's address that base_url says?", 5.0, status=404),
        ),
        (
            Response(404, uncertain=True),
            Unknown("posthog", "HTTP 404: is it PostHog's address that base_url says?", status=404),
        ),
        (Response(408), Unavailable("posthog", "HTTP 408", status=408)),
        (rejected(500, "internal_error"), Unavailable("posthog", "HTTP 500 internal_error", status=500)),
        (Response(502), Unknown("posthog", "HTTP 502", status=502)),
        (Response(503), Unavailable("posthog", "HTTP 503", status=503)),
        (Response(504), Unknown("posthog", "HTTP 504", status=504)),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable("posthog", "the vendor could not be reached")),
        (
            Response(200, body=b'{"status": "Ok"}'),
            UNREADABLE,
        ),
        (
            Response(200, body=b'{"results": []}'),
            UNREADABLE,
        ),
        (Response(200, body=b"<html>"), UNREADABLE),
    ],
)
def test_an_answer_to_a_request_is_one_outcome(response: Response, outcome: Outcome) -> None:
    """What cannot be read is never asked again."""
    outcomes, transport = identify(response, ANN)

    assert outcomes == (outcome,)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [404, 408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    """404 as well, which is a proxy's and not PostHog's."""
    outcomes, transport = identify(in_turn(Response(status), judged({})), ANN, retry=RetryPolicy())

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
def test_a_status_that_stays_is_not_tried_again(response: Response) -> None:
    """A quota lasts for weeks, whatever Retry-After says."""
    _, transport = identify(response, ANN, retry=RetryPolicy())

    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_what_is_refused_as_a_whole_is_sent_in_halves(status: int) -> None:
    """Nobody is rejected for another's sake."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(8)]

    def answer(request: Request) -> Response:
        poisoned = any(event["distinct_id"] == "u5" for event in events_of(request))
        return Response(status) if poisoned else judged({})(request)

    outcomes, transport = identify(answer, *users)

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
    "response", [Response(401), Response(503), Response(0, no_response=NoResponse.TIMED_OUT), Response(200)]
)
def test_what_is_nobodys_fault_is_told_of_each(response: Response) -> None:
    """In one request: in halves it would be answered the same."""
    outcomes, transport = identify(response, ANN, BOB)

    assert len(set(map(repr, outcomes))) == 1
    assert not isinstance(outcomes[0], Accepted | Rejected)
    assert len(transport.requests) == 1


def test_users_who_break_a_rule_are_left_out() -> None:
    """And those of whom there is nothing to say; each in its place."""
    outcomes, transport = identify(judged({}), UserTraits("null", name="x"), ANN, UserTraits("u1"), BOB)

    assert outcomes == (
        Rejected("posthog", (Violation("user_id", "illegal-distinct-id"),)),
        OK,
        Skipped("posthog", SkipReason.NOTHING_TO_SEND),
        OK,
    )
    assert ids_of(transport.requests) == [["ann", "bob"]]


@pytest.mark.parametrize("users", [[], [UserTraits("u1")], [UserTraits(None, name="x")]])
def test_where_nobody_is_left_nothing_is_sent(users: list[UserTraits]) -> None:
    """Not even an empty batch, which PostHog refuses."""
    outcomes, transport = identify(judged({}), *users)

    assert len(outcomes) == len(users)
    assert transport.requests == []


def test_a_request_holds_a_hundred_users() -> None:
    """Of more, the rest goes into the next."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(101)]

    outcomes, transport = identify(judged({}), *users)

    assert outcomes == (OK,) * 101
    assert [len(ids) for ids in ids_of(transport.requests)] == [100, 1]


def test_a_request_holds_five_mebibytes() -> None:
    """And not more, in as few requests as may be."""
    users = [UserTraits(f"u{number}", traits={"t": "x" * 900_000}) for number in range(11)]

    outcomes, transport = identify(judged({}), *users)

    assert outcomes == (OK,) * 11
    sizes = [len(request.body or b"") for request in transport.requests]
    assert [len(ids) for ids in ids_of(transport.requests)] == [5, 5, 1]
    assert max(sizes) <= 5 * 1024 * 1024


def test_a_body_can_be_exactly_as_large_as_may_be() -> None:
    """To the byte; with one more, it is two requests."""
    users = [UserTraits(f"u{number}", traits={"t": "x" * 900_000}) for number in range(5)]
    _, transport = identify(judged({}), *users, UserTraits("u9", traits={"t": "y"}))
    room = 5 * 1024 * 1024 - len(transport.requests[0].body or b"")

    for more, requests in ((0, 1), (1, 2)):
        last = UserTraits("u9", traits={"t": "y" * (1 + room + more)})
        _, transport = identify(judged({}), *users, last)
        assert len(transport.requests) == requests
        assert len(transport.requests[0].body or b"") == 5 * 1024 * 1024 or more


def test_what_is_said_later_of_a_user_is_sent_later() -> None:
    """If both went together and only the older were asked for again, it would win."""
    older, newer = UserTraits("u1", traits={"plan": "a"}), UserTraits("u1", traits={"plan": "b"})

    outcomes, transport = identify(in_turn(judged({"u1": "retry"}), judged({}), judged({})), older, ANN, newer, ANN)

    assert outcomes == (OK,) * 4
    assert ids_of(transport.requests) == [["u1", "ann"], ["u1"], ["u1", "ann"]]
    assert [events_of(request)[0]["properties"]["$set"]["plan"] for request in transport.requests] == ["a", "a", "b"]


@pytest.mark.parametrize("words", ["ann canary", f"of {KEY}", "bob canary"])
def test_nobodys_values_stand_in_an_outcome(words: str) -> None:
    """Also where it is another user of the same request who is quoted, and in its tags."""
    users = [UserTraits(user_id, traits={"t": f"{user_id} canary"}) for user_id in ("ann", "bob")]

    for answer in (
        judged({}, default={"result": "drop", "details": words}),
        judged({}, default={"result": "retry", "details": words}),
        rejected(503, words, words),
        rejected(401, words, words),
    ):
        for outcome in identify(answer, *users)[0]:
            assert "canary" not in f"{outcome!r} {explain(outcome)}"


def test_what_was_sent_is_masked_in_posthogs_words() -> None:
    """The rest of them stays."""
    outcomes, _ = identify(rejected(400, "invalid_batch", f"ann canary with {KEY} is not good"), ANN)

    assert outcomes == (Rejected("posthog", code="invalid_batch", message="••• with ••• is not good"),)


@given(verdicts=st.lists(st.sampled_from(["ok", "drop", "retry", "warning", "?", 400, 413]), max_size=5))
def test_users_sent_together_fare_as_each_alone_would(verdicts: list[str | int]) -> None:
    """Whatever PostHog says of the others, and if it refuses the whole request because of them."""
    users = [UserTraits(f"u{number}", name="Ann") for number in range(len(verdicts))]
    by_user = {user.user_id or "": verdict for user, verdict in zip(users, verdicts, strict=True)}

    def answer(request: Request) -> Response:
        asked = {event["distinct_id"]: by_user[event["distinct_id"]] for event in events_of(request)}
        statuses = [verdict for verdict in asked.values() if isinstance(verdict, int)]
        return Response(statuses[0]) if statuses else judged(asked)(request)

    together, _ = identify(answer, *users)

    assert together == tuple(identify(answer, user)[0][0] for user in users)


@given(response=responses())
def test_every_answer_is_told_of_each_user(response: Response) -> None:
    """As an outcome without values."""
    for outcome in identify(response, ANN, BOB)[0]:
        assert outcome.backend == "posthog"
        assert "canary" not in f"{outcome!r} {explain(outcome)}"
