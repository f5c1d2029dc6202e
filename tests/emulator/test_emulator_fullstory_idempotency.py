"""Fullstory's Idempotency-Key header."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from replay_identity.emulator import Fault, FullstoryEmulator, running

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]

KEY = {"idempotency-key": "k1"}


def test_repeated_key_is_replayed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """The second anonymous create creates no second user."""
    first = fs.post("/v2/users", json={}, headers=KEY)
    second = fs.post("/v2/users", json={}, headers=KEY)

    assert (second.status_code, second.content) == (200, first.content)
    assert len(fullstory.users) == 1
    assert [request.applied for request in fullstory.requests] == [True, False]


def test_error_is_replayed(fs: httpx.Client) -> None:
    """A rejection is a stored response, too."""
    first = fs.post("/v2/users", json={"uid": ""}, headers=KEY)
    second = fs.post("/v2/users", json={"uid": ""}, headers=KEY)

    assert (second.status_code, second.content) == (400, first.content)


def test_key_with_another_body_is_a_conflict(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Bodies are compared byte by byte."""
    fs.post("/v2/users", content=b"{}", headers=KEY)

    response = fs.post("/v2/users", content=b"{ }", headers=KEY)

    assert (response.status_code, response.json()["code"]) == (409, "idempotency_mismatch")
    assert len(fullstory.users) == 1


def test_key_expires_after_24_hours(fs: httpx.Client, fullstory: FullstoryEmulator, clock: Any) -> None:
    """The stored response is gone then."""
    fs.post("/v2/users", json={}, headers=KEY)
    clock.now += 24 * 3600 - 1
    fs.post("/v2/users", json={}, headers=KEY)
    before = len(fullstory.users)
    clock.now += 1

    fs.post("/v2/users", json={}, headers=KEY)

    assert (before, len(fullstory.users)) == (1, 2)


def test_key_in_flight_is_a_conflict(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """Two concurrent requests with one key are not both applied."""
    fullstory.faults.add(Fault(latency=0.2))

    with ThreadPoolExecutor(2) as pool:
        posts = [pool.submit(fs.post, "/v2/users", json={}, headers=KEY) for _ in range(2)]

    assert sorted(post.result().status_code for post in posts) == [200, 409]
    assert len(fullstory.users) == 1


def test_update_ignores_the_key(fs: httpx.Client) -> None:
    """Only creating is idempotent by key."""
    user_id = fs.post("/v2/users", json={}).json()["id"]
    fs.post(f"/v2/users/{user_id}", json={"email": "a@example.com"}, headers=KEY)

    assert fs.post(f"/v2/users/{user_id}", json={"email": "b@example.com"}, headers=KEY).status_code == 200


def test_dropped_response_is_replayed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A create whose response was lost can be sent again."""
    fullstory.faults.add(Fault(drop="after"))
    with pytest.raises(httpx.TransportError):
        fs.post("/v2/users", json={}, headers=KEY)

    response = fs.post("/v2/users", json={}, headers=KEY)

    assert list(fullstory.users) == [response.json()["id"]]


def test_injected_500_is_not_replayed(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """By default, a fault stands for something in front of Fullstory."""
    fullstory.faults.add(Fault(status=500))

    responses = [fs.post("/v2/users", json={}, headers=KEY).status_code for _ in range(2)]

    assert responses == [500, 200]


@pytest.mark.parametrize(
    ("status", "responses"), [(500, [500, 500]), (400, [400, 400]), (503, [503, 200]), (429, [429, 200])]
)
def test_replays_faults_replays_injected_failures(
    mount_fullstory: MountFullstory, status: int, responses: list[int]
) -> None:
    """Only 429 and statuses above 500 can be retried with the key."""
    emulator = FullstoryEmulator(replays_faults=True)
    fs = mount_fullstory(emulator)
    emulator.faults.add(Fault(status=status))

    assert [fs.post("/v2/users", json={}, headers=KEY).status_code for _ in range(2)] == responses


def test_injected_500_keeps_the_stored_response(mount_fullstory: MountFullstory) -> None:
    """The first response stays stored."""
    emulator = FullstoryEmulator(replays_faults=True)
    fs = mount_fullstory(emulator)
    fs.post("/v2/users", json={}, headers=KEY)
    emulator.faults.add(Fault(status=500))

    assert [fs.post("/v2/users", json={}, headers=KEY).status_code for _ in range(2)] == [500, 200]


def test_injected_500_without_key_is_not_stored(mount_fullstory: MountFullstory) -> None:
    """There is no key to store it under."""
    emulator = FullstoryEmulator(replays_faults=True)
    fs = mount_fullstory(emulator)
    emulator.faults.add(Fault(status=500))

    assert [fs.post("/v2/users", json={}).status_code for _ in range(2)] == [500, 200]


def test_cancelled_request_releases_its_key(fullstory: FullstoryEmulator) -> None:
    """The next server of the same emulator can apply it."""
    headers = {"authorization": "Basic na1.emulator", **KEY}
    fullstory.faults.add(Fault(latency=60))
    with running(fullstory) as server, pytest.raises(httpx.TimeoutException):
        httpx.post(f"{server.url}/v2/users", json={}, headers=headers, timeout=0.1)

    with running(fullstory) as server:
        response = httpx.post(f"{server.url}/v2/users", json={}, headers=headers)

    assert response.status_code == 200
