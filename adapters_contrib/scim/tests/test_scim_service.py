"""Seats in a real SCIM service over HTTP."""

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
    """Return the only seat."""
    (seat,) = seats.users()
    return seat


def without(*features: str) -> ServiceProviderConfig:
    """Return the description of a service without *features*."""
    config = load_default_service_provider_config()
    return config.model_copy(
        update={feature: getattr(config, feature).model_copy(update={"supported": False}) for feature in features}
    )


def test_the_life_of_a_seat(seats: FullstorySeats) -> None:
    """Create, list, replace, deactivate and list again."""
    vendor_id = created(seats, ADA)
    assert only(seats) == attrs.evolve(ADA, vendor_id=vendor_id)

    changed = attrs.evolve(only(seats), family_name="King", email="ada.king@example.com")
    assert seats.replace(changed) == Accepted("fullstory-seats", vendor_id, verified=True)
    assert only(seats) == changed

    assert seats.deactivate(vendor_id) == Accepted("fullstory-seats", vendor_id)
    assert only(seats) == attrs.evolve(changed, is_active=False)


def test_a_group_is_created_and_changed(seats: FullstorySeats) -> None:
    """It is created with two members and loses one."""
    ada, bob = created(seats, ADA), created(seats, BOB)
    admins = created(seats, Group("Admins", members=[ada, bob]))
    assert list(seats.groups()) == [Group("Admins", members=[ada, bob], vendor_id=admins)]

    renamed = Group("Readers", members=[bob], vendor_id=admins)
    assert seats.replace(renamed) == Accepted("fullstory-seats", admins, verified=True)

    assert list(seats.groups()) == [renamed]


def test_a_member_who_stays_keeps_all_attributes(service: Any) -> None:
    """The identity provider may have written more than the id."""
    with service.seats() as seats:
        ada, bob = created(seats, ADA), created(seats, BOB)
        entry = {"value": ada, "display": "Ada", "type": "User"}
        group = {"schemas": [GROUP_SCHEMA], "displayName": "Admins", "members": [entry]}
        stored = httpx.post(f"{service.url}/Groups", json=group, headers=HEADERS).json()

        seats.replace(Group("Admins", members=[bob, ada], vendor_id=stored["id"]))

    members = httpx.get(f"{service.url}/Groups/{stored['id']}", headers=HEADERS).json()["members"]
    assert members == [{"value": bob}, entry]


def test_a_new_seats_address_is_primary(service: Any) -> None:
    """A service may ignore other addresses."""
    with service.seats() as seats:
        vendor_id = created(seats, ADA)

    stored = httpx.get(f"{service.url}/Users/{vendor_id}", headers=HEADERS).json()
    assert stored["emails"] == [{"value": "ada@example.com", "primary": True}]


def test_a_seat_is_found_by_its_user_name(seats: FullstorySeats) -> None:
    """Fields that are None stay unchanged."""
    vendor_id = created(seats, ADA)

    outcome = seats.replace(Seat("ADA@example.com", family_name="King"))

    assert outcome == Accepted("fullstory-seats", vendor_id, verified=True)
    assert only(seats) == attrs.evolve(ADA, user_name="ADA@example.com", family_name="King", vendor_id=vendor_id)


@pytest.mark.parametrize("lacking", [(), ("patch",)])
def test_attributes_unknown_to_a_seat_survive_a_write(
    start_service: Callable[..., Any], lacking: tuple[str, ...]
) -> None:
    """PUT replaces everything, so they are sent back."""
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

    stored = httpx.get(address, headers=HEADERS).json()
    user["name"]["givenName"] = "Augusta"
    user["emails"][1]["value"] = "b@example.com"
    assert {name: stored[name] for name in user} == user
    assert stored["active"] is False


def test_a_deactivation_is_a_patch_if_supported(service: Any) -> None:
    """It changes one attribute; the service describes itself once."""
    with service.seats() as seats:
        ada, bob = created(seats, ADA), created(seats, BOB)
        service.requests.clear()

        assert [seats.deactivate(ada), seats.deactivate(bob)] == [
            Accepted("fullstory-seats", ada),
            Accepted("fullstory-seats", bob),
        ]

    assert [request.split()[0] for request in service.requests] == ["GET", "GET", "PATCH", "GET", "PATCH"]
    assert service.requests.count("GET /v2/ServiceProviderConfig") == 1


def test_a_deactivation_is_a_put_without_patch(start_service: Callable[..., Any]) -> None:
    """The resource is sent back whole with active set to false, and verified."""
    service = start_service(without("patch"))
    with service.seats() as seats:
        ada = created(seats, ADA)

        assert seats.deactivate(ada) == Accepted("fullstory-seats", ada, verified=True)

        assert only(seats) == attrs.evolve(ADA, is_active=False, vendor_id=ada)
    assert f"PUT /v2/Users/{ada}" in service.requests
    assert not any(request.startswith("PATCH") for request in service.requests)


def test_a_deactivated_seat_can_be_activated(seats: FullstorySeats) -> None:
    """Deactivating deletes nothing."""
    created(seats, ADA)
    seats.deactivate(user_name="ada@example.com")
    assert not only(seats).is_active

    seats.replace(attrs.evolve(only(seats), is_active=True))

    assert only(seats).is_active


def test_a_duplicate_user_name_is_a_conflict(seats: FullstorySeats) -> None:
    """With SCIM's own code, whatever the case of the name."""
    created(seats, ADA)

    outcome = seats.create(Seat("Ada@Example.com"))

    assert isinstance(outcome, Rejected)
    assert outcome.code == "uniqueness"
    assert not outcome.retryable


