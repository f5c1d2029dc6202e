from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_umami import Umami

from replay_identity.adapters import (
    Accepted,
    Adjustment,
    Misconfigured,
    NoResponse,
    Outcome,
    Rejected,
    Request,
    Response,
    Skipped,
    Unavailable,
    Unknown,
    UserTraits,
    Violation,
)
from replay_identity.testing import ScriptedTransport

WEBSITE = "a2c1f0de-5b7e-4c7f-9d0a-3f1e2b4c5d6e"
BACKEND = Umami(WEBSITE, base_url="https://umami.example.com")
USERS = [UserTraits(f"canary-{number}", traits={"plan": f"secret-{number}"}) for number in range(4)]
NOT_DOCUMENTED = "HTTP 200 with an unexpected body"


def result(size: int, *details: Any, **changes: Any) -> Response:
    """Return Umami's results of a batch of *size* users, with *changes*."""
    counts = {"size": size, "processed": size - len(details), "errors": len(details)}
    return Response(200, body=orjson.dumps({**counts, "details": details, "cache": "ey.a.token", **changes}))


def detail(index: Any, status: Any, message: str = "Server error", **more: Any) -> dict[str, Any]:
    """Return Umami's result of one rejected user."""
    return {"index": index, "response": {"error": {"message": message, "status": status, **more}}}


def outcomes_of(*responses: Response, users: list[UserTraits] = USERS) -> tuple[tuple[Outcome, ...], list[Request]]:
    """Return the outcomes of *users*, and the requests sent."""
    transport = ScriptedTransport(*responses)
    return transport.run(BACKEND.identify_many(users)), transport.requests


def ids_in(request: Request) -> list[str]:
    """Return the user ids in the request."""
    return [item["payload"]["id"] for item in orjson.loads(request.body or b"")]


def test_many_users_share_one_request() -> None:
    """An array of what would be sent for each alone."""
    _, requests = outcomes_of(result(4))

    alone = [BACKEND.plan(user).request for user in USERS]
    assert [(request.method, request.url) for request in requests] == [("POST", "https://umami.example.com/api/batch")]
    assert orjson.loads(requests[0].body or b"") == [orjson.loads(request.body or b"") for request in alone if request]
    assert [requests[0].headers] == [request.headers for request in alone[:1] if request]


def test_a_batch_without_errors_accepts_every_user() -> None:
    """With their own adjustments; the response has no session ids."""
    users = [UserTraits("u1", traits={"plan": "pro"}), UserTraits("u2", traits={"tags": ["a"]})]

    outcomes, _ = outcomes_of(result(2), users=users)

    tags = Adjustment("traits.tags", "coerced", "list-as-json")
    assert outcomes == (Accepted("umami"), Accepted("umami", adjustments=(tags,)))


def test_each_error_belongs_to_its_user() -> None:
    """By its index, in the order of the users."""
    outcomes, requests = outcomes_of(
        result(
            4,
            detail(3, 400, "Website not found."),
            detail(0, 500, errorObject={"code": "P2000"}),
            detail(2, 500, errorObject={"code": "P2024"}),
        )
    )

    assert outcomes == (
        Rejected("umami", code="P2000", message="Server error"),
        Accepted("umami"),
        Unknown("umami", "HTTP 500 P2024, and some traits may be stored", status=500),
        Misconfigured("umami", "HTTP 400", "Check api_key: base_url has no website with that id."),
    )
    assert len(requests) == 1


def test_invalid_and_empty_users_are_not_sent() -> None:
    """They do not shift the indexes of the others."""
    invalid, empty = UserTraits("u" * 51, name="Ada"), UserTraits("u1")

    outcomes, requests = outcomes_of(result(2, detail(1, 403, "Forbidden")), users=[invalid, USERS[0], empty, USERS[1]])

    assert ids_in(requests[0]) == ["canary-0", "canary-1"]
    assert [type(outcome) for outcome in outcomes] == [Rejected, Accepted, Skipped, Misconfigured]
    assert outcomes[0] == Rejected("umami", (Violation("user_id", "user-id-length", 50, 51, "characters"),))


@pytest.mark.parametrize("users", [[], [UserTraits("u1"), UserTraits(None, name="Ada")]])
def test_no_user_means_no_request(users: list[UserTraits]) -> None:
    """Umami would respond to an empty array with zeros."""
    outcomes, requests = outcomes_of(users=users)

    assert requests == []
    assert [type(outcome) for outcome in outcomes] == [Skipped, Rejected][: len(users)]


