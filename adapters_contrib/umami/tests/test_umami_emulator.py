"""The fake Umami does what 3.1.0 did in tests (2026-11-21)."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from replay_identity_umami import Umami
from replay_identity_umami.emulator import UmamiEmulator

from replay_identity.adapters import Accepted, Misconfigured, Outcome, UserTraits
from replay_identity.emulator import Emulator, Fault, running
from replay_identity.transport import Transport

WEBSITE = "a2c1f0de-5b7e-4c7f-9d0a-3f1e2b4c5d6e"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Example/0.1"


class World:
    """A fake Umami over real HTTP, and a client with a browser's User-Agent."""

    def __init__(self, emulator: UmamiEmulator, client: httpx.Client) -> None:
        self.emulator = emulator
        self.client = client

    def send(self, **payload: Any) -> httpx.Response:
        """Identify a user, by default one of the website."""
        return self.client.post("/api/send", json=identify(**payload))

    def batch(self, *items: Any) -> Any:
        """Return the results of many users."""
        response = self.client.post("/api/batch", json=items)
        assert response.status_code == 200
        return response.json()

    def stored(self, user_id: str = "u1") -> dict[str, tuple[str, str]]:
        """Return the kind and the text of each property of a user."""
        session = self.emulator.users.get(user_id)
        return {} if session is None else {name: (value.kind, value.text) for name, value in session.properties.items()}


def identify(**payload: Any) -> dict[str, Any]:
    """Return the body that identifies a user."""
    return {"type": "identify", "payload": {"website": WEBSITE, "id": "u1", "data": {"plan": "pro"}, **payload}}


def serving(emulator: UmamiEmulator) -> Iterator[World]:
    """Serve *emulator* while the generator is open."""
    with running(emulator) as server, httpx.Client(base_url=server.url, headers={"user-agent": BROWSER}) as client:
        yield World(emulator, client)


@pytest.fixture(scope="module")
def running_world() -> Iterator[World]:
    """Run one server for all tests in this module."""
    yield from serving(UmamiEmulator(api_key=WEBSITE))


@pytest.fixture
def world(running_world: World) -> World:
    """Return an empty fake Umami."""
    running_world.emulator.reset()
    return running_world


def test_each_user_has_one_session(world: World) -> None:
    """Its id is a UUID of version 5."""
    first, again, other = (world.send(id=user_id) for user_id in ("u1", "u1", "u2"))

    assert first.status_code == 200
    assert first.json().keys() == {"cache", "sessionId", "visitId"}
    assert UUID(first.json()["sessionId"]).version == 5
    assert first.json()["sessionId"] == again.json()["sessionId"] != other.json()["sessionId"]
    assert world.emulator.users["u1"].session_id == first.json()["sessionId"]


def test_properties_are_merged_one_by_one(world: World) -> None:
    """Missing properties stay."""
    world.send(data={"plan": "free", "seats": 1})
    world.send(data={"plan": "pro"})

    assert world.stored() == {"plan": ("string", "pro"), "seats": ("number", "1.0000")}
    assert world.emulator.applied == {"u1": 2}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("pro", "string", "pro"),
        ("", "string", ""),
        (None, "array", "null"),
        (True, "boolean", "true"),
        (False, "boolean", "false"),
        (7, "number", "7.0000"),
        (9.99999, "number", "10.0000"),
        (-0.00005, "number", "-0.0001"),
        (999_999_999_999_999, "number", "999999999999999.0000"),
        (["a", 1], "array", '["a",1]'),
        ([], "array", "[]"),
        ("2026-11-21T08:30:00", "date", "2026-11-21T08:30:00.000Z"),
        ("2026-11-21T08:30:00.123Z", "date", "2026-11-21T08:30:00.123Z"),
        ("2026-11-21T08:30:00.123+05:45", "date", "2026-11-21T02:45:00.123Z"),
        ("2026-11-21T08:30:05Z", "string", "2026-11-21T08:30:05Z"),
        ("2026-11-21", "string", "2026-11-21"),
        ("😀" * 500, "string", "😀" * 500),
    ],
)
def test_values_are_stored_as_in_umami(world: World, value: Any, kind: str, text: str) -> None:
    """Removal is impossible: null is stored as text."""
    assert world.send(data={"t": value}).status_code == 200

    assert world.stored() == {"t": (kind, text)}


def test_objects_are_flattened_and_empty_ones_vanish(world: World) -> None:
    """With dotted names."""
    world.send(data={"o": {"a": {"b": 1}, "c": "x"}, "empty": {}})

    assert world.stored() == {"o.a.b": ("number", "1.0000"), "o.c": ("string", "x")}


