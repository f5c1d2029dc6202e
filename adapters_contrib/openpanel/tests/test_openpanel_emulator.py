from typing import Any

import httpx
import pytest
from replay_identity_openpanel.emulator import OpenPanelEmulator
from replay_identity_openpanel.emulator.payload import is_email

from replay_identity.emulator import Fault, RateLimit, running

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
SERVER = {"device": "server", "isServer": True}
RATE_LIMITED = "You have exceeded the rate limit for this endpoint."
STOCKHOLM = {"country": "SE", "city": "Stockholm", "region": "AB", "longitude": 18.07, "latitude": 59.33}


def identify(client: httpx.Client, payload: object, **headers: str) -> httpx.Response:
    """Send one identify."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/track", json={"type": "identify", "payload": payload}, headers=sent)


def own_properties(emulator: OpenPanelEmulator, profile_id: str = "u1") -> dict[str, Any]:
    """Return the properties of a profile that were not derived from the request."""
    derived = {*SERVER, *STOCKHOLM}
    return {name: value for name, value in emulator.profiles[profile_id].properties.items() if name not in derived}


def test_an_identify_returns_a_device_and_a_session(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """The response does not show the profile."""
    payload = {"profileId": "u1", "firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"}

    response = identify(client, payload)

    assert response.status_code == 200
    assert response.json().keys() == {"deviceId", "sessionId"}
    profile = openpanel.profiles["u1"]
    assert (profile.first_name, profile.last_name, profile.email) == ("Ada", "Lovelace", "ada@example.com")
    assert openpanel.applied == {"u1": 1}
    assert openpanel.requests[0].applied


def test_missing_fields_stay(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """An empty text counts as missing."""
    identify(client, {"profileId": "u1", "firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"})

    identify(client, {"profileId": "u1", "firstName": "", "lastName": "King"})

    profile = openpanel.profiles["u1"]
    assert (profile.first_name, profile.last_name, profile.email) == ("Ada", "King", "ada@example.com")


def test_properties_are_merged_object_by_object(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """A list, or a value of another type, replaces the stored value."""
    old = {"a": {"b": 1, "c": {"d": 1}}, "tags": ["x", "y"], "plan": "free", "size": {"x": 1}, "kept": 1}
    identify(client, {"profileId": "u1", "properties": old})

    identify(client, {"profileId": "u1", "properties": {"a": {"c": {"e": 2}}, "tags": ["z"], "plan": 5, "size": "s"}})

    assert own_properties(openpanel) == {
        "a": {"b": 1, "c": {"d": 1, "e": 2}},
        "tags": ["z"],
        "plan": 5,
        "size": "s",
        "kept": 1,
    }


@pytest.mark.parametrize("blank", ["", None, [], {}])
def test_a_blank_at_the_first_level_is_ignored(
    client: httpx.Client, openpanel: OpenPanelEmulator, blank: object
) -> None:
    """So nothing can be cleared; 0 and false are not blank."""
    identify(client, {"profileId": "u1", "properties": {"a": "old", "zero": 1, "no": True}})

    identify(client, {"profileId": "u1", "properties": {"a": blank, "b": blank, "zero": 0, "no": False}})

    assert own_properties(openpanel) == {"a": "old", "zero": 0, "no": False}


def test_a_nested_blank_replaces_all_but_text(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """It does not replace a text, and null replaces nothing; an empty list does."""
    identify(client, {"profileId": "u1", "properties": {"a": {"text": "x", "number": 1, "list": [1], "null": 1}}})

    new: dict[str, Any] = {"text": "", "number": "", "list": [], "null": None, "new": ""}
    identify(client, {"profileId": "u1", "properties": {"a": new}})

    assert own_properties(openpanel) == {"a": {"text": "x", "number": "", "list": [], "null": 1, "new": ""}}


def test_integers_are_parsed_as_in_javascript(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """Beyond 2**53, not every integer exists."""
    identify(client, {"profileId": "u1", "properties": {"a": 2**53 - 1, "b": 2**53 + 1, "c": [{"d": -(2**53) - 1}]}})

    assert own_properties(openpanel) == {"a": 2**53 - 1, "b": 2**53, "c": [{"d": -(2**53)}]}


def test_a_server_creates_a_servers_profile(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """The derived location overwrites properties of the same names."""
    identify(client, {"profileId": "u1", "properties": {"country": "NO", "os": "BeOS", "plan": "pro"}})

    assert openpanel.profiles["u1"].properties == {"plan": "pro", **SERVER, **STOCKHOLM}


def test_a_server_keeps_a_users_device(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """So the payload's own values of these names are lost as well."""
    identify(client, {"profileId": "u1"}, user_agent=FIREFOX)
    before = dict(openpanel.profiles["u1"].properties)
    openpanel.geo["country"] = "US"

    identify(client, {"profileId": "u1", "properties": {"country": "NO", "os_version": "9", "plan": "pro"}})

    assert before == {**STOCKHOLM, **LINUX}
    assert openpanel.profiles["u1"].properties == {**before, "plan": "pro"}


