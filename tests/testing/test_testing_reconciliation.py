"""Comparing the users of the two emulators."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from support.profiles import examples

from replay_identity import Fullstory, LogRocket, UserTraits
from replay_identity.emulator import FullstoryEmulator, LogRocketEmulator
from replay_identity.outcomes import Accepted
from replay_identity.testing import find_differences, valid_users
from replay_identity.transport import Transport

Send = Callable[[UserTraits], None]


@pytest.fixture
def to_fullstory(fullstory_url: str) -> Send:
    """Return a function that sends a user to Fullstory."""
    return sender(Fullstory("na1.emulator", base_url=fullstory_url))


@pytest.fixture
def to_logrocket(logrocket_url: str) -> Send:
    """Return a function that sends a user to LogRocket."""
    return sender(LogRocket("acme:shop:emulator", base_url=logrocket_url, on_violation="adapt"))


def sender(backend: Fullstory | LogRocket) -> Send:
    """Return a function that sends a user to *backend* and expects success."""

    def send(user: UserTraits) -> None:
        with Transport() as transport:
            assert isinstance(transport.run(backend.identify(user)), Accepted)

    return send


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=valid_users(LogRocket("a:b:c").limits))
def test_user_sent_to_both_has_no_differences(
    fullstory_emulator: FullstoryEmulator,
    logrocket_emulator: LogRocketEmulator,
    to_fullstory: Send,
    to_logrocket: Send,
    user: UserTraits,
) -> None:
    """This holds for traits of every type."""
    fullstory_emulator.reset()
    logrocket_emulator.reset()
    to_fullstory(user)
    to_logrocket(user)

    assert find_differences(fullstory_emulator, logrocket_emulator) == []


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ("pro", "free"),
        (7, 8),
        (7, "7.5"),
        (Decimal("9.90"), Decimal("9.91")),
        (date(2026, 11, 21), date(2026, 11, 22)),
        (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), datetime(2026, 11, 21, 8, 31, tzinfo=UTC)),
        ("2026-99-99", "2026-99-98"),
        (["a", "b"], ["b", "a"]),
        ([1.5, 2.5], [1.5, 3.5]),
        ("[not json", "[nor this"),
        (True, False),
    ],
)
def test_different_value_is_a_difference(
    fullstory_emulator: FullstoryEmulator,
    logrocket_emulator: LogRocketEmulator,
    to_fullstory: Send,
    to_logrocket: Send,
    sent: Any,
    changed: Any,
) -> None:
    """The same value is not."""
    for value, differences in ((sent, 0), (changed, 1)):
        to_fullstory(UserTraits("u1", traits={"t": sent}))
        to_logrocket(UserTraits("u1", traits={"t": value}))
        lines = find_differences(fullstory_emulator, logrocket_emulator)
        assert [line.partition(": ")[2] for line in lines] == ["traits.t differs"] * differences


def test_adaptations_are_not_differences(
    fullstory_emulator: FullstoryEmulator,
    logrocket_emulator: LogRocketEmulator,
    to_fullstory: Send,
    to_logrocket: Send,
) -> None:
    """Truncated texts and missing anonymous users are ignored."""
    user = UserTraits("u1", name="Ada", traits={"note": "x" * 3000})
    for send in (to_fullstory, to_logrocket):
        send(user)
    to_fullstory(UserTraits(None, name="Anonymous"))

    assert find_differences(fullstory_emulator, logrocket_emulator) == []
