"""Streamed users: Fullstory responds at once with a request id, and stores the user a little later."""

import asyncio
from typing import Any, Final

import attrs
import orjson
import pytest
from support.exchanges import run

from replay_identity import (
    Accepted,
    AsyncRouter,
    ConfigurationError,
    Fullstory,
    InvalidTraitsError,
    Misconfigured,
    Rejected,
    RetryPolicy,
    Router,
    Unknown,
    UserTraits,
)
from replay_identity.adapters import NoResponse, Request, Response
from replay_identity.bulk import sync
from replay_identity.emulator import Fault, FullstoryEmulator, Level, running
from replay_identity.outcomes import outcome_as_dict
from replay_identity.transport import Transport

KEY: Final = "na1.key"
BACKEND: Final = Fullstory(KEY, write="stream")
REQUEST_ID: Final = "6a1b2c3d-0000-4000-8000-000000000001"
STREAMED: Final = Response(200, body=orjson.dumps({"request_id": REQUEST_ID}))
ANN: Final = UserTraits("u1", name="Ann", traits={"plan": "pro"})


def test_posts_to_the_stream() -> None:
    """With the same body as an upsert, and an idempotency key."""
    outcome, (request,) = run(BACKEND.identify(ANN), STREAMED)

    upsert = Fullstory(KEY).plan(ANN).request
    assert upsert is not None
    assert request == attrs.evolve(upsert, url="https://api.fullstory.com/v2/users/stream")
    assert request.idempotency_header == "idempotency-key"
    assert outcome == Accepted("fullstory", request_id=REQUEST_ID)


def test_known_fullstory_id_is_updated() -> None:
    """The stream has no place for the id in its path."""
    user = attrs.evolve(ANN, vendor_ids={"fullstory": "7"})

    outcome, (request,) = run(BACKEND.identify(user), Response(200, body=b'{"id": "7"}'))

    assert request.url == "https://api.fullstory.com/v2/users/7"
    assert outcome == Accepted("fullstory", "7")


def test_anonymous_user_is_created_once() -> None:
    """A lost response must not lead to two."""
    anonymous = UserTraits(traits={"plan": "pro"})

    outcome, (request,) = run(BACKEND.identify(anonymous), Response(0, no_response=NoResponse.TIMED_OUT))

    assert request.creates
    assert isinstance(outcome, Unknown)
    assert not outcome.retryable


def test_streams_some_fields() -> None:
    """A partial update is a plan like any other."""
    plan = BACKEND.plan(ANN, only={"display_name"})

    assert plan.request is not None
    assert plan.request.url.endswith("/v2/users/stream")
    assert plan.request.body == b'{"uid":"u1","display_name":"Ann"}'
    assert plan.fields == Fullstory(KEY).plan(ANN).fields


@pytest.mark.parametrize("body", [b"", b"{}", b'{"request_id": ""}', b'{"request_id": 7}'])
def test_request_id_is_not_needed(body: bytes) -> None:
    """The status says that the user was accepted."""
    assert run(BACKEND.identify(ANN), Response(202, body=body))[0] == Accepted("fullstory")


def test_adjustments_are_kept() -> None:
    """As those of an upsert."""
    user = UserTraits("u1", name="x" * 300)

    outcome, _ = run(Fullstory(KEY, write="stream", on_violation="adapt").identify(user), STREAMED)

    assert isinstance(outcome, Accepted)
    assert [each.kind for each in outcome.adjustments] == ["truncated"]


def test_account_and_encoding_are_those_of_upserts() -> None:
    """A ledger does not send anyone again because of the other way to write."""
    upserts = Fullstory(KEY)

    assert (BACKEND.account, BACKEND.encoding) == (upserts.account, upserts.encoding)


