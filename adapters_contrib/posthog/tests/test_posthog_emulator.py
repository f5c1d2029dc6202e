"""The fake PostHog, with handwritten requests over real HTTP."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from replay_identity_posthog.emulator import EventFault, Person, PostHogEmulator

from replay_identity.emulator import Fault, running

PATH = "/i/v1/analytics/events"
NIL = str(UUID(int=0))
HEADERS = {
    "authorization": "Bearer phc_emulator",
    "content-type": "application/json",
    "posthog-sdk-info": "test/1",
    "posthog-attempt": "1",
    "posthog-request-id": str(uuid4()),
    "posthog-request-timestamp": "2026-11-21T12:00:00Z",
}
Post = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def emulator() -> PostHogEmulator:
    """Return a PostHog that keeps the requests."""
    return PostHogEmulator(keeps_history=True)


@pytest.fixture(scope="module")
def client(emulator: PostHogEmulator) -> Iterator[httpx.Client]:
    """Return a client of the PostHog."""
    with running(emulator) as server, httpx.Client(base_url=server.url) as client:
        yield client


@pytest.fixture
def post(emulator: PostHogEmulator, client: httpx.Client) -> Post:
    """Return a function that sends events to an empty PostHog."""
    emulator.reset()

    def send(*events: dict[str, Any], headers: dict[str, str | None] | None = None, **body: Any) -> httpx.Response:
        sent = {name: value for name, value in {**HEADERS, **(headers or {})}.items() if value is not None}
        content = {"created_at": "2026-11-21T12:00:00Z", "batch": list(events), **body}
        return client.post(PATH, headers=sent, content=orjson.dumps(content))

    return send


def event(distinct_id: str = "u1", to_set: Any = None, **fields: Any) -> dict[str, Any]:
    """Return an event that sets properties."""
    return {
        "event": "$set",
        "uuid": str(uuid4()),
        "distinct_id": distinct_id,
        "timestamp": "2026-11-21T12:00:00Z",
        "options": {},
        "properties": {"$geoip_disable": True, "$set": {"plan": "pro"} if to_set is None else to_set},
        **fields,
    }


def results(response: httpx.Response, *events: dict[str, Any]) -> list[Any]:
    """Return the results of *events*."""
    assert response.status_code == 200
    found = response.json()["results"]
    assert set(found) <= {event["uuid"] for event in events}
    return [found.get(event["uuid"]) for event in events]


def test_properties_are_merged_into_the_person(emulator: PostHogEmulator, post: Post) -> None:
    """$set, $set_once and $unset, each for its user; objects are replaced as a whole."""
    first = event("u1", {"plan": "free", "company": {"name": "Acme", "size": 3}, "old": 1, "first": 1})
    second = event(
        "u1",
        properties={
            "$geoip_disable": True,
            "$set": {"plan": "pro", "company": {"size": 4}},
            "$set_once": {"first": 2, "a": 1},
            "$unset": ["old"],
        },
    )
    other = event("u2", {"plan": "free"})

    found = results(post(first, other), first, other) + results(post(second), second)

    assert found == [{"result": "ok"}] * 3
    assert emulator.persons == {
        "u1": Person(distinct_id="u1", properties={"plan": "pro", "company": {"size": 4}, "first": 1, "a": 1}),
        "u2": Person(distinct_id="u2", properties={"plan": "free"}),
    }
    assert emulator.applied == {"u1": 2, "u2": 1}
    assert emulator.history("u2") == ({"$geoip_disable": True, "$set": {"plan": "free"}},)


def test_values_change_as_in_javascript_and_postgresql(emulator: PostHogEmulator, post: Post) -> None:
    """Large numbers lose digits or are clamped, and NUL becomes another character."""
    post(
        event(
            "u1",
            {"i": 2**53 + 1, "f": 1.7e308, "t": ["a\0"], "o": {"n\0": None}, "b": True, "z": 2**53, "__proto__": 1},
        )
    )

    assert emulator.persons["u1"].properties == {
        "i": 2**53,
        "f": 1e307,
        "t": ["a\ufffd"],
        "o": {"n\ufffd": None},
        "b": True,
        "z": 2**53,
    }


def test_the_senders_location_becomes_the_persons(emulator: PostHogEmulator, post: Post) -> None:
    """Unless the event disables it."""
    post(event("u1", properties={"$set": {"plan": "pro"}}), event("u2"))

    assert emulator.persons["u1"].properties == {
        "plan": "pro",
        "$geoip_country_code": "IE",
        "$geoip_city_name": "Dublin",
    }
    assert emulator.persons["u2"].properties == {"plan": "pro"}


def test_a_duplicate_event_changes_nothing(emulator: PostHogEmulator, post: Post) -> None:
    """Its result is that of a new one."""
    first, second = event("u1", {"plan": "a"}), event("u1", {"plan": "b"})

    found = [results(post(event), event) for event in (first, second, first)]

    assert found == [[{"result": "ok"}]] * 3
    assert emulator.persons["u1"].properties == {"plan": "b"}


def test_an_id_is_trimmed(emulator: PostHogEmulator, post: Post) -> None:
    """So padded ids are the same person."""
    post(event(" u1\u00a0"))

    assert list(emulator.persons) == ["u1"]


@pytest.mark.parametrize("distinct_id", ["null", "Anonymous", "[object Object]", NIL, " 0 "])
def test_some_ids_create_no_person(emulator: PostHogEmulator, post: Post, distinct_id: str) -> None:
    """The event is stored anyway."""
    sent = event(distinct_id)

    assert results(post(sent), sent) == [{"result": "ok", "details": "person_processing_disabled"}]
    assert emulator.persons == {}


def test_an_event_can_disable_person_processing(emulator: PostHogEmulator, post: Post) -> None:
    """Its result is ok."""
    sent = event(options={"process_person_profile": False})

    assert results(post(sent), sent) == [{"result": "ok"}]
    assert emulator.persons == {}


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ({"event": ""}, "missing_event_name"),
        ({"event": "e" * 201}, "event_name_too_long"),
        ({"distinct_id": " "}, "missing_distinct_id"),
        ({"distinct_id": "é" * 101}, "distinct_id_too_large"),
        ({"timestamp": "2026-11-21T12:00:00"}, "invalid_event_timestamp"),
        ({"timestamp": "noon"}, "invalid_event_timestamp"),
        ({"properties": []}, "malformed_event_properties"),
        ({"options": []}, "invalid_options"),
        ({"properties": {"$set": {"t": "x" * 1_000_000}}}, "event_too_big"),
    ],
)
def test_an_invalid_event_is_dropped(
    emulator: PostHogEmulator, post: Post, fields: dict[str, Any], details: str
) -> None:
    """The other events are stored."""
    bad, good = event(**fields), event("u2")

    assert results(post(bad, good), bad, good) == [{"result": "drop", "details": details}, {"result": "ok"}]
    assert list(emulator.persons) == ["u2"]


@pytest.mark.parametrize("distinct_id", ["u" * 200, "é" * 100])
def test_the_longest_id_is_accepted(emulator: PostHogEmulator, post: Post, distinct_id: str) -> None:
    """200 bytes."""
    post(event(distinct_id))

    assert list(emulator.persons) == [distinct_id]


@pytest.mark.parametrize(
    ("fault", "persons", "retry_after"),
    [
        (EventFault(result="retry", details="not_persisted", distinct_ids={"u1"}), ["u2"], "1"),
        (EventFault(result="drop", details="rejected", distinct_ids={"u1"}), ["u2"], None),
        (EventFault(result="warning", details="person_processing_disabled", distinct_ids={"u1"}), ["u2"], None),
        (EventFault(result="warning", details="another", distinct_ids={"u1"}), ["u2"], None),
        (EventFault(result="retry", details="not_persisted", times=2), [], "1"),
    ],
)
def test_event_faults_replace_results(
    emulator: PostHogEmulator, post: Post, fault: EventFault, persons: list[str], retry_after: str | None
) -> None:
    """As often as scheduled, and for those users."""
    first, second = event("u1"), event("u2")
    emulator.event_faults.add(fault)

    response = post(first, second)

    assert results(response, first, second)[0] == {"result": fault.result, "details": fault.details}
    assert list(emulator.persons) == persons
    assert response.headers.get("retry-after") == retry_after
    again = event("u1"), event("u2")
    assert results(post(*again), *again) == [{"result": "ok"}] * 2


def test_an_event_that_was_not_stored_may_come_again(emulator: PostHogEmulator, post: Post) -> None:
    """With the same id, since PostHog never stored it."""
    sent = event("u1")
    emulator.event_faults.add(EventFault(result="retry"))

    assert results(post(sent), sent) == [{"result": "retry"}]
    assert results(post(sent), sent) == [{"result": "ok"}]
    assert list(emulator.persons) == ["u1"]


def test_a_fault_lasts_until_it_is_cleared(emulator: PostHogEmulator, post: Post) -> None:
    """If its number of times is None."""
    sent = event()
    emulator.event_faults.add(EventFault(result="drop", times=None))
    assert [results(post(sent), sent) for _ in range(3)] == [[{"result": "drop"}]] * 3

    emulator.event_faults.clear()

    assert results(post(sent), sent) == [{"result": "ok"}]


@pytest.mark.parametrize(
    "fields", [{"result": "maybe"}, {"result": "drop", "times": 0}, {"result": "ok", "times": "1"}]
)
def test_an_invalid_fault_is_rejected(fields: Any) -> None:
    """When it is created."""
    with pytest.raises(ValueError, match=r"times|result"):
        EventFault(**fields)


@pytest.mark.parametrize(
    ("headers", "status", "tag"),
    [
        ({"authorization": None}, 401, "missing_authorization"),
        ({"authorization": "Basic phc_emulator"}, 400, "invalid_header_value"),
        ({"authorization": "Bearer phx_personal"}, 401, "invalid_api_token"),
        ({"authorization": "Bearer " + "x" * 65}, 401, "invalid_api_token"),
        ({"posthog-sdk-info": None}, 400, "missing_required_headers"),
        ({"posthog-attempt": None}, 400, "missing_required_headers"),
        ({"posthog-attempt": "0"}, 400, "invalid_header_value"),
        ({"posthog-attempt": "one"}, 400, "invalid_header_value"),
        ({"posthog-request-id": "1"}, 400, "invalid_header_value"),
        ({"posthog-request-timestamp": "2026-11-21T12:00:00"}, 400, "invalid_header_value"),
        ({"content-type": "text/plain"}, 415, "unsupported_content_type"),
    ],
)
def test_invalid_headers_are_rejected(
    emulator: PostHogEmulator, post: Post, headers: dict[str, str | None], status: int, tag: str
) -> None:
    """With PostHog's tag, and nothing is stored."""
    response = post(event(), headers=headers)

    assert (response.status_code, response.json()["error"]) == (status, tag)
    assert emulator.persons == {}


