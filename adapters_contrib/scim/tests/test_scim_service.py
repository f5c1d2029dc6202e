"""Against a real SCIM service over HTTP."""

from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat
from scim2_models import ServiceProviderConfig
from scim2_server.utils import load_default_service_provider_config

from replay_identity.adapters import Accepted, Misconfigured, Rejected, Unavailable, Violation

ADA = Seat("ada@example.com", given_name="Ada", family_name="Lovelace", email="ada@example.com")
BOB = Seat("bob@example.com", given_name="Bob")
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
HEADERS = {"authorization": "Bearer scim-token-of-the-tests", "content-type": "application/scim+json"}


def created(seats: FullstorySeats, new: Seat | Group) -> str:
    """Create *new* and return its vendor id."""
    outcome = seats.create(new)
    assert isinstance(outcome, Accepted)
    assert outcome.verified
    assert outcome.vendor_id is not None
    return outcome.vendor_id


def only(seats: FullstorySeats) -> Seat:
    """Return the only seat there is."""
    (seat,) = seats.users()
    return seat


def without(*features: str) -> ServiceProviderConfig:
    """Return the description of a service that says it lacks *features*."""
    config = load_default_service_provider_config()
    return config.model_copy(
        update={feature: getattr(config, feature).model_copy(update={"supported": False}) for feature in features}
    )


def test_a_seat_from_its_creation_to_its_end(seats: FullstorySeats) -> None:
    """Create, list, replace, deactivate and list again: the service holds what was said last."""
    vendor_id = created(seats, ADA)
    assert only(seats) == attrs.evolve(ADA, vendor_id=vendor_id)

    changed = attrs.evolve(only(seats), family_name="King", email="ada.king@example.com")
    assert seats.replace(changed) == Accepted("fullstory-seats", vendor_id, verified=True)
    assert only(seats) == changed

    assert seats.deactivate(vendor_id) == Accepted("fullstory-seats", vendor_id)
    assert only(seats) == attrs.evolve(changed, is_active=False)


def test_groups_and_their_members(seats: FullstorySeats) -> None:
    """A group is created with members and loses one."""
    ada, bob = created(seats, ADA), created(seats, BOB)
    admins = created(seats, Group("Admins", members=[ada, bob]))
    assert list(seats.groups()) == [Group("Admins", members=[ada, bob], vendor_id=admins)]

    renamed = Group("Readers", members=[bob], vendor_id=admins)
    assert seats.replace(renamed) == Accepted("fullstory-seats", admins, verified=True)

    assert list(seats.groups()) == [renamed]


def test_a_member_who_stays_in_a_group_keeps_their_entry(service: Any) -> None:
    """What the identity provider wrote beside the id is not for us to lose."""
    with service.seats() as seats:
        ada, bob = created(seats, ADA), created(seats, BOB)
        entry = {"value": ada, "display": "Ada", "type": "User"}
        group = {"schemas": [GROUP_SCHEMA], "displayName": "Admins", "members": [entry]}
        held = httpx.post(f"{service.url}/Groups", json=group, headers=HEADERS).json()

        seats.replace(Group("Admins", members=[bob, ada], vendor_id=held["id"]))

    members = httpx.get(f"{service.url}/Groups/{held['id']}", headers=HEADERS).json()["members"]
    assert members == [{"value": bob}, entry]


def test_the_only_address_of_a_new_seat_is_its_primary_one(service: Any) -> None:
    """A service may take no notice of any other."""
    with service.seats() as seats:
        vendor_id = created(seats, ADA)

    held = httpx.get(f"{service.url}/Users/{vendor_id}", headers=HEADERS).json()
    assert held["emails"] == [{"value": "ada@example.com", "primary": True}]


def test_a_seat_is_replaced_by_its_user_name_and_keeps_what_is_not_said(seats: FullstorySeats) -> None:
    """Without an id the user name finds it; a field that is None says nothing."""
    vendor_id = created(seats, ADA)

    outcome = seats.replace(Seat("ADA@example.com", family_name="King"))

    assert outcome == Accepted("fullstory-seats", vendor_id, verified=True)
    assert only(seats) == attrs.evolve(ADA, user_name="ADA@example.com", family_name="King", vendor_id=vendor_id)