@pytest.mark.parametrize("write", ["batch", "", None, 7, ["stream"]])
def test_other_ways_to_write_are_invalid(write: Any) -> None:
    """The error names the two that exist."""
    with pytest.raises(ConfigurationError) as caught:
        Fullstory(KEY, write=write)

    assert caught.value.setting == "write"
    assert '"upsert" or "stream"' in str(caught.value)


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (Response(200, body=b'{"id": "99"}'), "99"),
        (Response(200, body=b'{"id": ""}'), None),
        (Response(403), Misconfigured),
        (Response(404, body=b'{"code": "resource_not_found"}'), Rejected),
        (Response(200), Unknown),
        (Response(200, body=b"{}"), Unknown),
        (Response(200, body=b'{"id": 99}'), Unknown),
        (Response(200, body=b"<html>"), Unknown),
        (Response(0, no_response=NoResponse.TIMED_OUT), Unknown),
    ],
)
def test_result_is_the_id_or_why_there_is_none(response: Response, result: Any) -> None:
    """None while Fullstory has not stored the user."""
    actual, requests = run(BACKEND.stream_result(REQUEST_ID), response)

    assert actual == result if result is None or isinstance(result, str) else isinstance(actual, result)
    headers = {"accept": "application/json", "authorization": f"Basic {KEY}", "content-type": "application/json"}
    url = f"https://api.fullstory.com/v2/users/stream/{REQUEST_ID}"
    assert requests == [Request("stream_result", "GET", url, headers, spent_key_statuses=frozenset({500}))]


@pytest.mark.parametrize("bad", ["", ".", "..", 7, "\ud800"])
def test_invalid_request_id_raises(bad: Any) -> None:
    """HTTP clients would request another path."""
    with pytest.raises(InvalidTraitsError):
        run(BACKEND.stream_result(bad))


def test_request_id_is_encoded() -> None:
    """It is text of the vendor's."""
    _, (request,) = run(BACKEND.stream_result("a/b?c"), Response(200, body=b'{"id": ""}'))

    assert request.url.endswith("/v2/users/stream/a%2Fb%3Fc")


def test_request_id_is_in_json_only() -> None:
    """A program needs it; a log does not."""
    outcome = Accepted("fullstory", request_id=REQUEST_ID)

    assert outcome_as_dict(outcome)["request_id"] == REQUEST_ID
    assert REQUEST_ID not in repr(outcome)


def test_emulator_stores_a_streamed_user_later() -> None:
    """The same user as an upsert would store, sent once despite a lost response."""
    emulator = FullstoryEmulator(api_keys={KEY: Level.ARCHITECT}, stream_polls=1)
    emulator.faults.add(Fault(drop="after"))
    with running(emulator) as server, Transport() as transport:
        backend = Fullstory(KEY, base_url=server.url, write="stream")
        with Router([backend], retry=RetryPolicy(attempts=3, wait_initial=0.001)) as router:
            outcome = router.identify(ANN)["fullstory"]
        assert isinstance(outcome, Accepted)
        assert outcome.request_id is not None

        results = [transport.run(backend.stream_result(outcome.request_id)) for _ in range(2)]

        stored = emulator.by_uid("u1")
        assert stored is not None
        assert (stored.display_name, stored.properties) == ("Ann", {"plan": "pro"})
        assert results == [None, stored.id]
        assert transport.run(Fullstory(KEY, base_url=server.url).compare(ANN)) is not None


def test_standard_key_cannot_read_the_result() -> None:
    """The hint says which key can."""
    emulator = FullstoryEmulator(api_keys={KEY: Level.STANDARD})
    with running(emulator) as server, Transport() as transport:
        backend = Fullstory(KEY, base_url=server.url, write="stream")
        outcome = transport.run(backend.identify(ANN))
        assert isinstance(outcome, Accepted)

        result = transport.run(backend.stream_result(outcome.request_id or ""))

        assert isinstance(result, Misconfigured)
        assert "an Architect or Admin key" in result.hint


def test_asyncio_streams_and_bulk_sends_batches() -> None:
    """A bulk run does so without a ledger, too."""
    emulator = FullstoryEmulator(api_keys={KEY: Level.STANDARD})
    with running(emulator) as server:
        backend = Fullstory(KEY, base_url=server.url, write="stream")

        async def main() -> Any:
            async with AsyncRouter([backend]) as router:
                return await router.identify(ANN)

        report = asyncio.run(main())
        synced = sync([UserTraits(f"u{number}", name="x") for number in range(10)], [backend], ledger=None)

    assert report["fullstory"].request_id is not None
    assert synced["fullstory"].accepted == 10
    assert {request.path for request in emulator.requests if request.method == "POST"} == {
        "/v2/users/stream",
        "/v2/users/batch",
    }