@pytest.mark.parametrize(
    ("events", "body", "tag"),
    [
        ([], {}, "empty_batch"),
        ([event()], {"created_at": "noon"}, "invalid_batch"),
        ([event()], {"created_at": None}, "request_parsing_error"),
        ([event()], {"batch": {}}, "request_parsing_error"),
        ([event(), "event"], {}, "request_parsing_error"),
        ([event(), event(timestamp=None)], {}, "request_parsing_error"),
        ([event(), event(uuid="1")], {}, "invalid_event_uuid"),
        ([event(uuid=NIL), event(uuid=NIL)], {}, "duplicate_event_uuid"),
    ],
)
def test_an_invalid_batch_is_rejected_as_a_whole(
    emulator: PostHogEmulator, post: Post, events: list[Any], body: dict[str, Any], tag: str
) -> None:
    """One event with an invalid id rejects all of them."""
    response = post(*events, **body)

    assert (response.status_code, response.json()["error"]) == (400, tag)
    assert response.json().keys() == {"error", "error_description", "error_uri"}
    assert emulator.persons == {}


@pytest.mark.parametrize(("content", "tag"), [(b"", "empty_body"), (b"{", "request_parsing_error")])
def test_a_body_must_be_json(client: httpx.Client, content: bytes, tag: str) -> None:
    """The whole request is rejected."""
    response = client.post(PATH, headers=HEADERS, content=content)

    assert (response.status_code, response.json()["error"]) == (400, tag)


