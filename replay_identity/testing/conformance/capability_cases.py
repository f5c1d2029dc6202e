"""Cases about optional capabilities: deleting, reading, comparing, batches and several users per request."""

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
from ..http_responses import responses
from ..strategies import user_traits
from .base import AdapterHooks
from .request_content import read_request_content
from .support import ECHO_COUNT, USER, USER_ID, VALUES, echoes, for_all, in_order, leaks_in, play

_FAILURES = (Rejected, Misconfigured, Unavailable, Unknown)
_ENTRIES = (
    BatchEntry(user_id=USER_ID, content=b"{}"),
    BatchEntry(vendor_id="1", content=b"{}"),
    BatchEntry(content=b"{}"),
)
_STATUSES = (200, 202, 400, 401, 403, 404, 409, 413, 429, 500)
# The types that each exchange may return.
_RESULT_TYPES: Mapping[str, tuple[type, ...]] = {
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
    """Cases about the optional protocols of backends."""

    def test_every_response_has_a_documented_result(self) -> None:
        """An exchange returns a result of its protocol for any response, and never raises."""
        backend = self.make_backend()
        operations = [operation for operation, _ in _exchanges(backend)]
        if not operations:
            pytest.skip(f"{backend.name} only identifies")

        @for_all(st.sampled_from(operations), st.lists(responses(), min_size=1, max_size=3))
        def check(operation: str, script: list[Response]) -> None:
            exchange = dict(_exchanges(backend))[operation]
            result = play(exchange, in_order(script))
            assert isinstance(result, _RESULT_TYPES[operation])
            assert getattr(result, "backend", backend.name) == backend.name

        check()

    def test_results_hide_values_and_the_key(self) -> None:
        """Results contain no values that the vendor quotes, not even of another user in the same request."""
        backend = self.make_backend()
        operations = [operation for operation, _ in _exchanges(backend)]
        if not operations:
            pytest.skip(f"{backend.name} only identifies")
        for operation, status, number in product(operations, _STATUSES, range(ECHO_COUNT)):
            result = play(dict(_exchanges(backend))[operation], partial(_echo, self.key, status, number))
            assert leaks_in(repr(result), self.key) == []

    def test_each_of_many_users_has_an_outcome(self) -> None:
        """There is one outcome per user, in order; users with violations are not sent."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsMultiIdentify):
            pytest.skip(f"{backend.name} takes one user per request")

        @for_all(st.lists(user_traits(), max_size=4), st.lists(responses(), min_size=1, max_size=3))
        def check(users: list[UserTraits], script: list[Response]) -> None:
            outcomes = play(backend.identify_many(users), in_order(script))
            assert len(outcomes) == len(users)
            for user, outcome in zip(users, outcomes, strict=True):
                assert isinstance(outcome, Outcome)
                assert not isinstance(outcome, Broken)
                assert outcome.backend == backend.name
                if violations := backend.plan(user).violations:
                    assert outcome == Rejected(backend.name, violations)

        check()

    @pytest.mark.parametrize("status", [400, 413])
    def test_bad_user_does_not_fail_the_others(self, status: int) -> None:
        """A rejected request is sent again in parts, until only the bad user is rejected."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsMultiIdentify):
            pytest.skip(f"{backend.name} takes one user per request")
        users = (UserTraits("u1", name="Ada"), USER, UserTraits("u2", name="Grace"), UserTraits("u3", name="Joan"))

        def respond(request: Request) -> Response:
            return Response(status) if read_request_content(request).contains(USER_ID) else self.accepted(request)

        outcomes = play(backend.identify_many(users), respond)
        assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted, Accepted]

    def test_batch_matches_the_plan(self) -> None:
        """A batch has the violations, adjustments and fields of the plan, and its body can be split again."""
        backend = self.make_backend()
        if not isinstance(backend, SupportsBatch):
            pytest.skip(f"{backend.name} has no batches")

        @for_all(st.lists(user_traits(), max_size=3))
        def check(users: list[UserTraits]) -> None:
            items = [backend.encode_for_batch(user) for user in users]
            for user, item in zip(users, items, strict=True):
                plan = backend.plan(user)
                assert item == backend.encode_for_batch(user)
                assert (item.violations, item.adjustments) == (plan.violations, plan.adjustments)
                assert item.fields == plan.fields
                assert (item.content is None) == bool(plan.violations)
            contents = [item.content for item in items if item.content is not None]
            assert len(backend.batch_contents(backend.batch_body(contents))) == len(contents)

        check()


def _exchanges(backend: IdentityBackend) -> Iterator[tuple[str, Exchange[Any]]]:
    """Yield one exchange for each capability of *backend*, with its name."""
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
        yield "collect_job", backend.collect_job("job-1", _ENTRIES)


def _echo(key: str, status: int, number: int, request: Request) -> Response:
    """Return response *number* of those that quote *request* and the values in it."""
    return Response(status, body=echoes(request, key, filter(read_request_content(request).contains, VALUES))[number])
