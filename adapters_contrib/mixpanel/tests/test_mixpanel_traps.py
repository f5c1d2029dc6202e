"""Mixpanel's surprises and how the adapter handles them, over real HTTP."""

from collections.abc import Callable, Iterator

import pytest
from replay_identity_mixpanel import Mixpanel
from replay_identity_mixpanel.emulator import MixpanelEmulator
from replay_identity_mixpanel.emulator.api import RejectionScope
from starlette.types import ASGIApp

from replay_identity import RetryPolicy, Router
from replay_identity.adapters import REMOVE, Accepted, Misconfigured, Rejected, Unavailable, UserTraits
from replay_identity.emulator import Fault
from replay_identity.transport import Attempts, Transport

KEY = "canary-token"
Serve = Callable[[MixpanelEmulator], Mixpanel]


@pytest.fixture
def serve(mount: Callable[[ASGIApp], str]) -> Serve:
    """Return a function that serves an emulator and returns a backend for it."""
    return lambda emulator: Mixpanel(KEY, base_url=mount(emulator))


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Return a transport that makes three attempts and does not wait between them."""
    attempts = Attempts(RetryPolicy(attempts=3, wait_initial=0.001))
    with Transport(attempts=attempts, sleep=lambda _: None) as made:
        yield made


def make_users(count: int) -> list[UserTraits]:
    """Return *count* users."""
    return [UserTraits(f"u{index}", traits={"seats": index}) for index in range(count)]


def test_the_profiles_location_is_not_our_servers(serve: Serve, transport: Transport) -> None:
    """Without ip=0, Mixpanel would overwrite the user's city with ours."""
    emulator = MixpanelEmulator(api_key=KEY)

    transport.run(serve(emulator).identify(UserTraits("u1", name="Ann")))

    assert emulator.profiles == {"u1": {"$name": "Ann"}}


def test_a_wrong_token_looks_like_a_valid_one(serve: Serve, transport: Transport) -> None:
    """Nothing is stored and Mixpanel responds with a success, so it is never verified."""
    emulator = MixpanelEmulator(api_key="another-token")

    outcome = transport.run(serve(emulator).identify(UserTraits("u1", name="Ann")))

    assert outcome == Accepted("mixpanel", verified=False)
    assert emulator.profiles == {}


def test_a_rejection_comes_as_a_200(serve: Serve, transport: Transport) -> None:
    """It quotes the id, which is redacted."""
    emulator = MixpanelEmulator(api_key=KEY, invalid_ids={"canary-7"})

    outcome = transport.run(serve(emulator).identify(UserTraits("canary-7", name="Ann")))

    assert outcome == Rejected("mixpanel", code="status 0", message="'$distinct_id' is invalid: •••")


@pytest.mark.parametrize("rejection_scope", ["batch", "update"])
def test_an_invalid_user_affects_no_other(serve: Serve, transport: Transport, rejection_scope: RejectionScope) -> None:
    """However Mixpanel rejects, each user has the outcome they would have had alone."""
    bad = {"u3", "u40"}
    emulator = MixpanelEmulator(api_key=KEY, rejection_scope=rejection_scope, invalid_ids=bad)

    outcomes = transport.run(serve(emulator).identify_many(make_users(100)))

    assert {f"u{index}" for index, outcome in enumerate(outcomes) if isinstance(outcome, Rejected)} == bad
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 98
    assert emulator.profiles == {f"u{index}": {"seats": index} for index in range(100) if f"u{index}" not in bad}


def test_removals_follow_sets(serve: Serve, transport: Transport) -> None:
    """In one request."""
    emulator = MixpanelEmulator(api_key=KEY)
    backend = serve(emulator)
    transport.run(backend.identify(UserTraits("u1", traits={"plan": "free", "trial": True})))

    outcome = transport.run(backend.identify(UserTraits("u1", traits={"trial": REMOVE, "plan": "pro"})))

    assert outcome == Accepted("mixpanel")
    assert emulator.profiles == {"u1": {"plan": "pro"}}
    assert len(emulator.requests) == 2


def test_a_lost_response_is_retried(serve: Serve, transport: Transport) -> None:
    """Setting twice is setting once."""
    emulator = MixpanelEmulator(api_key=KEY)
    backend = serve(emulator)
    emulator.faults.add(Fault(drop="after"))
    emulator.faults.add(Fault(status=507))

    outcome = transport.run(backend.identify(UserTraits("u1", name="Ann")))

    assert outcome == Accepted("mixpanel")
    assert [request.status for request in emulator.requests] == [None, 507, 200]
    assert len({request.body for request in emulator.requests}) == 1


def test_an_outage_of_one_half_leaves_the_other(serve: Serve, transport: Transport) -> None:
    """Each user has their own outcome, and those who are unavailable can be sent again."""
    emulator = MixpanelEmulator(api_key=KEY, invalid_ids={"u0"})
    backend = serve(emulator)
    # All four are refused, then two, one and one; then comes the outage.
    emulator.faults.add(Fault(status=503, skip=4, times=None))

    outcomes = transport.run(backend.identify_many(make_users(4)))

    assert [type(outcome) for outcome in outcomes] == [Rejected, Accepted, Unavailable, Unavailable]
    assert emulator.profiles == {"u1": {"seats": 1}}


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_affects_all_users(serve: Serve, transport: Transport, status: int) -> None:
    """With one request."""
    emulator = MixpanelEmulator(api_key=KEY)
    backend = serve(emulator)
    emulator.faults.add(Fault(status=status, times=None))

    outcomes = transport.run(backend.identify_many(make_users(3)))

    assert [type(outcome) for outcome in outcomes] == [Misconfigured] * 3
    assert len(emulator.requests) == 1


def test_the_token_is_in_the_body_only(serve: Serve, transport: Transport) -> None:
    """URLs and headers are logged by proxies."""
    emulator = MixpanelEmulator(api_key=KEY)

    transport.run(serve(emulator).identify(UserTraits("canary-id", name="Ann")))

    (request,) = emulator.requests
    seen = f"{request.path} {dict(request.query)} {dict(request.headers)}"
    assert request.query == {"ip": "0", "verbose": "1", "strict": "1"}
    assert KEY not in seen
    assert "canary-id" not in seen


def test_a_router_sends_to_mixpanel(serve: Serve) -> None:
    """As to any other vendor."""
    emulator = MixpanelEmulator(api_key=KEY)

    with Router([serve(emulator)]) as router:
        report = router.identify(UserTraits("u1", name="Ann"))

    assert report.status == "ok"
    assert emulator.profiles == {"u1": {"$name": "Ann"}}
