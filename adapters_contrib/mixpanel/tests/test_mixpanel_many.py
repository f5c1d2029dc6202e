from collections.abc import Callable, Sequence
from math import ceil, log2
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_mixpanel import Mixpanel

from replay_identity import RetryPolicy
from replay_identity.adapters import (
    REMOVE,
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
)
from replay_identity.testing import ScriptedTransport

BACKEND = Mixpanel("token-1")
GOOD = Response(200, body=b'{"status": 1, "error": null}')
BAD = Response(200, body=b'{"status": 0, "error": "bad"}')
ONCE = RetryPolicy(attempts=1)

Respond = Callable[[Request], Response]


def body_of(request: Request | None) -> list[dict[str, Any]]:
    """Return the updates in the request, in order."""
    assert request is not None
    updates: list[dict[str, Any]] = orjson.loads(request.body or b"")
    return updates


def ids_in(request: Request) -> list[str]:
    """Return the user ids in the request."""
    return [update["$distinct_id"] for update in body_of(request)]


def make_user(user_id: str, **traits: Any) -> UserTraits:
    """Return a user with one update, or two if a trait is REMOVE."""
    return UserTraits(user_id, traits=traits or {"plan": "pro"})


def make_users(count: int) -> list[UserTraits]:
    """Return *count* users with one update each."""
    return [make_user(f"u{index}") for index in range(count)]


def send(
    users: Sequence[UserTraits], *responses: Response, respond: Respond | None = None
) -> tuple[list[Outcome], list[Request]]:
    """Return the outcomes of *users*, and the requests sent."""
    transport = ScriptedTransport(*responses, respond=respond, retry=ONCE)
    return list(transport.run(BACKEND.identify_many(users))), transport.requests


def reject_batch(bad: set[str]) -> Respond:
    """Return a Mixpanel that rejects every request with an update of a *bad* user."""
    return lambda request: BAD if bad & {*ids_in(request)} else GOOD


def reject_updates(bad: set[str]) -> Respond:
    """Return a Mixpanel that accepts the valid updates and names an error for the others."""

    def respond(request: Request) -> Response:
        wrong = [user_id for user_id in ids_in(request) if user_id in bad]
        status = int(len(wrong) < len(ids_in(request)))
        return Response(200, body=orjson.dumps({"status": status, "error": f"{wrong} are bad" if wrong else None}))

    return respond


def return_400(bad: set[str]) -> Respond:
    """Return a Mixpanel that responds with 400 to requests with an update of a *bad* user."""
    return lambda request: Response(400) if bad & {*ids_in(request)} else GOOD


def too_large(max_count: int) -> Respond:
    """Return a Mixpanel that responds with 413 to more than *max_count* updates."""
    return lambda request: Response(413) if len(ids_in(request)) > max_count else GOOD


def test_many_users_share_one_request() -> None:
    """The same updates that each user alone would need, in the order of the users."""
    users = [make_user("u1"), make_user("u2", old=REMOVE, plan="pro"), make_user("u3")]

    outcomes, requests = send(users, GOOD)

    alone = [body_of(BACKEND.plan(user).request) for user in users]
    assert outcomes == [Accepted("mixpanel")] * 3
    assert [body_of(request) for request in requests] == [[update for updates in alone for update in updates]]


def test_invalid_and_empty_users_are_not_sent() -> None:
    """Each user has an outcome, in its place."""
    anonymous, empty = UserTraits(name="Ann"), UserTraits("u2")

    outcomes, requests = send([anonymous, make_user("u1"), empty, make_user("u3")], GOOD)

    assert outcomes == [
        Rejected("mixpanel", BACKEND.plan(anonymous).violations),
        Accepted("mixpanel"),
        Skipped("mixpanel", SkipReason.NOTHING_TO_SEND),
        Accepted("mixpanel"),
    ]
    assert [ids_in(request) for request in requests] == [["u1", "u3"]]


def test_no_user_means_no_request() -> None:
    """Nor does a user who cannot be sent."""
    assert send([]) == ([], [])
    assert send([UserTraits("u1")])[1] == []


def test_each_user_has_their_own_adjustments() -> None:
    """As if each had been sent alone."""
    users = [make_user("u1", n=2**60), make_user("u2")]

    outcomes, _ = send(users, GOOD)

    assert outcomes == [Accepted("mixpanel", adjustments=BACKEND.plan(user).adjustments) for user in users]


def test_a_request_has_at_most_2000_updates() -> None:
    """A user's two updates are never split between two requests."""
    users = [make_user(f"u{index}", plan="pro", old=REMOVE) for index in range(1000)]

    _, exact = send(users, GOOD)
    _, over = send([make_user("first"), *users], GOOD)

    assert [len(ids_in(request)) for request in exact] == [2000]
    assert [len(ids_in(request)) for request in over] == [1999, 2]
    assert ids_in(over[1]) == ["u999", "u999"]


def test_a_request_has_at_most_ten_megabytes() -> None:
    """The limit that is documented for /import."""
    users = [make_user(f"u{index}", **{name: [name * 247] * 1000 for name in "abc"}) for index in range(14)]

    outcomes, requests = send(users, GOOD)

    assert [len(ids_in(request)) for request in requests] == [13, 1]
    assert all(len(request.body or b"") <= 10_000_000 for request in requests)
    assert outcomes == [Accepted("mixpanel")] * 14


