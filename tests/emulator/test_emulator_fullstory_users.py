"""Creating, updating, reading and deleting Fullstory users."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from replay_identity.emulator import FullstoryEmulator, Level

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]


def created(client: httpx.Client, **fields: Any) -> str:
    """Create a user and return its Fullstory id."""
    return str(client.post("/v2/users", json=fields).raise_for_status().json()["id"])


def test_create_returns_only_the_id(fs: httpx.Client) -> None:
    """The response to a create has no other field."""
    response = fs.post("/v2/users", json={"uid": "u1", "email": "a@example.com"})

    assert (response.status_code, response.json()) == (200, {"id": response.json()["id"]})


def test_ids_do_not_fit_into_a_double(fs: httpx.Client) -> None:
    """Two neighbouring ids are equal when parsed as doubles."""
    first, second = created(fs), created(fs)

    assert len(first) == 19
    assert first != second
    assert float(first) == float(second)


def test_create_updates_an_existing_uid(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """POST /v2/users is an upsert by uid."""
    first = created(fs, uid="u1", display_name="Ann")

    second = created(fs, uid="u1", email="a@example.com")

    assert second == first
    user = fullstory.users[first]
    assert (user.display_name, user.email) == ("Ann", "a@example.com")


def test_create_without_uid_creates_a_new_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Only a uid makes two creates one user."""
    created(fs, email="a@example.com")
    created(fs, email="a@example.com")

    assert len(fullstory.users) == 2


def test_empty_object_creates_an_anonymous_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """No field is required."""
    user_id = created(fs)

    assert fullstory.users[user_id].uid is None


def test_beta_path_works(fs: httpx.Client) -> None:
    """/v2beta is another name for /v2."""
    user_id = fs.post("/v2beta/users", json={"uid": "u1"}).json()["id"]

    assert fs.get(f"/v2beta/users/{user_id}").json()["uid"] == "u1"


