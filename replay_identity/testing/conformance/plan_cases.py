"""Cases about plans, fields, limits and accounts: plans are pure, are what is sent, and record every loss."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import combinations, product
from typing import Any, Final

import orjson
import pytest

from ..._paths import leaves, prefixes
from ..._values import REMOVE
from ...adapters.exchange import Request
from ...adapters.id_rules import IdRule
from ...adapters.protocols import IdentityBackend, Plan, SupportsBatch, SupportsPartialUpdate
from ...errors import printable
from ...outcomes import Rejected, Skipped, Violation
from ...traits import TraitValue, UserTraits
from ..boundaries import Boundary, users_at, users_over
from ..strategies import user_traits, valid_users
from .base import AdapterHooks
from .request_content import RequestContent, read_request_content
from .support import USER, first_request, for_all, leaks_in

# A server that is not the vendor's.
_OTHER_URL: Final = "http://127.0.0.1:9"
# The values of `USER` that are not its id.
_PROBES: Final = ("Canary Finch", "canary@example.com", "canary-plan", 918273, "canary-tag")
# Ids that many users share by mistake, and the rules against them.
_SHARED_IDS: Final[Mapping[str, IdRule]] = {
    "null": "placeholder-id",
    " Undefined ": "placeholder-id",
    "1.23457E+17": "id-in-scientific-notation",
}
# Names and values that a vendor may not tell apart.
_NAMES: Final = ("a", "a.b", "a b", "a_b", "name", "email")
_VALUES: Final[tuple[TraitValue, ...]] = (
    "x",
    "1",
    1,
    1.0,
    True,
    REMOVE,
    date(2026, 1, 1),
    "2026-01-01",
    ["x"],
    ["2026-01-01"],
)


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

    @pytest.mark.parametrize(("user_id", "rule"), _SHARED_IDS.items())
    def test_ids_of_many_people_are_rejected(self, user_id: str, rule: IdRule) -> None:
        """A placeholder, and a number in scientific notation, are rejected in either mode."""
        user = UserTraits(user_id, name="Ada")
        if not self.satisfies_other_rules(user):
            pytest.skip("another rule already rejects the id")
        for backend in self._both():
            plan = backend.plan(user)
            assert plan.request is None
            assert Violation("user_id", rule) in plan.violations
            assert first_request(backend.identify(user)) == Rejected(backend.name, plan.violations)

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


class AccountCases(AdapterHooks):
    """Cases about the names by which the state that the vendor confirmed is kept."""

    def test_account_and_encoding_are_stable(self) -> None:
        """Equal backends have the same ones, and a policy does not change the account."""
        backend, twin, lenient = self.make_backend(), self.make_backend(), self.make_backend(on_violation="adapt")
        assert (backend.account, backend.encoding) == (twin.account, twin.encoding)
        assert backend.account == lenient.account
        assert backend.account
        assert backend.account.isprintable()

    def test_account_and_encoding_hide_the_key(self) -> None:
        """Reports print the account."""
        backend = self.make_backend()
        assert leaks_in(f"{backend.account} {backend.encoding}", self.key) == []

    def test_other_accounts_have_other_names(self) -> None:
        """What one account confirmed is not true of another, nor of another server."""
        backends = (self.make_backend(), self.make_backend(base_url=_OTHER_URL), *self.other_accounts())
        assert len({backend.account for backend in backends}) == len(backends)

    def test_encoding_changes_with_the_policy(self) -> None:
        """The policy decides what is sent for a user who breaks a limit."""
        assert self.make_backend().encoding != self.make_backend(on_violation="adapt").encoding


class FieldCases(AdapterHooks):
    """Cases about `Plan.fields`, and about requests with some of them."""

    def test_same_fields_make_the_same_request(self) -> None:
        """Nothing that is sent of a user is missing in the fields."""
        backend = self.make_backend(on_violation="adapt")
        _fields_or_skip(backend)

        sent: dict[bytes, object] = {}
        for plan in map(backend.plan, _similar_users()):
            if not plan.violations:
                assert sent.setdefault(_as_json(plan.fields), self._sent(plan)) == self._sent(plan)

    def test_request_holds_only_the_named_fields(self) -> None:
        """For any of the fields of a user."""
        backend = self.make_backend()
        fields = _fields_or_skip(backend)
        assert set(_PROBES) - {probe for probe in _PROBES if _holds(fields.values(), probe)} == set()
        for size in range(len(fields)):
            for only in combinations(fields, size):
                expected = {probe for probe in _PROBES if _holds([fields[name] for name in only], probe)}
                for content in _partial_contents(backend, only):
                    assert {probe for probe in _PROBES if content.contains(probe)} == expected

    def test_partial_plan_describes_the_whole_user(self) -> None:
        """Its fields, adjustments and violations do; a plan with all fields sends the whole user."""
        backend = self.make_backend(on_violation="adapt")
        partial = _as_partial(backend)
        if partial is None:
            pytest.skip(f"{backend.name} sends whole users")

        @for_all(user_traits() | valid_users(self.limits))
        def check(user: UserTraits) -> None:
            whole = backend.plan(user)
            names = list(whole.fields or ())
            for only in ((), names[::2], names):
                plan = partial.plan(user, only=only)
                assert (plan.adjustments, plan.violations) == (whole.adjustments, whole.violations)
                assert _as_json(plan.fields) == _as_json(whole.fields)
                assert first_request(partial.send(user, plan)) == (plan.request or plan.unsent)
            assert not names or self._sent(partial.plan(user, only=names)) == self._sent(whole)

        check()

    def _sent(self, plan: Plan) -> object:
        """Return what *plan* sends, comparable whatever the order of names in it."""
        request = None if plan.request is None else self.normalize(plan.request)
        return request and (request.method, request.url, sorted(request.body or b""))


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


def _fields_or_skip(backend: IdentityBackend) -> dict[str, Any]:
    fields = backend.plan(USER).fields
    if fields is None:
        pytest.skip(f"the plans of {backend.name} have no fields")
    return dict(fields)


def _similar_users() -> Iterator[UserTraits]:
    nested: tuple[TraitValue, ...] = tuple({name: value} for name in ("b", "c") for value in _VALUES)
    for email, name, value in product((None, "x"), _NAMES, (*_VALUES, *nested)):
        yield UserTraits("u1", email=email, traits={name: value})


def _as_json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def _holds(values: Iterable[object], probe: object) -> bool:
    return str(probe) in _as_json(list(values)).decode()


def _as_partial(backend: object) -> SupportsPartialUpdate | None:
    return backend if isinstance(backend, SupportsPartialUpdate) else None


def _partial_contents(backend: IdentityBackend, only: Sequence[str]) -> Iterator[RequestContent]:
    """Yield what is sent of `USER` in the ways in which *backend* can send only some fields."""
    if partial := _as_partial(backend):
        yield _content(partial.plan(USER, only=only))
    if isinstance(backend, SupportsBatch):
        content = backend.encode_for_batch(USER, only=only).content
        yield read_request_content(Request("batch", "POST", "", body=content))