@pytest.mark.parametrize("make", [reject_batch, reject_updates, return_400])
@given(data=st.data())
def test_an_invalid_user_affects_no_other(make: Callable[[set[str]], Respond], data: st.DataObject) -> None:
    """However Mixpanel rejects, each user has the outcome they would have had alone."""
    users = make_users(data.draw(st.integers(1, 40)))
    bad = data.draw(st.sets(st.sampled_from([user.user_id or "" for user in users])))

    outcomes, _ = send(users, respond=make(bad))

    for user, outcome in zip(users, outcomes, strict=True):
        assert isinstance(outcome, Rejected if user.user_id in bad else Accepted)


@pytest.mark.parametrize("make", [reject_batch, reject_updates])
@pytest.mark.parametrize("culprits", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [2, 3, 100, 2000])
def test_an_invalid_user_is_found_in_few_requests(
    make: Callable[[set[str]], Respond], culprits: int, count: int
) -> None:
    """2 log2 n requests for each, and fewer than 2 n in all."""
    bad = {f"u{index * count // 5}" for index in range(min(culprits, count))}

    _, requests = send(make_users(count), respond=make(bad))

    assert len(requests) <= 1 + 2 * len(bad) * ceil(log2(count))
    assert len(requests) < 2 * count


def test_too_large_a_request_is_halved() -> None:
    """Until it is small enough."""
    outcomes, requests = send(make_users(10), respond=too_large(3))

    assert outcomes == [Accepted("mixpanel")] * 10
    assert [len(ids_in(request)) for request in requests] == [10, 5, 2, 3, 5, 2, 3]


def test_a_plain_one_confirms_one_user_only() -> None:
    """It means that one or more updates are valid, so users are sent one by one."""
    outcomes, requests = send(make_users(4), Response(200, body=b"1"))

    assert outcomes == [Accepted("mixpanel")] * 4
    assert [len(ids_in(request)) for request in requests] == [4, 2, 1, 1, 2, 1, 1]


def test_a_count_too_low_halves_the_request() -> None:
    """Fewer valid updates than were sent means that one was lost."""
    two = Response(200, body=b'{"status": 1, "error": null, "num_good_events": 2}')

    outcomes, requests = send([make_user("u0", plan="pro", old=REMOVE), make_user("u1")], two, two, GOOD)

    assert outcomes == [Accepted("mixpanel")] * 2
    assert [ids_in(request) for request in requests] == [["u0", "u0", "u1"], ["u0", "u0"], ["u1"]]


def test_an_outage_of_one_half_leaves_the_other() -> None:
    """Each user has their own outcome."""
    outcomes, requests = send(make_users(4), BAD, BAD, BAD, GOOD, Response(503, {"retry-after": "9"}))

    assert [ids_in(request) for request in requests][1:] == [["u0", "u1"], ["u0"], ["u1"], ["u2", "u3"]]
    assert outcomes == [
        Rejected("mixpanel", code="status 0", message="bad"),
        Accepted("mixpanel"),
        Unavailable("mixpanel", "HTTP 503", 9.0, status=503),
        Unavailable("mixpanel", "HTTP 503", 9.0, status=503),
    ]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Response(401), Misconfigured),
        (Response(403), Misconfigured),
        (Response(404), Misconfigured),
        (Response(302), Misconfigured),
        (Response(429), Unavailable),
        (Response(500), Unavailable),
        (Response(520), Unavailable),
        (Response(504), Unknown),
        (Response(200, body=b"<html>"), Unknown),
        (Response(0, no_response=NoResponse.NOT_SENT), Unavailable),
        (Response(0, no_response=NoResponse.CONNECTION_LOST), Unknown),
    ],
)
def test_a_general_failure_applies_to_every_user(response: Response, kind: type[Outcome]) -> None:
    """Sending halves would get the same response."""
    outcomes, requests = send(make_users(3), response)

    assert [type(outcome) for outcome in outcomes] == [kind] * 3
    assert len(requests) == 1


def test_updates_of_one_user_keep_their_order() -> None:
    """Even when they are sent again in halves: the last one wins."""
    users = [make_user("u1", plan="old"), make_user("bad"), make_user("u1", plan="new"), make_user("u2")]
    stored: list[str] = []

    def respond(request: Request) -> Response:
        if "bad" in ids_in(request):
            return BAD
        stored.extend(update["$set"]["plan"] for update in body_of(request))
        return GOOD

    send(users, respond=respond)

    assert stored == ["old", "new", "pro"]


def test_no_outcome_quotes_another_user() -> None:
    """A rejection counts only for a user who was sent alone."""
    users = [UserTraits("u1", name="Ann"), UserTraits("u2", email="canary@example.com")]
    quoting = Response(422, body=b'{"error": "canary@example.com"}')

    outcomes, requests = send(users, quoting)

    assert [len(ids_in(request)) for request in requests] == [2, 1, 1]
    assert isinstance(outcomes[1], Rejected)
    assert outcomes[1].message == "•••"
