"""The list of Fullstory users."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from replay_identity.emulator import FullstoryEmulator

MountFullstory = Callable[[FullstoryEmulator], httpx.Client]


@pytest.fixture
def paged(mount_fullstory: MountFullstory, clock: Any) -> httpx.Client:
    """Return a client of a Fullstory with five users, two per page."""
    client = mount_fullstory(FullstoryEmulator(page_size=2, clock=clock))
    for number in range(5):
        client.post("/v2/users", json={"uid": f"u{number}", "email": "a@example.com"})
    return client


def uids(response: httpx.Response) -> list[str]:
    """Return the uids on a page."""
    return [user["uid"] for user in response.raise_for_status().json()["results"]]


def test_pages_have_every_user_once(paged: httpx.Client) -> None:
    """Following the token until it is null reads all users, oldest first."""
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        response = paged.get("/v2/users", params={"email": "a@example.com", **token})
        seen += uids(response)
        if response.json()["next_page_token"] is None:
            break
        token = {"page_token": response.json()["next_page_token"]}

    assert seen == ["u0", "u1", "u2", "u3", "u4"]


def test_total_records_is_a_string(paged: httpx.Client) -> None:
    """It counts the users on all pages."""
    assert paged.get("/v2/users").json()["total_records"] == "5"


def test_full_last_page_has_no_token(mount_fullstory: MountFullstory) -> None:
    """No token leads to an empty page."""
    fs = mount_fullstory(FullstoryEmulator(page_size=2))
    for _ in range(2):
        fs.post("/v2/users", json={})

    page = fs.get("/v2/users").json()

    assert (len(page["results"]), page["next_page_token"]) == (2, None)


def test_token_can_be_reused(paged: httpx.Client) -> None:
    """A retry of a page reads the same users."""
    token = paged.get("/v2/users").json()["next_page_token"]

    pages = [uids(paged.get("/v2/users", params={"page_token": token})) for _ in range(2)]

    assert pages == [["u2", "u3"]] * 2


def test_token_must_be_percent_encoded(paged: httpx.Client) -> None:
    """A plus sign in a query is a space."""
    token = paged.get("/v2/users").json()["next_page_token"]

    assert paged.get(f"/v2/users?page_token={token}").status_code == 400


@pytest.mark.parametrize("token", ["", "made-up"])
def test_unknown_token_is_rejected(paged: httpx.Client, token: str) -> None:
    """A token must come from an earlier page."""
    assert paged.get("/v2/users", params={"page_token": token}).status_code == 400


def test_token_belongs_to_its_filter(paged: httpx.Client) -> None:
    """It must be sent with the same filter."""
    token = paged.get("/v2/users").json()["next_page_token"]

    params = {"page_token": token, "email": "a@example.com"}

    assert paged.get("/v2/users", params=params).status_code == 400


def test_token_expires(paged: httpx.Client, clock: Any) -> None:
    """It is invalid after an hour."""
    token = paged.get("/v2/users").json()["next_page_token"]
    clock.now += 3600

    assert paged.get("/v2/users", params={"page_token": token}).status_code == 400


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["ann", "bob", None]),
        ({"uid": "ann"}, ["ann"]),
        ({"uid": "ANN"}, []),
        ({"email": "x@example.com"}, ["ann", None]),
        ({"display_name": "B"}, ["bob"]),
        ({"is_identified": "true"}, ["ann", "bob"]),
        ({"is_identified": "false"}, [None]),
        ({"is_identified": "true", "email": "x@example.com"}, ["ann"]),
    ],
)
def test_filters_are_exact_and_combined(fs: httpx.Client, params: dict[str, str], expected: list[str | None]) -> None:
    """A user must match every filter; no match is an empty list."""
    fs.post("/v2/users", json={"uid": "ann", "email": "x@example.com"})
    fs.post("/v2/users", json={"uid": "bob", "display_name": "B"})
    fs.post("/v2/users", json={"email": "x@example.com"})

    assert uids(fs.get("/v2/users", params=params)) == expected


@pytest.mark.parametrize("query", ["is_identified=1", "include_schema=", "limit=10", "cursor=x"])
def test_unknown_parameters_are_rejected(fs: httpx.Client, query: str) -> None:
    """Undocumented parameters and values do not exist."""
    assert fs.get(f"/v2/users?{query}").status_code == 400


def test_list_can_include_schemas(fs: httpx.Client) -> None:
    """Each user has a schema if the request asks for it."""
    fs.post("/v2/users", json={"properties": {"a": 1}})

    users = fs.get("/v2/users?include_schema=true").json()["results"]

    assert users[0]["schema"] == {"properties": {"a": "real"}}
