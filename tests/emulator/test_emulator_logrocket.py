"""LogRocket's emulator."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from replay_identity.emulator import HistoryNotKeptError, LogRocketEmulator
from replay_identity.emulator.logrocket.errors import Envelope
from replay_identity.emulator.logrocket.users import js_string

MountLogRocket = Callable[[LogRocketEmulator], httpx.Client]

APP = "/v1/orgs/acme/apps/shop"
U1 = f"{APP}/users/u1"


def test_put_returns_the_user(lr: httpx.Client) -> None:
    """The response has LogRocket's own field names."""
    response = lr.put(U1, json={"name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}})

    assert response.status_code == 200
    assert response.json() == {"userID": "u1", "name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}}


def test_put_merges(lr: httpx.Client) -> None:
    """Fields that are not in the request stay, and the response has them."""
    lr.put(U1, json={"name": "Ann", "email": "a@example.com", "traits": {"plan": "free", "seats": "1"}})

    response = lr.put(U1, json={"traits": {"plan": "pro"}})

    assert response.json()["name"] == "Ann"
    assert response.json()["traits"] == {"plan": "pro", "seats": "1"}


def test_empty_value_removes_a_trait(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """The empty string removes it, spaces do not."""
    lr.put(U1, json={"traits": {"a": "1", "b": "1"}})

    lr.put(U1, json={"traits": {"a": "", "b": " ", "c": ""}})

    assert logrocket.users["u1"].traits == {"b": " "}


def test_empty_name_or_email_is_ignored(lr: httpx.Client) -> None:
    """Only traits can be removed."""
    lr.put(U1, json={"name": "Ann", "email": "a@example.com"})

    response = lr.put(U1, json={"name": "", "email": ""})

    assert (response.json()["name"], response.json()["email"]) == ("Ann", "a@example.com")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, "true"),
        (False, "false"),
        (43, "43"),
        (0, "0"),
        (-7, "-7"),
        (9.99, "9.99"),
        (-0.5, "-0.5"),
        (1.0, "1"),
        (100.0, "100"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e21, "1.5e+21"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-7, "-1.5e-7"),
        (-0.0, "0"),
        (123456789012345678, "123456789012345680"),
        ("x", "x"),
    ],
)
def test_trait_is_converted_like_in_javascript(lr: httpx.Client, value: object, stored: str) -> None:
    """All values become strings."""
    assert lr.put(U1, json={"traits": {"a": value}}).json()["traits"] == {"a": stored}


@pytest.mark.parametrize("number", [5e-324, 1.7976931348623157e308, 0.1, 12.5, 123456.789])
def test_js_string_keeps_all_digits(number: float) -> None:
    """Reading the string returns the same number."""
    assert float(js_string(number)) == number


@pytest.mark.parametrize(
    ("encoded", "user_id"),
    [
        ("a%2Fb", "a/b"),
        ("google-oauth2%7Cabc", "google-oauth2|abc"),
        ("ann%40example.com", "ann@example.com"),
        ("%C3%A9%20", "é "),
        ("100%25", "100%"),
        ("%2541", "%41"),
        ("...", "..."),
    ],
)
def test_id_is_one_encoded_segment(lr: httpx.Client, logrocket: LogRocketEmulator, encoded: str, user_id: str) -> None:
    """An id with a slash is still one id."""
    response = lr.put(f"{APP}/users/{encoded}", json={})

    assert response.json()["userID"] == user_id
    assert list(logrocket.users) == [user_id]


def test_path_must_be_utf8(lr: httpx.Client) -> None:
    """Other bytes are malformed."""
    response = lr.put(f"{APP}/users/%FF", json={})

    assert (response.status_code, response.json()) == (400, {"error": "Malformed request"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{APP}/users/"),
        ("PUT", f"{APP}/users/u1/"),
        ("PUT", f"{APP}/users/a/b"),
        ("PUT", f"{APP}/users/%2E%2E"),
        ("PUT", "/v1/orgs/other/apps/shop/users/u1"),
        ("PUT", "/v1/orgs/acme/apps/other/users/u1"),
        ("PUT", "/orgs/acme/apps/shop/users/u1"),
        ("POST", U1),
        ("GET", U1),
        ("POST", f"{APP}/gdpr/exclusion"),
        ("POST", f"{APP}/gdpr/deletion/"),
        ("POST", "/v1/orgs/acme/apps/other/gdpr/exclusion/"),
    ],
)
def test_other_paths_and_methods_are_not_found(lr: httpx.Client, method: str, path: str) -> None:
    """Another app, trailing slash or method is a 404."""
    assert lr.request(method, path, json={}).status_code == 404


@pytest.mark.parametrize("scheme", ["token", "Token", "TOKEN"])
def test_scheme_is_case_insensitive(lr: httpx.Client, scheme: str) -> None:
    """LogRocket's documents use both forms."""
    headers = {"authorization": f"{scheme} acme:shop:emulator"}

    assert lr.put(U1, json={}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "credentials", ["token acme:shop:wrong", "Bearer acme:shop:emulator", "acme:shop:emulator", ""]
)
def test_wrong_key_is_unauthorized(lr: httpx.Client, logrocket: LogRocketEmulator, credentials: str) -> None:
    """Nothing is applied without the key."""
    response = lr.put(U1, json={}, headers={"authorization": credentials})

    assert response.status_code == 401
    assert not logrocket.users


@pytest.mark.parametrize("api_key", ["acme", "acme:shop", ":shop:secret", "acme:shop:"])
def test_key_has_three_parts(api_key: str) -> None:
    """An emulator without an organisation or an app cannot be made."""
    with pytest.raises(ValueError, match="org:app:secret"):
        LogRocketEmulator(api_key=api_key)


def test_missing_body_has_its_own_message(lr: httpx.Client) -> None:
    """It differs from that of a malformed body."""
    response = lr.put(U1)

    assert (response.status_code, response.json()) == (400, {"error": "Missing request body"})


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"[]",
        b"null",
        b'{"userID": "u1"}',
        b'{"plan": "pro"}',
        b'{"name": null}',
        b'{"name": 1}',
        b'{"email": true}',
        b'{"timestamp": 1.5}',
        b'{"timestamp": 1.0}',
        b'{"timestamp": "1"}',
        b'{"timestamp": true}',
        b'{"timestamp": null}',
        b'{"traits": null}',
        b'{"traits": []}',
        b'{"traits": {"": "x"}}',
        b'{"traits": {"a": null}}',
        b'{"traits": {"a": ["x"]}}',
        b'{"traits": {"a": {"b": "x"}}}',
        b'{"traits": {"a": "\\ud800"}}',
    ],
)
def test_malformed_body_is_rejected(lr: httpx.Client, logrocket: LogRocketEmulator, body: bytes) -> None:
    """A body that does not conform to the schema is rejected as a whole."""
    response = lr.put(U1, content=body)

    assert (response.status_code, response.json()) == (400, {"error": "Malformed request"})
    assert not logrocket.users


