"""PostHog's emulator takes what PostHog's own clients send."""

import gzip
import zlib
from asyncio import run
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import orjson
import posthog
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay_identity_posthog.emulator import PostHogEmulator
from starlette.datastructures import Headers, QueryParams

from replay_identity.emulator import running
from replay_identity.emulator.http import ReceivedRequest
from replay_identity.emulator.journal import WriteLog

KEY = "phc_emulator"
V1 = "/i/v1/analytics/events"
NIL = "0194cc39-1f25-7000-8000-000000000001"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[PostHogEmulator, str]]:
    """Return an emulator and its URL."""
    emulator = PostHogEmulator()
    with running(emulator) as server:
        yield emulator, server.url


def python_client(url: str, **options: Any) -> Any:
    """Return the client of PyPI posthog, which sends each event at once and reports failures."""
    kind: Any = posthog.Posthog
    return kind(KEY, host=url, sync_mode=True, max_retries=0, enable_exception_autocapture=False, **options)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("mode", ["v0", "v1"])
def test_the_python_client_sets_properties(server: tuple[PostHogEmulator, str], mode: str, *, gzipped: bool) -> None:
    """In both versions, packed or not."""
    emulator, url = server
    emulator.reset()
    client = python_client(url, capture_mode=mode, gzip=gzipped)

    client.set(distinct_id="u1", properties={"plan": "pro", "name": "Änn"})
    client.set_once(distinct_id="u1", properties={"plan": "free", "first": 1})
    client.capture("signed_up", distinct_id="u2", properties={"$set": {"plan": "free"}})
    client.shutdown()

    assert emulator.persons["u1"].properties == {"plan": "pro", "name": "Änn", "first": 1}
    assert emulator.persons["u2"].properties == {"plan": "free"}
    assert {request.path for request in emulator.requests} == {"/batch/" if mode == "v0" else V1}
    assert {request.headers.get("content-encoding") for request in emulator.requests} == {"gzip" if gzipped else None}
    assert {request.status for request in emulator.requests} == {200}


def test_the_python_client_sends_deflate(server: tuple[PostHogEmulator, str]) -> None:
    """In version 1."""
    emulator, url = server
    emulator.reset()

    python_client(url, capture_mode="v1", capture_compression="deflate").set(distinct_id="u1", properties={"a": 1})

    assert emulator.persons["u1"].properties == {"a": 1}
    assert emulator.requests[0].headers["content-encoding"] == "deflate"


def v0_event(**fields: Any) -> dict[str, Any]:
    """Return an event as posthog-node writes it (posthog-js at 2553db5, server-wire-snapshots.spec.ts.snap)."""
    return {
        "distinct_id": "u1",
        "event": "$identify",
        "properties": {"$geoip_disable": True, "$lib": "posthog-node", "$set": {"plan": "pro"}},
        "timestamp": "2025-02-03T04:05:06.789Z",
        "uuid": str(uuid4()),
        **fields,
    }


def send_as_node(url: str, *events: dict[str, Any], packed: bool = True) -> httpx.Response:
    """Send *events* as npm posthog-node does.

    As `_flush` in packages/core/src/posthog-core-stateless.ts of https://github.com/PostHog/posthog-js at 0063128 (read
    2026-11-30).
    """
    body = orjson.dumps({"api_key": KEY, "batch": events, "sent_at": "2025-02-03T04:05:06.789Z"})
    headers = {"content-type": "application/json", "user-agent": "posthog-node/5.0.0"}
    if not packed:
        return httpx.post(f"{url}/batch/", headers=headers, content=body)
    return httpx.post(f"{url}/batch/", headers={**headers, "content-encoding": "gzip"}, content=gzip.compress(body))


@pytest.mark.parametrize("packed", [False, True])
def test_the_node_client_is_understood(server: tuple[PostHogEmulator, str], *, packed: bool) -> None:
    """With what v0 allows at the top of an event, in the properties or in other types."""
    emulator, url = server
    emulator.reset()
    events = [
        v0_event(),
        v0_event(**{"$set": {"seats": 3}, "$set_once": {"first": 1}, "properties": {"$geoip_disable": True}}),
        v0_event(distinct_id=7),
        v0_event(distinct_id="d" * 201, uuid=None, timestamp="noon"),
    ]

    response = send_as_node(url, *events, packed=packed)

    assert (response.status_code, response.json()) == (200, {"status": "Ok"})
    assert emulator.persons["u1"].properties == {"plan": "pro", "seats": 3, "first": 1}
    assert set(emulator.persons) == {"u1", "7", "d" * 200}


