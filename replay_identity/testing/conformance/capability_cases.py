"""What holds for all that only some backends can do: no reply makes them raise, and they answer of their own."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import strategies as st

from ...adapters.exchange import Exchange, Request, Response
from ...adapters.protocols import (
    BatchEntry,
    BatchTooLarge,
    Comparison,
    IdentityBackend,
    JobProgress,
    KeyInfo,
    Page,
    StoredUser,
    SupportsBatch,
    SupportsCompare,
    SupportsDelete,
    SupportsExclude,
    SupportsMultiIdentify,
    SupportsRead,
    SupportsVerify,
)
from ...outcomes import Accepted, Broken, Misconfigured, Outcome, Rejected, Skipped, Unavailable, Unknown
from ...traits import UserTraits
from ..responses import responses
from ..strategies import user_traits
from .base import AdapterHooks
from .request_content import read_request_content
from .support import ECHOES, USER, USER_ID, WORDS, echoes, for_all, one_after_another, play, shown_in

_FAILURES = (Rejected, Misconfigured, Unavailable, Unknown)
_MEMBERS = (
    BatchEntry(user_id=USER_ID, content=b"{}"),
    BatchEntry(vendor_id="1", content=b"{}"),
    BatchEntry(content=b"{}"),
)
_STATUSES = (200, 202, 400, 401, 403, 404, 409, 413, 429, 500)
# What each exchange may answer, by its name.
_ANSWERS: Mapping[str, tuple[type, ...]] = {
    "get": (StoredUser, type(None), *_FAILURES),
    "pages": (Page, *_FAILURES),
    "delete": (Accepted, Skipped, *_FAILURES),
    "exclude": (Accepted, Skipped, *_FAILURES),
    "compare": (Comparison, *_FAILURES),
    "verify": (KeyInfo, *_FAILURES),
    "identify_many": (tuple,),
    "create_job": (str, BatchTooLarge, *_FAILURES),
    "poll_job": (JobProgress, *_FAILURES),
    "collect_job": (tuple, *_FAILURES),
}


class CapabilityCases(AdapterHooks):
    """Cases about the protocols beside `IdentityBackend`."""

    def test_every_response_has_a_documented_result(self) -> None:
        """One that the protocol knows, whatever the vendor answers; nothing raises."""
        backend = self.make_backend()
        operations = [operation for operation, _ in _exchanges(backend)]
        if not operations:
            pytest.skip(f"{backend.name} only identifies")

        @for_all(st.sampled_from(operations), st.lists(responses(), min_size=1, max_size=3))
        def law(operation: str, answers: list[Response]) -> None:
            exchange = dict(_exchanges(backend))[operation]
            answer = play(exchange, one_after_another(answers, answers[-1]))
            assert isinstance(answer, _ANSWERS[operation])
            assert getattr(answer, "backend", backend.name) == backend.name

        law()

    def test_results_hide_values_and_the_key(self) -> None:
        """Whatever the vendor quotes of what it was sent, of this user or of another one of the same request."""
        backend = self.make_backend()
        operations = [operation for operation, _ in _exchanges(backend)]
        if not operations:
            pytest.skip(f"{backend.name} only identifies")
        for operation, status, number in product(operations, _STATUSES, range(ECHOES)):
            answer = play(dict(_exchanges(backend))[operation], partial(_echo, self.key, status, number))
            assert shown_in(repr(answer), self.key) == []

    def test_each_of_many_users_has_an_outcome(self) -> None:
        """In their order, whatever the vendor answers; who breaks a rule is not sent."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsMultiIdentify):
            pytest.skip(f"{backend.name} takes one user a request")

        @for_all(st.lists(user_traits(), max_size=4), st.lists(responses(), min_size=1, max_size=3))
        def law(users: list[UserTraits], answers: list[Response]) -> None:
            outcomes = play(backend.identify_many(users), one_after_another(answers, answers[-1]))
            assert len(outcomes) == len(users)
            for user, outcome in zip(users, outcomes, strict=True):
                assert isinstance(outcome, Outcome)
                assert not isinstance(outcome, Broken)
                assert outcome.backend == backend.name
                if violations := backend.plan(user).violations:
                    assert outcome == Rejected(backend.name, violations)

        law()

    @pytest.mark.parametrize("status", [400, 413])
    def test_bad_user_does_not_fail_the_others(self, status: int) -> None:
        """A request that one user spoils is sent again in parts, until they are refused alone."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsMultiIdentify):
            pytest.skip(f"{backend.name} takes one user a request")
        users = (UserTraits("u1", name="Ada"), USER, UserTraits("u2", name="Grace"), UserTraits("u3", name="Joan"))

        def answer(request: Request) -> Response:
            return Response(status) if read_request_content(request).contains(USER_ID) else self.accepted(request)

        outcomes = play(backend.identify_many(users), answer)
        assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted, Accepted]

    def test_batch_matches_the_plan(self) -> None:
        """It refuses and adjusts the same, and its contents can be read from its body again."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsBatch):
            pytest.skip(f"{backend.name} takes no batches")

        @for_all(st.lists(user_traits(), max_size=3))
        def law(users: list[UserTraits]) -> None:
            items = [backend.encode_for_batch(user) for user in users]
            for user, item in zip(users, items, strict=True):
                plan = backend.plan(user)
                assert item == backend.encode_for_batch(user)
                assert (item.violations, item.adjustments) == (plan.violations, plan.adjustments)
                assert (item.content is None) == bool(plan.violations)
            contents = [item.content for item in items if item.content is not None]
            assert len(backend.batch_contents(backend.batch_body(contents))) == len(contents)

        law()


def _exchanges(backend: IdentityBackend) -> Iterator[tuple[str, Exchange[Any]]]:
    """Yield an exchange of everything that *backend* can do, by its name."""
    if isinstance(backend, SupportsRead):
        yield "get", backend.get(USER_ID)
        yield "pages", next(backend.pages())
    if isinstance(backend, SupportsDelete):
        yield "delete", backend.delete(USER_ID)
    if isinstance(backend, SupportsExclude):
        yield "exclude", backend.exclude(user_id=USER_ID)
    if isinstance(backend, SupportsCompare):
        yield "compare", backend.compare(USER)
    if isinstance(backend, SupportsVerify):
        yield "verify", backend.verify()
    if isinstance(backend, SupportsMultiIdentify):
        yield "identify_many", backend.identify_many((USER, UserTraits("u2", name="Grace")))
    if isinstance(backend, SupportsBatch):
        body = backend.batch_body([backend.encode_for_batch(USER).content or b""])
        yield "create_job", backend.create_job(body, idempotency_key="key-1")
        yield "poll_job", backend.poll_job("job-1")
        yield "collect_job", backend.collect_job("job-1", _MEMBERS)


def _echo(key: str, status: int, number: int, request: Request) -> Response:
    """Return one of the replies that quote *request*, with all that it says of the user."""
    return Response(status, body=echoes(request, key, filter(read_request_content(request).contains, WORDS))[number])