def test_many_seats_are_listed_page_by_page(service: Any) -> None:
    """Each is yielded once, and a page is requested only when it is reached."""
    with service.seats() as seats:
        names = [f"user-{number}@example.com" for number in range(230)]
        with httpx.Client(headers=HEADERS) as client:
            for name in names:
                client.post(f"{service.url}/Users", json={"schemas": [USER_SCHEMA], "userName": name})
        service.requests.clear()

        listed = seats.users()
        first = [next(listed) for _ in range(100)]
        assert service.requests == ["GET /v2/Users"]

        assert sorted(seat.user_name for seat in [*first, *listed]) == sorted(names)
    assert service.requests == ["GET /v2/Users"] * 3


def test_a_service_may_send_smaller_pages(start_service: Callable[..., Any]) -> None:
    """With two per page, five seats are on three pages."""
    config = load_default_service_provider_config()
    assert config.filter is not None
    capped = config.model_copy(update={"filter": config.filter.model_copy(update={"max_results": 2})})
    service = start_service(capped)
    with service.seats() as seats:
        names = [f"{name}@example.com" for name in "abcde"]
        for name in names:
            created(seats, Seat(name))
        service.requests.clear()

        assert sorted(seat.user_name for seat in seats.users()) == names

    assert service.requests == ["GET /v2/Users"] * 3


def test_an_empty_list_is_empty(seats: FullstorySeats) -> None:
    """It is not a failure."""
    assert list(seats.users()) == []
    assert list(seats.groups()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stem=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    given_name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)
def test_any_text_survives_the_round_trip(seats: FullstorySeats, stem: str, given_name: str) -> None:
    """Quotes, backslashes and every script pass the body, the filter and the response unchanged."""
    seat = Seat(f'"\\ {stem}', given_name=given_name)
    outcome = seats.create(seat)
    if isinstance(outcome, Rejected):
        assert outcome.code == "uniqueness"  # From an earlier example.
        return

    (found,) = seats.users(user_name=seat.user_name)

    assert (found.user_name, found.given_name) == (seat.user_name, given_name)
    assert isinstance(seats.deactivate(user_name=seat.user_name), Accepted)


def test_a_user_name_with_url_characters_is_found(seats: FullstorySeats) -> None:
    """They are percent-encoded in the query, and so is the percent sign."""
    seat = Seat('"\\a+b&count=0#c%26d?e/f;g@example.com')
    vendor_id = created(seats, seat)

    assert list(seats.users(user_name=seat.user_name)) == [attrs.evolve(seat, vendor_id=vendor_id)]


def test_an_unknown_user_name_is_rejected(seats: FullstorySeats) -> None:
    """Nothing is written."""
    created(seats, BOB)

    assert seats.deactivate(user_name="ada@example.com") == _violation("user_name", "no-such-seat")
    assert seats.replace(ADA) == _violation("user_name", "no-such-seat")

    assert only(seats).is_active


@pytest.mark.parametrize("action", ["deactivate", "replace", "replace a group"])
def test_an_unknown_id_is_rejected(seats: FullstorySeats, action: str) -> None:
    """The settings are valid; the id is redacted from the message."""
    outcome = {
        "deactivate": lambda: seats.deactivate("gone-4711"),
        "replace": lambda: seats.replace(attrs.evolve(ADA, vendor_id="gone-4711")),
        "replace a group": lambda: seats.replace(Group("Admins", vendor_id="gone-4711")),
    }[action]()

    assert isinstance(outcome, Rejected)
    assert outcome.code == "HTTP 404"
    assert outcome.message is not None
    assert "gone-4711" not in outcome.message
    assert "•••" in outcome.message


def test_a_wrong_token_is_misconfigured(service: Any) -> None:
    """As the outcome of a write, and in the error of a list."""
    with service.seats("not-the-token") as seats:
        outcome = seats.create(ADA)
        with pytest.raises(ListingError) as caught:
            list(seats.users())

    assert isinstance(outcome, Misconfigured)
    assert caught.value.outcome == outcome


def test_a_concurrent_change_is_not_overwritten(service: Any) -> None:
    """With versions, the write is unavailable and can be retried."""
    with service.seats() as seats:
        vendor_id = created(seats, ADA)

        def change(request: httpx.Request) -> None:
            if request.method == "PUT":
                operation = {"op": "replace", "path": "name.familyName", "value": "Byron"}
                patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
                httpx.patch(f"{service.url}/Users/{vendor_id}", json=patch, headers=HEADERS)

        with httpx.Client(event_hooks={"request": [change]}) as client:
            client_seats = FullstorySeats("scim-token-of-the-tests", base_url=service.url, transport=client)
            outcome = client_seats.replace(attrs.evolve(ADA, vendor_id=vendor_id, family_name="King"))

        assert outcome == Unavailable(
            "fullstory-seats", "HTTP 412: changed by another client at the same time", status=412
        )
        assert only(seats).family_name == "Byron"


def test_a_seat_is_renamed_by_its_id(seats: FullstorySeats) -> None:
    """With a vendor id, the user name is a value like any other."""
    vendor_id = created(seats, ADA)

    seats.replace(Seat("ada.king@example.com", vendor_id=vendor_id))

    assert only(seats).user_name == "ada.king@example.com"


def _violation(path: str, rule: str) -> Rejected:
    return Rejected("fullstory-seats", (Violation(path, rule),))
