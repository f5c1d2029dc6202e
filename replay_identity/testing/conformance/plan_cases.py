"""Cases about plans and limits: plans are pure, are what is sent, and record every loss."""

import copy
from collections.abc import Iterator
from typing import Any

from ..._paths import leaves, prefixes
from ..._values import REMOVE
from ...adapters.exchange import Request
from ...adapters.protocols import IdentityBackend, Plan
from ...errors import printable
from ...outcomes import Rejected, Skipped, Violation
from ...traits import UserTraits
from ..boundaries import Boundary, users_at, users_over
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .request_content import RequestContent, read_request_content
from .support import USER, first_request, for_all, leaks_in


class PlanCases(AdapterHooks):
    """Cases about `plan` and the requests of `identify`."""

    def test_plan_is_pure_and_deterministic(self) -> None:
        """An equal user has an equal plan, also in another backend, and is not modified."""
        backends = (self.make_backend(), self.make_backend(on_violation="adapt"))
        twins = (self.make_backend(), self.make_backend(on_violation="adapt"))

        @for_all(user_traits())
        def check(user: UserTraits) -> None:
            before = copy.deepcopy(user)
            for backend, twin in zip(backends, twins, strict=True):
                assert backend.plan(user) == backend.plan(user) == twin.plan(before)
            assert user == before

        check()

    def test_identify_sends_the_planned_request(self) -> None:
        """`identify` sends the planned request, or nothing if there are violations or nothing to send."""

        @for_all(user_traits())
        def check(user: UserTraits) -> None:
            for backend in self._both():
                plan, first = backend.plan(user), first_request(backend.identify(user))
                if plan.violations:
                    assert plan.request is None
                    assert first == Rejected(backend.name, plan.violations)
                elif plan.request is None:
                    assert isinstance(first, Skipped)
                else:
                    assert isinstance(first, Request)
                    assert self.normalize(first) == self.normalize(plan.request)

        check()

    def test_valid_users_are_never_rejected(self) -> None:
        """Users within all limits have no violations and no losses in either mode."""

        @for_all(valid_users(self.limits))
        def check(user: UserTraits) -> None:
            if not self.satisfies_other_rules(user):
                return
            strict, lenient = (backend.plan(user) for backend in self._both())
            assert strict.violations == ()
            assert strict.request is not None
            assert _lost(strict) == set()
            assert strict == lenient

        check()

    def test_every_loss_is_recorded(self) -> None:
        """The request contains every value that is not recorded as lost."""

        @for_all(user_traits() | valid_users(self.limits))
        def check(user: UserTraits) -> None:
            for backend in self._both():
                plan = backend.plan(user)
                if plan.violations:
                    continue
                lost, content = _lost(plan), _content(plan)
                missing = {path for path, value in _fields(user) if not self._is_kept(path, value, content, lost)}
                # For a user with only an id, nothing needs to be sent.
                assert missing == set() or (plan.request is None and missing == {"user_id"})

        check()

    def test_reject_mode_loses_nothing(self) -> None:
        """Reject mode has no losses, and rejects exactly the users that adapt mode changes or rejects."""

        @for_all(user_traits())
        def check(user: UserTraits) -> None:
            strict, lenient = (backend.plan(user) for backend in self._both())
            assert _lost(strict) == set()
            assert bool(strict.violations) == (bool(lenient.violations) or bool(_lost(lenient)))

        check()

    def test_removal_is_sent_or_recorded(self) -> None:
        """A removal changes the request; if the vendor cannot clear a trait, it is rejected or recorded."""
        for backend in self._both():
            without, removing = (
                backend.plan(UserTraits("u1", name="Ada", traits={"seats": 7, **traits}))
                for traits in ({}, {"plan": REMOVE})
            )
            is_recorded = bool(removing.violations) or "traits.plan" in _lost(removing)
            assert is_recorded or _content(removing) != _content(without)
            assert is_recorded or "plan" in _content(removing).texts

    def test_removal_is_not_sent_as_text(self) -> None:
        """The text ``None`` or ``REMOVE`` is never sent for a cleared trait."""
        for backend in self._both():
            user = UserTraits("u1", name="Ada", traits={"plan": REMOVE, "seats": None, "old": {"plan": REMOVE}})
            texts = {text.lower() for text in _content(backend.plan(user)).texts}
            assert texts.isdisjoint({"none", "null", "undefined", "remove", "removal.remove"})

    def test_plans_hide_values_and_the_key(self) -> None:
        """The repr of a backend, a plan and a request contains no values and no key."""
        for backend in self._both():
            plan = backend.plan(USER)
            for shown in (backend, plan, plan.request, plan.adjustments):
                assert leaks_in(f"{shown!r} {shown!s}", self.key) == []

    def _both(self) -> tuple[IdentityBackend, IdentityBackend]:
        """Return the backend that rejects and the one that adapts."""
        return self.make_backend(), self.make_backend(on_violation="adapt")

    def _is_kept(self, path: str, value: Any, content: RequestContent, lost: set[str]) -> bool:  # noqa: ANN401  # As `UserTraits` has it.
        return not lost.isdisjoint(map(printable, prefixes(path))) or self.request_contains(path, value, content)