def test_the_node_client_sends_v1(server: tuple[PostHogEmulator, str]) -> None:
    """With its headers (server-wire-snapshots.spec.ts.snap), unpacked and packed."""
    emulator, url = server
    emulator.reset()
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "posthog-attempt": "1",
        "posthog-request-id": NIL,
        "posthog-request-timestamp": "2025-02-03T04:05:06.789Z",
        "posthog-sdk-info": "posthog-node/5.0.0",
        "user-agent": "posthog-node/5.0.0",
    }
    event = v0_event(options={}, session_id="session-7", window_id="window-7")
    body = orjson.dumps({"created_at": "2025-02-03T04:05:06.789Z", "batch": [event]})
    raw = zlib.compressobj(wbits=-15)

    responses = [
        httpx.post(url + V1, headers={**headers, **encoding}, content=content)
        for encoding, content in (
            ({}, body),
            ({"content-encoding": "gzip"}, gzip.compress(body)),
            ({"content-encoding": "deflate"}, raw.compress(body) + raw.flush()),
        )
    ]

    assert [response.json() for response in responses] == [{"results": {event["uuid"]: {"result": "ok"}}}] * 3
    assert emulator.persons["u1"].properties == {"plan": "pro"}


@pytest.mark.parametrize("path", ["/batch", "/i/v0/e/", "/capture/", "/e/"])
def test_v0_has_several_addresses(server: tuple[PostHogEmulator, str], path: str) -> None:
    """For one event, with its own key, or for a list; also as a form or a query in base64."""
    emulator, url = server
    emulator.reset()
    one = orjson.dumps({**v0_event(), "api_key": KEY})
    several = orjson.dumps([v0_event(token=KEY), v0_event(properties={"token": KEY, "$set": {"seats": 3}})])
    form = {"content-type": "application/x-www-form-urlencoded"}

    statuses = [
        httpx.post(url + path, content=one).status_code,
        httpx.post(url + path, content=several).status_code,
        httpx.post(url + path, content=b"data=" + b64encode(one), headers=form).status_code,
        httpx.get(url + path, params={"data": b64encode(gzip.compress(one)).decode()}).status_code,
    ]

    assert statuses == [200] * 4
    assert emulator.persons["u1"].properties.items() >= {"plan": "pro", "seats": 3}.items()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"api_key": KEY, "batch": []}, 400, "request holds no event"),
        ({"api_key": KEY, "batch": [7]}, 400, "failed to parse request"),
        ({"api_key": KEY, "batch": [v0_event(event="")]}, 400, "empty event name"),
        ({"api_key": KEY, "batch": [v0_event(distinct_id="")]}, 400, "empty distinct_id"),
        ({"api_key": KEY, "batch": [v0_event(distinct_id=None)]}, 400, "without a distinct_id"),
        ({"api_key": KEY, "batch": [v0_event(uuid="1")]}, 400, "failed to parse request"),
        ({"api_key": KEY, "batch": [v0_event(text="x" * 1_000_000)]}, 400, "maximum event size exceeded"),
        ({"batch": [v0_event()]}, 401, "without an api_key"),
        ({"api_key": "phx_1", "batch": [v0_event()]}, 401, "API key is not valid"),
        ([v0_event(token="a"), v0_event(token="b")], 401, "inconsistent api_key"),
        ("text", 400, "failed to parse request"),
    ],
)
def test_v0_rejects_in_plain_text(server: tuple[PostHogEmulator, str], content: Any, status: int, message: str) -> None:
    """The whole request, because of one event."""
    emulator, url = server
    emulator.reset()

    response = httpx.post(f"{url}/batch/", content=orjson.dumps(content))

    assert (response.status_code, response.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert message in response.text
    assert emulator.persons == {}


@pytest.mark.parametrize(("depth", "status"), [(100, 200), (130, 400), (250, 400), (1000, 400)])
def test_a_deeply_nested_body_is_rejected(server: tuple[PostHogEmulator, str], depth: int, status: int) -> None:
    """As PostHog's parser does with more than 127 levels."""
    nested = b"[" * depth + b"]" * depth
    event = orjson.dumps(v0_event(api_key=KEY, properties={"$set": {"t": "nested"}})).replace(b'"nested"', nested)

    assert httpx.post(f"{server[1]}/batch/", content=event).status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"\x1f\x8b\x08broken", 400), (gzip.compress(b" " * 5000), 400), (gzip.compress(b"[]")[:-4], 400)],
)
def test_a_broken_or_large_pack_is_rejected(content: bytes, status: int) -> None:
    """In both versions; it is unpacked no further than the largest body."""
    emulator = PostHogEmulator(max_body=1000)
    with running(emulator) as server:
        v0 = httpx.post(f"{server.url}/batch/", content=content)
        v1 = post_v1(server.url, content, "gzip")

    assert v0.status_code == status
    assert v1.status_code == (413 if len(gzip.compress(b" " * 5000)) == len(content) else 400)


