from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from replay_identity_mixpanel.emulator import MixpanelEmulator
from starlette.types import ASGIApp

from replay_identity.emulator import Fault

QUERY = {"ip": "0", "verbose": "1", "strict": "1"}

Serve = Callable[[MixpanelEmulator], httpx.Client]


@pytest.fixture
def serve(mount: Callable[[ASGIApp], str]) -> Iterator[Serve]:
    """Return a function that serves an emulator and returns a client for it."""
    with httpx.Client() as client:

        def served(emulator: MixpanelEmulator) -> httpx.Client:
            client.base_url = mount(emulator)
            return client

        yield served


def update(distinct_id: object = "u1", project: object = "emulator", **operation: Any) -> dict[str, Any]:
    """Return an update that sets or unsets."""
    operations = {f"${name}": content for name, content in (operation or {"set": {"plan": "pro"}}).items()}
    return {"$token": project, "$distinct_id": distinct_id, **operations}


def post(client: httpx.Client, *updates: object, **query: str) -> httpx.Response:
    """Send *updates* as the adapter would, with the changes in *query*."""
    return client.post("/engage", params={**QUERY, **query}, json=list(updates))


def nested_list(depth: int) -> Any:
    """Return lists in lists."""
    return [nested_list(depth - 1)] if depth else []


def test_set_overwrites_and_unset_removes(serve: Serve) -> None:
    """Other properties stay; an object is replaced as a whole."""
    emulator = MixpanelEmulator()
    client = serve(emulator)
    post(client, update(set={"$name": "Ann", "a": 1, "b": 1, "o": {"x": 1, "y": 1}}))

    response = post(client, update(set={"a": 2, "o": {"x": 2}}), update(unset=["b", "never"]))

    assert response.json() == {"status": 1, "error": None}
    assert emulator.profiles == {"u1": {"$name": "Ann", "a": 2, "o": {"x": 2}}}


@pytest.mark.parametrize(
    ("updates", "body"),
    [
        ([update()], b"1"),
        ([update(""), update()], b"0"),
    ],
)
def test_without_verbose_the_response_is_a_digit(serve: Serve, updates: list[object], body: bytes) -> None:
    """As plain text."""
    response = post(serve(MixpanelEmulator()), *updates, verbose="0")

    assert (response.status_code, response.headers["content-type"], response.content) == (200, "text/plain", body)


@pytest.mark.parametrize("ip", ["1", ""])
def test_without_ip_0_the_senders_location_is_set(serve: Serve, ip: str) -> None:
    """It overwrites the stored location."""
    emulator = MixpanelEmulator()
    client = serve(emulator)

    post(client, update(), ip=ip)

    assert emulator.profiles["u1"] == {
        "plan": "pro",
        "$city": "Ashburn",
        "$region": "Virginia",
        "$country_code": "US",
    }


def test_an_unknown_token_gets_a_success_and_stores_nothing(serve: Serve) -> None:
    """A 1 "does not signify a valid project token"."""
    emulator = MixpanelEmulator(api_key="known")
    client = serve(emulator)

    response = post(client, update(project="unknown"))

    assert response.json() == {"status": 1, "error": None}
    assert (emulator.profiles, emulator.total_applied, emulator.requests[0].applied) == ({}, 0, False)
    assert post(client, update(project="known")).json() == response.json()
    assert emulator.profiles.keys() == {"u1"}


@pytest.mark.parametrize(
    "bad",
    [
        "text",
        None,
        {},
        update(project=""),
        update(project=7),
        update(""),
        update(7),
        update("strange"),
        update(set={}, unset=["a"]),
        update(add={"a": "1"}),
        update(add={"a": True}),
        {**update(), "more": 1},
        update(set=["a"]),
        update(set={"": 1}),
        update(set={"$city": "Rome"}),
        update(set={"l": ["x" * 256_000]}),
        update(set={"o": {"x": "x" * 256_000}}),
        update(set={str(index): 1 for index in range(2001)}),
        update(set={"t": "x" * 1_000_000}),
        update(set={"o": {"o": {"o": {"o": {"o": 1}}}}}),
        update(set={"o": {f"{index}": 1 for index in range(256)}}),
        update(set={"l": [{"o": {"a": 1}}]}),
        update(set={"l": [{"l": [1]}]}),
        update(set={"l": nested_list(150)}),
        update(unset=7),
        update(unset=[1]),
        update(unset=["a", "a"]),
        update(unset=[""]),
    ],
)
def test_an_invalid_update_rejects_its_batch(serve: Serve, bad: object) -> None:
    """None of the batch is stored."""
    emulator = MixpanelEmulator(invalid_ids={"strange"})

    response = post(serve(emulator), update("good"), bad)

    assert response.status_code == 200
    assert response.json()["status"] == 0
    assert isinstance(response.json()["error"], str)
    assert [failed["index"] for failed in response.json()["failed_records"]] == [1]
    assert emulator.profiles == {}


