"""Faults of a SCIM service, or of a server in its place."""

import json
import socket
import ssl

import httpx
import pytest
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat

from replay_identity.adapters import (
    Accepted,
    Failure,
    Misconfigured,
    Outcome,
    Rejected,
    Unavailable,
    Unknown,
    Violation,
)

from .scripted import (
    CONFIG_SCHEMA,
    LIST_SCHEMA,
    ONCE,
    THRICE,
    USER_SCHEMA,
    ScriptedResponse,
    error,
    page,
    scim,
    scripted_seats,
    user,
)

CANARY = Seat("canary-name", given_name="Ada", email="ada@example.com")


def listing(seats: FullstorySeats) -> Failure:
    """Return why the seats cannot be listed."""
    with pytest.raises(ListingError) as caught:
        list(seats.users())
    return caught.value.outcome


HTML = httpx.Response(200, html="<html>Log in</html>")

UNTRUSTED = httpx.ConnectError("untrusted")
UNTRUSTED.__cause__ = ssl.SSLCertVerificationError()

FAULTS: list[tuple[ScriptedResponse, type[Outcome], type[Outcome]]] = [
    (error(401), Misconfigured, Misconfigured),
    (httpx.Response(401), Misconfigured, Misconfigured),
    (error(403), Misconfigured, Misconfigured),
    (error(404), Misconfigured, Misconfigured),
    (httpx.Response(404, html="<html>"), Misconfigured, Misconfigured),
    (httpx.Response(302, headers={"location": "https://login.example"}), Misconfigured, Misconfigured),
    (error(400, scimType="invalidValue"), Rejected, Rejected),
    (error(409, scimType="uniqueness"), Rejected, Rejected),
    (httpx.Response(429), Unavailable, Unavailable),
    (error(429), Unavailable, Unavailable),
    (error(500), Unavailable, Unavailable),
    (httpx.Response(500, html="<html>"), Unavailable, Unavailable),
    (httpx.Response(503), Unavailable, Unavailable),
    (httpx.Response(502, html="<html>"), Unknown, Unavailable),
    (httpx.Response(504), Unknown, Unavailable),
    (HTML, Unknown, Unavailable),
    (httpx.Response(201, html="<html>"), Unknown, Unavailable),
    (scim(201, {"ok": True}), Unknown, Unavailable),
    (scim(201, user(vendor_id="")), Unknown, Unavailable),
    (scim(201, {"schemas": [USER_SCHEMA], "id": "1"}), Unknown, Unavailable),
    (scim(201, ["no", "object"]), Unknown, Unavailable),
    (scim(201, {"schemas": "no list"}), Unknown, Unavailable),
    (scim(200, {"schemas": ["urn:else"], "id": "1"}), Unknown, Unavailable),
    (httpx.Response(201, content=b"\xff{", headers={"content-type": "application/scim+json"}), Unknown, Unavailable),
    (httpx.Response(204), Unknown, Unavailable),
    (httpx.ConnectError("refused"), Unavailable, Unavailable),
    (httpx.ConnectTimeout("slow"), Unavailable, Unavailable),
    (httpx.ReadTimeout("slow"), Unknown, Unavailable),
    (httpx.RemoteProtocolError("hung up"), Unknown, Unavailable),
    (httpx.ReadError("reset"), Unknown, Unavailable),
]


@pytest.mark.parametrize(("response", "of_write", "of_list"), FAULTS)
def test_each_fault_has_its_outcome(
    response: ScriptedResponse, of_write: type[Outcome], of_list: type[Outcome]
) -> None:
    """A write that may have been applied is unknown; a list changes nothing and can be retried."""
    assert type(scripted_seats(response).create(CANARY)) is of_write
    assert type(listing(scripted_seats(response))) is of_list


