"""Streamed imports, the forms of a delete's success, and what GET /me says."""

import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
import pytest

from replay_identity.emulator import FullstoryEmulator, Level

MountFullstory: TypeAlias = Callable[[FullstoryEmulator], httpx.Client]

STREAM = "/v2/users/stream"


def test_streamed_user_has_a_request_id(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The user's own id follows when the import is done."""
    request_id = fs.post(STREAM, json={"uid": "u1", "properties": {"plan": "pro"}}).json()["request_id"]

    (user_id,) = fullstory.users
    assert str(uuid.UUID(request_id)) == request_id
    assert fs.get(f"{STREAM}/{request_id}").json() == {"id": user_id}
    assert fullstory.applied == {"u1": 1}


def test_id_is_empty_until_done(mount_fullstory: MountFullstory) -> None:
    """Each request is polled on its own."""
    fs = mount_fullstory(FullstoryEmulator(stream_polls=2))
    first, second = (fs.post(STREAM, json={"uid": "u1"}).json()["request_id"] for _ in range(2))

    ids = [fs.get(f"{STREAM}/{first}").json()["id"] for _ in range(3)]

    assert [bool(user_id) for user_id in ids] == [False, False, True]
    assert fs.get(f"{STREAM}/{second}").json() == {"id": ""}


def test_stream_honours_idempotency_keys(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A repeated request has the same id and is not applied again."""
    first, second = (fs.post(STREAM, json={"uid": "u1"}, headers={"idempotency-key": "k"}) for _ in range(2))

    assert first.json() == second.json()
    assert fullstory.total_applied == 1


def test_invalid_streamed_user_is_rejected(fs: httpx.Client) -> None:
    """The body follows the rules of create."""
    assert fs.post(STREAM, json={"uid": ""}).json()["code"] == "invalid_parameter"


def test_unknown_stream_request_is_not_found(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Also after a reset."""
    request_id = fs.post(STREAM, json={"uid": "u1"}).json()["request_id"]
    fullstory.reset()

    assert fs.get(f"{STREAM}/{request_id}").status_code == 404
    assert fs.get(STREAM).status_code == 404


def test_standard_key_cannot_ask_after_a_stream(mount_fullstory: MountFullstory) -> None:
    """It can write, but the answer counts as reading."""
    fs = mount_fullstory(FullstoryEmulator(api_keys={"na1.emulator": Level.STANDARD}))

    request_id = fs.post(STREAM, json={"uid": "u1"}).json()["request_id"]

    assert fs.get(f"{STREAM}/{request_id}").status_code == 403


@pytest.mark.parametrize(
    ("form", "status", "body"), [("object", 200, b"{}"), ("empty", 200, b""), ("no-content", 204, b"")]
)
@pytest.mark.parametrize("by_uid", [True, False])
def test_delete_can_succeed_in_three_forms(
    mount_fullstory: MountFullstory, form: Any, status: int, body: bytes, *, by_uid: bool
) -> None:
    """All of them delete the user."""
    emulator = FullstoryEmulator(delete_response=form)
    fs = mount_fullstory(emulator)
    user_id = fs.post("/v2/users", json={"uid": "u1"}).json()["id"]

    response = fs.delete("/v2/users?uid=u1" if by_uid else f"/v2/users/{user_id}")

    assert (response.status_code, response.content) == (status, body)
    assert emulator.by_uid("u1") is None
    assert emulator.requests[-1].applied


@pytest.mark.parametrize(
    ("level", "role"),
    [
        (Level.UNKNOWN, "UNKNOWN"),
        (Level.VIEW_ONLY, "VIEW_ONLY"),
        (Level.STANDARD, "USER"),
        (Level.ARCHITECT, "ARCHITECT"),
        (Level.ADMIN, "ADMIN"),
        (Level.UMBRELLA_MANAGER, "UMBRELLA_MANAGER"),
    ],
)
def test_me_says_role_and_organisation(mount_fullstory: MountFullstory, level: Level, role: str) -> None:
    """Any key can ask; only Standard and above can write."""
    emulator = FullstoryEmulator(api_keys={"na1.emulator": level}, organisation="o-1", email="key@example.com")
    fs = mount_fullstory(emulator)

    assert fs.get("/me").json() == {
        "orgId": "o-1",
        "embedPartnerId": "",
        "email": "key@example.com",
        "clientId": "",
        "role": role,
        "scopes": [],
    }
    assert fs.post("/v2/users", json={}).status_code == (200 if level >= Level.STANDARD else 403)
