"""Retries, deadlines and idempotency keys, on a scripted clock and on both runners."""

import asyncio
import logging
import threading
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import REQUEST, AsyncScript, Script, ask, ask_twice_with_pause

from replay_identity import RetryPolicy
from replay_identity.adapters import NoResponse, Response
from replay_identity.retry import RetryBudget
from replay_identity.transport import AsyncTransport, Transport

OK = Response(200)
DOWN = Response(503)


def test_returns_a_success_at_once() -> None:
    """A success is returned without a wait."""
    script = Script([OK])

    response = script.transport().run(ask())

    assert response == OK
    assert script.clock.slept == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_retries_temporary_statuses(status: int) -> None:
    """Statuses that describe the moment are retried."""
    script = Script([Response(status), OK])

    response = script.transport().run(ask())

    assert response == OK
    assert len(script.sent) == 2


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 413, 422, 501])
def test_does_not_retry_final_statuses(status: int) -> None:
    """Statuses that describe the request are final."""
    script = Script([Response(status)])

    response = script.transport().run(ask())

    assert response.status == status
    assert len(script.sent) == 1


@pytest.mark.parametrize(("status", "sent"), [(404, 2), (500, 1), (200, 1)])
def test_retry_on_decides_what_is_retried(status: int, sent: int) -> None:
    """`Request.retry_on` takes precedence over the usual statuses."""
    script = Script([Response(status), OK])

    def is_starting(response: Response) -> bool:
        return response.status == 404

    script.transport().run(ask(attrs.evolve(REQUEST, retry_on=is_starting)))

    assert len(script.sent) == sent


@pytest.mark.parametrize("no_response", [NoResponse.NOT_SENT, NoResponse.CONNECTION_LOST, NoResponse.TIMED_OUT])
def test_retries_after_a_lost_connection(no_response: NoResponse) -> None:
    """A connection that broke before or after sending is retried."""
    script = Script([Response(0, no_response=no_response), OK])

    assert script.transport().run(ask()) == OK


@pytest.mark.parametrize("no_response", [NoResponse.UNTRUSTED, NoResponse.TOO_LARGE])
def test_does_not_retry_permanent_failures(no_response: NoResponse) -> None:
    """An untrusted certificate or a giant response would be the same next time."""
    script = Script([Response(0, no_response=no_response)])

    response = script.transport().run(ask())

    assert response.no_response is no_response
    assert len(script.sent) == 1


def test_waits_double_with_each_attempt() -> None:
    """The maximum of the wait doubles, and jitter scales it."""
    script = Script([DOWN, DOWN, DOWN, DOWN, DOWN])

    response = script.transport().run(ask())

    assert response.status == 503
    assert script.clock.slept == [0.25, 0.5, 1.0, 2.0]


def test_waits_as_long_as_the_vendor_asks() -> None:
    """Retry-After is a minimum."""
    script = Script([Response(429, {"retry-after": "7"}), OK])

    script.transport().run(ask())

    assert script.clock.slept == [7.0]


def test_gives_up_if_retry_after_is_too_long() -> None:
    """A Retry-After over the maximum ends the exchange, so that the caller can come back later."""
    script = Script([Response(429, {"retry-after": "3600"}), OK])

    response = script.transport().run(ask())

    assert response.retry_after == 3600.0
    assert script.clock.slept == []


def test_starts_no_attempt_after_the_total() -> None:
    """The time for all attempts together is limited."""
    script = Script([DOWN], seconds_per_send=9.0)

    script.transport(RetryPolicy(attempts=50, total=20.0)).run(ask())

    assert script.clock.now <= 1000.0 + 20.0 + 9.0
    assert len(script.sent) == 3


def test_keeps_the_deadline() -> None:
    """No attempt starts after the caller's deadline or lasts beyond it."""
    script = Script([DOWN], seconds_per_send=2.0)

    script.transport().run(ask(), deadline=1003.0)

    assert script.timeouts == [3.0, 0.75]