@pytest.mark.parametrize("lacking", [(), ("patch",)])
def test_what_a_seat_has_no_field_for_outlives_a_write(
    start_service: Callable[..., Any], lacking: tuple[str, ...]
) -> None:
    """PUT replaces everything, so what the service holds beside a seat goes back with it."""
    service = start_service(without(*lacking))
    extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    user: dict[str, Any] = {
        "schemas": [USER_SCHEMA, extension],
        "userName": "ada@example.com",
        "externalId": "00u1",
        "displayName": "Ada",
        "name": {"givenName": "Ada", "middleName": "Augusta"},
        "emails": [{"value": "home@example.com", "type": "home"}, {"value": "a@example.com", "primary": True}],
        "roles": [{"value": "architect"}],
        extension: {"department": "Engines"},
    }
    address = httpx.post(f"{service.url}/Users", json=user, headers=HEADERS).headers["location"]

    with service.seats() as seats:
        assert isinstance(seats.replace(Seat("ada@example.com", given_name="Augusta", email="b@example.com")), Accepted)
        assert isinstance(seats.deactivate(user_name="ada@example.com"), Accepted)

    held = httpx.get(address, headers=HEADERS).json()
    user["name"]["givenName"] = "Augusta"
    user["emails"][1]["value"] = "b@example.com"
    assert {name: held[name] for name in user} == user
    assert held["active"] is False


def test_a_deactivation_is_a_patch_where_the_service_takes_one(service: Any) -> None:
    """It changes the one field; the service is asked once what it takes."""
    with service.seats() as seats:
        ada, bob = created(seats, ADA), created(seats, BOB)
        service.asked.clear()

        assert [seats.deactivate(ada), seats.deactivate(bob)] == [
            Accepted("fullstory-seats", ada),
            Accepted("fullstory-seats", bob),
        ]

    assert [asked.split()[0] for asked in service.asked] == ["GET", "GET", "PATCH", "GET", "PATCH"]
    assert service.asked.count("GET /v2/ServiceProviderConfig") == 1


def test_a_deactivation_is_a_put_where_the_service_takes_no_patch(start_service: Callable[..., Any]) -> None:
    """What was read goes back whole, with active set to false; the reply shows it."""
    service = start_service(without("patch"))
    with service.seats() as seats:
        ada = created(seats, ADA)

        assert seats.deactivate(ada) == Accepted("fullstory-seats", ada, verified=True)

        assert only(seats) == attrs.evolve(ADA, is_active=False, vendor_id=ada)
    assert f"PUT /v2/Users/{ada}" in service.asked
    assert not any(asked.startswith("PATCH") for asked in service.asked)


def test_a_deactivated_seat_is_listed_and_can_come_back(seats: FullstorySeats) -> None:
    """Deactivating deletes nothing."""
    created(seats, ADA)
    seats.deactivate(user_name="ada@example.com")
    assert not only(seats).is_active

    seats.replace(attrs.evolve(only(seats), is_active=True))

    assert only(seats).is_active


def test_a_second_seat_of_one_user_name_is_a_conflict(seats: FullstorySeats) -> None:
    """It is told as such, by SCIM's own code, in whatever case the name is written."""
    created(seats, ADA)

    outcome = seats.create(Seat("Ada@Example.com"))

    assert isinstance(outcome, Rejected)
    assert outcome.code == "uniqueness"
    assert not outcome.retryable


def test_many_seats_are_listed_page_by_page(service: Any) -> None:
    """Every one is yielded once, and a page is asked for only when it is reached."""
    with service.seats() as seats:
        names = [f"user-{number}@example.com" for number in range(230)]
        with httpx.Client(headers=HEADERS) as client:
            for name in names:
                client.post(f"{service.url}/Users", json={"schemas": [USER_SCHEMA], "userName": name})
        service.asked.clear()

        listed = seats.users()
        first = [next(listed) for _ in range(100)]
        assert service.asked == ["GET /v2/Users"]

        assert sorted(seat.user_name for seat in [*first, *listed]) == sorted(names)
    assert service.asked == ["GET /v2/Users"] * 3


def test_a_service_may_send_fewer_than_asked_for(start_service: Callable[..., Any]) -> None:
    """Where it caps the page at two, five seats come on three pages."""
    config = load_default_service_provider_config()
    assert config.filter is not None
    capped = config.model_copy(update={"filter": config.filter.model_copy(update={"max_results": 2})})
    service = start_service(capped)
    with service.seats() as seats:
        names = [f"{name}@example.com" for name in "abcde"]
        for name in names:
            created(seats, Seat(name))
        service.asked.clear()

        assert sorted(seat.user_name for seat in seats.users()) == names

    assert service.asked == ["GET /v2/Users"] * 3