@pytest.mark.parametrize("data", [{}, {"empty": {}}])
def test_empty_data_looks_like_a_success(world: World, data: Any) -> None:
    """The response has a session, which is not stored."""
    assert "sessionId" in world.send(data=data).json()
    assert world.emulator.users == {}
    assert world.emulator.applied == {}
    assert [request.applied for request in world.emulator.requests] == [False]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("b", "x" * 501, "P2000"),
        ("b", "😀" * 501, "P2000"),
        ("b", ["x" * 500], "P2000"),
        ("n" * 501, "x", "P2000"),
        ("b", 1e15, "P2020"),
        ("b", "a\0b", "P2039"),
        ("a\0b", "x", "P2039"),
    ],
)
def test_a_value_over_a_limit_fails_midway(world: World, name: str, value: Any, code: str) -> None:
    """With 500; the values before it are stored, and those after it are not."""
    response = world.send(data={"a": "ok", name: value, "c": "ok"})

    error = response.json()["error"]
    assert (response.status_code, error["status"], error["code"]) == (500, 500, "server-error")
    assert error["message"] == "Server error"
    assert error["errorObject"]["code"] == code
    assert world.stored() == {"a": ("string", "ok")}
    assert [request.applied for request in world.emulator.requests] == [True]


def test_an_invalid_date_is_a_500_without_a_code(world: World) -> None:
    """JavaScript throws an exception."""
    response = world.send(data={"t": "2026-13-21T08:30:00"})

    assert response.status_code == 500
    assert "code" not in response.json()["error"]["errorObject"]


@pytest.mark.parametrize(("user_id", "code"), [("u" * 51, "P2010"), ("a\0b", "P2039")])
def test_an_id_the_database_rejects_is_a_500(world: World, user_id: str, code: str) -> None:
    """Before anything is stored."""
    response = world.send(id=user_id)

    assert response.status_code == 500
    assert response.json()["error"]["errorObject"]["code"] == code
    assert world.emulator.sessions == {}
    assert ("22001" in response.text) == (code == "P2010")


def test_an_id_of_fifty_code_points_fits(world: World) -> None:
    """Emoji count as one."""
    assert world.send(id="😀" * 50).status_code == 200
    assert list(world.emulator.users) == ["😀" * 50]


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"id": 7}, ["payload", "id"]),
        ({"website": "s3cret"}, ["payload", "website"]),
        ({"website": None}, ["payload", "website"]),
        ({"data": []}, ["payload", "data"]),
        ({"data": None}, ["payload", "data"]),
        ({"timestamp": 1.5}, ["payload", "timestamp"]),
        ({"userAgent": 7}, ["payload", "userAgent"]),
    ],
)
def test_an_invalid_field_is_a_400(world: World, payload: Any, path: list[str]) -> None:
    """With a tree of errors."""
    response = world.send(**payload)

    error = response.json()["error"]
    assert (response.status_code, error["status"], error["code"], error["errors"]) == (400, 400, "bad-request", [])
    tree = error
    for name in path:
        tree = tree["properties"][name]
    assert tree["errors"]
    assert world.emulator.sessions == {}


def test_a_numeric_id_gets_zods_message(world: World) -> None:
    """An id is a string."""
    assert "expected string, received number" in world.send(id=7).text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"type":"identify"}', b'{"type":"event","payload":{}}'])
def test_another_body_is_a_400(world: World, body: bytes) -> None:
    """Whether it is JSON or not."""
    assert world.client.post("/api/send", content=body).status_code == 400


def test_an_unknown_website_is_a_400(world: World) -> None:
    """With its own message."""
    response = world.send(website="00000000-0000-4000-8000-000000000000")

    assert (response.status_code, response.json()["error"]["message"]) == (400, "Website not found.")


@pytest.mark.parametrize(
    "agent",
    [
        "python-requests/2.32.0",
        "python-httpx/0.28.1",
        "Python-urllib/3.13",
        "Python/3.13 aiohttp/3.11.0",
        "curl/8.5.0",
        "replay-identity/0.1",
        "anything/1.0",
        "Mozilla/5.0 (compatible-Example/0.1)",
    ],
)
def test_a_bot_gets_a_200_and_stores_nothing(world: World, agent: str) -> None:
    """In the header or in the payload; a batch counts it as processed."""
    in_header = world.client.post("/api/send", json=identify(), headers={"user-agent": agent})
    in_payload = world.send(userAgent=agent)
    many = world.batch(identify(userAgent=agent))

    assert [(response.status_code, response.json()) for response in (in_header, in_payload)] == [
        (200, {"beep": "boop"})
    ] * 2
    assert many == {"size": 1, "processed": 1, "errors": 0, "details": [], "cache": None}
    assert world.emulator.sessions == {}


@pytest.mark.parametrize("agent", ["", BROWSER])
def test_other_user_agents_are_accepted(world: World, agent: str) -> None:
    """Even an empty one."""
    assert "sessionId" in world.client.post("/api/send", json=identify(), headers={"user-agent": agent}).json()


def test_the_payloads_user_agent_wins(world: World) -> None:
    """Over a bot's in the header."""
    response = world.client.post("/api/send", json=identify(userAgent=BROWSER), headers={"user-agent": "curl/8.5.0"})

    assert "sessionId" in response.json()


def test_users_without_an_id_share_a_session(world: World) -> None:
    """It depends on the address and the User-Agent only."""
    sessions = {world.send(id="", data={"plan": plan}).json()["sessionId"] for plan in ("a", "b")}

    assert len(sessions) == 1
    assert world.emulator.users == {}
    assert list(world.emulator.sessions) == list(sessions)


