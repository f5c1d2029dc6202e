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

Answer = Callable[[Request], Response]


def body_of(request: Request | None) -> list[dict[str, Any]]:
    """Return the updates that the request holds, in its order."""
    assert request is not None
    updates: list[dict[str, Any]] = orjson.loads(request.body or b"")
    return updates


def ids_in(request: Request) -> list[str]:
    """Return whose they are."""
    return [update["$distinct_id"] for update in body_of(request)]


def user(user_id: str, **traits: Any) -> UserTraits:
    """Return a user of one update, or of two with a trait that is REMOVE."""
    return UserTraits(user_id, traits=traits or {"plan": "pro"})


def people(count: int) -> list[UserTraits]:
    """Return so many users of one update each."""
    return [user(f"u{index}") for index in range(count)]


def send(
    users: Sequence[UserTraits], *responses: Response, answer: Answer | None = None
) -> tuple[list[Outcome], list[Request]]:
    """Return what becomes of *users*, and what was asked of Mixpanel."""
    transport = ScriptedTransport(*responses, respond=answer, retry=ONCE)
    return list(transport.run(BACKEND.identify_many(users))), transport.requests


def all_or_nothing(bad: set[str]) -> Answer:
    """Return a Mixpanel that refuses every request with an update of the *bad* in it."""
    return lambda request: BAD if bad & {*ids_in(request)} else GOOD


def one_or_more(bad: set[str]) -> Answer:
    """Return a Mixpanel that takes the good ones and names an error for the others."""

    def answer(request: Request) -> Response:
        wrong = [user_id for user_id in ids_in(request) if user_id in bad]
        status = int(len(wrong) < len(ids_in(request)))
        return Response(200, body=orjson.dumps({"status": status, "error": f"{wrong} are bad" if wrong else None}))

    return answer


def bad_request(bad: set[str]) -> Answer:
    """Return a Mixpanel that answers 400 to a request with an update of the *bad* in it."""
    return lambda request: Response(400) if bad & {*ids_in(request)} else GOOD


def too_large(most: int) -> Answer:
    """Return a Mixpanel that takes so many updates a request, and answers 413 to more."""
    return lambda request: Response(413) if len(ids_in(request)) > most else GOOD


def test_many_users_are_one_request() -> None:
    """The updates that each alone would be, in the order of the users."""
    users = [user("u1"), user("u2", old=REMOVE, plan="pro"), user("u3")]

    outcomes, requests = send(users, GOOD)

    alone = [body_of(BACKEND.plan(each).request) for each in users]
    assert outcomes == [Accepted("mixpanel")] * 3
    assert [body_of(request) for request in requests] == [[update for updates in alone for update in updates]]


def test_who_breaks_a_rule_is_not_sent() -> None:
    """Nor is somebody of whom nothing is known; each still has an outcome, in its place."""
    nobody, nothing = UserTraits(name="Ann"), UserTraits("u2")

    outcomes, requests = send([nobody, user("u1"), nothing, user("u3")], GOOD)

    assert outcomes == [
        Rejected("mixpanel", BACKEND.plan(nobody).violations),
        Accepted("mixpanel"),
        Skipped("mixpanel", SkipReason.NOTHING_TO_SEND),
        Accepted("mixpanel"),
    ]
    assert [ids_in(request) for request in requests] == [["u1", "u3"]]


def test_nobody_is_no_request() -> None:
    """Nor is anybody who cannot be sent."""
    assert send([]) == ([], [])
    assert send([UserTraits("u1")])[1] == []


def test_each_user_has_their_own_adjustments() -> None:
    """As if they had been sent alone."""
    users = [user("u1", n=2**60), user("u2")]

    outcomes, _ = send(users, GOOD)

    assert outcomes == [Accepted("mixpanel", adjustments=BACKEND.plan(each).adjustments) for each in users]


def test_a_request_has_2000_updates() -> None:
    """And a user's two updates are never in two requests."""
    users = [user(f"u{index}", plan="pro", old=REMOVE) for index in range(1000)]

    _, exact = send(users, GOOD)
    _, over = send([user("first"), *users], GOOD)

    assert [len(ids_in(request)) for request in exact] == [2000]
    assert [len(ids_in(request)) for request in over] == [1999, 2]
    assert ids_in(over[1]) == ["u999", "u999"]


