"""Seats, groups, settings and the listing error."""

import pickle
from typing import Any

import httpx
import pytest
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat

from replay_identity.adapters import ConfigurationError, InvalidTraitsError, Unavailable


def test_a_seat_needs_a_user_name() -> None:
    """Fullstory identifies seats by it."""
    with pytest.raises(InvalidTraitsError, match="user_name"):
        Seat("")


@pytest.mark.parametrize("make", [lambda: Seat("ada", groups="g1"), lambda: Group("Admins", members="1")])
def test_a_string_is_not_a_list_of_ids(make: Any) -> None:
    """Otherwise each character would be an id."""
    with pytest.raises(InvalidTraitsError, match=r"groups|members"):
        make()


@pytest.mark.parametrize("value", [1, None, b"ada"])
def test_a_name_is_a_string(value: Any) -> None:
    """No other type is converted silently."""
    with pytest.raises(InvalidTraitsError, match="user_name"):
        Seat(value)


def test_a_repr_has_fingerprints() -> None:
    """They distinguish seats, and mean nothing outside the process."""
    assert repr(Seat("ada")) == repr(Seat("ada"))
    assert repr(Seat("ada")) != repr(Seat("bob"))
    assert repr(Seat("ada", groups=["g"])).endswith(", is_active=True, groups=<1>, vendor_id=None)")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "two words"}, "api_key"),
        ({"api_key": "t", "base_url": "http://scim.example/scim/v2"}, "base_url"),
        ({"api_key": "t", "base_url": "scim.example"}, "base_url"),
        ({"api_key": "t", "timeout": 0.0}, "timeout"),
    ],
)
def test_an_invalid_setting_is_named(settings: dict[str, Any], setting: str) -> None:
    """When the client is created."""
    with pytest.raises(ConfigurationError) as caught:
        FullstorySeats(**settings)

    assert caught.value.setting == setting


def test_plain_http_can_be_allowed() -> None:
    """As for every backend."""
    FullstorySeats("t", base_url="http://scim.example", allow_insecure=True).close()


@pytest.mark.parametrize("names", [{}, {"vendor_id": "1", "user_name": "ada"}])
def test_a_deactivation_needs_exactly_one_name(names: dict[str, str]) -> None:
    """Two could be two different colleagues."""
    with FullstorySeats("t") as seats, pytest.raises(InvalidTraitsError, match="user_name"):
        seats.deactivate(**names)


def test_an_empty_user_name_is_rejected() -> None:
    """Without a request: an empty filter would match nobody, or everyone."""
    with FullstorySeats("t") as seats:
        with pytest.raises(InvalidTraitsError, match="user_name"):
            seats.users(user_name="")
        with pytest.raises(InvalidTraitsError, match="user_name"):
            seats.deactivate(user_name="")


def test_the_listing_error_survives_pickling() -> None:
    """With its outcome and its text."""
    listing_error = ListingError(Unavailable("fullstory-seats", "HTTP 429", 7.0, status=429))

    again = pickle.loads(pickle.dumps(listing_error))  # noqa: S301

    assert str(again) == "fullstory-seats: Unavailable: HTTP 429; retry after 7 s"
    assert again.outcome == listing_error.outcome


def test_the_callers_client_stays_open() -> None:
    """The caller may use it for other requests."""
    with httpx.Client() as client:
        FullstorySeats("t", transport=client).close()

        assert not client.is_closed


def test_closed_seats_send_nothing() -> None:
    """The write has an outcome like any other."""
    seats = FullstorySeats("t", base_url="http://127.0.0.1:9")
    seats.close()

    assert seats.create(Seat("ada")) == Unavailable(
        "fullstory-seats", "the transport was closed before the request was sent"
    )
