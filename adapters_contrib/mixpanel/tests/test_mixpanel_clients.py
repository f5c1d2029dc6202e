"""Mixpanel's emulator takes what Mixpanel's own clients send."""

from asyncio import run
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import mixpanel  # type: ignore[import-untyped]
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay_identity_mixpanel.emulator import MixpanelEmulator
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp

from replay_identity.emulator.http import ReceivedRequest
from replay_identity.emulator.journal import WriteLog

TOKEN = "emulator"
Mount = Callable[[ASGIApp], str]


CLIENTS: Any = mixpanel


def python_client(url: str) -> Any:
    """Return the client of PyPI mixpanel, which sends a form."""
    return CLIENTS.Mixpanel(TOKEN, consumer=CLIENTS.Consumer(people_url=f"{url}/engage"))


def send_as_node(
    url: str, update: dict[str, Any], *, method: str = "GET", verbose: int = 0, geolocate: int = 0
) -> httpx.Response:
    """Send *update* as `send_request` of npm mixpanel 0.24 does (lib/mixpanel-node.js at 0b0239a, read 2026-11-30).

    It sends profiles by GET; its form, in which the base64 is not percent-encoded, is for batches of events.
    """
    content = b64encode(orjson.dumps({"$token": TOKEN, **update})).decode()
    options = {"ip": geolocate, "verbose": verbose}
    if method == "GET":
        return httpx.get(f"{url}/engage?{urlencode({**options, 'data': content})}")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return httpx.post(f"{url}/engage?{urlencode(options)}", content=f"data={content}", headers=headers)


def test_the_python_client_runs_every_operation(mount: Mount) -> None:
    """Each in a form with ``verbose`` and ``ip``, which set no location."""
    emulator = MixpanelEmulator()
    client = python_client(mount(emulator))

    client.people_set("u1", {"$name": "Ann", "plan": "pro", "old": 1})
    client.people_set_once("u1", {"plan": "free", "first": "2026-11-30"})
    client.people_increment("u1", {"logins": 2, "plan": 1})
    client.people_increment("u1", {"logins": -1})
    client.people_append("u1", {"visits": "a"})
    client.people_append("u1", {"visits": "b"})
    client.people_union("u1", {"visits": ["b", "c"], "tags": ["x"]})
    client.people_remove("u1", {"visits": "a", "never": "x"})
    client.people_unset("u1", ["old"])
    client.people_track_charge("u1", 9.5)

    assert emulator.profiles["u1"] == {
        "$name": "Ann",
        "plan": 1,
        "first": "2026-11-30",
        "logins": 1,
        "visits": ["b", "c"],
        "tags": ["x"],
        "$transactions": [{"$amount": 9.5}],
    }
    assert {request.query.get("ip") for request in emulator.requests} == {None}


def test_the_python_client_deletes_a_profile(mount: Mount) -> None:
    """And clears the charges of another."""
    emulator = MixpanelEmulator()
    client = python_client(mount(emulator))
    client.people_set("u1", {"plan": "pro"})
    client.people_set("u2", {"plan": "pro", "$transactions": [{"$amount": 1}]})

    client.people_delete("u1")
    client.people_clear_charges("u2")

    assert emulator.profiles == {"u2": {"plan": "pro"}}


def test_the_python_client_sends_batches(mount: Mount) -> None:
    """Of fifty updates."""
    emulator = MixpanelEmulator()
    consumer = CLIENTS.BufferedConsumer(people_url=f"{mount(emulator)}/engage")
    client = CLIENTS.Mixpanel(TOKEN, consumer=consumer)

    for index in range(60):
        client.people_set(f"u{index}", {"n": index})
    consumer.flush()

    assert emulator.profiles == {f"u{index}": {"n": index} for index in range(60)}
    assert len(emulator.requests) == 2


def test_the_python_client_reads_a_rejection(mount: Mount) -> None:
    """It asks for ``verbose`` in the form, and would fail over a plain digit."""
    client = python_client(mount(MixpanelEmulator()))

    with pytest.raises(CLIENTS.MixpanelException, match=r"\$distinct_id"):
        client.people_set("", {"plan": "pro"})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_node_client_is_understood(mount: Mount, method: str) -> None:
    """In base64, in the query or in a form in which a plus is not percent-encoded."""
    emulator = MixpanelEmulator()
    text = "\u03be>>>???\u00ff~~~"
    update = {"$distinct_id": "u1", "$set": {"t": text}, "$time": 1, "$ignore_time": True}

    response = send_as_node(mount(emulator), update, method=method)

    assert b"+" in b64encode(orjson.dumps({"$token": TOKEN, **update}))
    assert (response.status_code, response.content) == (200, b"1")
    assert emulator.profiles == {"u1": {"t": text}}