@pytest.mark.parametrize("timestamp", [1795249800, "1795249800", 1795249800000])
def test_any_timestamp_is_accepted(world: World, timestamp: Any) -> None:
    """Milliseconds too, which are taken for seconds."""
    assert world.send(timestamp=timestamp).status_code == 200
    assert world.emulator.users["u1"].seen_at == int(timestamp)


def test_a_batch_reports_errors_by_index(world: World) -> None:
    """With 200, in order."""
    response = world.batch(
        identify(id="u1", data={"plan": "free"}),
        identify(id=7),
        identify(id="u2", data={"a": "ok", "b": "x" * 501}),
        identify(id="u1", data={"plan": "pro"}),
    )

    assert {**response, "details": [item["index"] for item in response["details"]]} == {
        "size": 4,
        "processed": 2,
        "errors": 2,
        "details": [1, 2],
        "cache": response["cache"],
    }
    assert isinstance(response["cache"], str)
    assert [item["response"]["error"]["status"] for item in response["details"]] == [400, 500]
    assert world.stored("u1") == {"plan": ("string", "pro")}
    assert world.stored("u2") == {"a": ("string", "ok")}


def test_a_batch_has_the_cache_of_its_first_stored_user(world: World) -> None:
    """Bots and failures have none."""
    response = world.batch(identify(userAgent="curl/8.5.0"), identify(id=7), identify(id="u1"), identify(id="u2"))

    assert response["cache"] == world.send(id="u1").json()["cache"] != world.send(id="u2").json()["cache"]


def test_an_empty_batch_is_all_zeros(world: World) -> None:
    """It is not an error."""
    assert world.batch() == {"size": 0, "processed": 0, "errors": 0, "details": [], "cache": None}


@pytest.mark.parametrize("body", [b"{}", b"", b"[1]"])
def test_a_batch_must_be_an_array_of_objects(world: World, body: bytes) -> None:
    """Otherwise the whole request is a 400."""
    assert world.client.post("/api/batch", content=body).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/send"), ("POST", "/api/sent"), ("POST", "/api/send/")])
def test_other_endpoints_are_404(world: World, method: str, path: str) -> None:
    """This is our policy."""
    assert world.client.request(method, path).status_code == 404


def test_an_ignored_sender_gets_a_403() -> None:
    """In a batch, for each user, in a 200."""
    for world in serving(UmamiEmulator(api_key=WEBSITE, ignores_sender=True)):
        alone, many = world.send(), world.batch(identify())

        assert (alone.status_code, alone.json()["error"]["code"]) == (403, "forbidden")
        assert many["details"][0]["response"] == alone.json()
        assert world.emulator.sessions == {}


def test_an_injected_failure_looks_like_umamis(world: World) -> None:
    """A 500 without a database code is temporary."""
    world.emulator.faults.add(Fault(status=500, times=1))

    assert world.send().json() == {"error": {"message": "Server error", "code": "server-error", "status": 500}}


def test_the_state_can_be_viewed_and_deleted(world: World) -> None:
    """In a browser, too."""
    world.send()

    (session,) = world.client.get("/_emulator/sessions").json()
    world.client.post("/_emulator/reset")

    assert session["distinctId"] == "u1"
    assert session["properties"] == {"plan": {"dataType": "string", "stringValue": "pro"}}
    assert "pro" not in repr(world.emulator)
    assert world.emulator.users == {}


def run(emulator: Emulator, website: str, *users: UserTraits) -> tuple[Outcome, ...]:
    """Return the outcomes of *users*, of the first alone and then of all in a batch."""
    with running(emulator) as server, Transport() as transport:
        backend = Umami(website, base_url=server.url)
        return transport.run(backend.identify(users[0])), *transport.run(backend.identify_many(users))


def test_the_adapter_is_not_taken_for_a_bot() -> None:
    """Over real HTTP, with the adapter's own header."""
    emulator = UmamiEmulator(api_key=WEBSITE)

    outcomes = run(emulator, WEBSITE, UserTraits("u1", name="Ada"), UserTraits("u2", name="Grace"))

    assert outcomes == (Accepted("umami", emulator.users["u1"].session_id), Accepted("umami"), Accepted("umami"))
    assert {request.headers["user-agent"] for request in emulator.requests} == {
        "Mozilla/5.0 (X11; Linux x86_64) replay-identity/0.1"
    }
    assert emulator.applied == {"u1": 2, "u2": 1}


@pytest.mark.parametrize(
    ("emulator", "website"),
    [
        (UmamiEmulator(api_key=WEBSITE, ignores_sender=True), WEBSITE),
        (UmamiEmulator(api_key=WEBSITE), "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_wrong_settings_look_the_same_in_a_batch(emulator: UmamiEmulator, website: str) -> None:
    """Alone and in a batch, the outcomes are equal."""
    alone, *many = run(emulator, website, UserTraits("u1", name="Ada"), UserTraits("u2", name="Grace"))

    assert isinstance(alone, Misconfigured)
    assert many == [alone, alone]
