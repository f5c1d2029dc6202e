"""The life of an exchange, in a scripted world and on both runners."""

import asyncio
import logging
import threading
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport.scripted import REQUEST, AsyncScript, Script, ask, ask_twice_with_a_pause

from replay_identity import RetryPolicy
from replay_identity.adapters.exchange import NoResponse, Response
from replay_identity.retry import RetryBudget
from replay_identity.transport import AsyncTransport, Transport

OK = Response(200)
DOWN = Response(503)


def test_answers_at_once_when_the_vendor_does() -> None:
    """A success is returned without a wait."""
    script = Script([OK])

    response = script.transport().run(ask())

    assert response == OK
    assert script.slept == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_tries_again_where_later_may_be_better(status: int) -> None:
    """The statuses that are about now are retried."""
    script = Script([Response(status), OK])

    response = script.transport().run(ask())

    assert response == OK
    assert len(script.sent) == 2


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 413, 422, 501])
def test_does_not_repeat_what_would_fail_again(status: int) -> None:
    """The statuses that are about the request are final."""
    script = Script([Response(status)])

    response = script.transport().run(ask())

    assert response.status == status
    assert len(script.sent) == 1


@pytest.mark.parametrize(("status", "sent"), [(404, 2), (500, 1), (200, 1)])
def test_a_request_may_say_what_is_worth_another_try(status: int, sent: int) -> None:
    """One vendor answers 404 while it starts, another 500 to what would fail again."""
    script = Script([Response(status), OK])

    def is_starting(response: Response) -> bool:
        return response.status == 404

    script.transport().run(ask(attrs.evolve(REQUEST, retry_on=is_starting)))

    assert len(script.sent) == sent


@pytest.mark.parametrize("no_response", [NoResponse.NOT_SENT, NoResponse.CONNECTION_LOST, NoResponse.TIMED_OUT])
def test_tries_again_after_a_lost_connection(no_response: NoResponse) -> None:
    """A connection that broke, before or after sending, is retried."""
    script = Script([Response(0, no_response=no_response), OK])

    assert script.transport().run(ask()) == OK


@pytest.mark.parametrize("no_response", [NoResponse.UNTRUSTED, NoResponse.TOO_LARGE])
def test_does_not_try_again_what_cannot_change(no_response: NoResponse) -> None:
    """A certificate that is not trusted, or a giant answer, will be the same next time."""
    script = Script([Response(0, no_response=no_response)])

    response = script.transport().run(ask())

    assert response.no_response is no_response
    assert len(script.sent) == 1


def test_waits_longer_each_time() -> None:
    """The bounds of the waits double, and jitter takes its part of them."""
    script = Script([DOWN, DOWN, DOWN, DOWN, DOWN])

    response = script.transport().run(ask())

    assert response.status == 503
    assert script.slept == [0.25, 0.5, 1.0, 2.0]


def test_waits_as_long_as_the_vendor_asks() -> None:
    """Retry-After is a minimum."""
    script = Script([Response(429, {"retry-after": "7"}), OK])

    script.transport().run(ask())

    assert script.slept == [7.0]


def test_gives_up_when_the_vendor_asks_for_too_much() -> None:
    """A Retry-After over the cap ends the exchange, so that the caller may come back then."""
    script = Script([Response(429, {"retry-after": "3600"}), OK])

    response = script.transport().run(ask())

    assert response.retry_after == 3600.0
    assert script.slept == []


def test_starts_no_attempt_after_the_total() -> None:
    """The time for all attempts together is bounded."""
    script = Script([DOWN], seconds_per_send=9.0)

    script.transport(RetryPolicy(attempts=50, total=20.0)).run(ask())

    assert script.now <= 1000.0 + 20.0 + 9.0
    assert len(script.sent) == 3


def test_keeps_the_deadline() -> None:
    """No attempt starts after the caller's deadline, and none may last beyond it."""
    script = Script([DOWN], seconds_per_send=2.0)

    script.transport().run(ask(), deadline=1003.0)

    assert script.timeouts == [3.0, 0.75]


def test_sends_nothing_after_the_deadline() -> None:
    """An exchange that starts too late says that nothing was sent."""
    script = Script([OK])

    response = script.transport().run(ask(), deadline=999.0)

    assert response == Response(0, no_response=NoResponse.DEADLINE_PASSED)
    assert not response.may_have_applied
    assert script.sent == []


def test_sends_the_same_bytes_and_the_same_key_again() -> None:
    """Every attempt is the same request, under one random key."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), DOWN, Response(502), OK])

    script.transport().run(ask())

    assert {request.body for request in script.sent} == {b"{}"}
    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1"] * 4


def test_draws_a_new_key_after_an_internal_error() -> None:
    """Fullstory stores a 500 under its key and would answer it for 24 hours."""
    script = Script([Response(500), DOWN, OK])

    script.transport().run(ask(attrs.evolve(REQUEST, spent_key_statuses=frozenset({500}))))

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1", "key-2", "key-2"]


def test_keeps_the_key_of_what_would_be_made_twice() -> None:
    """An anonymous creation keeps its key whatever happens: applied twice, it makes two users."""
    script = Script([Response(500), DOWN, OK])

    script.transport().run(ask(attrs.evolve(REQUEST, creates=True, spent_key_statuses=frozenset({500}))))

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1"] * 3


def test_draws_a_key_per_operation_and_not_from_the_content() -> None:
    """The same content sent twice is two operations: a, then b, then a again must not be answered from the first."""
    script = Script([OK])

    transport = script.transport()
    transport.run(ask())
    transport.run(ask())

    assert [request.headers["idempotency-key"] for request in script.sent] == ["key-1", "key-2"]


def test_keeps_a_key_that_was_stored_before() -> None:
    """A caller who stored a key before sending keeps it."""
    script = Script([OK])
    request = type(REQUEST)("batch", "POST", REQUEST.url, {"idempotency-key": "stored"}, b"", "idempotency-key")

    script.transport().run(ask(request))

    assert script.sent[0].headers["idempotency-key"] == "stored"


def test_adds_no_key_where_the_vendor_takes_none() -> None:
    """A request without an idempotency header is sent as it is."""
    script = Script([OK])
    request = type(REQUEST)("get", "GET", REQUEST.url)

    script.transport().run(ask(request))

    assert script.sent == [request]


@pytest.mark.parametrize("rejection", [DOWN, Response(400)])
def test_remembers_that_an_earlier_attempt_may_have_been_applied(rejection: Response) -> None:
    """Once an answer was lost, a later refusal to serve does not prove that nothing was applied."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), rejection])

    response = script.transport(RetryPolicy(attempts=2)).run(ask())

    assert response == attrs.evolve(rejection, uncertain=True)


