"""The journal of requests, and the control pages."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from replay_identity.emulator import Fault, FullstoryEmulator, LogRocketEmulator
from replay_identity.emulator.http import ReceivedRequest
from replay_identity.emulator.journal import Journal

U1 = "/v1/orgs/acme/apps/shop/users/u%2F1"


def test_request_is_recorded_as_sent(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """It has the method, path, query, headers and body."""
    headers = {"Idempotency-Key": "k1", "Integration-Source": "tests"}

    fs.post("/v2/users?a=b", content=b'{"uid": "u1"}', headers=headers)

    (request,) = fullstory.requests
    assert (request.method, request.path, request.query) == ("POST", "/v2/users", {"a": "b"})
    assert (request.status, request.applied, request.body) == (200, True, b'{"uid": "u1"}')
    assert (request.idempotency_key, request.integration_source) == ("k1", "tests")
    assert request.headers["authorization"] == "Basic na1.emulator"


def test_rejected_request_is_not_applied(lr: httpx.Client, logrocket: LogRocketEmulator) -> None:
    """Only a change of state counts as applied."""
    lr.put(U1, json={"name": 1})

    (request,) = logrocket.requests
    assert (request.path, request.status, request.applied) == (U1, 400, False)


def test_reprs_hide_values_and_keys(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A failing test prints no personal data."""
    fs.post("/v2/users", json={"uid": "secret", "email": "secret", "properties": {"a": "secret"}})

    text = repr([fullstory, fullstory.requests, fullstory.users, LogRocketEmulator()])

    assert "secret" not in text
    assert "emulator'" not in text