def test_update_merges(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Fields that are not in the request stay."""
    user_id = created(fs, uid="u1", display_name="Ann", properties={"plan": "free", "seats": 1})

    response = fs.post(f"/v2/users/{user_id}", json={"properties": {"plan": "pro"}})

    assert response.json() == {"id": user_id}
    user = fullstory.users[user_id]
    assert (user.display_name, user.properties) == ("Ann", {"plan": "pro", "seats": 1})


def test_update_can_repeat_the_uid(fs: httpx.Client) -> None:
    """The same uid changes nothing."""
    user_id = created(fs, uid="u1")

    assert fs.post(f"/v2/users/{user_id}", json={"uid": "u1"}).status_code == 200


def test_uid_cannot_be_changed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Another uid rejects the whole request."""
    user_id = created(fs, uid="u1")

    response = fs.post(f"/v2/users/{user_id}", json={"uid": "u2", "email": "a@example.com"})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    assert fullstory.users[user_id].email is None


def test_anonymous_user_can_be_identified(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """An update can set the first uid."""
    user_id = created(fs, properties={"plan": "free"})

    fs.post(f"/v2/users/{user_id}", json={"uid": "u1"})

    user = fullstory.by_uid("u1")
    assert user is not None
    assert (user.id, user.properties) == (user_id, {"plan": "free"})


def test_identifying_as_an_existing_user_merges_both(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The existing user wins, and both ids lead to it."""
    known = created(fs, uid="u1", display_name="Ann", properties={"plan": "pro"})
    anonymous = created(fs, display_name="?", email="a@example.com", properties={"plan": "free", "seats": 1})

    response = fs.post(f"/v2/users/{anonymous}", json={"uid": "u1"})

    assert response.json() == {"id": known}
    user = fullstory.users[known]
    assert (user.display_name, user.email, user.properties) == ("Ann", "a@example.com", {"plan": "pro", "seats": 1})
    assert fs.get(f"/v2/users/{anonymous}").json()["id"] == known
    assert list(fullstory.users) == [known]


def test_merging_users_fills_in_a_missing_name(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Values that only the anonymous user had are kept."""
    known = created(fs, uid="u1", email="a@example.com")
    anonymous = created(fs, display_name="Ann", email="b@example.com")

    fs.post(f"/v2/users/{anonymous}", json={"uid": "u1"})

    user = fullstory.users[known]
    assert (user.display_name, user.email) == ("Ann", "a@example.com")


def test_update_of_an_unknown_user_is_not_found(fs: httpx.Client) -> None:
    """An update creates no user."""
    response = fs.post("/v2/users/123", json={})

    assert (response.status_code, response.json()["code"]) == (404, "user_not_found")


def test_get_has_null_for_missing_fields(fs: httpx.Client) -> None:
    """All fields are there; the schema is null unless requested."""
    user_id = created(fs)

    body = fs.get(f"/v2/users/{user_id}").json()

    assert body.pop("app_url").startswith("https://app.fullstory.com/")
    assert body == {
        "id": user_id,
        "uid": None,
        "display_name": None,
        "email": None,
        "is_being_deleted": False,
        "properties": None,
        "schema": None,
        "type_conflicts": None,
    }


def test_get_expects_the_fullstory_id(fs: httpx.Client) -> None:
    """A uid in the path is not found."""
    created(fs, uid="u1")

    assert fs.get("/v2/users/u1").status_code == 404


def test_include_schema_has_dotted_paths(fs: httpx.Client) -> None:
    """Nested properties have a flat path in the schema."""
    user_id = created(fs, properties={"place": {"zip": 1}}, schema={"properties": {"place.zip": "int"}})

    body = fs.get(f"/v2/users/{user_id}?include_schema=true").json()

    assert body["schema"] == {"properties": {"place.zip": "int"}}


def test_include_schema_must_be_a_boolean(fs: httpx.Client) -> None:
    """Other values than true and false are rejected."""
    user_id = created(fs)

    assert fs.get(f"/v2/users/{user_id}?include_schema=yes").status_code == 400


def test_deleted_user_is_visible_for_a_while(mount_fullstory: MountFullstory, clock: Any) -> None:
    """Deletion is asynchronous."""
    fs = mount_fullstory(FullstoryEmulator(clock=clock, deletion_seconds=5))
    user_id = created(fs, uid="u1")

    response = fs.delete(f"/v2/users/{user_id}")

    assert (response.status_code, response.json()) == (200, {})
    assert fs.get(f"/v2/users/{user_id}").json()["is_being_deleted"] is True
    clock.now += 5
    assert fs.get(f"/v2/users/{user_id}").status_code == 404
    assert fs.get("/v2/users").json()["results"] == []


def test_delete_by_uid_deletes_that_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """DELETE /v2/users expects a uid."""
    user_id = created(fs, uid="u 1")

    assert fs.delete("/v2/users", params={"uid": "u 1"}).json() == {}

    assert fullstory.users[user_id].is_being_deleted
    assert fullstory.by_uid("u 1") is None


def test_anonymous_user_can_be_deleted(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Deleting by id needs no uid."""
    user_id = created(fs)

    fs.delete(f"/v2/users/{user_id}")

    assert fullstory.users[user_id].is_being_deleted


def test_uid_of_a_deleted_user_is_free(fs: httpx.Client) -> None:
    """An upsert after a delete creates a new user."""
    old = created(fs, uid="u1")
    fs.delete(f"/v2/users/{old}")

    assert created(fs, uid="u1") != old


def test_user_being_deleted_cannot_be_updated(fs: httpx.Client) -> None:
    """Every write treats it as unknown."""
    user_id = created(fs, uid="u1")
    fs.delete(f"/v2/users/{user_id}")

    assert fs.post(f"/v2/users/{user_id}", json={}).status_code == 404


@pytest.mark.parametrize("path", ["/v2/users", "/v2/users?uid="])
def test_delete_needs_a_uid(fs: httpx.Client, path: str) -> None:
    """There is no DELETE of all users."""
    response = fs.delete(path)

    assert (response.status_code, response.json()) == (400, {"message": "uid is required", "code": "required_field"})


@pytest.mark.parametrize("path", ["/v2/users?uid=nobody", "/v2/users/123"])
def test_delete_of_an_unknown_user_is_not_found(fs: httpx.Client, path: str) -> None:
    """The response is a 404."""
    assert fs.delete(path).status_code == 404


@pytest.mark.parametrize(("level", "role"), [(Level.ADMIN, "ADMIN"), (Level.STANDARD, "USER")])
def test_me_returns_the_role_of_the_key(mount_fullstory: MountFullstory, level: Level, role: str) -> None:
    """Any key can ask."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": level}))

    assert fs.get("/me").json()["role"] == role


@pytest.mark.parametrize(
    "credentials", ["Basic wrong", "Bearer na1.emulator", "na1.emulator", "Basic bmExLmVtdWxhdG9yOg==", ""]
)
def test_wrong_key_is_unauthorized(fs: httpx.Client, credentials: str) -> None:
    """The key follows Basic as it is, without base64."""
    response = fs.get("/me", headers={"authorization": credentials})

    assert response.status_code == 401
    assert response.json() == {"message": "access is unauthorized", "code": "unauthorized"}


def test_standard_key_can_write(mount_fullstory: MountFullstory) -> None:
    """Creating and updating need no higher level."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))
    user_id = created(fs, uid="u1")

    assert fs.post(f"/v2/users/{user_id}", json={}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/users"), ("GET", "/v2/users/1"), ("DELETE", "/v2/users/1"), ("DELETE", "/v2/users?uid=u1")],
)
def test_standard_key_cannot_read_or_delete(mount_fullstory: MountFullstory, method: str, path: str) -> None:
    """Reading needs an Architect key."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))

    response = fs.request(method, path)

    assert (response.status_code, response.json()) == (
        403,
        {"message": "insufficient permissions", "code": "forbidden"},
    )


def test_architect_key_can_read(mount_fullstory: MountFullstory) -> None:
    """Reading needs no Admin key."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.ARCHITECT}))

    assert fs.get("/v2/users").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/v2/users/1"), ("GET", "/v3/users"), ("GET", "/"), ("POST", "/v2/users/")]
)
def test_other_paths_and_methods_are_not_found(fs: httpx.Client, method: str, path: str) -> None:
    """Only documented requests exist."""
    response = fs.request(method, path)

    assert (response.status_code, response.json()["code"]) == (404, "resource_not_found")


@pytest.mark.parametrize(("field", "longest"), [("uid", 256), ("display_name", 256), ("email", 128)])
def test_field_can_be_at_its_limit(fs: httpx.Client, field: str, longest: int) -> None:
    """Limits are inclusive and count characters, not bytes."""
    fits = fs.post("/v2/users", json={field: "é" * longest})
    too_long = fs.post("/v2/users", json={field: "é" * (longest + 1)})

    assert (fits.status_code, too_long.status_code) == (200, 400)


def test_empty_uid_is_rejected(fs: httpx.Client) -> None:
    """It does not mean an anonymous user."""
    response = fs.post("/v2/users", json={"uid": ""})

    assert response.status_code == 400
    assert response.json() == {"message": "The provided uid parameter can not be empty", "code": "invalid_parameter"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"u1"',
        b'{"uid": 1}',
        b'{"uid": null}',
        b'{"email": true}',
        b'{"displayName": "Ann"}',
        b'{"id": "1"}',
        b'{"properties": []}',
        b'{"properties": null}',
        b'{"schema": null}',
        b'{"schema": {}}',
        b'{"schema": {"properties": []}}',
        b'{"schema": {"a": "int"}}',
        b'{"schema": {"properties": {}, "more": {}}}',
        b'{"schema": {"properties": {"a": "float"}}}',
        b'{"schema": {"properties": {"a": {"b": "int"}}}}',
        b'{"uid": "\xff"}',
    ],
)
def test_malformed_body_is_rejected(fs: httpx.Client, fullstory: FullstoryEmulator, body: bytes) -> None:
    """Invalid JSON, wrong types and unknown fields create no user."""
    response = fs.post("/v2/users", content=body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert not fullstory.users
