"""Removing a trait of LogRocket's together with what is nested in it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest
from support.exchanges import run
from support.vendors import Vendors

from replay_identity import REMOVE, Accepted, LogRocket, RetryPolicy, Router, Unknown, UserTraits
from replay_identity.adapters import NoResponse, Response
from replay_identity.emulator import Fault

BACKEND: Final = LogRocket("org:app:secret")
NO_RETRIES: Final = RetryPolicy(attempts=1)
NESTED: Final[Mapping[str, Any]] = {"a": {"x": 1, "deep": {"er": "canary"}}, "ab": "kept", "b": "kept"}


@pytest.fixture
def router(vendors: Vendors) -> Iterator[Router]:
    """Return a router for the emulated LogRocket, whose user u1 has nested traits."""
    with Router([vendors.logrocket_backend], retry=NO_RETRIES) as router:
        assert router.identify("u1", name="Ann", traits=NESTED).status == "ok"
        yield router


def traits_of(vendors: Vendors) -> Mapping[str, str]:
    """Return the traits that LogRocket has of u1."""
    return vendors.logrocket.users["u1"].traits


def showing(traits: object, user_id: str = "u1") -> Response:
    """Return LogRocket's response with these *traits*."""
    return Response(200, body=orjson.dumps({"userID": user_id, "traits": traits}))


def bodies(user: UserTraits, *responses: Response) -> list[dict[str, Any]]:
    """Return what is sent for *user*, whose first responses are *responses*."""
    _, requests = run(BACKEND.identify(user), *responses)
    return [orjson.loads(request.body or b"") for request in requests]


@pytest.mark.parametrize("removal", [REMOVE, ""])
def test_removes_everything_nested(vendors: Vendors, router: Router, removal: Any) -> None:
    """At any depth, and no trait whose name only begins in the same way."""
    report = router.identify("u1", traits={"a": removal})

    outcome = report["logrocket"]
    assert isinstance(outcome, Accepted)
    assert outcome.verified
    assert traits_of(vendors) == {"ab": "kept", "b": "kept"}


def test_removes_below_a_nested_name(vendors: Vendors, router: Router) -> None:
    """The name of the removed trait may itself be dotted."""
    router.identify("u1", traits={"a": {"deep": REMOVE}})

    assert traits_of(vendors) == {"a.x": "1", "ab": "kept", "b": "kept"}


def test_keeps_what_the_user_sets(vendors: Vendors, router: Router) -> None:
    """A flat name beside the removed one."""
    router.identify("u1", traits={"a": REMOVE, "a.x": "2", "a.y": "3"})

    assert traits_of(vendors) == {"a.x": "2", "a.y": "3", "ab": "kept", "b": "kept"}


def test_partial_update_keeps_what_the_user_sets() -> None:
    """Even if that field is not sent."""
    user = UserTraits("u1", traits={"a": REMOVE, "a.x": "2"})

    outcome, requests = run(BACKEND.send(user, BACKEND.plan(user, only={"traits.a"})), showing({"a.x": "2"}))

    assert outcome == Accepted("logrocket", adjustments=BACKEND.plan(user).adjustments, verified=True)
    assert len(requests) == 1


def test_second_removal_needs_one_request(vendors: Vendors, router: Router) -> None:
    """Nothing is left to remove."""
    router.identify("u1", traits={"a": REMOVE})
    before = len(vendors.logrocket.requests)

    router.identify("u1", traits={"a": REMOVE})

    assert len(vendors.logrocket.requests) == before + 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(skip=1, status=503),
        Fault(skip=1, status=401),
        Fault(skip=1, status=400),
        Fault(skip=1, garbage="html"),
        Fault(skip=1, drop="before"),
    ],
    ids=["503", "401", "400", "html", "dropped"],
)
def test_failed_second_request_is_unknown(vendors: Vendors, router: Router, fault: Fault) -> None:
    """The first was applied, so no other outcome is true; a retry completes the removal."""
    vendors.logrocket.faults.add(fault)
    user = UserTraits("u1", name="Bea", traits={"a": REMOVE})

    report = router.identify(user)

    outcome = report["logrocket"]
    assert isinstance(outcome, Unknown)
    assert outcome.retryable
    assert "canary" not in repr(outcome)
    assert vendors.logrocket.users["u1"].name == "Bea"
    assert router.retry(report, user).status == "ok"
    assert traits_of(vendors) == {"ab": "kept", "b": "kept"}


@pytest.mark.parametrize(
    ("response", "status"), [(Response(503), 503), (Response(0, no_response=NoResponse.DEADLINE_PASSED), None)]
)
def test_unknown_has_the_status(response: Response, status: int | None) -> None:
    """Code decides on it."""
    outcome, _ = run(BACKEND.identify(UserTraits("u1", traits={"a": REMOVE})), showing({"a.x": "1"}), response)

    assert isinstance(outcome, Unknown)
    assert outcome.status == status


def test_what_is_still_left_is_not_verified() -> None:
    """LogRocket shows it after the second request, too; there is no third."""
    user = UserTraits("u1", traits={"a": REMOVE})

    outcome, requests = run(BACKEND.identify(user), showing({"a.x": "1"}), showing({"a.x": "1"}))

    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert len(requests) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b'{"success": true}'])
def test_second_response_need_not_show_the_user(body: bytes) -> None:
    """The removal was accepted, though nothing verifies it."""
    user = UserTraits("u1", traits={"a": REMOVE})

    outcome, requests = run(BACKEND.identify(user), showing({"a.x": "1"}), Response(200, body=body))

    assert outcome == Accepted("logrocket", adjustments=BACKEND.plan(user).adjustments)
    assert len(requests) == 2


def test_refusal_of_the_second_request_is_unknown() -> None:
    """The first was applied, so the user is not as before."""
    user = UserTraits("u1", traits={"a": REMOVE})

    outcome, _ = run(BACKEND.identify(user), showing({"a.x": "1"}), Response(200, body=b'{"error": "no"}'))

    assert isinstance(outcome, Unknown)


def test_second_request_has_the_same_time() -> None:
    """Otherwise LogRocket would take the user for seen now."""
    user = UserTraits("u1", traits={"a": REMOVE}, observed_at=datetime(2026, 11, 21, tzinfo=UTC))

    first, second = bodies(user, showing({"a.x": "1"}), showing({}))

    assert second["timestamp"] == first["timestamp"]
    assert second["traits"] == {"a.x": ""}


@pytest.mark.parametrize(
    "response",
    [
        showing({"a.x": ""}),
        showing({"a.x": None}),
        showing({"a.x": "1"}, user_id="u2"),
        showing(["a.x"]),
        showing({"ab": "1", "a": ""}),
        Response(200, body=b'{"traits": {"a.x": "1"}}'),
        Response(204),
    ],
    ids=["blank", "null", "another user", "no object", "another name", "no id", "no body"],
)
def test_nothing_left_needs_no_second_request(response: Response) -> None:
    """Only a shown value of this user is removed."""
    assert len(bodies(UserTraits("u1", traits={"a": REMOVE}), response)) == 1


def test_a_list_left_over_is_removed() -> None:
    """Whatever LogRocket shows under the name."""
    _, second = bodies(UserTraits("u1", traits={"a": REMOVE}), showing({"a.x": [1]}), showing({}))

    assert second["traits"] == {"a.x": ""}


def test_set_trait_keeps_flat_names_below_it() -> None:
    """Only a removal is about what is nested."""
    assert len(bodies(UserTraits("u1", traits={"a": "1"}), showing({"a": "1", "a.x": "1"}))) == 1