def test_a_server_moves_a_servers_profile(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """The location is that of the last request."""
    identify(client, {"profileId": "u1"})
    openpanel.geo["country"] = "US"

    identify(client, {"profileId": "u1", "properties": {"plan": "pro"}})

    assert openpanel.profiles["u1"].properties == {**SERVER, **STOCKHOLM, "country": "US", "plan": "pro"}


LINUX = {"device": "desktop", "isServer": False, "os": "Linux", "browser": "Firefox", "browser_version": "145.0"}


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (FIREFOX, "desktop"),
        (IPHONE, "mobile"),
        ("backend/1.0", "server"),
        ("Firefox/1.0", "server"),
        ("some backend", "server"),
        ("", "server"),
    ],
)
def test_the_requests_user_agent_becomes_the_users(
    client: httpx.Client, openpanel: OpenPanelEmulator, user_agent: str, device: str
) -> None:
    """Unless it is a server's: one name and one version, or no browser."""
    identify(client, {"profileId": "u1"}, user_agent=user_agent)

    assert openpanel.profiles["u1"].properties["device"] == device


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "profileId"),
        ({"profileId": ""}, "profileId"),
        ({"profileId": None}, "profileId"),
        ({"profileId": True}, "profileId"),
        ({"profileId": "u1", "email": ""}, "email"),
        ({"profileId": "u1", "email": None}, "email"),
        ({"profileId": "u1", "email": "ada"}, "email"),
        ({"profileId": "u1", "firstName": None}, "firstName"),
        ({"profileId": "u1", "lastName": 5}, "lastName"),
        ({"profileId": "u1", "properties": []}, "properties"),
        ({"profileId": "u1", "properties": {"a": [{"__proto__": 1}]}}, "prototype"),
        ([], "payload"),
    ],
)
def test_an_invalid_field_is_a_bad_request(
    client: httpx.Client, openpanel: OpenPanelEmulator, payload: object, field: str
) -> None:
    """One invalid field fails the whole call."""
    response = identify(client, payload)

    assert response.status_code == 400
    assert (response.json()["status"], response.json()["error"]) == (400, "Bad Request")
    assert field in response.json()["message"]
    assert openpanel.profiles == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("a@b.cd", "a.b'c@d-.e0.fg", "-+_@0.AA")),
        *(
            (text, False)
            for text in ("a@b", "a@bcd", "a@b.c", "a@b.c0", "a@-b.cd", "a@b..cd", "a@b_c.de", "@b.cd", "a b@c.de")
        ),
        *((text, False) for text in (".a@b.cd", "a.@b.cd", "a..b@c.de", "a'@b.cd", "é@b.cd", "a@é.cd", "a@b.cd\n", "")),
    ],
)
def test_email_addresses_are_validated_as_in_zod(text: str, expected: bool) -> None:  # noqa: FBT001  # The claim.
    """Strictly."""
    assert is_email(text) == expected


