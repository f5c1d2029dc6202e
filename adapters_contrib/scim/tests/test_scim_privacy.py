"""No key and no value is in an outcome, a repr, an error, a traceback or a log."""

import json
import logging
import traceback
from collections.abc import Callable

import attrs
import httpx
import pytest
from replay_identity_scim import FullstorySeats, Group, ListingError, Seat

from replay_identity.adapters import InvalidTraitsError

from .scripted import ERROR_SCHEMA, TOKEN, ScriptedResponse, page, scim, scripted_seats, user

CANARY = Seat("canary-name", given_name="Canarygiven", family_name="Canaryfamily", email="canary-mail@example.com")
CANARIES = (CANARY.user_name, "Canarygiven", "Canaryfamily", "canary-mail", "canary/id", "canary-group", TOKEN)
STORED = user(given_name="Canaryheld", roles=[{"value": "canary-role"}])


def echo(request: httpx.Request) -> httpx.Response:
    """Reject a request with all its content, decoded and raw."""
    parts = [str(request.url), request.url.path, str(request.url.params), request.headers["authorization"]]
    body = json.loads(request.content) if request.content else None
    return scim(
        400,
        {
            "schemas": [ERROR_SCHEMA],
            "status": "400",
            "detail": f"{' '.join(parts)} {body} {json.dumps(body)}",
            "scimType": request.url.path.removeprefix("/scim/v2/Users/"),
        },
    )


ACTIONS: dict[str, Callable[[FullstorySeats], object]] = {
    "create": lambda seats: seats.create(CANARY),
    "create a group": lambda seats: seats.create(Group(CANARIES[5], members=[CANARIES[4]])),
    "replace": lambda seats: seats.replace(attrs.evolve(CANARY, vendor_id=CANARIES[4])),
    "replace by name": lambda seats: seats.replace(CANARY),
    "replace a group": lambda seats: seats.replace(Group(CANARIES[5], vendor_id=CANARIES[4])),
    "deactivate": lambda seats: seats.deactivate(CANARIES[4]),
    "deactivate by name": lambda seats: seats.deactivate(user_name=CANARY.user_name),
    "users": lambda seats: list(seats.users(user_name=CANARY.user_name)),
    "groups": lambda seats: list(seats.groups()),
}
PRECEDING: dict[str, tuple[ScriptedResponse, ...]] = {
    "at once": (),
    "after the seat was read": (scim(200, STORED), httpx.Response(404)),
    "after the seat was found": (page(STORED, total=1), httpx.Response(404)),
    "after a connection was lost": (httpx.ReadError(CANARY.user_name),),
    "after a response that is not SCIM": (scim(200, {"schemas": [CANARY.user_name], "id": [CANARY.user_name]}),),
}


@pytest.mark.parametrize("first", PRECEDING.values(), ids=PRECEDING)
@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_no_value_leaks_from_quoted_requests(
    action: Callable[[FullstorySeats], object], first: tuple[ScriptedResponse, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Messages are redacted, and no exception of another library is shown."""
    caplog.set_level(logging.DEBUG)
    seats = scripted_seats(*first, echo)
    contexts: list[BaseException | None] = []

    try:
        shown = repr(action(seats))
    except ListingError as listing_error:
        shown = "".join(traceback.format_exception(listing_error)) + repr(listing_error)
        contexts.append(listing_error.__context__)

    # Some tools show the context of an error, even where a traceback does not.
    assert contexts in ([], [None])
    shown += repr(seats) + caplog.text
    assert not [canary for canary in (*CANARIES, "Canaryheld", "canary-role") if canary in shown]


FACTORIES: list[Callable[[str], Seat | Group]] = [
    Seat,
    lambda text: Seat("ada", given_name=text),
    lambda text: Seat("ada", family_name=text),
    lambda text: Seat("ada", email=text),
    lambda text: Seat("ada", vendor_id=text),
    lambda text: Seat("ada", groups=[text]),
    Group,
    lambda text: Group("Admins", members=[text]),
    lambda text: Group("Admins", vendor_id=text),
]


@pytest.mark.parametrize("make", FACTORIES)
def test_reprs_and_errors_show_no_value(make: Callable[[str], Seat | Group]) -> None:
    """Errors name the field instead."""
    text = "can" + "ary"
    assert text not in repr(make(text))

    with pytest.raises(InvalidTraitsError) as caught:
        make(f"{text}\ud800")

    assert text not in "".join(traceback.format_exception(caught.value))
