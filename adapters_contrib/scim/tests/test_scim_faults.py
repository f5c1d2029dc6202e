"""What a service, or whoever answers in its place, may do to us."""

import json
import socket
import ssl

import httpx
import pytest
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat

from replay_identity.adapters import Accepted, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from replay_identity.outcomes import explain

from .answers import (
    CONFIG_SCHEMA,
    LIST_SCHEMA,
    ONCE,
    THRICE,
    USER_SCHEMA,
    Answer,
    error,
    page,
    scim,
    seats_answered,
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

FAULTS: list[tuple[Answer, type[Outcome], type[Outcome]]] = [
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


@pytest.mark.parametrize(("answer", "of_write", "of_list"), FAULTS)
def test_a_fault_is_told_by_what_it_means(answer: Answer, of_write: type[Outcome], of_list: type[Outcome]) -> None:
    """A write that may have been applied is unknown; a list changes nothing, so it is only to be tried again."""
    assert type(seats_answered(answer).create(CANARY)) is of_write
    assert type(listing(seats_answered(answer))) is of_list


@pytest.mark.parametrize("act", ["replace", "deactivate"])
@pytest.mark.parametrize(("answer", "of_write", "of_list"), FAULTS)
def test_a_fault_before_anything_is_written(
    act: str, answer: Answer, of_write: type[Outcome], of_list: type[Outcome]
) -> None:
    """Where the seat cannot be found, nothing has changed, whatever was lost."""
    del of_write
    seats = seats_answered(answer)

    outcome = seats.replace(CANARY) if act == "replace" else seats.deactivate(user_name="canary-name")

    assert type(outcome) is of_list


def test_a_conflict_is_told_by_scims_own_code() -> None:
    """The code tells a duplicate from anything else the service refuses."""
    outcome = seats_answered(error(409, "canary-name is taken", scimType="uniqueness")).create(CANARY)

    assert outcome == Rejected("fullstory-seats", code="uniqueness", message="••• is taken")


def test_a_service_that_asks_to_wait_is_told_with_its_seconds() -> None:
    """Retry-After comes through, to whoever writes and to whoever lists."""
    seats = seats_answered(httpx.Response(429, headers={"retry-after": "77"}))

    assert seats.create(CANARY) == Unavailable("fullstory-seats", "HTTP 429", 77.0, status=429)
    assert listing(seats) == Unavailable("fullstory-seats", "HTTP 429", 77.0, status=429)


@pytest.mark.parametrize("answer", [httpx.Response(429), httpx.Response(503), httpx.ConnectError("refused")])
def test_a_creation_that_was_surely_not_applied_is_sent_again(answer: Answer) -> None:
    """Being told to wait, or reaching nobody, cannot have made a seat."""
    asked: list[str] = []

    outcome = seats_answered(answer, scim(201, user()), retry=THRICE, asked=asked).create(Seat("canary-name"))

    assert outcome == Accepted("fullstory-seats", "canary-id", verified=True)
    assert asked == ["POST /scim/v2/Users"] * 2


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(502), httpx.ReadTimeout("slow"), httpx.ReadError("reset"), HTML]
)
def test_a_creation_that_may_have_been_applied_is_sent_once(answer: Answer) -> None:
    """A second one would be a conflict with the first, and hide that there is a seat."""
    asked: list[str] = []

    outcome = seats_answered(answer, retry=THRICE, asked=asked).create(CANARY)

    assert outcome.retryable
    assert asked == ["POST /scim/v2/Users"]


def test_a_list_is_asked_for_again() -> None:
    """Asking changes nothing, so a page survives an outage."""
    asked: list[str] = []
    seats = seats_answered(httpx.ReadError("reset"), page(user(), total=1), retry=THRICE, asked=asked)

    assert len(list(seats.users())) == 1
    assert asked == ["GET /scim/v2/Users"] * 2