def _lost(plan: Plan) -> set[str]:
    return {adjustment.path for adjustment in plan.adjustments if adjustment.lossy}


def _content(plan: Plan) -> RequestContent:
    return read_request_content(plan.request or Request("nothing", "GET", ""))


def _fields(user: UserTraits) -> Iterator[tuple[str, Any]]:
    """Yield every value of *user* with its path, except empty values and removals, which have their own cases."""
    fields = (("user_id", user.user_id), ("name", user.name), ("email", user.email))
    traits = ((".".join(("traits", *names)), value) for names, value in leaves(user.traits))
    yield from ((path, value) for path, value in (*fields, *traits) if not _is_empty(value))


def _is_empty(value: object) -> bool:
    return value is None or value is REMOVE or value in ("", ())


class LimitCases(AdapterHooks):
    """Cases about the backend's `limits`."""

    def test_users_over_a_limit_are_rejected(self) -> None:
        """The violation has the rule, the maximum and the unit of the limit."""
        backend = self.make_backend()

        @for_all(users_over(self.limits_or_skip()))
        def check(boundary: Boundary) -> None:
            if not self.satisfies_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.request is None
            assert _limit_key(boundary) in {_violation_key(violation) for violation in plan.violations}

        check()

    def test_adapt_mode_respects_limits_and_records_losses(self) -> None:
        """Adapt mode records a loss or rejects the user, and never sends more than the limit."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(users_over(self.limits_or_skip()))
        def check(boundary: Boundary) -> None:
            plan = backend.plan(boundary.user)
            if plan.request is None:
                assert plan.violations
                return
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy]
            assert [text for text in read_request_content(plan.request).texts if _is_over_limit(text, boundary)] == []

        check()

    def test_users_at_a_limit_are_sent_unchanged(self) -> None:
        """Values exactly at a limit are neither rejected nor changed."""
        backend = self.make_backend()

        @for_all(users_at(self.limits_or_skip()))
        def check(boundary: Boundary) -> None:
            if not self.satisfies_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.violations == ()
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy] == []
            assert plan.request is not None
            assert boundary.text is None or self.request_contains(
                boundary.path, boundary.text, read_request_content(plan.request)
            )

        check()


def _limit_key(boundary: Boundary) -> tuple[str, int | None, str | None]:
    return boundary.limit.rule, boundary.limit.maximum, boundary.limit.unit


def _violation_key(violation: Violation) -> tuple[str, int | None, str | None]:
    return violation.rule, violation.limit, violation.unit


def _is_over_limit(text: str, boundary: Boundary) -> bool:
    """Return True if *text* is the boundary's text or a prefix of it, and over the limit."""
    return (boundary.text or "").startswith(text) and not boundary.limit.allows(text)