def test_the_node_client_runs_every_operation(mount: Mount) -> None:
    """With what its modifiers add."""
    emulator = MixpanelEmulator()
    url = mount(emulator)

    for operation in (
        {"$set": {"plan": "pro", "$created": "2026-11-30T08:00:00", "l": ["a"]}, "$ip": "127.0.0.1"},
        {"$set_once": {"plan": "free"}, "$ignore_alias": True},
        {"$add": {"n": 2.5}},
        {"$append": {"l": "b"}, "$latitude": 1.5, "$longitude": 2.5},
        {"$union": {"l": ["b", "c"]}},
        {"$remove": {"l": "a"}},
        {"$unset": ["plan"]},
    ):
        assert send_as_node(url, {"$distinct_id": "u1", **operation}, geolocate=1, verbose=1).json()["status"] == 1

    assert emulator.profiles["u1"].items() >= {"$created": "2026-11-30T08:00:00", "n": 2.5, "l": ["b", "c"]}.items()
    assert "$city" in emulator.profiles["u1"]
    send_as_node(url, {"$distinct_id": "u1", "$delete": ""})
    assert emulator.profiles == {}


def test_an_update_can_hide_the_senders_location(mount: Mount) -> None:
    """With ``$ip``, or with a place of its own."""
    emulator = MixpanelEmulator()
    url = mount(emulator)

    send_as_node(url, {"$distinct_id": "u1", "$set": {"a": 1}, "$ip": "0"}, geolocate=1)
    send_as_node(url, {"$distinct_id": "u2", "$set": {"a": 1}, "$latitude": 1, "$longitude": 2}, geolocate=1)

    assert emulator.profiles == {"u1": {"a": 1}, "u2": {"a": 1}}


def test_a_get_without_data_gets_a_zero(mount: Mount) -> None:
    """As a digit, or as JSON if it asks for it."""
    url = mount(MixpanelEmulator())

    assert httpx.get(f"{url}/engage").content == b"0"
    assert httpx.get(f"{url}/engage/?verbose=2").json()["status"] == 0


def test_long_names_and_texts_are_cut(mount: Mount) -> None:
    """Without an error, at every level; a character is never cut in two."""
    emulator = MixpanelEmulator()

    python_client(mount(emulator)).people_set("u1", {"n" * 256: 1, "t": "é" * 128, "l": [{"t": "x" * 256}]})

    assert emulator.profiles == {"u1": {"n" * 255: 1, "t": "é" * 127, "l": [{"t": "x" * 255}]}}


def test_a_profile_has_at_most_2000_properties(mount: Mount) -> None:
    """An update that would add more is lost without an error."""
    emulator = MixpanelEmulator()
    client = python_client(mount(emulator))
    client.people_set("u1", {f"{index}": 1 for index in range(2000)})

    client.people_set("u1", {"0": 2, "more": 1})
    assert emulator.profiles["u1"]["0"] == 1

    client.people_set("u1", {"0": 2})
    assert emulator.profiles["u1"]["0"] == 2


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["$token", "$distinct_id", "$set", "$set_once", "$add", "$append", "$union", "$remove", "$unset", "$delete", "$ip"]
)


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    """Return updates that are mostly valid."""
    return {"$token": TOKEN, "$distinct_id": "u1", **draw(st.dictionaries(NAMES, JSON, max_size=4))}


@st.composite
def nested(draw: st.DrawFn) -> bytes:
    """Return an update with a value that is nested deeply."""
    start, end = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]))
    depth = draw(st.sampled_from([3, 90, 110, 240, 260, 900, 1100]))
    return b'{"$token": "emulator", "$distinct_id": "u1", "$set": {"t": ' + start * depth + b"1" + end * depth + b"}}"


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Return what can be the value of ``data``: valid or not, as JSON or in base64, and also broken."""
    valid: st.SearchStrategy[Any] = JSON | updates() | st.lists(updates() | JSON, max_size=4)
    brackets = st.integers(0, 5000).map(lambda depth: b"[" * depth)
    content = draw(valid.map(orjson.dumps) | nested() | st.binary(max_size=50) | brackets)
    encoded = draw(st.sampled_from([content, b64encode(content), urlsafe_b64encode(content)]))
    return encoded[: draw(st.just(None) | st.integers(-3, -1))]


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """Return queries, forms and other bodies."""
    names = st.sampled_from(["data", "verbose", "ip", "strict", "x"])
    if draw(st.booleans()):
        return urlencode(draw(st.dictionaries(names, contents(), max_size=4))).encode()
    return draw(st.sampled_from([b"", b"data="])) + draw(contents())


TYPES = st.sampled_from(
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", ""]
)


async def no_delay() -> None:
    """Do not wait."""


@given(method=st.sampled_from(["GET", "POST"]), query=forms(), body=forms(), kind=TYPES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_request_crashes_the_emulator(method: str, query: bytes, body: bytes, kind: str) -> None:
    """Whatever is in its form, its query or its body; and what is stored can be shown."""
    api = MixpanelEmulator().make_api(WriteLog())
    request = ReceivedRequest(
        method=method,
        path="/engage",
        segments=("engage",),
        query=QueryParams(query.decode("latin-1")),
        headers=Headers({"content-type": kind}),
        body=body,
    )

    response = run(api.respond(request, no_delay))

    assert response.status == 200
    assert response.body in {b"0", b"1"} or orjson.loads(response.body)["status"] in {0, 1}
    assert orjson.dumps([view() for view in api.debug_views().values()])
