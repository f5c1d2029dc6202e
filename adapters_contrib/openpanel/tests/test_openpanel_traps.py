from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from replay_identity_openpanel import OpenPanel
from replay_identity_openpanel.emulator import OpenPanelEmulator

from replay_identity.adapters import REMOVE, Accepted, Misconfigured, Outcome, Rejected, UserTraits
from replay_identity.emulator import Fault, running
from replay_identity.transport import Transport

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
Identify = Callable[..., Outcome]


@pytest.fixture
def identify(openpanel: OpenPanelEmulator) -> Iterator[Identify]:
    """Return a function that sends a user to the default OpenPanel, with ``on_violation="adapt"``."""
    with running(openpanel) as server, Transport() as transport:

        def send(user: UserTraits, **settings: Any) -> Outcome:
            arguments: dict[str, Any] = {"api_key": openpanel.api_key, "client_id": openpanel.client_id} | settings
            backend = OpenPanel(**arguments, base_url=server.url, on_violation="adapt")
            return transport.run(backend.identify(user))

        yield send


def browse(client: httpx.Client, payload: dict[str, str]) -> None:
    """Create a profile as the SDK in a user's browser does."""
    response = client.post("/track", json={"type": "identify", "payload": payload}, headers={"user-agent": FIREFOX})
    assert response.status_code == 200


def test_a_users_device_and_country_stay(
    identify: Identify, client: httpx.Client, openpanel: OpenPanelEmulator
) -> None:
    """Although the user is in another country than the server."""
    browse(client, {"profileId": "u1"})
    before = openpanel.profiles["u1"].properties
    openpanel.geo["country"] = "US"

    identify(UserTraits("u1", name="Ada Lovelace", traits={"plan": "pro"}))

    assert before.items() >= {"device": "desktop", "os": "Linux", "country": "SE"}.items()
    assert openpanel.profiles["u1"].properties == {**before, "plan": "pro"}


def test_traits_that_openpanel_would_lose_are_recorded(identify: Identify, openpanel: OpenPanelEmulator) -> None:
    """With another name, the trait arrives."""
    outcome = identify(UserTraits("u1", name="Ada Lovelace", traits={"country": "NO", "home_country": "NO"}))

    assert isinstance(outcome, Accepted)
    assert [(adjustment.path, adjustment.rule) for adjustment in outcome.adjustments] == [
        ("traits.country", "set-by-server")
    ]
    assert openpanel.profiles["u1"].properties["home_country"] == "NO"
    assert openpanel.profiles["u1"].properties["country"] == "SE"


def test_an_invalid_address_drops_only_the_address(identify: Identify, openpanel: OpenPanelEmulator) -> None:
    """At OpenPanel, it would fail the call."""
    outcome = identify(UserTraits("u1", name="Ada Lovelace", email="ada@localhost"))

    assert isinstance(outcome, Accepted)
    assert openpanel.profiles["u1"].first_name == "Ada"


def test_a_last_name_stays_with_a_warning(
    identify: Identify, client: httpx.Client, openpanel: OpenPanelEmulator
) -> None:
    """A user who has one name now had two before."""
    browse(client, {"profileId": "u1", "lastName": "Byron"})

    outcome = identify(UserTraits("u1", name="Ada"))

    assert isinstance(outcome, Accepted)
    assert [(adjustment.kind, adjustment.rule) for adjustment in outcome.adjustments] == [("warned", "last-name-stays")]
    assert (openpanel.profiles["u1"].first_name, openpanel.profiles["u1"].last_name) == ("Ada", "Byron")


def test_an_impossible_removal_is_recorded(identify: Identify, openpanel: OpenPanelEmulator) -> None:
    """The trait keeps its value."""
    identify(UserTraits("u1", traits={"plan": "pro", "seats": 7}))

    outcome = identify(UserTraits("u1", traits={"plan": REMOVE, "seats": 8}))

    assert isinstance(outcome, Accepted)
    assert [(adjustment.path, adjustment.rule) for adjustment in outcome.adjustments] == [
        ("traits.plan", "cannot-remove")
    ]
    assert openpanel.profiles["u1"].properties.items() >= {"plan": "pro", "seats": 8}.items()


def test_every_digit_of_a_large_number_arrives(identify: Identify, openpanel: OpenPanelEmulator) -> None:
    """As text, since JavaScript would round it."""
    identify(UserTraits("u1", traits={"account": 2**53 + 1}))

    assert openpanel.profiles["u1"].properties["account"] == "9007199254740993"


def test_a_wrong_secret_differs_from_a_wrong_client(identify: Identify) -> None:
    """By OpenPanel's plain text, which contains neither of them."""
    ada = UserTraits("u1", name="Ada Lovelace")
    secret = identify(ada, api_key="wrong-secret")
    client = identify(ada, client_id="3f2c9a10-1b7e-4c55-8a43-000000000000")

    assert isinstance(secret, Misconfigured)
    assert secret.problem == "HTTP 401 Invalid cors or secret"
    assert isinstance(client, Misconfigured)
    assert client.problem == "HTTP 401 Invalid client id"
    assert "wrong-secret" not in repr(secret)


def test_a_lost_secret_is_reported(openpanel: OpenPanelEmulator) -> None:
    """The response is a success that stored nothing."""
    openpanel.faults.add(Fault(body=b'{"bot":{"name":"Generic"}}', status=202))
    with running(openpanel) as server, Transport() as transport:
        backend = OpenPanel(openpanel.api_key, client_id=openpanel.client_id, base_url=server.url)
        outcome = transport.run(backend.identify(UserTraits("u1", name="Ada Lovelace")))

    assert isinstance(outcome, Misconfigured)
    assert "openpanel-client-secret" in outcome.hint


def test_a_blocked_profile_does_not_stop_others() -> None:
    """A 401 about one user is not a wrong setting."""
    emulator = OpenPanelEmulator(blocked_profiles={"u1"})
    with running(emulator) as server, Transport() as transport:
        backend = OpenPanel(emulator.api_key, client_id=emulator.client_id, base_url=server.url)
        outcomes = [
            transport.run(backend.identify(UserTraits(user_id, name="Ada Lovelace"))) for user_id in ("u1", "u2")
        ]

    assert outcomes[0] == Rejected("openpanel", code="HTTP 401", message="Profile id is blocked by project filter")
    assert isinstance(outcomes[1], Accepted)


def test_the_adapters_headers_arrive(identify: Identify, openpanel: OpenPanelEmulator) -> None:
    """The adapter's User-Agent, no Origin, and no client address."""
    identify(UserTraits("u1", name="Ada Lovelace"))

    headers = openpanel.requests[0].headers
    assert headers["user-agent"].startswith("replay-identity-openpanel/")
    assert headers.keys().isdisjoint({"origin", "x-client-ip"})