@pytest.mark.parametrize("action", ["replace", "deactivate"])
@pytest.mark.parametrize(("response", "of_write", "of_list"), FAULTS)
def test_a_fault_while_reading_changes_nothing(
    action: str, response: ScriptedResponse, of_write: type[Outcome], of_list: type[Outcome]
) -> None:
    """If the seat cannot be read, nothing was written, whatever was lost."""
    del of_write
    seats = scripted_seats(response)

    outcome = seats.replace(CANARY) if action == "replace" else seats.deactivate(user_name="canary-name")

    assert type(outcome) is of_list


def test_a_conflict_has_scims_own_code() -> None:
    """The code distinguishes a duplicate from other rejections."""
    outcome = scripted_seats(error(409, "canary-name is taken", scimType="uniqueness")).create(CANARY)

    assert outcome == Rejected("fullstory-seats", code="uniqueness", message="••• is taken")


def test_retry_after_is_in_the_outcome() -> None:
    """Of writes and of lists."""
    seats = scripted_seats(httpx.Response(429, headers={"retry-after": "77"}))

    assert seats.create(CANARY) == Unavailable("fullstory-seats", "HTTP 429", 77.0, status=429)
    assert listing(seats) == Unavailable("fullstory-seats", "HTTP 429", 77.0, status=429)


@pytest.mark.parametrize("response", [httpx.Response(429), httpx.Response(503), httpx.ConnectError("refused")])
def test_a_creation_not_applied_is_retried(response: ScriptedResponse) -> None:
    """After a 429, a 503 or a refused connection, no seat can exist."""
    requested: list[str] = []

    outcome = scripted_seats(response, scim(201, user()), retry=THRICE, requested=requested).create(Seat("canary-name"))

    assert outcome == Accepted("fullstory-seats", "canary-id", verified=True)
    assert requested == ["POST /scim/v2/Users"] * 2


@pytest.mark.parametrize(
    "response", [httpx.Response(500), httpx.Response(502), httpx.ReadTimeout("slow"), httpx.ReadError("reset"), HTML]
)
def test_a_creation_possibly_applied_is_sent_once(response: ScriptedResponse) -> None:
    """A second one would conflict with the first and hide that there is a seat."""
    requested: list[str] = []

    outcome = scripted_seats(response, retry=THRICE, requested=requested).create(CANARY)

    assert outcome.retryable
    assert requested == ["POST /scim/v2/Users"]


def test_a_list_is_retried() -> None:
    """Reading changes nothing."""
    requested: list[str] = []
    seats = scripted_seats(httpx.ReadError("reset"), page(user(), total=1), retry=THRICE, requested=requested)

    assert len(list(seats.users())) == 1
    assert requested == ["GET /scim/v2/Users"] * 2


def test_seats_before_a_fault_are_yielded() -> None:
    """Then the error is raised: an incomplete list never looks complete."""
    seats = scripted_seats(page(user(), total=2), httpx.Response(503))
    listed = seats.users()

    assert next(listed).vendor_id == "canary-id"
    with pytest.raises(ListingError):
        next(listed)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page(user(), total=3)], id="the same page again"),
        pytest.param([page(user(), total=3), page(total=3)], id="an empty page before the end"),
        pytest.param([page(total=3)], id="an empty first page"),
        pytest.param([scim(200, {"schemas": [LIST_SCHEMA], "Resources": [user()]})], id="no total"),
        pytest.param(
            [scim(200, {"schemas": [LIST_SCHEMA], "Resources": [user()], "nextCursor": "a"})], id="only cursors"
        ),
        pytest.param([page(user(""), total=1)], id="an empty user name"),
        pytest.param([page(user("a", "1"), user("b", ""), total=2)], id="a seat without an id"),
        pytest.param([page({"schemas": [USER_SCHEMA], "id": "1"}, total=1)], id="a seat without a user name"),
    ],
)
def test_broken_paging_is_an_error(pages: list[httpx.Response]) -> None:
    """Ignoring startIndex would never end; hiding seats would look complete."""
    assert isinstance(listing(scripted_seats(*pages)), Unavailable)