def test_sends_nothing_after_the_deadline() -> None:
    """An exchange that starts too late ends with a response that says so."""
    script = Script([OK])

    response = script.transport().run(ask(), deadline=999.0)

    assert response == Response(0, no_response=NoResponse.DEADLINE_PASSED)
    assert not response.may_have_applied
    assert script.sent == []


def test_retries_send_the_same_bytes_and_key() -> None:
    """Every attempt sends the same request with one random key."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), DOWN, Response(502), OK])

    script.transport().run(ask())

    assert {request.body for request in script.sent} == {b"{}"}
    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1"] * 4


def test_a_spent_key_is_replaced() -> None:
    """Fullstory stores a 500 under its key and would repeat it for 24 hours."""
    script = Script([Response(500), DOWN, OK])

    script.transport().run(ask(attrs.evolve(REQUEST, spent_key_statuses=frozenset({500}))))

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1", "key-2", "key-2"]


def test_a_creation_keeps_its_key() -> None:
    """Applied under two keys, an anonymous creation would make two users."""
    script = Script([Response(500), DOWN, OK])

    script.transport().run(ask(attrs.evolve(REQUEST, creates=True, spent_key_statuses=frozenset({500}))))

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1"] * 3


def test_each_operation_has_its_own_key() -> None:
    """The key does not depend on the content: sending a, b, a is three operations."""
    script = Script([OK])

    transport = script.transport()
    transport.run(ask())
    transport.run(ask())

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1", "key-2"]


def test_keeps_a_key_that_the_caller_set() -> None:
    """A caller may store a key before sending."""
    script = Script([OK])
    request = type(REQUEST)("batch", "POST", REQUEST.url, {"idempotency-key": "stored"}, b"", "idempotency-key")

    script.transport().run(ask(request))

    assert script.sent[0].headers["idempotency-key"] == "stored"


def test_adds_no_key_without_a_header_for_it() -> None:
    """A request without an idempotency header is sent unchanged."""
    script = Script([OK])
    request = type(REQUEST)("get", "GET", REQUEST.url)

    script.transport().run(ask(request))

    assert script.sent == [request]


@pytest.mark.parametrize("rejection", [DOWN, Response(400)])
def test_a_lost_attempt_makes_the_result_uncertain(rejection: Response) -> None:
    """After a lost response, a later failure does not prove that nothing was applied."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), rejection])

    response = script.transport(RetryPolicy(attempts=2)).run(ask())

    assert response == attrs.evolve(rejection, uncertain=True)


def test_a_success_is_certain() -> None:
    """Whatever happened to an earlier attempt, this one was applied."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), OK])

    assert script.transport().run(ask()) == OK


def test_a_result_is_certain_if_nothing_was_sent() -> None:
    """A vendor that could never be reached has applied nothing."""
    script = Script([Response(0, no_response=NoResponse.NOT_SENT)])

    assert not script.transport().run(ask()).uncertain


def test_retries_are_limited_by_a_budget() -> None:
    """During an outage about one request in ten is retried."""
    script = Script([DOWN])
    transport = script.transport(RetryPolicy(attempts=2))

    for _ in range(500):
        transport.run(ask())

    retries = len(script.sent) - 500
    assert retries == pytest.approx(RetryBudget().size + 50, abs=2)


def test_pauses_do_not_count_towards_the_total() -> None:
    """An adapter that polls slowly can still retry afterwards."""
    script = Script([OK, DOWN, OK])

    statuses = script.transport(RetryPolicy(total=5.0)).run(ask_twice_with_pause(60.0))

    assert statuses == [200, 204, 200]
    assert script.clock.slept[0] == 60.0


def test_logs_the_operation_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the operation and the cause, but no URL, header or body."""
    script = Script([DOWN, OK])
    secret = type(REQUEST)("identify", "PUT", "https://x.example/users/canary-id", {"k": "canary-key"}, b"canary-body")

    with caplog.at_level(logging.DEBUG):
        script.transport().run(ask(secret))

    assert "identify: attempt 1 failed: HTTP 503; next attempt in 0.2 s" in caplog.text
    assert "canary" not in caplog.text