def test_an_invalid_update_can_be_rejected_alone(serve: Serve) -> None:
    """Then 1 means that one or more were valid, and only strict=1 names the others."""
    emulator = MixpanelEmulator(rejection_scope="update")
    client = serve(emulator)

    strict = post(client, update("good"), update(""))
    lax = post(client, update("better"), update(""), strict="0")
    none = post(client, update(""))

    assert (strict.json()["status"], [failed["index"] for failed in strict.json()["failed_records"]]) == (1, [1])
    assert strict.json()["error"]
    assert lax.json() == {"status": 1, "error": None}
    assert none.json()["status"] == 0
    assert emulator.profiles.keys() == {"good", "better"}


def test_values_at_every_limit_are_accepted(serve: Serve) -> None:
    """The last byte, character and property count."""
    emulator = MixpanelEmulator()
    client = serve(emulator)
    many = {f"{index}": 1 for index in range(1999)}

    responses = [
        post(client, update("many", set={**many, "😀" * 255: 1})),
        post(client, update(set={"l": [*["x" * 253] * 999, "x" * 252]})),
        post(client, update(set={"o": {"o": {"o": {f"{index}": 1 for index in range(255)}}}, "c": [{"a": 1}]})),
        post(client, *([update()] * 2000)),
    ]

    assert [response.json() for response in responses] == [{"status": 1, "error": None}] * 4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"data=%5B%5D", b"null"])
def test_a_body_without_updates_gets_a_zero(serve: Serve, content: bytes) -> None:
    """Although the status is 200."""
    response = serve(MixpanelEmulator()).post("/engage", params=QUERY, content=content)

    assert (response.status_code, response.json()["status"]) == (200, 0)


def test_more_than_2000_updates_get_a_413(serve: Serve) -> None:
    """None of them is stored."""
    emulator = MixpanelEmulator()

    response = post(serve(emulator), *([update()] * 2001))

    assert (response.status_code, emulator.profiles) == (413, {})


def test_gzip_is_rejected(serve: Serve) -> None:
    """Whatever the body contains."""
    emulator = MixpanelEmulator()

    response = serve(emulator).post("/engage", params=QUERY, json=[update()], headers={"content-encoding": "gzip"})

    assert (response.status_code, emulator.profiles) == (400, {})


@pytest.mark.parametrize(("method", "path"), [("PUT", "/engage"), ("POST", "/engage/2"), ("POST", "/track")])
def test_other_endpoints_are_404(serve: Serve, method: str, path: str) -> None:
    """Only profile updates are supported."""
    assert serve(MixpanelEmulator()).request(method, path, params=QUERY, json=[update()]).status_code == 404


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_injected_failure_has_the_documented_envelope(serve: Serve, status: int) -> None:
    """With the status of the fault."""
    emulator = MixpanelEmulator()
    client = serve(emulator)
    emulator.faults.add(Fault(status=status))

    response = post(client, update())

    assert (response.status_code, response.json()["status"]) == (status, "error")
    assert response.json().keys() == {"error", "status"}
    assert emulator.profiles == {}


def test_applied_updates_are_counted_and_kept(serve: Serve) -> None:
    """Without the token; removing from an unknown profile does not create it."""
    emulator = MixpanelEmulator(keeps_history=True)
    client = serve(emulator)
    post(client, update(), update(unset=["plan"]), update("u2", unset=["plan"]))

    assert emulator.applied == {"u1": 2, "u2": 1}
    assert emulator.history("u1") == (
        {"$distinct_id": "u1", "$set": {"plan": "pro"}},
        {"$distinct_id": "u1", "$unset": ["plan"]},
    )
    assert emulator.profiles == {"u1": {}}
    assert client.get("/_emulator/profiles").json() == {"u1": {}}
    assert client.get("/_emulator/applied").json()["total"] == 3


def test_reset_deletes_all_state(serve: Serve) -> None:
    """The emulator is as new."""
    emulator = MixpanelEmulator()
    post(serve(emulator), update())

    emulator.reset()

    assert (emulator.profiles, emulator.total_applied, emulator.requests) == ({}, 0, ())