def test_a_seat_on_two_pages_is_yielded_once() -> None:
    """A seat may move to the next page when another is added during paging."""
    pages = [page(user("a", "1"), user("b", "2"), total=3), page(user("b", "2"), user("c", "3"), total=4)]

    assert [seat.vendor_id for seat in scripted_seats(*pages).users()] == ["1", "2", "3"]


@pytest.mark.parametrize("email", ["ada@corp.local", "ada@localhost", "no address"])
def test_any_email_address_can_be_listed(email: str) -> None:
    """One unusual address must not make the whole list unreadable."""
    seats = scripted_seats(page(user(emails=[{"value": email}]), user("bob", "2"), total=2))

    assert [seat.email for seat in seats.users()] == [email, None]


def test_a_service_without_filters_deactivates_the_right_seat() -> None:
    """It sends all users; only the one with that name is used."""
    everyone = page(user("bob", "1"), user("ada", "2"), user("eve", "3"), total=3)
    requested: list[str] = []
    seats = scripted_seats(everyone, httpx.Response(404), scim(200, user("ada", "2")), requested=requested)

    assert isinstance(seats.deactivate(user_name="ada"), Accepted)

    assert requested[-1] == "PUT /scim/v2/Users/2"


def test_lone_surrogates_are_rejected_when_read() -> None:
    """In an attribute that is only kept, one could not be sent back."""
    body = json.dumps(user(nickName="\ud800")).encode()
    stored = httpx.Response(200, content=body, headers={"content-type": "application/scim+json"})
    requested: list[str] = []

    outcome = scripted_seats(stored, requested=requested).deactivate("canary-id")

    assert outcome == Unavailable("fullstory-seats", "HTTP 200 with an unexpected body", status=200)
    assert requested == ["GET /scim/v2/Users/canary-id"]


def test_a_seat_without_active_is_active() -> None:
    """A colleague who can log in must not be overlooked."""
    without_active = {name: value for name, value in user("a", "1").items() if name != "active"}
    seats = scripted_seats(page(without_active, user("b", "2", active=False), user("c", "3", active=True), total=3))

    assert [seat.is_active for seat in seats.users()] == [True, False, True]


def test_an_ambiguous_user_name_changes_nothing() -> None:
    """Neither seat can be chosen."""
    requested: list[str] = []
    seats = scripted_seats(page(user("ada", "1"), user("Ada", "2"), total=2), requested=requested)

    outcome = seats.deactivate(user_name="ADA")

    assert outcome == Rejected("fullstory-seats", (Violation("user_name", "ambiguous-user-name"),))
    assert requested == ["GET /scim/v2/Users"]


@pytest.mark.parametrize(
    "description", [httpx.Response(404), error(404), error(501), HTML, scim(200, {"schemas": [CONFIG_SCHEMA]})]
)
def test_a_service_without_a_description_gets_a_put(description: httpx.Response) -> None:
    """PUT is what Okta's custom applications send, so it exists even without PATCH."""
    requested: list[str] = []
    seats = scripted_seats(scim(200, user()), description, scim(200, user(active=False)), requested=requested)

    outcomes = [seats.deactivate("canary-id"), seats.deactivate("canary-id")]

    assert outcomes == [Accepted("fullstory-seats", "canary-id", verified=True)] * 2
    assert [method.split()[0] for method in requested] == ["GET", "GET", "PUT", "GET", "PUT"]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error(401), Misconfigured),
        (error(403), Misconfigured),
        (httpx.Response(503), Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable),
        (UNTRUSTED, Misconfigured),
    ],
)
def test_nothing_is_written_without_the_description(response: ScriptedResponse, kind: type[Outcome]) -> None:
    """A service that is down may still support PATCH."""
    requested: list[str] = []

    outcome = scripted_seats(scim(200, user()), response, requested=requested).deactivate("canary-id")

    assert type(outcome) is kind
    assert [method.split()[0] for method in requested] == ["GET", "GET"]