def test_logs_why_there_was_no_response(caplog: pytest.LogCaptureFixture) -> None:
    """The log says what happened to the connection."""
    script = Script([Response(0, no_response=NoResponse.NOT_SENT), OK])

    with caplog.at_level(logging.INFO):
        script.transport().run(ask())

    assert "the vendor could not be reached" in caplog.text


def test_a_closed_transport_sends_nothing() -> None:
    """After close every exchange ends with a response that says so."""
    script = Script([OK])
    transport = script.transport()

    transport.close()

    assert transport.run(ask()) == Response(0, no_response=NoResponse.CLOSED)
    assert script.closed


def test_closing_ends_the_wait_for_a_retry() -> None:
    """The last response before the close is returned at once."""
    script = Script([Response(503, {"retry-after": "30"})])
    transport = Transport(script)
    threading.Timer(0.1, transport.close).start()
    started = time.monotonic()

    response = transport.run(ask())

    assert response.status == 503
    assert len(script.sent) == 1
    assert time.monotonic() - started < 10


RESPONSES: st.SearchStrategy[Response] = st.one_of(
    st.builds(Response, st.sampled_from([200, 400, 401, 408, 429, 500, 502, 503, 504])),
    st.builds(
        Response, st.just(429), st.fixed_dictionaries({"retry-after": st.sampled_from(["0", "3", "31", "soon", ""])})
    ),
    st.sampled_from([Response(0, no_response=no_response) for no_response in NoResponse]),
)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 6),
    wait_initial=st.floats(0.01, 10),
    wait_max=st.floats(0.01, 40),
    total=st.floats(0.1, 200),
)


@given(st.lists(RESPONSES, min_size=1, max_size=8), POLICIES, st.floats(0, 20))
def test_blocking_and_asyncio_agree(responses: list[Response], policy: RetryPolicy, latency: float) -> None:
    """Both runners send the same requests, sleep for the same times and return the same result."""
    blocking, awaiting = Script(list(responses), latency), Script(list(responses), latency)

    response = blocking.transport(policy).run(ask())
    async_response = asyncio.run(awaiting.async_transport(policy).run(ask()))

    assert response == async_response
    assert blocking.sent == awaiting.sent
    assert (blocking.clock.slept, blocking.timeouts) == (awaiting.clock.slept, awaiting.timeouts)


@given(st.lists(RESPONSES, min_size=1, max_size=8), POLICIES, st.floats(0, 20))
def test_attempts_and_waits_stay_within_the_policy(
    responses: list[Response], policy: RetryPolicy, latency: float
) -> None:
    """Attempts, waits and time never exceed the policy, and Retry-After is always honoured."""
    script = Script(list(responses), latency)

    script.transport(policy).run(ask())

    assert 1 <= len(script.sent) <= policy.attempts
    assert all(wait <= policy.wait_max for wait in script.clock.slept)
    assert sum(script.clock.slept) <= policy.total
    for response, wait in zip(responses, script.clock.slept, strict=False):
        assert response.retry_after is None or wait >= response.retry_after


def test_asyncio_pauses_and_closes() -> None:
    """The asyncio runner waits for pauses and stops when closed."""
    script = Script([OK])

    async def main() -> list[Any]:
        async with script.async_transport() as transport:
            statuses = await transport.run(ask_twice_with_pause(1.0))
        return [*statuses, await transport.run(ask())]

    assert asyncio.run(main()) == [200, 204, 200, Response(0, no_response=NoResponse.CLOSED)]
    assert script.closed


def test_closing_ends_the_wait_on_asyncio() -> None:
    """The last response before the close is returned at once."""
    script = Script([Response(503, {"retry-after": "30"})])
    started = time.monotonic()

    async def main() -> Response:
        transport = AsyncTransport(AsyncScript(script))
        asyncio.get_running_loop().call_later(0.1, lambda: closing.append(asyncio.create_task(transport.aclose())))
        closing: list[asyncio.Task[None]] = []
        return await transport.run(ask())

    response = asyncio.run(main())

    assert response.status == 503
    assert len(script.sent) == 1
    assert time.monotonic() - started < 10
