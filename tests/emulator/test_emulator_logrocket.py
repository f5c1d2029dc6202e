"""The fake LogRocket."""

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


def test_put_answers_the_whole_user(lr: httpx.Client) -> None:
    """The reply holds the user under LogRocket's own names."""
    response = lr.put(U1, json={"name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}})

    assert response.status_code == 200
    assert response.json() == {"userID": "u1", "name": "Ann", "email": "a@example.com", "traits": {"plan": "pro"}}


def test_put_merges(lr: httpx.Client) -> None:
    """What a request does not mention stays, and the reply shows it."""
    lr.put(U1, json={"name": "Ann", "email": "a@example.com", "traits": {"plan": "free", "seats": "1"}})

    response = lr.put(U1, json={"traits": {"plan": "pro"}})

    assert response.json()["name"] == "Ann"
    assert response.json()["traits"] == {"plan": "pro", "seats": "1"}


def test_a_blank_value_removes_a_trait(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """The empty string clears, and spaces do not."""
    lr.put(U1, json={"traits": {"a": "1", "b": "1"}})

    lr.put(U1, json={"traits": {"a": "", "b": " ", "c": ""}})

    assert logrocket.users["u1"].traits == {"b": " "}


def test_a_blank_name_or_email_changes_nothing(lr: httpx.Client) -> None:
    """Removing by a blank is for traits."""
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
def test_a_trait_is_stored_as_javascript_writes_it(lr: httpx.Client, value: object, stored: str) -> None:
    """Everything becomes a string."""
    assert lr.put(U1, json={"traits": {"a": value}}).json()["traits"] == {"a": stored}


@pytest.mark.parametrize("number", [5e-324, 1.7976931348623157e308, 0.1, 12.5, 123456.789])
def test_javascript_digits_read_back(number: float) -> None:
    """No digit is lost on the way."""
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
def test_the_id_is_one_percent_encoded_segment(
    lr: httpx.Client, logrocket: LogRocketEmulator, encoded: str, user_id: str
) -> None:
    """An id with a slash in it is still one id."""
    response = lr.put(f"{APP}/users/{encoded}", json={})

    assert response.json()["userID"] == user_id
    assert list(logrocket.users) == [user_id]


def test_a_path_that_is_not_utf8_is_malformed(lr: httpx.Client) -> None:
    """Bytes that no text encodes to are no id."""
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
    """Another app, another slash or another method is 404."""
    assert lr.request(method, path, json={}).status_code == 404


@pytest.mark.parametrize("scheme", ["token", "Token", "TOKEN"])
def test_the_scheme_is_not_case_sensitive(lr: httpx.Client, scheme: str) -> None:
    """LogRocket itself writes it both ways."""
    headers = {"authorization": f"{scheme} acme:shop:emulator"}

    assert lr.put(U1, json={}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "credentials", ["token acme:shop:wrong", "Bearer acme:shop:emulator", "acme:shop:emulator", ""]
)
def test_a_wrong_key_is_unauthorized(lr: httpx.Client, logrocket: LogRocketEmulator, credentials: str) -> None:
    """Without the key nothing happens."""
    response = lr.put(U1, json={}, headers={"authorization": credentials})

    assert response.status_code == 401
    assert not logrocket.users


@pytest.mark.parametrize("api_key", ["acme", "acme:shop", ":shop:secret", "acme:shop:"])
def test_a_key_has_three_parts(api_key: str) -> None:
    """An emulator without an organisation or app can not be made."""
    with pytest.raises(ValueError, match="org:app:secret"):
        LogRocketEmulator(api_key=api_key)


def test_a_missing_body_is_said_to_be_missing(lr: httpx.Client) -> None:
    """No body has words of its own."""
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
def test_a_body_of_the_wrong_shape_is_malformed(lr: httpx.Client, logrocket: LogRocketEmulator, body: bytes) -> None:
    """Whatever does not conform to the schema is refused as a whole."""
    response = lr.put(U1, content=body)

    assert (response.status_code, response.json()) == (400, {"error": "Malformed request"})
    assert not logrocket.users


def test_an_empty_object_is_a_body(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """Every field is optional."""
    assert lr.put(U1, json={}).json() == {"userID": "u1", "traits": {}}
    assert "u1" in logrocket.users


def test_an_empty_object_can_be_refused(mount_logrocket: MountLogRocket) -> None:
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
def test_a_string_over_1024_is_refused(
    lr: httpx.Client, logrocket: LogRocketEmulator, user_id: str, body: object, message: str
) -> None:
    """The message says what was too large, and nothing is taken."""
    response = lr.put(f"{APP}/users/{user_id}", json=body)

    assert (response.status_code, response.json()) == (400, {"error": message})
    assert not logrocket.users


def test_1024_utf16_units_are_allowed(lr: httpx.Client) -> None:
    """The limit includes its last, and an emoji counts twice."""
    full = "😀" * 512

    response = lr.put(f"{APP}/users/{'x' * 1024}", json={"name": full, "email": full, "traits": {full: full}})

    assert response.status_code == 200


def test_first_and_last_seen_follow_the_timestamps(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """An older timestamp moves first seen only."""
    for timestamp in (2000, 3000, 1000):
        lr.put(U1, json={"timestamp": timestamp})

    user = logrocket.users["u1"]
    assert (user.first_seen, user.last_seen) == (1000, 3000)


def test_the_time_of_arrival_stands_in_for_a_timestamp(
    lr: httpx.Client, logrocket: LogRocketEmulator, clock: Any
) -> None:
    """Without a timestamp the clock counts, in milliseconds."""
    lr.put(U1, json={})

    assert logrocket.users["u1"].last_seen == clock.now * 1000


def test_the_last_to_arrive_wins_whatever_its_timestamp(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
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
def test_the_envelope_of_errors_can_be_chosen(mount_logrocket: MountLogRocket, envelope: Envelope, body: bytes) -> None:
    """No document says where the message stands."""
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
def test_exclusion_and_inclusion_undo_each_other(
    lr: httpx.Client, logrocket: LogRocketEmulator, body: object, person: tuple[str, str]
) -> None:
    """A person is named by e-mail or by id."""
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
def test_an_exclusion_names_one_person(lr: httpx.Client, logrocket: LogRocketEmulator, body: object) -> None:
    """Anything but one e-mail or one id is malformed."""
    response = lr.post(f"{APP}/gdpr/exclusion/", content=orjson.dumps(body))

    assert (response.status_code, response.json()) == (400, {"error": "Malformed request"})
    assert not logrocket.excluded


def test_an_excluded_user_is_still_taken(lr: httpx.Client) -> None:
    """Exclusion is about recording."""
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    assert lr.put(U1, json={}).status_code == 200


def test_reset_forgets_users_and_exclusions(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """After a reset the emulator is as new."""
    lr.put(U1, json={})
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    logrocket.reset()

    assert (logrocket.users, logrocket.excluded, logrocket.requests) == ({}, set(), ())


def test_what_was_applied_is_counted(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """By user and in all; what was refused is not counted, and neither is an exclusion."""
    for body in ({}, {"name": "Ann"}, {"name": 1}):
        lr.put(U1, json=body)
    lr.put(f"{APP}/users/u%2F2", json={})
    lr.post(f"{APP}/gdpr/exclusion/", json={"user_id": "u1"})

    assert (logrocket.applied, logrocket.total_applied) == ({"u1": 2, "u/2": 1}, 3)
    assert lr.get("/_emulator/applied").json() == {"total": 3, "users": {"u1": 2, "u/2": 1}}


def test_a_history_holds_the_bodies_in_order(mount_logrocket: MountLogRocket) -> None:
    """As they were sent, and only those that were applied."""
    emulator = LogRocketEmulator(keeps_history=True)
    lr = mount_logrocket(emulator)
    bodies = [{"traits": {"a": 1}}, {"traits": {"a": None}}, {"traits": {"a": 2}}]
    for body in bodies:
        lr.put(U1, json=body)

    assert emulator.history("u1") == (bodies[0], bodies[2])
    assert emulator.history("nobody") == ()


def test_a_reset_forgets_counts_and_history(mount_logrocket: MountLogRocket) -> None:
    """After a reset the emulator is as new."""
    emulator = LogRocketEmulator(keeps_history=True)
    mount_logrocket(emulator).put(U1, json={})

    emulator.reset()

    assert (emulator.applied, emulator.total_applied, emulator.history("u1")) == ({}, 0, ())


def test_a_history_is_kept_when_told_to(logrocket: LogRocketEmulator) -> None:
    """A test that forgot to say so learns of it."""
    with pytest.raises(HistoryNotKeptError, match="keeps_history=True"):
        logrocket.history("u1")
