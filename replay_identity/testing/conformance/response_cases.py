"""What holds for every reply: it has one meaning, nothing raises, and nobody's values are told."""

import logging
from typing import Final

import pytest
from hypothesis import strategies as st

from ...adapters.exchange import NoResponse, Response
from ...outcomes import Accepted, Broken, Misconfigured, Outcome, Rejected, Unavailable, Unknown, explain
from ...retry import RetryPolicy
from ...traits import UserTraits
from ..responses import responses
from ..scripted import ScriptedTransport
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .support import USER, echoes, for_all, one_after_another, play, shown_in

_NOT_BELIEVED: Final = (b"", b"<html>Log in</html>", b"[]", b"null", b'"ok"', b'{"id"', b"{}", b"\xff")
_FAILURES: Final = (
    Response(503),
    Response(429, {"retry-after": "0"}),
    Response(0, no_response=NoResponse.NOT_SENT),
    Response(0, no_response=NoResponse.CONNECTION_LOST),
    Response(0, no_response=NoResponse.TIMED_OUT),
)


def _cause(response: Response) -> str:
    return response.cause


class ResponseCases(AdapterHooks):
    """Cases about what `identify` makes of replies."""

    def test_every_response_has_an_outcome(self) -> None:
        """Of the backend's own, whatever the vendor, or whoever stands between, answers; nothing raises."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(user_traits(), st.lists(responses(), min_size=1, max_size=3))
        def law(user: UserTraits, answers: list[Response]) -> None:
            outcome = play(backend.identify(user), one_after_another(answers, answers[-1]))
            assert isinstance(outcome, Outcome)
            assert not isinstance(outcome, Broken)
            assert outcome.backend == backend.name
            assert explain(outcome)

        law()

    def test_documented_success_is_accepted(self) -> None:
        """With what was adjusted."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(user_traits() | valid_users(self.limits))
        def law(user: UserTraits) -> None:
            plan = backend.plan(user)
            if plan.request is None:
                return
            outcome = play(backend.identify(user), self.accepted)
            assert isinstance(outcome, Accepted)
            assert outcome.adjustments == plan.adjustments

        law()

    @pytest.mark.parametrize("body", _NOT_BELIEVED)
    def test_success_with_a_foreign_body_is_not_accepted(self, body: bytes) -> None:
        """A proxy or a login page answers 200 as well."""
        assert not isinstance(self._identify(Response(200, body=body)), Accepted)

    @pytest.mark.parametrize("status", [401, 403])
    def test_rejected_key_is_misconfigured(self, status: int) -> None:
        """Nobody can be sent until the settings change."""
        assert isinstance(self._identify(Response(status)), Misconfigured)

    def test_redirect_is_misconfigured(self) -> None:
        """It is never followed, since it would take the key elsewhere."""
        response = Response(302, {"location": "https://elsewhere.example/"})
        assert isinstance(self._identify(response), Misconfigured)

    def test_bad_request_is_rejected(self) -> None:
        """The same traits would fail again."""
        assert isinstance(self._identify(Response(400)), Rejected)

    @pytest.mark.parametrize("status", [429, 503])
    def test_busy_vendor_is_unavailable(self, status: int) -> None:
        """For as long as it says."""
        outcome = self._identify(Response(status, {"retry-after": "7"}))
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after == 7  # noqa: PLR2004  # As above.

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
        """It may have been applied, and is worth another try."""
        outcome = self._identify(response)
        assert isinstance(outcome, Unknown)
        assert outcome.retryable

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_rejected_request_is_not_retried(self, status: int) -> None:
        """The answer to a second try would be the same."""
        transport = ScriptedTransport(Response(status))
        transport.run(self.make_backend().identify(USER))
        assert len(transport.requests) == 1

    def test_adapter_leaves_retries_to_the_transport(self) -> None:
        """Which knows the caller's patience, and keeps the vendor's."""
        transport = ScriptedTransport(Response(503), retry=RetryPolicy(attempts=1))
        transport.run(self.make_backend().identify(USER))
        assert len(transport.requests) == 1

    @pytest.mark.parametrize("failure", _FAILURES, ids=_cause)
    def test_retry_sends_the_same_bytes(self, failure: Response) -> None:
        """To the same address with the same headers, the idempotency key among them; then it is accepted."""
        backend = self.make_backend()
        transport = ScriptedTransport(failure, failure, answer=self.accepted)
        outcome = transport.run(backend.identify(USER))
        assert isinstance(outcome, Accepted)
        assert len(transport.requests) == 3  # noqa: PLR2004  # The first and two retries.
        assert transport.requests[1:] == transport.requests[:1] * 2

    def test_outcomes_hide_values_and_the_key(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever the vendor quotes, and at any level of the log."""
        caplog.set_level(logging.DEBUG)
        backend = self.make_backend()
        request = backend.plan(USER).request
        assert request is not None
        for status in (200, 400, 401, 403, 404, 409, 429, 500):
            for body in echoes(request, self.key):
                outcome = ScriptedTransport(Response(status, body=body)).run(backend.identify(USER))
                assert shown_in(f"{outcome!r} {outcome!s} {explain(outcome)}", self.key) == []
        assert shown_in(caplog.text, self.key) == []

    def _identify(self, response: Response) -> Outcome:
        """Return what becomes of a user to whom the vendor answers *response* for ever."""
        return play(self.make_backend().identify(USER), lambda _: response)