def test_processed_bots_are_not_accepted() -> None:
    """All items have one User-Agent, so if any user was stored, there is a cache token."""
    outcomes, _ = outcomes_of(result(4, detail(1, 403, "Forbidden"), cache=None))

    assert [type(outcome) for outcome in outcomes] == [Misconfigured] * 4
    assert [getattr(outcome, "problem", "") for outcome in outcomes].count("HTTP 403") == 1


@pytest.mark.parametrize(
    "response",
    [
        Response(200, body=b"<html>Log in</html>"),
        result(3),
        result(4, details=None),
        result(4, processed=3),
        result(4, errors=1),
        result(4, detail(4, 400)),
        result(4, detail(-1, 400)),
        result(4, detail("0", 400)),
        result(4, detail(True, 400)),  # noqa: FBT003  # Python treats it as 1.
        result(4, detail(0, 400), detail(0, 400)),
        result(4, detail(0, 400), detail(0, 400), errors=1, processed=3),
        result(4, detail(4, 400), errors=0, processed=4),
        result(4, "no"),
    ],
)
def test_results_that_do_not_add_up_are_unknown(response: Response) -> None:
    """For every user."""
    outcomes, requests = outcomes_of(response)

    assert [type(outcome) for outcome in outcomes] == [Unknown] * 4
    assert len(requests) == 1


@pytest.mark.parametrize("response", [Response(200), Response(204), Response(200, body=b"{}")])
def test_success_without_results_is_accepted(response: Response) -> None:
    """For every user."""
    assert outcomes_of(response)[0] == (Accepted("umami"),) * 4


@pytest.mark.parametrize("body", [b'{"error": "no"}', b'{"errors": ["no"]}', b'{"success": false}'])
def test_refusal_in_a_success_is_a_rejection(body: bytes) -> None:
    """As a whole, so each user is sent alone."""
    assert [type(outcome) for outcome in outcomes_of(Response(200, body=body))[0]] == [Rejected] * 4


def test_bots_are_recognised_together() -> None:
    """As for a single user."""
    outcomes, _ = outcomes_of(Response(200, body=b'{"beep":"boop"}'))

    assert [type(outcome) for outcome in outcomes] == [Misconfigured] * 4


@pytest.mark.parametrize("rejected", [{"index": 0}, {"index": 0, "response": "no"}, detail(0, "400"), detail(0, None)])
def test_an_error_without_a_status_is_unknown(rejected: Any) -> None:
    """The others keep their own outcomes."""
    outcomes, _ = outcomes_of(result(4, rejected))

    assert [type(outcome) for outcome in outcomes] == [Unknown, Accepted, Accepted, Accepted]


@pytest.mark.parametrize(
    ("response", "outcome", "sent"),
    [
        (Response(500), Unknown("umami", "HTTP 500, and some traits may be stored", status=500), 5),
        (Response(503), Unavailable("umami", "HTTP 503", status=503), 5),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown("umami", "no response in time"), 5),
        (Response(400, body=b'{"error":{"message":"canary-0 and secret-1"}}'), Rejected("umami", code="HTTP 400"), 7),
    ],
)
def test_a_general_failure_applies_to_every_user(response: Response, outcome: Outcome, sent: int) -> None:
    """Without Umami's message, which may quote any of them."""
    outcomes, requests = outcomes_of(response)

    assert outcomes == (outcome,) * 4
    assert len(requests) == sent


def test_too_large_a_batch_is_halved() -> None:
    """A user who is too large alone is rejected alone."""
    outcomes, requests = outcomes_of(
        Response(413), Response(413), Response(413), result(1), result(2, detail(1, 400, "Bad request"))
    )

    assert [ids_in(request) for request in requests] == [
        ["canary-0", "canary-1", "canary-2", "canary-3"],
        ["canary-0", "canary-1"],
        ["canary-0"],
        ["canary-1"],
        ["canary-2", "canary-3"],
    ]
    assert outcomes == (
        Rejected("umami", code="HTTP 413"),
        Accepted("umami"),
        Accepted("umami"),
        Rejected("umami", code="HTTP 400", message="Bad request"),
    )


@given(st.sets(st.integers(0, 3)))
def test_exactly_the_users_with_an_error_fail(failed: set[int]) -> None:
    """In any combination."""
    outcomes, _ = outcomes_of(result(4, *(detail(index, 400, "no") for index in failed)))

    assert {index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)} == failed


def test_sent_values_are_redacted_in_a_batch() -> None:
    """From the message of each user."""
    outcomes, _ = outcomes_of(result(4, detail(2, 400, f"canary-2 secret-2 {WEBSITE}")))

    assert outcomes[2] == Rejected("umami", code="HTTP 400", message="•••")
