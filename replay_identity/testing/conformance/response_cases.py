"""Cases about responses: each has an outcome, none raises, and none leaks a value."""

import logging
from typing import Final

import pytest
from hypothesis import strategies as st

from ...adapters.exchange import NoResponse, Response
from ...outcomes import Accepted, Broken, Misconfigured, Outcome, Rejected, Unavailable, Unknown, explain
from ...retry import RetryPolicy
from ...traits import UserTraits
from ..http_responses import responses
from ..scripted import ScriptedTransport
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .support import USER, echoes, for_all, in_order, leaks_in, play

_FOREIGN_BODIES: Final = (b"<html>Log in</html>", b"[]", b"null", b'"ok"', b'{"id"', b"\xff")
_EMPTY_SUCCESSES: Final = (
    Response(200),
    Response(204),
    Response(200, body=b" \n"),
    Response(200, body=b"{}"),
    Response(200, body=b'{"success": true}'),
)
_REFUSALS: Final = (b'{"success": false}', b'{"ok": false}', b'{"error": "no such field"}', b'{"errors": [{}]}')
_FAILURES: Final = (
    Response(503),
    Response(429, {"retry-after": "0"}),
    Response(0, no_response=NoResponse.NOT_SENT),
    Response(0, no_response=NoResponse.CONNECTION_LOST),
    Response(0, no_response=NoResponse.TIMED_OUT),
)


def _text(response: Response) -> str:
    return f"{response.status} {response.body!r}"


def _cause(response: Response) -> str:
    return response.cause


class ResponseCases(AdapterHooks):
    """Cases about the outcomes of `identify`."""

    def test_every_response_has_an_outcome(self) -> None:
        """`identify` returns an outcome of its backend for any response, and never raises."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(user_traits(), st.lists(responses(), min_size=1, max_size=3))
        def check(user: UserTraits, script: list[Response]) -> None:
            outcome = play(backend.identify(user), in_order(script))
            assert isinstance(outcome, Outcome)
            assert not isinstance(outcome, Broken)
            assert outcome.backend == backend.name
            assert explain(outcome)

        check()

    def test_documented_success_is_accepted(self) -> None:
        """The outcome is `Accepted` with the adjustments of the plan."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(user_traits() | valid_users(self.limits))
        def check(user: UserTraits) -> None:
            plan = backend.plan(user)
            if plan.request is None:
                return
            outcome = play(backend.identify(user), self.accepted)
            assert isinstance(outcome, Accepted)
            assert outcome.adjustments == plan.adjustments

        check()

    @pytest.mark.parametrize("response", _EMPTY_SUCCESSES, ids=_text)
    def test_success_that_shows_nothing_is_accepted(self, response: Response) -> None:
        """A 2xx with an empty body or any JSON object is a success, but verifies nothing."""
        outcome = self._identify(response)
        assert isinstance(outcome, Accepted)
        assert not outcome.verified

    @pytest.mark.parametrize("body", _REFUSALS)
    def test_refusal_in_a_success_is_not_accepted(self, body: bytes) -> None:
        """A vendor may respond with 200 and say in the body that it refused; see `Response.refuses`."""
        assert not isinstance(self._identify(Response(200, body=body)), Accepted)

    @pytest.mark.parametrize("body", _FOREIGN_BODIES)
    def test_success_with_a_foreign_body_is_not_accepted(self, body: bytes) -> None:
        """A proxy or a login page may respond with 200, too."""
        assert not isinstance(self._identify(Response(200, body=body)), Accepted)

    @pytest.mark.parametrize("status", [401, 403])
    def test_rejected_key_is_misconfigured(self, status: int) -> None:
        """A 401 or 403 means that the settings are wrong, not the user."""
        assert isinstance(self._identify(Response(status)), Misconfigured)

    def test_redirect_is_misconfigured(self) -> None:
        """Redirects are never followed, since they would send the key to another host."""
        response = Response(302, {"location": "https://elsewhere.example/"})
        assert isinstance(self._identify(response), Misconfigured)

    def test_bad_request_is_rejected(self) -> None:
        """A 400 rejects the user, since the same traits would fail again."""
        assert isinstance(self._identify(Response(400)), Rejected)

    @pytest.mark.parametrize("status", [429, 503])
    def test_busy_vendor_is_unavailable(self, status: int) -> None:
        """A 429 or 503 keeps the delay that Retry-After asks for."""
        outcome = self._identify(Response(status, {"retry-after": "7"}))
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after == 7  # noqa: PLR2004  # The header above.

    @pytest.mark.parametrize(
        "response",
        [
            Response(502),
            Response(504),
            *(
                Response(0, no_response=no_response)
                for no_response in (NoResponse.CONNECTION_LOST, NoResponse.TIMED_OUT)
            ),
        ],
        ids=_cause,
    )
    def test_lost_response_is_unknown(self, response: Response) -> None:
        """The request may have been applied, and can be retried."""
        outcome = self._identify(response)
        assert isinstance(outcome, Unknown)
        assert outcome.retryable

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_rejected_request_is_not_retried(self, status: int) -> None:
        """A retry would get the same response."""
        transport = ScriptedTransport(Response(status))
        transport.run(self.make_backend().identify(USER))
        assert len(transport.requests) == 1

    def test_adapter_leaves_retries_to_the_transport(self) -> None:
        """The adapter sends one request; the retry policy is the transport's."""
        transport = ScriptedTransport(Response(503), retry=RetryPolicy(attempts=1))
        transport.run(self.make_backend().identify(USER))
        assert len(transport.requests) == 1

    @pytest.mark.parametrize("failure", _FAILURES, ids=_cause)
    def test_retry_sends_the_same_bytes(self, failure: Response) -> None:
        """A retry repeats the URL, the headers with the idempotency key, and the body."""
        backend = self.make_backend()
        transport = ScriptedTransport(failure, failure, respond=self.accepted)
        outcome = transport.run(backend.identify(USER))
        assert isinstance(outcome, Accepted)
        assert len(transport.requests) == 3  # noqa: PLR2004  # The first and two retries.
        assert transport.requests[1:] == transport.requests[:1] * 2

    def test_outcomes_hide_values_and_the_key(self, caplog: pytest.LogCaptureFixture) -> None:
        """Neither outcomes nor logs contain values that the vendor quotes."""
        caplog.set_level(logging.DEBUG)
        backend = self.make_backend()
        request = backend.plan(USER).request
        assert request is not None
        for status in (200, 400, 401, 403, 404, 409, 429, 500):
            for body in echoes(request, self.key):
                outcome = ScriptedTransport(Response(status, body=body)).run(backend.identify(USER))
                assert leaks_in(f"{outcome!r} {outcome!s} {explain(outcome)}", self.key) == []
        assert leaks_in(caplog.text, self.key) == []

    def _identify(self, response: Response) -> Outcome:
        return play(self.make_backend().identify(USER), lambda _: response)