def test_unknown_keys_are_ignored(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """Without an error."""
    response = identify(client, {"profileId": "u1", "name": "Ada", "traits": {"plan": "pro"}})

    assert response.status_code == 200
    assert own_properties(openpanel) == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"identify"'])
def test_a_body_must_be_a_json_object(client: httpx.Client, body: bytes) -> None:
    """Other JSON is a bad request, too."""
    response = client.post("/track", content=body)

    assert (response.status_code, response.json()["status"]) == (400, 400)


@pytest.mark.parametrize(("kind", "message"), [("alias", "Alias is not supported"), ("page", "Invalid type")])
def test_another_type_is_a_bad_request(client: httpx.Client, kind: str, message: str) -> None:
    """An alias is known but not supported."""
    response = client.post("/track", json={"type": kind, "payload": {"profileId": "u1", "alias": "u2"}})

    assert response.status_code == 400
    assert response.json() == {"status": 400, "error": "Bad Request", "message": message}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"openpanel_client_id": ""}, "Missing client id"),
        ({"openpanel_client_id": "3F2C9A10-1B7E-4C55-8A43-0D6F7B1E2A90"}, "Client ID must be a valid UUIDv4"),
        ({"openpanel_client_id": "3f2c9a10-1b7e-4c55-8a43-0d6f7b1e2a91"}, "Invalid client id"),
        ({"openpanel_client_secret": "wrong"}, "Invalid cors or secret"),
        ({"openpanel_client_secret": ""}, "Invalid cors or secret"),
    ],
)
def test_an_unknown_client_gets_a_reason_in_plain_text(
    client: httpx.Client, openpanel: OpenPanelEmulator, headers: dict[str, str], reason: str
) -> None:
    """After the word "Ingestion"."""
    response = identify(client, {"profileId": "u1"}, **headers)

    assert (response.status_code, response.text) == (401, f"Ingestion: {reason}")
    assert response.headers["content-type"].startswith("text/plain")
    assert openpanel.profiles == {}


def test_client_and_secret_may_be_in_the_body(openpanel: OpenPanelEmulator) -> None:
    """As the SDK of the browser sends them."""
    body = {
        "type": "identify",
        "payload": {"profileId": "u1"},
        "clientId": openpanel.client_id,
        "clientSecret": openpanel.api_key,
    }
    with running(openpanel) as server:
        assert httpx.post(f"{server.url}/track", json=body).status_code == 200


def test_a_blocked_profile_gets_a_401() -> None:
    """Although the client is valid; other profiles are stored."""
    emulator = OpenPanelEmulator(blocked_profiles={"u1"})
    headers = {"openpanel-client-id": emulator.client_id, "openpanel-client-secret": emulator.api_key}
    with running(emulator) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        blocked, other = (identify(client, {"profileId": profile_id}) for profile_id in ("u1", "u2"))

    assert (blocked.status_code, blocked.text) == (401, "Ingestion: Profile id is blocked by project filter")
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"user-agent": "curl/8.5.0"}, 202),
        ({"user-agent": "python-httpx/0.28.1"}, 202),
        ({"user-agent": "curl/8.5.0", "openpanel-client-secret": "any"}, 200),
        ({"user-agent": FIREFOX}, 200),
        ({"user-agent": "backend/1.0"}, 200),
    ],
)
def test_a_bot_without_a_secret_gets_a_202(headers: dict[str, str], status: int) -> None:
    """If the client needs no secret; with one, nobody is a bot."""
    emulator = OpenPanelEmulator(ignores_secret=True)
    with running(emulator) as server:
        body = {"type": "identify", "payload": {"profileId": "u1"}}
        sent = {"openpanel-client-id": emulator.client_id, **headers}
        response = httpx.post(f"{server.url}/track", json=body, headers=sent)

    assert response.status_code == status
    assert ("bot" in response.json()) == (status == 202)
    assert (emulator.profiles == {}) == (status == 202)


