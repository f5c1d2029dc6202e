"""Seats, groups, settings and the error."""

import pickle
from typing import Any

import httpx
import pytest
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat

from replay_identity.adapters import ConfigurationError, InvalidTraitsError, Unavailable


def test_a_seat_needs_a_user_name() -> None:
    """It is what Fullstory tells seats apart by."""
    with pytest.raises(InvalidTraitsError, match="user_name: is empty"):
        Seat("")


@pytest.mark.parametrize("make", [lambda: Seat("ada", groups="g1"), lambda: Group("Admins", members="1")])
def test_one_string_is_no_list_of_ids(make: Any) -> None:
    """Else each of its characters would be taken for an id."""
    with pytest.raises(InvalidTraitsError, match="is one string"):
        make()


@pytest.mark.parametrize("value", [1, None, b"ada"])
def test_a_name_is_a_string(value: Any) -> None:
    """Nothing is turned into text silently."""
    with pytest.raises(InvalidTraitsError, match="user_name"):
        Seat(value)


def test_a_repr_tells_seats_apart() -> None:
    """By fingerprints, which mean nothing outside the process."""
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
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any], setting: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError) as caught:
        FullstorySeats(**settings)

    assert caught.value.setting == setting


def test_plain_http_is_allowed_where_it_is_asked_for() -> None:
    """As at every other backend."""
    FullstorySeats("t", base_url="http://scim.example", allow_insecure=True).close()


@pytest.mark.parametrize("named", [{}, {"vendor_id": "1", "user_name": "ada"}])
def test_a_deactivation_names_exactly_one(named: dict[str, str]) -> None:
    """Both could be two different colleagues."""
    with FullstorySeats("t") as seats, pytest.raises(InvalidTraitsError, match="and not both"):
        seats.deactivate(**named)


def test_a_user_name_that_cannot_be_one_is_refused_before_anything_is_asked() -> None:
    """An empty filter would find nobody, or everybody."""
    with FullstorySeats("t") as seats:
        with pytest.raises(InvalidTraitsError, match="user_name: is empty"):
            seats.users(user_name="")
        with pytest.raises(InvalidTraitsError, match="user_name: is empty"):
            seats.deactivate(user_name="")


def test_the_listing_error_says_why_and_survives_pickling() -> None:
    """A process pool gives the same error back, with its outcome."""
    listing_error = ListingError(Unavailable("fullstory-seats", "HTTP 429", 7.0, status=429))

    again = pickle.loads(pickle.dumps(listing_error))  # noqa: S301

    assert str(again) == "fullstory-seats: Unavailable: HTTP 429; retry after 7 s"
    assert again.outcome == listing_error.outcome


def test_a_client_of_the_callers_stays_open() -> None:
    """It was theirs before, and may be used for something else."""
    with httpx.Client() as client:
        FullstorySeats("t", transport=client).close()

        assert not client.is_closed


def test_closed_seats_send_nothing() -> None:
    """It is told as an outcome, as everything else."""
    seats = FullstorySeats("t", base_url="http://127.0.0.1:9")
    seats.close()

    assert seats.create(Seat("ada")) == Unavailable(
        "fullstory-seats", "the transport was closed before the request was sent"
    )