def test_a_request_has_ten_megabytes() -> None:
    """As /import documents it."""
    users = [user(f"u{index}", **{name: name * 250_000 for name in "abc"}) for index in range(14)]

    outcomes, requests = send(users, GOOD)

    assert [len(ids_in(request)) for request in requests] == [13, 1]
    assert all(len(request.body or b"") <= 10_000_000 for request in requests)
    assert outcomes == [Accepted("mixpanel")] * 14


@pytest.mark.parametrize("make", [all_or_nothing, one_or_more, bad_request])
@given(data=st.data())
def test_one_bad_user_spoils_no_other(make: Callable[[set[str]], Answer], data: st.DataObject) -> None:
    """However Mixpanel refuses, each user has the outcome they would have had alone."""
    users = people(data.draw(st.integers(1, 40)))
    bad = data.draw(st.sets(st.sampled_from([each.user_id or "" for each in users])))

    outcomes, _ = send(users, answer=make(bad))

    for each, outcome in zip(users, outcomes, strict=True):
        assert isinstance(outcome, Rejected if each.user_id in bad else Accepted)


@pytest.mark.parametrize("make", [all_or_nothing, one_or_more])
@pytest.mark.parametrize("culprits", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [2, 3, 100, 2000])
def test_a_culprit_is_found_in_few_requests(make: Callable[[set[str]], Answer], culprits: int, count: int) -> None:
    """2 log2 n for each, beside the first, and never more than twice as many as there are users."""
    bad = {f"u{index * count // 5}" for index in range(min(culprits, count))}

    _, requests = send(people(count), answer=make(bad))

    assert len(requests) <= 1 + 2 * len(bad) * ceil(log2(count))
    assert len(requests) < 2 * count


def test_too_large_a_request_is_halved() -> None:
    """Until it is small enough."""
    outcomes, requests = send(people(10), answer=too_large(3))

    assert outcomes == [Accepted("mixpanel")] * 10
    assert [len(ids_in(request)) for request in requests] == [10, 5, 2, 3, 5, 2, 3]


def test_a_plain_one_tells_of_one_user_only() -> None:
    """It says that one or more are valid, so that all are asked one by one."""
    outcomes, requests = send(people(4), Response(200, body=b"1"))

    assert outcomes == [Accepted("mixpanel")] * 4
    assert [len(ids_in(request)) for request in requests] == [4, 2, 1, 1, 2, 1, 1]


def test_a_shortfall_is_looked_into() -> None:
    """Where Mixpanel counts fewer updates than were sent, one of them was lost."""
    two = Response(200, body=b'{"status": 1, "error": null, "num_good_events": 2}')

    outcomes, requests = send([user("u0", plan="pro", old=REMOVE), user("u1")], two, two, GOOD)

    assert outcomes == [Accepted("mixpanel")] * 2
    assert [ids_in(request) for request in requests] == [["u0", "u0", "u1"], ["u0", "u0"], ["u1"]]


def test_if_one_half_is_unavailable_the_other_keeps_its_own_outcome() -> None:
    """Nobody is told what happened to somebody else."""
    outcomes, requests = send(people(4), BAD, BAD, BAD, GOOD, Response(503, {"retry-after": "9"}))

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
def test_what_is_not_about_a_user_is_told_of_each(response: Response, kind: type[Outcome]) -> None:
    """Asking in halves would be answered alike."""
    outcomes, requests = send(people(3), response)

    assert [type(outcome) for outcome in outcomes] == [kind] * 3
    assert len(requests) == 1


def test_two_updates_of_one_user_stay_in_their_order() -> None:
    """Also when they are sent again in halves: the last one wins."""
    users = [user("u1", plan="old"), user("bad"), user("u1", plan="new"), user("u2")]
    held: list[str] = []

    def answer(request: Request) -> Response:
        if "bad" in ids_in(request):
            return BAD
        held.extend(update["$set"]["plan"] for update in body_of(request))
        return GOOD

    send(users, answer=answer)

    assert held == ["old", "new", "pro"]


def test_no_user_is_told_what_another_is_quoted_with() -> None:
    """A refusal is only believed of a user who was asked alone."""
    users = [UserTraits("u1", name="Ann"), UserTraits("u2", email="canary@example.com")]
    quoting = Response(422, body=b'{"error": "canary@example.com"}')

    outcomes, requests = send(users, quoting)

    assert [len(ids_in(request)) for request in requests] == [2, 1, 1]
    assert isinstance(outcomes[1], Rejected)
    assert outcomes[1].message == "•••"