def test_a_success_is_certain() -> None:
    """Whatever became of an earlier attempt, this one was applied."""
    script = Script([Response(0, no_response=NoResponse.CONNECTION_LOST), OK])

    assert script.transport().run(ask()) == OK


def test_is_certain_when_nothing_was_ever_sent() -> None:
    """A vendor that could never be reached has applied nothing."""
    script = Script([Response(0, no_response=NoResponse.NOT_SENT)])

    assert not script.transport().run(ask()).uncertain


def test_spends_a_budget_of_retries() -> None:
    """In an outage about one request in ten is retried, not every one."""
    script = Script([DOWN])
    transport = script.transport(RetryPolicy(attempts=2))

    for _ in range(500):
        transport.run(ask())

    retries = len(script.sent) - 500
    assert retries == pytest.approx(RetryBudget().size + 50, abs=2)


def test_a_pause_is_not_charged_to_the_time_for_retries() -> None:
    """An adapter that polls slowly still may retry afterwards."""
    script = Script([OK, DOWN, OK])

    statuses = script.transport(RetryPolicy(total=5.0)).run(ask_twice_with_a_pause(60.0))

    assert statuses == [200, 204, 200]
    assert script.slept[0] == 60.0


def test_logs_what_was_done_and_nothing_that_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the operation and the cause, never an address, a header or a body."""
    script = Script([DOWN, OK])
    secret = type(REQUEST)("identify", "PUT", "https://x.example/users/canary-id", {"k": "canary-key"}, b"canary-body")

    with caplog.at_level(logging.DEBUG):
        script.transport().run(ask(secret))

    assert "identify: attempt 1 failed: HTTP 503; next attempt in 0.2 s" in caplog.text
    assert "canary" not in caplog.text


def test_names_a_lost_connection_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A lost connection is logged in words."""
    script = Script([Response(0, no_response=NoResponse.NOT_SENT), OK])

    with caplog.at_level(logging.INFO):
        script.transport().run(ask())

    assert "the vendor could not be reached" in caplog.text


def test_a_closed_transport_sends_nothing() -> None:
    """After close every exchange ends with a reply that says so."""
    script = Script([OK])
    transport = script.transport()

    transport.close()

    assert transport.run(ask()) == Response(0, no_response=NoResponse.CLOSED)
    assert script.closed


def test_closing_ends_the_wait_for_a_retry() -> None:
    """What was heard before the close is what is returned, and it is returned at once."""
    script = Script([Response(503, {"retry-after": "30"})])
    transport = Transport(script)
    threading.Timer(0.1, transport.close).start()
    started = time.monotonic()

    response = transport.run(ask())

    assert response.status == 503
    assert len(script.sent) == 1
    assert time.monotonic() - started < 10


REPLIES: st.SearchStrategy[Response] = st.one_of(
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


@given(st.lists(REPLIES, min_size=1, max_size=8), POLICIES, st.floats(0, 20))
def test_blocking_and_asyncio_agree(responses: list[Response], policy: RetryPolicy, limiter: float) -> None:
    """Both runners send the same requests, sleep the same and return the same."""
    one, other = Script(list(responses), limiter), Script(list(responses), limiter)

    response = one.transport(policy).run(ask())
    async_reply = asyncio.run(other.async_transport(policy).run(ask()))

    assert response == async_reply
    assert (one.sent, one.slept, one.timeouts) == (other.sent, other.slept, other.timeouts)


@given(st.lists(REPLIES, min_size=1, max_size=8), POLICIES, st.floats(0, 20))
def test_is_bounded_whatever_the_vendor_answers(responses: list[Response], policy: RetryPolicy, limiter: float) -> None:
    """Attempts, waits and time never exceed the policy, and Retry-After is never undercut."""
    script = Script(list(responses), limiter)

    script.transport(policy).run(ask())

    assert 1 <= len(script.sent) <= policy.attempts
    assert all(wait <= policy.wait_max for wait in script.slept)
    assert sum(script.slept) <= policy.total
    for response, wait in zip(responses, script.slept, strict=False):
        assert response.retry_after is None or wait >= response.retry_after


def test_asyncio_pauses_and_closes_too() -> None:
    """The awaiting runner passes pauses on and stops when closed."""
    script = Script([OK])

    async def main() -> list[Any]:
        async with script.async_transport() as transport:
            statuses = await transport.run(ask_twice_with_a_pause(1.0))
        return [*statuses, await transport.run(ask())]

    assert asyncio.run(main()) == [200, 204, 200, Response(0, no_response=NoResponse.CLOSED)]
    assert script.closed


def test_closing_ends_the_wait_for_a_retry_on_asyncio_too() -> None:
    """As above, awaited."""
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