def test_nothing_is_logged(fs: httpx.Client, fullstory: FullstoryEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """The server is silent, whatever goes wrong."""
    caplog.set_level(logging.INFO)
    fullstory.faults.add(Fault(drop="after"))

    with pytest.raises(httpx.TransportError):
        fs.post("/v2/users", json={"uid": "u1"})

    assert [record.name for record in caplog.records if record.name != "httpx"] == []


def test_reset_deletes_all_state(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """A reset emulator is like a new one."""
    first = fs.post("/v2/users", json={"uid": "u1"}, headers={"idempotency-key": "k1"}).json()
    fullstory.faults.add(Fault(status=500))

    fullstory.reset()

    assert (fullstory.users, fullstory.requests) == ({}, ())
    assert fs.post("/v2/users", json={}, headers={"idempotency-key": "k1"}).json() == first


def test_journal_keeps_the_last_requests() -> None:
    """A long run does not fill the memory."""
    journal = Journal(max_entries=2)

    for number in range(3):
        journal.add(ReceivedRequest(method="GET", path=f"/{number}", segments=()))

    assert ([entry.path for entry in journal.entries], journal.total) == (["/1", "/2"], 3)


def test_journal_drops_the_oldest_bodies() -> None:
    """The other fields stay, and show that the body is gone."""
    journal = Journal(max_bytes=10)

    for body in (b"12345", b"", b"678", b"90123"):
        journal.add(ReceivedRequest(method="POST", path="/", segments=(), body=body))

    assert [entry.body for entry in journal.entries] == [b"", b"", b"678", b"90123"]
    assert [entry.is_body_kept for entry in journal.entries] == [False, True, True, True]
    assert [entry.body_size for entry in journal.entries] == [5, 0, 3, 5]


def test_removed_request_frees_its_bytes() -> None:
    """Its body no longer counts."""
    journal = Journal(max_entries=2, max_bytes=10)

    for body in (b"12345", b"12345", b"12345", b"12345"):
        journal.add(ReceivedRequest(method="POST", path="/", segments=(), body=body))

    assert [entry.body for entry in journal.entries] == [b"12345", b"12345"]


def test_body_can_be_dropped_after_removals() -> None:
    """Removed and cleared requests are skipped."""
    journal = Journal(max_entries=1, max_bytes=5)
    for _ in range(3):
        journal.add(ReceivedRequest(method="POST", path="/", segments=(), body=b"123"))
    journal.clear()

    kept: list[bytes] = []
    for body in (b"12345", b"123456"):
        journal.add(ReceivedRequest(method="POST", path="/", segments=(), body=body))
        kept += [entry.body for entry in journal.entries]

    assert kept == [b"12345", b""]


@pytest.mark.parametrize("make", [FullstoryEmulator, LogRocketEmulator])
def test_journal_bytes_can_be_set(make: Callable[..., Any], switch: Any, fs: httpx.Client) -> None:
    """Batches are large."""
    switch.app = emulator = make(journal_bytes=0)

    fs.post("/nowhere", content=b"body")

    (request,) = emulator.requests
    assert (request.body, request.body_size) == (b"", 4)


def test_request_in_flight_at_reset_is_not_recorded() -> None:
    """It does not complete a later request."""
    journal = Journal()
    number = journal.add(ReceivedRequest(method="GET", path="/old", segments=()))
    journal.clear()
    journal.add(ReceivedRequest(method="GET", path="/new", segments=()))

    journal.complete(number, status=200, applied=True)

    assert [(entry.path, entry.status) for entry in journal.entries] == [("/new", None)]


def test_fullstory_users_have_a_page(fs: httpx.Client) -> None:
    """GET /_emulator/users returns all users with their schema, without a key."""
    fs.post("/v2/users", json={"uid": "u1", "properties": {"a": 1}})

    (user,) = fs.get("/_emulator/users", headers={"authorization": ""}).json()["users"]

    assert (user["uid"], user["schema"]) == ("u1", {"properties": {"a": "real"}})


def test_logrocket_users_have_a_page(lr: httpx.Client) -> None:
    """GET /_emulator/users returns users and exclusions."""
    lr.put(U1, json={"name": "Ann", "timestamp": 1})
    lr.post("/v1/orgs/acme/apps/shop/gdpr/exclusion/", json={"email": "a@example.com"})

    assert lr.get("/_emulator/users").json() == {
        "users": [{"userID": "u/1", "name": "Ann", "traits": {}, "first_seen": 1, "last_seen": 1}],
        "excluded": [{"email": "a@example.com"}],
    }


def test_requests_have_a_page(fs: httpx.Client) -> None:
    """GET /_emulator/requests returns method, path and status, without the control pages."""
    fs.get("/me")
    fs.get("/nowhere")

    assert fs.get("/_emulator/requests").json() == {
        "total": 2,
        "by_status": {"200": 1, "404": 1},
        "requests": [
            {"method": "GET", "path": "/me", "status": 200},
            {"method": "GET", "path": "/nowhere", "status": 404},
        ],
    }


def test_fault_can_be_posted(fs: httpx.Client) -> None:
    """POST /_emulator/faults accepts the fields of a fault as JSON."""
    posted = fs.post("/_emulator/faults", json={"status": 418, "body": "tea", "headers": {"X-Pot": "1"}, "times": 2})

    responses = [fs.get("/me") for _ in range(3)]

    assert posted.status_code == 204
    assert [response.status_code for response in responses] == [418, 418, 200]
    assert (responses[0].content, responses[0].headers["x-pot"]) == (b"tea", "1")


def test_faults_can_be_deleted(fs: httpx.Client) -> None:
    """DELETE /_emulator/faults removes them."""
    fs.post("/_emulator/faults", json={"status": 500, "times": None})

    assert fs.delete("/_emulator/faults").status_code == 204

    assert fs.get("/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "unexpected"),
        (b"[]", "object"),
        (b'{"state": 500, "a": 1}', "fields: a, state"),
        (b'{"status": "500"}', "status"),
        (b'{"status": 5}', "status"),
        (b'{"latency": "1"}', "'>='"),
        (b'{"headers": {"a": 1}}', "headers"),
        (b'{"headers": null}', "not iterable"),
        (b'{"body": 1}', "body"),
        (b'{"drop": "before", "hang": true}', "at most one of"),
    ],
)
def test_invalid_fault_gets_a_400(fs: httpx.Client, body: bytes, problem: str) -> None:
    """The response names the problem."""
    response = fs.post("/_emulator/faults", content=body)

    assert response.status_code == 400
    assert problem in response.json()["error"]
    assert fs.get("/me").status_code == 200


def test_reset_can_be_posted(fs: httpx.Client, fullstory: FullstoryEmulator) -> None:
    """POST /_emulator/reset deletes users and requests."""
    fs.post("/v2/users", json={"uid": "u1"})

    assert fs.post("/_emulator/reset").status_code == 204

    assert (fullstory.users, fullstory.requests) == ({}, ())


@pytest.mark.parametrize(("method", "path"), [("POST", "/_emulator/users"), ("GET", "/_emulator/")])
def test_other_control_pages_are_not_found(fs: httpx.Client, method: str, path: str) -> None:
    """The response lists the existing ones."""
    response = fs.request(method, path)

    assert response.status_code == 404
    assert "POST reset" in response.json()["error"]
