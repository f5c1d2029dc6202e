"""What holds at each of a vendor's limits: nothing over it is sent, and everything on it is."""

from ...outcome import Violation
from ..boundaries import Boundary, users_at, users_over
from .author import Author
from .laws import for_all
from .said import said_by


class LimitCases(Author):
    """Cases about the backend's `limits`."""

    def test_whatever_is_over_a_limit_is_refused(self) -> None:
        """By the name of the limit's rule, with the limit and its unit."""
        backend = self.make_backend()

        @for_all(users_over(self.some_limits()))
        def law(boundary: Boundary) -> None:
            if not self.keeps_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.request is None
            assert _measures(boundary) in {_named(violation) for violation in plan.violations}

        law()

    def test_what_is_over_a_limit_is_mended_on_record(self) -> None:
        """A backend that adapts sends less and says so, or refuses what nothing can mend; never more than the limit."""
        backend = self.make_backend(on_violation="adapt")

        @for_all(users_over(self.some_limits()))
        def law(boundary: Boundary) -> None:
            plan = backend.plan(boundary.user)
            if plan.request is None:
                assert plan.violations
                return
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy]
            assert [text for text in said_by(plan.request).texts if _is_too_much(text, boundary)] == []

        law()

    def test_what_is_exactly_on_a_limit_is_sent_whole(self) -> None:
        """Down to the last character that fits, in the limit's unit."""
        backend = self.make_backend()

        @for_all(users_at(self.some_limits()))
        def law(boundary: Boundary) -> None:
            if not self.keeps_other_rules(boundary.user):
                return
            plan = backend.plan(boundary.user)
            assert plan.violations == ()
            assert [adjustment for adjustment in plan.adjustments if adjustment.lossy] == []
            assert plan.request is not None
            assert boundary.text is None or self.is_said(boundary.path, boundary.text, said_by(plan.request))

        law()


def _measures(boundary: Boundary) -> tuple[str, int | None, str | None]:
    return boundary.limit.rule, boundary.limit.maximum, boundary.limit.unit


def _named(violation: Violation) -> tuple[str, int | None, str | None]:
    return violation.rule, violation.limit, violation.unit


def _is_too_much(text: str, boundary: Boundary) -> bool:
    """Tell whether *text* is the boundary's, or a beginning of it, and over the limit."""
    return (boundary.text or "").startswith(text) and not boundary.limit.allows(text)
