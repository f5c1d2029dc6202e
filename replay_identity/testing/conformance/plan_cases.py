"""What holds for every plan: it is pure, it is what is sent, and whatever it loses is on record."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ..._values import REMOVE, is_nested
from ...adapters.exchange import Request
from ...adapters.protocols import IdentityBackend, Plan
from ...errors import printable
from ...outcomes import Rejected, Skipped, Violation
from ...traits import UserTraits
from ..boundaries import Boundary, users_at, users_over
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .request_content import RequestContent, read_request_content
from .support import USER, first_request, for_all, shown_in


class PlanCases(AdapterHooks):
    """Cases about `plan`, and about what `identify` sends."""

    def test_plan_is_pure_and_deterministic(self) -> None:
        """The same user gives the same plan to the byte, also from another object, and is not changed by it."""
        backends = (self.make_backend(), self.make_backend(on_violation="adapt"))
        twins = (self.make_backend(), self.make_backend(on_violation="adapt"))

        @for_all(user_traits())
        def law(user: UserTraits) -> None:
            before = copy.deepcopy(user)
            for backend, twin in zip(backends, twins, strict=True):
                assert backend.plan(user) == backend.plan(user) == twin.plan(before)
            assert user == before

        law()

    def test_identify_sends_the_planned_request(self) -> None:
        """That request and no other; nothing at all of a user who breaks a rule or of whom there is nothing to say."""

        @for_all(user_traits())
        def law(user: UserTraits) -> None:
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

        law()

    def test_valid_users_are_never_rejected(self) -> None:
        """Nor changed with a loss; adapting makes no difference to it."""

        @for_all(valid_users(self.limits))
        def law(user: UserTraits) -> None:
            if not self.satisfies_other_rules(user):
                return
            strict, lenient = (backend.plan(user) for backend in self._both())
            assert strict.violations == ()
            assert strict.request is not None
            assert _lost(strict) == set()
            assert strict == lenient

        law()

    def test_every_loss_is_recorded(self) -> None:
        """Every value that is not recorded as lost can be read from the request."""

        @for_all(user_traits() | valid_users(self.limits))
        def law(user: UserTraits) -> None:
            for backend in self._both():
                plan = backend.plan(user)
                if plan.violations:
                    continue
                no_response, said = _lost(plan), _said(plan)
                missing = {path for path, value in _given(user) if not self._is_kept(path, value, said, no_response)}
                # Of somebody of whom nothing is said, nothing need be sent.
                assert missing == set() or (plan.request is None and missing == {"user_id"})

        law()

    def test_reject_mode_loses_nothing(self) -> None:
        """A backend that rejects what breaks a rule sends the rest whole, and one that adapts sends no less."""

        @for_all(user_traits())
        def law(user: UserTraits) -> None:
            strict, lenient = (backend.plan(user) for backend in self._both())
            assert _lost(strict) == set()
            assert bool(strict.violations) == (bool(lenient.violations) or bool(_lost(lenient)))

        law()

    def test_removal_is_sent_or_recorded(self) -> None:
        """It makes a difference to what is sent; where the vendor cannot clear a trait, that is refused or recorded."""
        for backend in self._both():
            without, removing = (
                backend.plan(UserTraits("u1", name="Ada", traits={"seats": 7, **traits}))
                for traits in ({}, {"plan": REMOVE})
            )
            is_on_record = bool(removing.violations) or "traits.plan" in _lost(removing)
            assert is_on_record or _said(removing) != _said(without)
            assert is_on_record or "plan" in _said(removing).texts

    def test_removal_is_not_sent_as_text(self) -> None:
        """No vendor holds the text ``None`` or ``REMOVE`` for a trait that was to be cleared."""
        for backend in self._both():
            user = UserTraits("u1", name="Ada", traits={"plan": REMOVE, "seats": None, "old": {"plan": REMOVE}})
            said = {text.lower() for text in _said(backend.plan(user)).texts}
            assert said.isdisjoint({"none", "null", "undefined", "remove", "removal.remove"})

    def test_plans_hide_values_and_the_key(self) -> None:
        """Nor does the backend itself, nor the request."""
        for backend in self._both():
            plan = backend.plan(USER)
            for shown in (backend, plan, plan.request, plan.adjustments):
                assert shown_in(f"{shown!r} {shown!s}", self.key) == []

    def _both(self) -> tuple[IdentityBackend, IdentityBackend]:
        """Return the backend that refuses and the one that adapts."""
        return self.make_backend(), self.make_backend(on_violation="adapt")

    def _is_kept(self, path: str, value: Any, content: RequestContent, no_response: set[str]) -> bool:  # noqa: ANN401  # As `UserTraits` has it.
        parts = path.split(".")
        paths = {printable(".".join(parts[: index + 1])) for index in range(len(parts))}
        return not paths.isdisjoint(no_response) or self.request_contains(path, value, content)


def _lost(plan: Plan) -> set[str]:
    """Return the paths that the plan says differ with a loss."""
    return {adjustment.path for adjustment in plan.adjustments if adjustment.lossy}


def _said(plan: Plan) -> RequestContent:
    return read_request_content(plan.request or Request("nothing", "GET", ""))


def _given(user: UserTraits) -> Iterator[tuple[str, Any]]:
    """Yield every value of *user*, by its path; a blank and a removal have cases of their own."""
    own = (("user_id", user.user_id), ("name", user.name), ("email", user.email))
    yield from ((path, value) for path, value in (*own, *_values(user.traits, "traits")) if not _is_blank(value))


def _values(traits: Mapping[str, Any], parent: str) -> Iterator[tuple[str, Any]]:
    for name, value in traits.items():
        path = f"{parent}.{name}"
        if is_nested(value):
            yield from _values(value, path)
        else:
            yield path, value


def _is_blank(value: object) -> bool:
    return value is None or value is REMOVE or value in ("", ())


class LimitCases(AdapterHooks):
    """Cases about the backend's `limits`."""

    def test_users_over_a_limit_are_rejected(self) -> None:
        """By the name of the limit's rule, with the limit and its unit."""
        backend = self.make_backend()

        @for_all(users_over(self.some_limits()))
        def law(boundary: Boundary) -> None:
            if not self.satisfies_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.request is None
            assert _measures(boundary) in {_named(violation) for violation in plan.violations}

        law()

    def test_adapt_mode_respects_limits_and_records_losses(self) -> None:
        """A backend that adapts sends less and says so, or refuses what nothing can mend; never more than the limit."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(users_over(self.some_limits()))
        def law(boundary: Boundary) -> None:
            plan = backend.plan(boundary.user)
            if plan.request is None:
                assert plan.violations
                return
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy]
            assert [text for text in read_request_content(plan.request).texts if _is_too_much(text, boundary)] == []

        law()

    def test_users_at_a_limit_are_sent_unchanged(self) -> None:
        """Down to the last character that fits, in the limit's unit."""
        backend = self.make_backend()

        @for_all(users_at(self.some_limits()))
        def law(boundary: Boundary) -> None:
            if not self.satisfies_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.violations == ()
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy] == []
            assert plan.request is not None
            assert boundary.text is None or self.request_contains(
                boundary.path, boundary.text, read_request_content(plan.request)
            )

        law()


def _measures(boundary: Boundary) -> tuple[str, int | None, str | None]:
    return boundary.limit.rule, boundary.limit.maximum, boundary.limit.unit


def _named(violation: Violation) -> tuple[str, int | None, str | None]:
    return violation.rule, violation.limit, violation.unit


def _is_too_much(text: str, boundary: Boundary) -> bool:
    """Tell whether *text* is the boundary's, or a beginning of it, and over the limit."""
    return (boundary.text or "").startswith(text) and not boundary.limit.allows(text)
