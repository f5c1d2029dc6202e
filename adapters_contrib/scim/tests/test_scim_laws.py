"""Properties of all responses and of all seats."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat
from replay_identity_scim.payload import apply_seat, seat_of, shows_seat
from replay_identity_scim.resources import UserResource

from replay_identity.adapters import Accepted, Misconfigured, Rejected, Unavailable, Unknown

from .scripted import CONFIG_SCHEMA, ERROR_SCHEMA, GROUP_SCHEMA, LIST_SCHEMA, USER_SCHEMA, scim, scripted_seats

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = [
    *("id", "userName", "name", "emails", "value", "active", "groups", "meta", "schemas", "displayName", "members"),
    *("version", "givenName", "primary", "status", "detail", "scimType", "patch", "supported", "Resources", "$ref"),
    *("totalResults", "startIndex", "externalId", "filter", "nextCursor"),
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXT, inner, max_size=4),
    max_leaves=6,
)


def shaped(schema: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object of *schema* whose fields are valid, invalid or missing."""
    rest = {name: right | JSON for name, right in fields.items()} | {"externalId": JSON, "meta": JSON}
    return st.fixed_dictionaries({"schemas": st.just([schema])}, optional=rest)


USERS = shaped(
    USER_SCHEMA,
    id=TEXT,
    userName=st.just("ada"),
    active=st.booleans(),
    name=st.fixed_dictionaries({}, optional={"givenName": TEXT, "formatted": JSON}),
    emails=st.lists(st.fixed_dictionaries({}, optional={"value": TEXT, "primary": st.booleans()}), max_size=2),
    groups=st.lists(st.fixed_dictionaries({"value": TEXT}), max_size=2),
)
GROUPS = shaped(GROUP_SCHEMA, id=TEXT, displayName=TEXT, members=st.lists(st.fixed_dictionaries({"value": TEXT})))
LISTS = shaped(
    LIST_SCHEMA,
    totalResults=st.integers(0, 4),
    startIndex=st.integers(),
    Resources=st.lists(USERS | GROUPS, max_size=3),
)
ERRORS = shaped(ERROR_SCHEMA, status=st.sampled_from(["400", "409"]), detail=TEXT, scimType=st.just("uniqueness"))
CONFIGS = shaped(
    CONFIG_SCHEMA, patch=st.just({"supported": True}), etag=st.just({"supported": True}), filter=JSON, bulk=JSON
)
RESPONSES = st.builds(
    scim,
    st.sampled_from([200, 200, 201, 204, 304, 400, 404, 409, 412, 429, 500]),
    USERS | GROUPS | LISTS | ERRORS | CONFIGS | JSON,
)


def actions(seats: FullstorySeats) -> dict[str, Any]:
    """Return all actions by name."""
    return {
        "create": lambda: seats.create(Seat("ada", email="ada@example.com")),
        "create a group": lambda: seats.create(Group("Admins", members=["1"])),
        "replace": lambda: seats.replace(Seat("ada", given_name="Ada", groups=["1"], vendor_id="1")),
        "replace by name": lambda: seats.replace(Seat("ada", email="ada@example.com")),
        "replace a group": lambda: seats.replace(Group("Admins", members=["1"], vendor_id="1")),
        "deactivate": lambda: seats.deactivate("1"),
        "deactivate by name": lambda: seats.deactivate(user_name="ada"),
        "users": lambda: list(seats.users()),
        "groups": lambda: list(seats.groups()),
    }


@pytest.mark.parametrize("action", actions(scripted_seats(httpx.Response(500))))
@given(responses=st.lists(RESPONSES, min_size=1, max_size=4))
def test_any_response_is_an_outcome_or_listing_error(action: str, responses: list[httpx.Response]) -> None:
    """Any JSON with any status."""
    try:
        result = actions(scripted_seats(*responses))[action]()
    except ListingError as listing_error:
        result = listing_error.outcome

    assert isinstance(result, list | Accepted | Rejected | Misconfigured | Unavailable | Unknown)


OTHER_NAME = "bob"
SEATS = st.builds(
    Seat,
    TEXT.filter(bool),
    given_name=st.none() | TEXT,
    family_name=st.none() | TEXT,
    email=st.none() | TEXT,
    is_active=st.booleans(),
)


@given(seat=SEATS)
def test_a_new_seat_survives_conversion(seat: Seat) -> None:
    """SCIM loses nothing of it."""
    assert seat_of(apply_seat(seat, UserResource(user_name=OTHER_NAME))) == seat


@given(stored=SEATS, changed=SEATS)
def test_a_seat_applied_to_another_changes_its_values(stored: Seat, changed: Seat) -> None:
    """The other values stay."""
    user = apply_seat(changed, apply_seat(stored, UserResource(user_name=OTHER_NAME)))

    assert shows_seat(user, changed)
    shown = seat_of(user)
    for name in ("given_name", "family_name", "email"):
        value = getattr(changed, name)
        assert getattr(shown, name) == (getattr(stored, name) if value is None else value)