def post_v1(url: str, content: bytes, encoding: str) -> httpx.Response:
    """Send *content* to version 1."""
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-encoding": encoding,
        "content-type": "application/json",
        "posthog-attempt": "1",
        "posthog-request-id": NIL,
        "posthog-request-timestamp": "2025-02-03T04:05:06.789Z",
        "posthog-sdk-info": "test/1",
    }
    return httpx.post(url + V1, headers=headers, content=content)


def test_an_unsupported_encoding_is_rejected(server: tuple[PostHogEmulator, str]) -> None:
    """In version 1."""
    response = post_v1(server[1], b"{}", "br")

    assert (response.status_code, response.json()["error"]) == (415, "unsupported_encoding")


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["event", "uuid", "distinct_id", "timestamp", "options", "properties", "$set", "$set_once", "api_key", "token"]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return events that are mostly valid."""
    properties = draw(st.just({"$set": {"plan": "pro"}}) | st.fixed_dictionaries({"$set": JSON, "$unset": JSON}) | JSON)
    return {**v0_event(properties=properties, options={}), **draw(st.dictionaries(NAMES, JSON, max_size=2))}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return requests of both versions, valid or not, deeply nested, packed, in base64, as a form and cut."""
    start, end = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    depth = draw(st.sampled_from([0, 1, 100, 130, 240, 260, 1000, 1100]))
    batch: st.SearchStrategy[Any] = st.lists(events(), max_size=3) | JSON
    valid = draw(
        st.fixed_dictionaries(
            {"api_key": st.just(KEY) | JSON, "created_at": st.just("2025-02-03T04:05:06Z"), "batch": batch}
        )
        | JSON
        | events()
    )
    nested = (
        b'{"api_key": "phc_emulator", "batch": [{"event": "$set", "distinct_id": "u1", "properties": {"$set": {"t": '
    )
    content = draw(
        st.sampled_from([orjson.dumps(valid), nested + start * depth + b"1" + end * depth + b"}}}]}", start * depth])
        | st.binary(max_size=30)
    )
    packed = draw(st.sampled_from([content, gzip.compress(content), zlib.compress(content)]))
    encoded = draw(st.sampled_from([packed, b64encode(packed), b"data=" + b64encode(packed), b"data=" + packed]))
    return encoded[: draw(st.just(None) | st.integers(-3, -1))]


async def no_delay() -> None:
    """Do not wait."""


@given(
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(["/batch/", V1]),
    query=st.just(b"") | bodies(),
    body=bodies(),
    kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]),
    encoding=st.sampled_from(["identity", "gzip", "deflate", "gzip, gzip"]),
)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_request_crashes_the_emulator(
    method: str, path: str, query: bytes, body: bytes, kind: str, encoding: str
) -> None:
    """Whatever is in its query or its body; and what is stored can be shown."""
    api = PostHogEmulator().make_api(WriteLog())
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-encoding": encoding,
        "content-type": kind,
        "posthog-attempt": "1",
        "posthog-request-id": NIL,
        "posthog-request-timestamp": "2025-02-03T04:05:06.789Z",
        "posthog-sdk-info": "test/1",
        "user-agent": "test/1",
    }
    request = ReceivedRequest(
        method=method,
        path=path,
        segments=tuple(path.split("/")[1:]),
        query=QueryParams(urlencode({"data": query}) if query else ""),
        headers=Headers(headers),
        body=body,
    )

    response = run(api.respond(request, no_delay))

    assert response.status in {200, 400, 401, 405, 413, 415}
    assert orjson.dumps([view() for view in api.debug_views().values()])