def test_what_was_read_before_a_fault_is_yielded_before_the_error() -> None:
    """The list breaks where it breaks, and says so: a list cut short is never taken for a whole one."""
    seats = seats_answered(page(user(), total=2), httpx.Response(503))
    listed = seats.users()

    assert next(listed).vendor_id == "canary-id"
    with pytest.raises(ListingError):
        next(listed)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page(user(), total=3)], id="the same page again"),
        pytest.param([page(user(), total=3), page(total=3)], id="an empty page before the end"),
        pytest.param([page(total=3)], id="nothing of what is promised"),
        pytest.param([scim(200, {"schemas": [LIST_SCHEMA], "Resources": [user()]})], id="no total"),
        pytest.param(
            [scim(200, {"schemas": [LIST_SCHEMA], "Resources": [user()], "nextCursor": "a"})], id="cursors alone"
        ),
        pytest.param([page(user(""), total=1)], id="an empty user name"),
        pytest.param([page(user("a", "1"), user("b", ""), total=2)], id="a seat without an id"),
        pytest.param([page({"schemas": [USER_SCHEMA], "id": "1"}, total=1)], id="a seat without a user name"),
    ],
)
def test_a_service_that_pages_in_circles_or_hides_some_is_found_out(pages: list[httpx.Response]) -> None:
    """A service that ignores startIndex would be listed for ever, one that hides seats would look complete."""
    assert isinstance(listing(seats_answered(*pages)), Unavailable)


def test_a_seat_that_slips_to_the_next_page_is_yielded_once() -> None:
    """Somebody may be added while we page, and move everybody along."""
    pages = [page(user("a", "1"), user("b", "2"), total=3), page(user("b", "2"), user("c", "3"), total=4)]

    assert [seat.vendor_id for seat in seats_answered(*pages).users()] == ["1", "2", "3"]


@pytest.mark.parametrize("email", ["ada@corp.local", "ada@localhost", "no address"])
def test_a_service_may_hold_any_address(email: str) -> None:
    """One odd address of one colleague must not make the whole list unreadable."""
    seats = seats_answered(page(user(emails=[{"value": email}]), user("bob", "2"), total=2))

    assert [seat.email for seat in seats.users()] == [email, None]


def test_a_service_that_knows_no_filter_cannot_have_the_wrong_colleague_deactivated() -> None:
    """It sends everybody; only whom we asked for is taken."""
    everybody = page(user("bob", "1"), user("ada", "2"), user("eve", "3"), total=3)
    asked: list[str] = []
    seats = seats_answered(everybody, httpx.Response(404), scim(200, user("ada", "2")), asked=asked)

    assert isinstance(seats.deactivate(user_name="ada"), Accepted)

    assert asked[-1] == "PUT /scim/v2/Users/2"


def test_text_that_is_no_unicode_is_refused_where_it_is_read() -> None:
    """A lone surrogate in what we only keep could not be put back."""
    body = json.dumps(user(nickName="\ud800")).encode()
    held = httpx.Response(200, content=body, headers={"content-type": "application/scim+json"})
    asked: list[str] = []

    outcome = seats_answered(held, asked=asked).deactivate("canary-id")

    assert outcome == Unavailable("fullstory-seats", "HTTP 200 with an unexpected body", status=200)
    assert asked == ["GET /scim/v2/Users/canary-id"]


def test_a_seat_is_active_unless_the_service_says_otherwise() -> None:
    """One who can log in must not be overlooked."""
    silent = {name: value for name, value in user("a", "1").items() if name != "active"}
    seats = seats_answered(page(silent, user("b", "2", active=False), user("c", "3", active=True), total=3))

    assert [seat.is_active for seat in seats.users()] == [True, False, True]


def test_two_seats_of_one_user_name_are_both_left_alone() -> None:
    """Which of them was meant, nobody knows."""
    asked: list[str] = []
    seats = seats_answered(page(user("ada", "1"), user("Ada", "2"), total=2), asked=asked)

    outcome = seats.deactivate(user_name="ADA")

    assert explain(outcome) == "user_name breaks the rule ambiguous-user-name"
    assert asked == ["GET /scim/v2/Users"]


@pytest.mark.parametrize(
    "description", [httpx.Response(404), error(404), error(501), HTML, scim(200, {"schemas": [CONFIG_SCHEMA]})]
)
def test_a_service_that_does_not_describe_itself_is_put_to(description: httpx.Response) -> None:
    """PUT is what Okta's custom applications send, so it is there where nothing is said of PATCH."""
    asked: list[str] = []
    seats = seats_answered(scim(200, user()), description, scim(200, user(active=False)), asked=asked)

    outcomes = [seats.deactivate("canary-id"), seats.deactivate("canary-id")]

    assert outcomes == [Accepted("fullstory-seats", "canary-id", verified=True)] * 2
    assert [method.split()[0] for method in asked] == ["GET", "GET", "PUT", "GET", "PUT"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(401), Misconfigured),
        (error(403), Misconfigured),
        (httpx.Response(503), Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable),
        (UNTRUSTED, Misconfigured),
    ],
)
def test_nothing_is_written_while_the_description_cannot_be_had(answer: Answer, kind: type[Outcome]) -> None:
    """That a service is down says nothing about what it takes."""
    asked: list[str] = []

    outcome = seats_answered(scim(200, user()), answer, asked=asked).deactivate("canary-id")

    assert type(outcome) is kind
    assert [method.split()[0] for method in asked] == ["GET", "GET"]