def test_a_conflict_after_a_lost_response_is_unknown() -> None:
    """The retried PUT is rejected because of the first attempt, or of another client."""
    described = scim(200, {"schemas": [CONFIG_SCHEMA]})
    seats = scripted_seats(scim(200, user()), described, httpx.ReadError("reset"), httpx.Response(412), retry=THRICE)

    outcome = seats.replace(Seat("canary-name", vendor_id="canary-id"))

    assert outcome == Unknown("fullstory-seats", "HTTP 412 after a response was lost", status=412)


def test_a_different_resource_is_not_verified() -> None:
    """The service accepted the write, but does not show what was sent."""
    outcome = scripted_seats(scim(201, user("another-name"))).create(Seat("canary-name"))

    assert outcome == Accepted("fullstory-seats", "canary-id", verified=False)


@pytest.mark.parametrize(
    ("response", "kind"), [(error(404), Rejected), (httpx.Response(404, html="<html>Not here</html>"), Misconfigured)]
)
def test_a_404_is_about_the_seat_only_from_scim(response: httpx.Response, kind: type[Outcome]) -> None:
    """From any other server, it means a wrong URL."""
    assert type(scripted_seats(response).deactivate("canary-id")) is kind


@pytest.mark.parametrize("vendor_id", ["", ".", ".."])
def test_an_id_invalid_in_a_url_is_not_sent(vendor_id: str) -> None:
    """HTTP clients resolve dots away, which leaves the URL of the whole list."""
    requested: list[str] = []
    seats = scripted_seats(scim(200, user()), requested=requested)

    outcomes = [
        seats.deactivate(vendor_id),
        seats.replace(Seat("ada", vendor_id=vendor_id)),
        seats.replace(Group("Admins", vendor_id=vendor_id)),
        seats.replace(Group("Admins")),
    ]

    assert outcomes == [Rejected("fullstory-seats", (Violation("vendor_id", "id-in-address"),))] * 4
    assert requested == []


def test_an_id_with_a_slash_stays_one_segment() -> None:
    """An id cannot become another seat's URL."""
    paths: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(503)

    client = httpx.Client(transport=httpx.MockTransport(respond))
    FullstorySeats("t", base_url="https://scim.example", transport=client, retry=ONCE).deactivate("a/../b?c#d")

    assert paths == [b"/Users/a%2F..%2Fb%3Fc%23d"]


def test_a_new_seat_with_groups_or_an_id_is_rejected() -> None:
    """Groups are changed in the group, and the service assigns the id."""
    requested: list[str] = []

    outcome = scripted_seats(scim(201, user()), requested=requested).create(Seat("ada", groups=["g1"], vendor_id="1"))

    violations = (Violation("vendor_id", "id-is-assigned"), Violation("groups", "groups-are-read-only"))
    assert outcome == Rejected("fullstory-seats", violations)
    assert requested == []


@pytest.mark.parametrize(("groups", "kind"), [(["g2", "g1"], Accepted), ([], Accepted), (["g1"], Rejected)])
def test_groups_of_a_seat_cannot_change(groups: list[str], kind: type[Outcome]) -> None:
    """A listed seat can be sent back unchanged; a change of its groups would be lost."""
    stored = user(groups=[{"value": "g1", "display": "Admins"}, {"value": "g2"}])
    seats = scripted_seats(scim(200, stored), httpx.Response(404), scim(200, stored))

    assert type(seats.replace(Seat("canary-name", groups=groups, vendor_id="canary-id"))) is kind


@pytest.mark.parametrize("listening", [False, True])
def test_a_real_socket_without_a_response(listening: bool) -> None:  # noqa: FBT001  # A pytest parameter.
    """A refused connection is unavailable; an accepted one without a response is unknown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not listening:
            server.close()
        with FullstorySeats("t", base_url=url, retry=ONCE, timeout=0.2) as seats:
            outcome = seats.create(CANARY)

    assert type(outcome) is (Unknown if listening else Unavailable)
