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


def test_create_answers_the_id_and_nothing_else(fs: httpx.Client) -> None:
    """The reply to a create holds the id alone."""
    response = fs.post("/v2/users", json={"uid": "u1", "email": "a@example.com"})

    assert (response.status_code, response.json()) == (200, {"id": response.json()["id"]})


def test_ids_are_nineteen_digits_that_a_double_can_not_hold(fs: httpx.Client) -> None:
    """Two neighbouring ids are one number to whoever reads them as a double."""
    first, second = created(fs), created(fs)

    assert len(first) == 19
    assert first != second
    assert float(first) == float(second)


def test_create_with_a_known_uid_updates_that_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """POST /v2/users is an upsert by uid."""
    first = created(fs, uid="u1", display_name="Ann")

    second = created(fs, uid="u1", email="a@example.com")

    assert second == first
    user = fullstory.users[first]
    assert (user.display_name, user.email) == ("Ann", "a@example.com")


def test_create_without_a_uid_makes_a_new_user_each_time(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Nothing but a uid makes two creates one user."""
    created(fs, email="a@example.com")
    created(fs, email="a@example.com")

    assert len(fullstory.users) == 2


def test_an_empty_object_makes_an_anonymous_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """No field is required."""
    user_id = created(fs)

    assert fullstory.users[user_id].uid is None


def test_the_older_path_works(fs: httpx.Client) -> None:
    """/v2beta is another name of /v2."""
    user_id = fs.post("/v2beta/users", json={"uid": "u1"}).json()["id"]

    assert fs.get(f"/v2beta/users/{user_id}").json()["uid"] == "u1"


def test_update_changes_what_is_given_and_keeps_the_rest(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """An update merges."""
    user_id = created(fs, uid="u1", display_name="Ann", properties={"plan": "free", "seats": 1})

    response = fs.post(f"/v2/users/{user_id}", json={"properties": {"plan": "pro"}})

    assert response.json() == {"id": user_id}
    user = fullstory.users[user_id]
    assert (user.display_name, user.properties) == ("Ann", {"plan": "pro", "seats": 1})


def test_update_with_the_same_uid_is_fine(fs: httpx.Client) -> None:
    """Saying the uid again changes nothing."""
    user_id = created(fs, uid="u1")

    assert fs.post(f"/v2/users/{user_id}", json={"uid": "u1"}).status_code == 200


def test_a_uid_can_not_be_changed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Another uid is an error, and nothing of the request is taken."""
    user_id = created(fs, uid="u1")

    response = fs.post(f"/v2/users/{user_id}", json={"uid": "u2", "email": "a@example.com"})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    assert fullstory.users[user_id].email is None


def test_an_anonymous_user_can_be_identified(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """An update may give the first uid."""
    user_id = created(fs, properties={"plan": "free"})

    fs.post(f"/v2/users/{user_id}", json={"uid": "u1"})

    user = fullstory.by_uid("u1")
    assert user is not None
    assert (user.id, user.properties) == (user_id, {"plan": "free"})


def test_identifying_as_a_known_user_joins_the_two(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The known user stays, wins, and answers to both ids."""
    known = created(fs, uid="u1", display_name="Ann", properties={"plan": "pro"})
    anonymous = created(fs, display_name="?", email="a@example.com", properties={"plan": "free", "seats": 1})

    response = fs.post(f"/v2/users/{anonymous}", json={"uid": "u1"})

    assert response.json() == {"id": known}
    user = fullstory.users[known]
    assert (user.display_name, user.email, user.properties) == ("Ann", "a@example.com", {"plan": "pro", "seats": 1})
    assert fs.get(f"/v2/users/{anonymous}").json()["id"] == known
    assert list(fullstory.users) == [known]


def test_joining_fills_in_the_name_that_the_known_user_lacks(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """What only the anonymous user had is kept."""
    known = created(fs, uid="u1", email="a@example.com")
    anonymous = created(fs, display_name="Ann", email="b@example.com")

    fs.post(f"/v2/users/{anonymous}", json={"uid": "u1"})

    user = fullstory.users[known]
    assert (user.display_name, user.email) == ("Ann", "a@example.com")


def test_update_of_an_unknown_user_is_not_found(fs: httpx.Client) -> None:
    """An update makes nobody."""
    response = fs.post("/v2/users/123", json={})

    assert (response.status_code, response.json()["code"]) == (404, "user_not_found")


def test_get_shows_what_was_never_set_as_null(fs: httpx.Client) -> None:
    """Every key is there; the schema is null unless asked for."""
    user_id = created(fs)

    shown = fs.get(f"/v2/users/{user_id}").json()

    assert shown.pop("app_url").startswith("https://app.fullstory.com/")
    assert shown == {
        "id": user_id,
        "uid": None,
        "display_name": None,
        "email": None,
        "is_being_deleted": False,
        "properties": None,
        "schema": None,
        "type_conflicts": None,
    }


def test_get_takes_the_fullstory_id_and_not_the_uid(fs: httpx.Client) -> None:
    """The id in the path is Fullstory's own."""
    created(fs, uid="u1")

    assert fs.get("/v2/users/u1").status_code == 404


def test_include_schema_shows_types_by_dotted_path(fs: httpx.Client) -> None:
    """The schema names nested properties by a flat path."""
    user_id = created(fs, properties={"place": {"zip": 1}}, schema={"properties": {"place.zip": "int"}})

    shown = fs.get(f"/v2/users/{user_id}?include_schema=true").json()

    assert shown["schema"] == {"properties": {"place.zip": "int"}}


def test_include_schema_must_be_a_boolean(fs: httpx.Client) -> None:
    """Anything but true and false is refused."""
    user_id = created(fs)

    assert fs.get(f"/v2/users/{user_id}?include_schema=yes").status_code == 400


def test_a_deleted_user_is_visible_until_it_is_gone(mount_fullstory: MountFullstory, clock: Any) -> None:
    """Deletion takes its time."""
    fs = mount_fullstory(FullstoryEmulator(clock=clock, deletion_seconds=5))
    user_id = created(fs, uid="u1")

    response = fs.delete(f"/v2/users/{user_id}")

    assert (response.status_code, response.json()) == (200, {})
    assert fs.get(f"/v2/users/{user_id}").json()["is_being_deleted"] is True
    clock.now += 5
    assert fs.get(f"/v2/users/{user_id}").status_code == 404
    assert fs.get("/v2/users").json()["results"] == []


def test_delete_by_uid_removes_that_user(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """DELETE /v2/users takes a uid."""
    user_id = created(fs, uid="u 1")

    assert fs.delete("/v2/users", params={"uid": "u 1"}).json() == {}

    assert fullstory.users[user_id].is_being_deleted
    assert fullstory.by_uid("u 1") is None


def test_an_anonymous_user_can_be_deleted(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A delete by id needs no uid."""
    user_id = created(fs)

    fs.delete(f"/v2/users/{user_id}")

    assert fullstory.users[user_id].is_being_deleted


def test_the_uid_of_a_deleted_user_is_free_again(fs: httpx.Client) -> None:
    """An upsert after a delete makes a new user."""
    old = created(fs, uid="u1")
    fs.delete(f"/v2/users/{old}")

    assert created(fs, uid="u1") != old


def test_a_user_being_deleted_can_not_be_updated(fs: httpx.Client) -> None:
    """Every write treats it as unknown."""
    user_id = created(fs, uid="u1")
    fs.delete(f"/v2/users/{user_id}")

    assert fs.post(f"/v2/users/{user_id}", json={}).status_code == 404


@pytest.mark.parametrize("path", ["/v2/users", "/v2/users?uid="])
def test_delete_needs_a_uid(fs: httpx.Client, path: str) -> None:
    """A DELETE of all users does not exist."""
    response = fs.delete(path)

    assert (response.status_code, response.json()) == (400, {"message": "uid is required", "code": "required_field"})


@pytest.mark.parametrize("path", ["/v2/users?uid=nobody", "/v2/users/123"])
def test_delete_of_an_unknown_user_is_not_found(fs: httpx.Client, path: str) -> None:
    """There is nobody to delete."""
    assert fs.delete(path).status_code == 404


@pytest.mark.parametrize(("level", "role"), [(Level.ADMIN, "ADMIN"), (Level.STANDARD, "USER")])
def test_me_names_the_role_of_the_key(mount_fullstory: MountFullstory, level: Level, role: str) -> None:
    """Any key may ask who it is."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": level}))

    assert fs.get("/me").json()["role"] == role


@pytest.mark.parametrize(
    "credentials", ["Basic wrong", "Bearer na1.emulator", "na1.emulator", "Basic bmExLmVtdWxhdG9yOg==", ""]
)
def test_a_wrong_key_is_unauthorized(fs: httpx.Client, credentials: str) -> None:
    """The key goes in verbatim after Basic, and not encoded."""
    response = fs.get("/me", headers={"authorization": credentials})

    assert response.status_code == 401
    assert response.json() == {"message": "access is unauthorized", "code": "unauthorized"}


def test_a_standard_key_may_write(mount_fullstory: MountFullstory) -> None:
    """Creating and updating need no more."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))
    user_id = created(fs, uid="u1")

    assert fs.post(f"/v2/users/{user_id}", json={}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/users"), ("GET", "/v2/users/1"), ("DELETE", "/v2/users/1"), ("DELETE", "/v2/users?uid=u1")],
)
def test_a_standard_key_may_not_read_or_delete(mount_fullstory: MountFullstory, method: str, path: str) -> None:
    """Viewing data needs an Architect."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))

    response = fs.request(method, path)

    assert (response.status_code, response.json()) == (
        403,
        {"message": "insufficient permissions", "code": "forbidden"},
    )


def test_an_architect_may_read(mount_fullstory: MountFullstory) -> None:
    """An Architect needs no Admin."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.ARCHITECT}))

    assert fs.get("/v2/users").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/v2/users/1"), ("GET", "/v3/users"), ("GET", "/"), ("POST", "/v2/users/")]
)
def test_other_paths_and_methods_are_not_found(fs: httpx.Client, method: str, path: str) -> None:
    """Only documented requests are answered."""
    response = fs.request(method, path)

    assert (response.status_code, response.json()["code"]) == (404, "resource_not_found")


@pytest.mark.parametrize(("field", "longest"), [("uid", 256), ("display_name", 256), ("email", 128)])
def test_a_field_may_be_as_long_as_documented(fs: httpx.Client, field: str, longest: int) -> None:
    """Limits count characters, not bytes, and include their last."""
    fits = fs.post("/v2/users", json={field: "é" * longest})
    too_long = fs.post("/v2/users", json={field: "é" * (longest + 1)})

    assert (fits.status_code, too_long.status_code) == (200, 400)


def test_an_empty_uid_is_an_error(fs: httpx.Client) -> None:
    """An empty uid does not mean anonymous."""
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
def test_a_body_of_the_wrong_shape_is_refused(fs: httpx.Client, fullstory: FullstoryEmulator, body: bytes) -> None:
    """Malformed JSON, wrong types and unknown fields make no user."""
    response = fs.post("/v2/users", content=body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert not fullstory.users