def test_a_write_whose_answer_was_lost_and_whose_repetition_conflicts_is_unknown() -> None:
    """Of two tries of one PUT, the second is refused because the first was applied, or because of somebody else."""
    described = scim(200, {"schemas": [CONFIG_SCHEMA]})
    seats = seats_answered(scim(200, user()), described, httpx.ReadError("reset"), httpx.Response(412), retry=THRICE)

    outcome = seats.replace(Seat("canary-name", vendor_id="canary-id"))

    assert outcome == Unknown("fullstory-seats", "HTTP 412 after a response was lost", status=412)


def test_a_reply_that_shows_something_else_is_not_verified() -> None:
    """The service took it, and what it shows is not what was sent."""
    outcome = seats_answered(scim(201, user("somebody-else"))).create(Seat("canary-name"))

    assert outcome == Accepted("fullstory-seats", "canary-id", verified=False)


@pytest.mark.parametrize(
    ("answer", "kind"), [(error(404), Rejected), (httpx.Response(404, html="<html>Not here</html>"), Misconfigured)]
)
def test_a_404_is_the_seats_only_if_a_scim_service_says_so(answer: httpx.Response, kind: type[Outcome]) -> None:
    """Whatever else answers 404 stands at the wrong address."""
    assert type(seats_answered(answer).deactivate("canary-id")) is kind


@pytest.mark.parametrize("vendor_id", ["", ".", ".."])
def test_an_id_that_an_address_cannot_hold_is_not_sent(vendor_id: str) -> None:
    """HTTP libraries resolve dots away, and the address would be that of the whole list."""
    asked: list[str] = []
    seats = seats_answered(scim(200, user()), asked=asked)

    outcomes = [
        seats.deactivate(vendor_id),
        seats.replace(Seat("ada", vendor_id=vendor_id)),
        seats.replace(Group("Admins", vendor_id=vendor_id)),
        seats.replace(Group("Admins")),
    ]

    assert [explain(outcome) for outcome in outcomes] == ["vendor_id breaks the rule id-in-address"] * 4
    assert asked == []


def test_an_id_with_a_slash_stays_one_segment() -> None:
    """Another seat's address cannot be made of an id."""
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(503)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    FullstorySeats("t", base_url="https://scim.example", transport=client, retry=ONCE).deactivate("a/../b?c#d")

    assert paths == [b"/Users/a%2F..%2Fb%3Fc%23d"]


def test_what_cannot_be_said_of_a_new_seat_is_not_dropped_silently() -> None:
    """Groups are changed in the group, and the id is the service's to give."""
    asked: list[str] = []

    outcome = seats_answered(scim(201, user()), asked=asked).create(Seat("ada", groups=["g1"], vendor_id="1"))

    assert explain(outcome) == "vendor_id breaks the rule id-is-assigned; groups breaks the rule groups-are-read-only"
    assert asked == []


@pytest.mark.parametrize(("groups", "kind"), [(["g2", "g1"], Accepted), ([], Accepted), (["g1"], Rejected)])
def test_groups_may_come_back_from_a_list_but_not_change(groups: list[str], kind: type[Outcome]) -> None:
    """A seat that was listed can be replaced as it is; a change of its groups would be lost."""
    held = user(groups=[{"value": "g1", "display": "Admins"}, {"value": "g2"}])
    seats = seats_answered(scim(200, held), httpx.Response(404), scim(200, held))

    assert type(seats.replace(Seat("canary-name", groups=groups, vendor_id="canary-id"))) is kind


@pytest.mark.parametrize("listening", [False, True])
def test_nobody_answers_on_a_real_socket(listening: bool) -> None:  # noqa: FBT001  # A parameter of pytest's.
    """A refused connection is unavailable; one that is taken and never answered leaves it unknown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not listening:
            server.close()
        with FullstorySeats("t", base_url=url, retry=ONCE, timeout=0.2) as seats:
            outcome = seats.create(CANARY)

    assert type(outcome) is (Unknown if listening else Unavailable)