def test_empty_object_is_accepted(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """Every field is optional."""
    assert lr.put(U1, json={}).json() == {"userID": "u1", "traits": {}}
    assert "u1" in logrocket.users


def test_empty_object_can_be_rejected(mount_logrocket: MountLogRocket) -> None:
    """With accepts_empty=False it is malformed."""
    lr = mount_logrocket(LogRocketEmulator(accepts_empty=False))

    assert lr.put(U1, json={}).status_code == 400
    assert lr.put(U1, json={"traits": {}}).status_code == 200


@pytest.mark.parametrize(
    ("user_id", "body", "message"),
    [
        ("x" * 1025, {}, "userID too large (max 1024 characters)"),
        ("u1", {"name": "x" * 1025}, "name too large (max 1024 characters)"),
        ("u1", {"email": "x" * 1025}, "email too large (max 1024 characters)"),
        ("u1", {"traits": {"a": "x" * 1025}}, "user trait value too large (max 1024 characters)"),
        ("u1", {"traits": {"x" * 1025: "a"}}, "user trait key too large"),
        ("u1", {"traits": {"a": "😀" * 513}}, "user trait value too large (max 1024 characters)"),
    ],
)
def test_string_over_1024_is_rejected(
    lr: httpx.Client, logrocket: LogRocketEmulator, user_id: str, body: object, message: str
) -> None:
    """The message names the field, and nothing is applied."""
    response = lr.put(f"{APP}/users/{user_id}", json=body)

    assert (response.status_code, response.json()) == (400, {"error": message})
    assert not logrocket.users


def test_1024_utf16_units_are_accepted(lr: httpx.Client) -> None:
    """The limit is inclusive, and an emoji counts twice."""
    full = "😀" * 512

    response = lr.put(f"{APP}/users/{'x' * 1024}", json={"name": full, "email": full, "traits": {full: full}})

    assert response.status_code == 200


def test_timestamps_set_first_and_last_seen(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """An older timestamp only changes first seen."""
    for timestamp in (2000, 3000, 1000):
        lr.put(U1, json={"timestamp": timestamp})

    user = logrocket.users["u1"]
    assert (user.first_seen, user.last_seen) == (1000, 3000)


def test_default_timestamp_is_the_time_of_arrival(lr: httpx.Client, logrocket: LogRocketEmulator, clock: Any) -> None:
    """It is in milliseconds."""
    lr.put(U1, json={})

    assert logrocket.users["u1"].last_seen == clock.now * 1000


def test_last_arrival_wins(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """An old value sent late overwrites a newer one."""
    lr.put(U1, json={"timestamp": 2000, "traits": {"plan": "new"}})

    lr.put(U1, json={"timestamp": 1000, "traits": {"plan": "old"}})

    assert logrocket.users["u1"].traits == {"plan": "old"}


@pytest.mark.parametrize(
    ("envelope", "body"),
    [
        ("error", b'{"error":"Malformed request"}'),
        ("message", b'{"message":"Malformed request"}'),
        ("detail", b'{"detail":"Malformed request"}'),
        ("text", b"Malformed request"),
    ],
)
def test_error_envelope_can_be_chosen(mount_logrocket: MountLogRocket, envelope: Envelope, body: bytes) -> None:
    """The documents do not name the field of the message."""
    lr = mount_logrocket(LogRocketEmulator(envelope=envelope))

    assert lr.put(U1, content=b"{").content == body


@pytest.mark.parametrize(
    ("body", "person"),
    [
        ({"email": "a@example.com"}, ("email", "a@example.com")),
        ({"user_id": "u1"}, ("user_id", "u1")),
        ({"user_id": 9387576103484576}, ("user_id", "9387576103484576")),
    ],
)
def test_inclusion_undoes_exclusion(
    lr: httpx.Client, logrocket: LogRocketEmulator, body: object, person: tuple[str, str]
) -> None:
    """Users are named by e-mail or by id."""
    excluded = lr.post(f"{APP}/gdpr/exclusion/", json=body)

    assert (excluded.status_code, logrocket.excluded) == (200, {person})
    assert lr.post(f"{APP}/gdpr/inclusion/", json=body).status_code == 200
    assert logrocket.excluded == set()


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"userID": "u1"},
        {"email": "a@example.com", "user_id": "u1"},
        {"email": ""},
        {"email": 1},
        {"user_id": ""},
        {"user_id": True},
        {"user_id": 1, "email": "a@example.com"},
        {"user_id": "u1", "more": 1},
    ],
)
def test_exclusion_needs_one_email_or_id(lr: httpx.Client, logrocket: LogRocketEmulator, body: object) -> None:
    """Other bodies are malformed."""
    response = lr.post(f"{APP}/gdpr/exclusion/", content=orjson.dumps(body))

    assert (response.status_code, response.json()) == (400, {"error": "Malformed request"})
    assert not logrocket.excluded


