"""PostHog's surprises and how the adapter handles them, over real HTTP."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from replay_identity_posthog import PostHog
from replay_identity_posthog.emulator import EventFault, PostHogEmulator

from replay_identity import RetryPolicy
from replay_identity.adapters import REMOVE, Accepted, Misconfigured, Outcome, Rejected, Unavailable, UserTraits
from replay_identity.emulator import Fault, running
from replay_identity.transport import Attempts, Transport

KEY = "phc_secret"
OK = Accepted("posthog")


class World:
    """A fake PostHog and a backend that uses it; pauses are recorded instead of waited for."""

    def __init__(self, emulator: PostHogEmulator, url: str) -> None:
        self.emulator = emulator
        self.backend = PostHog(KEY, base_url=url, capture="v1")
        self.waits: list[float] = []
        self.transport = Transport(attempts=Attempts(RetryPolicy(), jitter=lambda: 0.0), sleep=self.waits.append)

    def identify(self, user_id: str, **traits: object) -> Outcome:
        """Send a user with these traits."""
        return self.transport.run(self.backend.identify(user_of(user_id, **traits)))

    def identify_many(self, *users: UserTraits) -> tuple[Outcome, ...]:
        """Send users together."""
        return self.transport.run(self.backend.identify_many(users))

    def stored(self, user_id: str) -> dict[str, object] | None:
        """Return the properties of a person."""
        person = self.emulator.persons.get(user_id)
        return None if person is None else dict(person.properties)

    @property
    def attempts(self) -> list[str]:
        """Return the attempt number of each request."""
        return [request.headers["posthog-attempt"] for request in self.emulator.requests]


def user_of(user_id: str, **traits: object) -> UserTraits:
    """Return a user with these traits."""
    return UserTraits(user_id, traits=traits)  # type: ignore[arg-type]  # Values of traits.


@pytest.fixture
def world() -> Iterator[World]:
    """Return a PostHog that accepts 10,000 bytes per request."""
    emulator = PostHogEmulator(api_key=KEY, max_body=10_000)
    with running(emulator) as server:
        world = World(emulator, server.url)
        with world.transport:
            yield world


def test_a_value_can_come_back(world: World) -> None:
    """From a to b and back to a: a duplicate of the first event would be dropped."""
    for plan in ("a", "b", "a"):
        assert world.identify("u1", plan=plan) == OK

    assert world.stored("u1") == {"plan": "a"}


def test_a_lost_response_is_retried(world: World) -> None:
    """The event is sent again with its id and applied once, before any newer event."""
    world.emulator.faults.add(Fault(drop="after"))

    assert world.identify("u1", plan="a") == OK

    assert len(world.emulator.requests) == 2
    assert world.emulator.applied == {"u1": 1}
    assert world.attempts == ["1", "1"]


def test_only_events_not_stored_are_sent_again(world: World) -> None:
    """Twice here, as the second and third attempt of one request."""
    world.emulator.event_faults.add(EventFault(result="retry", distinct_ids={"u2"}, times=2))

    outcomes = world.identify_many(*(user_of(f"u{number}", n=number) for number in range(4)))

    assert outcomes == (OK,) * 4
    assert world.emulator.applied == {"u0": 1, "u1": 1, "u2": 1, "u3": 1}
    assert world.attempts == ["1", "2", "3"]
    assert len({request.headers["posthog-request-id"] for request in world.emulator.requests}) == 1
    assert world.waits == [1.0, 2.0]


def test_a_dropped_event_affects_no_other(world: World) -> None:
    """Although the response is a 200."""
    world.emulator.event_faults.add(EventFault(result="drop", details="rejected", distinct_ids={"u1"}))

    outcomes = world.identify_many(user_of("u0", n=0), user_of("u1", n=1))

    assert outcomes == (OK, Rejected("posthog", code="drop", message="rejected"))
    assert (world.stored("u0"), world.stored("u1")) == ({"n": 0}, None)


def test_a_warning_is_unavailable(world: World) -> None:
    """PostHog stores the event and leaves the person unchanged for now."""
    world.identify("u1", plan="a")
    world.emulator.event_faults.add(EventFault(result="warning", details="person_processing_disabled"))

    outcome = world.identify("u1", plan="b")

    assert outcome == Unavailable("posthog", "warning person_processing_disabled", status=200)
    assert world.stored("u1") == {"plan": "a"}
    assert world.identify("u1", plan="b") == OK
    assert world.stored("u1") == {"plan": "b"}


def test_a_proxy_with_a_lower_limit(world: World) -> None:
    """It rejects the whole request; every user who fits alone arrives."""
    users = [user_of("u0", t="x" * 6_000), user_of("u1", t="y" * 9_900), *(user_of(f"v{n}", n=n) for n in range(3))]

    outcomes = world.identify_many(*users)

    rejected = Rejected("posthog", code="payload_too_large", message="payload too large")
    assert outcomes == (OK, rejected, OK, OK, OK)
    assert set(world.emulator.persons) == {"u0", "v0", "v1", "v2"}


def test_the_newest_event_of_a_user_wins(world: World) -> None:
    """Even if PostHog asks for the older one again."""
    world.emulator.event_faults.add(EventFault(result="retry"))

    outcomes = world.identify_many(user_of("u1", plan="a"), user_of("u2", plan="a"), user_of("u1", plan="b"))

    assert outcomes == (OK,) * 3
    assert world.stored("u1") == {"plan": "b"}


def test_numbers_arrive_with_every_digit(world: World) -> None:
    """Those that JavaScript would round are sent as text."""
    assert isinstance(world.identify("u1", account=2**53 + 1, price=Decimal("9.99"), seats=3), Accepted)

    assert world.stored("u1") == {"account": "9007199254740993", "price": 9.99, "seats": 3}


def test_the_users_location_is_not_our_servers(world: World) -> None:
    """PostHog would take the sender's location for the user's."""
    world.identify("u1", plan="a")

    assert world.stored("u1") == {"plan": "a"}


def test_a_property_is_unset(world: World) -> None:
    """The others stay."""
    world.identify("u1", plan="a", seats=3)

    assert world.identify("u1", plan=REMOVE) == OK

    assert world.stored("u1") == {"seats": 3}


def test_an_unknown_key_goes_unnoticed(world: World) -> None:
    """PostHog reports nothing, so an accepted user is never verified."""
    backend = PostHog("phc_other", base_url=world.backend.base_url, capture="v1")

    outcome = world.transport.run(backend.identify(user_of("u1", plan="a")))

    assert outcome == Accepted("posthog", verified=False)
    assert world.stored("u1") is None


def test_an_exceeded_quota_is_not_retried(world: World) -> None:
    """Although PostHog asks to come back in a second."""
    body = b'{"error": "billing_limit_exceeded", "error_description": "billing limit exceeded"}'
    world.emulator.faults.add(Fault(status=429, body=body, times=None))

    outcome = world.identify("u1", plan="a")

    assert not outcome.retryable
    assert len(world.emulator.requests) == 1


def test_a_temporary_404_is_retried(world: World) -> None:
    """It comes from a proxy while PostHog is being replaced."""
    world.emulator.faults.add(Fault(status=404))

    assert world.identify("u1", plan="a") == OK


@pytest.mark.parametrize("path", ["", "/ph"])
def test_a_server_without_v1_is_misconfigured(path: str) -> None:
    """The hint names the setting; with version 0, the same server accepts the user."""
    emulator = PostHogEmulator(api_key=KEY, has_v1=False)
    with running(emulator) as server, Transport(sleep=lambda _: None) as transport:
        v1 = PostHog(KEY, base_url=server.url + path, capture="v1")
        outcome = transport.run(v1.identify(user_of("u1", plan="a")))
        assert isinstance(outcome, Misconfigured)
        assert 'capture="v0"' in outcome.hint

        v0 = PostHog(KEY, base_url=server.url)
        assert transport.run(v0.identify_many([user_of("u1", plan="b", old=REMOVE)])) == (OK,)

    assert emulator.persons["u1"].properties == {"plan": "b"}


def test_v0_says_nothing_of_a_single_user(world: World) -> None:
    """Of an event that PostHog drops, only version 1 tells."""
    backend = PostHog(KEY, base_url=world.backend.base_url)
    world.emulator.event_faults.add(EventFault(result="drop"))

    assert world.transport.run(backend.identify(user_of("u1", plan="a"))) == OK

    assert world.stored("u1") is None