def test_equal_bytes_from_one_origin_are_briefly_duplicates(
    client: httpx.Client, openpanel: OpenPanelEmulator, clock: Any
) -> None:
    """A request is noted before it is processed, so the first may have been rejected."""
    first = identify(client, {"profileId": "u1"}, origin="http://localhost:3000", openpanel_client_secret="wrong")
    second = identify(client, {"profileId": "u1"}, origin="http://localhost:3000")
    elsewhere = identify(client, {"profileId": "u1"}, origin="http://localhost:3001")
    clock.now += 0.2
    later = identify(client, {"profileId": "u1"}, origin="http://localhost:3000")

    assert first.status_code == 401
    assert (second.status_code, second.text) == (200, "Duplicate event")
    assert elsewhere.json().keys() == later.json().keys() == {"deviceId", "sessionId"}
    assert openpanel.applied == {"u1": 2}


def test_without_an_origin_nothing_is_a_duplicate(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """However soon the second request comes."""
    for _ in range(3):
        identify(client, {"profileId": "u1"})

    assert openpanel.applied == {"u1": 3}


def test_a_command_property_writes_to_another_profile(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """The profile's id in the payload is ignored."""
    identify(client, {"profileId": "u1", "firstName": "Ada", "properties": {"__identify": {"profileId": "u2"}}})

    assert list(openpanel.profiles) == ["u2"]
    assert openpanel.profiles["u2"].first_name == "Ada"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "Ingestion: Invalid cors or secret"),
        (429, f'{{"status":429,"error":"Too Many Requests","message":"{RATE_LIMITED}"}}'),
        (413, '{"status":413,"error":"Request Entity Too Large","message":"Request Entity Too Large"}'),
        (499, ""),
        (500, "Internal server error"),
        (503, "Internal server error"),
    ],
)
def test_an_injected_failure_looks_like_openpanels(
    client: httpx.Client, openpanel: OpenPanelEmulator, status: int, text: str
) -> None:
    """JSON or plain text, as in its code."""
    openpanel.faults.add(Fault(status=status))

    response = identify(client, {"profileId": "u1"})

    assert (response.status_code, response.text) == (status, text)
    assert openpanel.profiles == {}


def test_a_rate_limit_returns_429(clock: Any) -> None:
    """With the seconds to wait."""
    emulator = OpenPanelEmulator(rate_limit=RateLimit(requests=1, seconds=10), clock=clock)
    headers = {"openpanel-client-id": emulator.client_id, "openpanel-client-secret": emulator.api_key}
    with running(emulator) as server, httpx.Client(base_url=server.url, headers=headers) as client:
        responses = [identify(client, {"profileId": "u1"}) for _ in range(2)]

    assert [response.status_code for response in responses] == [200, 429]
    assert responses[1].headers["retry-after"] == "10"


def test_the_profiles_can_be_viewed_and_deleted(client: httpx.Client, openpanel: OpenPanelEmulator) -> None:
    """In a browser, too."""
    identify(client, {"profileId": "u1", "firstName": "Ada"}, origin="http://localhost:3000")

    shown = client.get("/_emulator/profiles").json()
    openpanel.reset()

    assert shown["u1"]["firstName"] == "Ada"
    assert (openpanel.profiles, openpanel.applied) == ({}, {})
    # The same bytes again are not a duplicate either.
    assert identify(client, {"profileId": "u1", "firstName": "Ada"}, origin="http://localhost:3000").json()


@pytest.mark.parametrize(("method", "path"), [("GET", "/track"), ("POST", "/track/"), ("POST", "/profile")])
def test_other_endpoints_are_404(client: httpx.Client, method: str, path: str) -> None:
    """Only `identify` is supported."""
    assert client.request(method, path).status_code == 404