def test_excluded_user_can_be_identified(lr: httpx.Client) -> None:
    """Exclusion is about recording."""
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    assert lr.put(U1, json={}).status_code == 200


def test_reset_deletes_users_and_exclusions(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """A reset emulator is like a new one."""
    lr.put(U1, json={})
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    logrocket.reset()

    assert (logrocket.users, logrocket.excluded, logrocket.requests) == ({}, set(), ())


def test_writes_are_counted(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """Rejected requests and exclusions do not count."""
    for body in ({}, {"name": "Ann"}, {"name": 1}):
        lr.put(U1, json=body)
    lr.put(f"{APP}/users/u%2F2", json={})
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    assert (logrocket.applied, logrocket.total_applied) == ({"u1": 2, "u/2": 1}, 3)
    assert lr.get("/_emulator/applied").json() == {"total": 3, "users": {"u1": 2, "u/2": 1}}


def test_history_has_the_payloads_in_order(mount_logrocket: MountLogRocket) -> None:
    """It has the bodies of applied requests, as sent."""
    emulator = LogRocketEmulator(keeps_history=True)
    lr = mount_logrocket(emulator)
    bodies = [{"traits": {"a": 1}}, {"traits": {"a": None}}, {"traits": {"a": 2}}]
    for body in bodies:
        lr.put(U1, json=body)

    assert emulator.history("u1") == (bodies[0], bodies[2])
    assert emulator.history("nobody") == ()


def test_reset_deletes_counts_and_history(mount_logrocket: MountLogRocket) -> None:
    """A reset emulator is like a new one."""
    emulator = LogRocketEmulator(keeps_history=True)
    mount_logrocket(emulator).put(U1, json={})

    emulator.reset()

    assert (emulator.applied, emulator.total_applied, emulator.history("u1")) == ({}, 0, ())


def test_history_needs_keeps_history(logrocket: LogRocketEmulator) -> None:
    """Without the option, reading it is an error."""
    with pytest.raises(HistoryNotKeptError, match="keeps_history=True"):
        logrocket.history("u1")


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        ("numeric-id", 200, b'{"userID":12,"name":"Ann","traits":{}}'),
        ("object", 200, b"{}"),
        ("success", 200, b'{"success":true}'),
        ("empty", 200, b""),
        ("no-content", 204, b""),
    ],
)
def test_success_can_have_other_bodies(mount_logrocket: MountLogRocket, form: Any, status: int, body: bytes) -> None:
    """All of them identify the user."""
    emulator = LogRocketEmulator(identify_response=form)
    lr = mount_logrocket(emulator)

    response = lr.put("/v1/orgs/acme/apps/shop/users/12", json={"name": "Ann"})

    assert (response.status_code, response.content) == (status, body)
    assert emulator.users["12"].name == "Ann"
    assert emulator.requests[-1].applied


def test_text_id_becomes_some_number(mount_logrocket: MountLogRocket) -> None:
    """A client that expects its own id finds another one."""
    lr = mount_logrocket(LogRocketEmulator(identify_response="numeric-id"))

    assert lr.put("/v1/orgs/acme/apps/shop/users/ann", json={"name": "Ann"}).json()["userID"] == 1