def test_an_empty_list_is_empty(seats: FullstorySeats) -> None:
    """Nobody there is no failure."""
    assert list(seats.users()) == []
    assert list(seats.groups()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stem=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    given_name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)
def test_any_text_is_created_found_by_its_name_and_deactivated(
    seats: FullstorySeats, stem: str, given_name: str
) -> None:
    """Quotes, backslashes and every script go through the body, the filter and the reply unchanged."""
    seat = Seat(f'"\\ {stem}', given_name=given_name)
    outcome = seats.create(seat)
    if isinstance(outcome, Rejected):
        assert outcome.code == "uniqueness"  # From an example before.
        return

    (found,) = seats.users(user_name=seat.user_name)

    assert (found.user_name, found.given_name) == (seat.user_name, given_name)
    assert isinstance(seats.deactivate(user_name=seat.user_name), Accepted)


def test_a_user_name_of_characters_that_address_lines_use_is_found(seats: FullstorySeats) -> None:
    """They are percent-encoded in the query, and so is the percent sign."""
    seat = Seat('"\\a+b&count=0#c%26d?e/f;g@example.com')
    vendor_id = created(seats, seat)

    assert list(seats.users(user_name=seat.user_name)) == [attrs.evolve(seat, vendor_id=vendor_id)]


def test_nobody_of_that_name_is_deactivated_or_replaced(seats: FullstorySeats) -> None:
    """A user name that no seat has is a mistake to be told, and nothing is written."""
    created(seats, BOB)

    assert seats.deactivate(user_name="ada@example.com") == _violation("user_name", "no-such-seat")
    assert seats.replace(ADA) == _violation("user_name", "no-such-seat")

    assert only(seats).is_active


@pytest.mark.parametrize("act", ["deactivate", "replace", "replace a group"])
def test_an_id_that_the_service_does_not_know(seats: FullstorySeats, act: str) -> None:
    """The settings are right, so this is a rejection; the id is masked in the service's words."""
    outcome = {
        "deactivate": lambda: seats.deactivate("gone-4711"),
        "replace": lambda: seats.replace(attrs.evolve(ADA, vendor_id="gone-4711")),
        "replace a group": lambda: seats.replace(Group("Admins", vendor_id="gone-4711")),
    }[act]()

    assert isinstance(outcome, Rejected)
    assert outcome.code == "HTTP 404"
    assert outcome.message is not None
    assert "gone-4711" not in outcome.message
    assert "•••" in outcome.message


def test_a_wrong_token(service: Any) -> None:
    """A write says that the settings must change, a list raises an error that carries the same."""
    with service.seats("not-the-token") as seats:
        outcome = seats.create(ADA)
        with pytest.raises(ListingError) as caught:
            list(seats.users())

    assert isinstance(outcome, Misconfigured)
    assert caught.value.outcome == outcome


def test_somebody_else_changes_the_seat_between_our_reading_and_writing(service: Any) -> None:
    """Where the service has versions, theirs is not overwritten, and another try may succeed."""
    with service.seats() as seats:
        vendor_id = created(seats, ADA)

        def meddle(request: httpx.Request) -> None:
            if request.method == "PUT":
                operation = {"op": "replace", "path": "name.familyName", "value": "Byron"}
                patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
                httpx.patch(f"{service.url}/Users/{vendor_id}", json=patch, headers=HEADERS)

        with httpx.Client(event_hooks={"request": [meddle]}) as client:
            meddled = FullstorySeats("scim-token-of-the-tests", base_url=service.url, transport=client)
            outcome = meddled.replace(attrs.evolve(ADA, vendor_id=vendor_id, family_name="King"))

        assert outcome == Unavailable(
            "fullstory-seats", "HTTP 412: changed by another client at the same time", status=412
        )
        assert only(seats).family_name == "Byron"


def test_a_seat_is_renamed_by_its_id(seats: FullstorySeats) -> None:
    """With a vendor id the user name is a value like any other."""
    vendor_id = created(seats, ADA)

    seats.replace(Seat("ada.king@example.com", vendor_id=vendor_id))

    assert only(seats).user_name == "ada.king@example.com"


def _violation(path: str, rule: str) -> Rejected:
    return Rejected("fullstory-seats", (Violation(path, rule),))