def test_an_unknown_key_gets_the_same_response(emulator: PostHogEmulator, post: Post) -> None:
    """PostHog checks the key later, and reports nothing."""
    sent = event()

    assert results(post(sent, headers={"authorization": "bearer phc_other"}), sent) == [{"result": "ok"}]
    assert emulator.persons == {}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/decide/", 404), ("GET", PATH, 405), ("PUT", "/batch/", 405)]
)
def test_other_endpoints_are_404(client: httpx.Client, method: str, path: str, status: int) -> None:
    """The endpoint may have a slash at its end."""
    assert client.request(method, path, headers=HEADERS).status_code == status
    assert client.post(f"{PATH}/", headers=HEADERS).status_code == 400


@pytest.mark.parametrize(
    ("status", "tag", "retry_after"),
    [
        (500, "internal_error", "1"),
        (503, "service_unavailable", "1"),
        (429, "rate_limited", "1"),
        (504, "gateway_timeout", None),
    ],
)
def test_an_injected_failure_looks_like_posthogs(
    emulator: PostHogEmulator, post: Post, status: int, tag: str, retry_after: str | None
) -> None:
    """With its body and its Retry-After."""
    emulator.faults.add(Fault(status=status))

    response = post(event())

    assert (response.status_code, response.json()["error"]) == (status, tag)
    assert response.headers.get("retry-after") == retry_after


def test_a_status_unknown_to_posthog_has_no_body(emulator: PostHogEmulator, post: Post) -> None:
    """It would come from another server."""
    emulator.faults.add(Fault(status=418))

    response = post(event())

    assert (response.status_code, response.content) == (418, b"")


def test_the_state_can_be_viewed_and_deleted(emulator: PostHogEmulator, client: httpx.Client, post: Post) -> None:
    """In a browser, too."""
    post(event("u1", {"plan": "pro"}))
    shown = client.get("/_emulator/persons").json()
    emulator.event_faults.add(EventFault(result="drop"))

    client.post("/_emulator/reset")

    assert shown == [{"distinct_id": "u1", "properties": {"plan": "pro"}}]
    assert emulator.persons == {}
    assert emulator.total_applied == 0
    sent = event("u1")
    assert results(post(sent), sent) == [{"result": "ok"}]


def test_a_large_body_is_rejected() -> None:
    """Over the configured size, as with a proxy."""
    with running(PostHogEmulator(max_body=1000)) as server, httpx.Client(base_url=server.url) as client:
        response = client.post(PATH, headers=HEADERS, content=b"x" * 1001)

    assert (response.status_code, response.json()["error"]) == (413, "payload_too_large")


def test_the_repr_shows_no_user(emulator: PostHogEmulator, post: Post) -> None:
    """And no key."""
    post(event("canary", {"plan": "canary"}))

    assert "canary" not in repr(emulator) + repr(emulator.persons.get("canary"))
    assert "phc_emulator" not in repr(emulator)
