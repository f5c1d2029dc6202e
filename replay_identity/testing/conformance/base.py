"""The hooks through which an adapter's author describes the adapter to the conformance suite."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest

from ...adapters.adaptation import OnViolation
from ...adapters.exchange import Request, Response
from ...adapters.limits import Limits
from ...adapters.protocols import IdentityBackend
from ...emulator.base import Emulator
from ...traits import UserTraits
from ..boundaries import MEASURED
from .request_content import RequestContent


class AdapterHooks:
    """The attributes and methods that a subclass defines or overrides.

    Attributes:
        key: The key that `make_backend` uses; the suite checks that nothing shows it.
        without_emulator: Why there is no emulator; empty if there is one.
        not_applicable: Names of cases to skip, each with the reason why it does not apply to this vendor.
    """

    key: ClassVar[str]
    without_emulator: ClassVar[str] = ""
    not_applicable: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for case, reason in cls.__dict__.get("not_applicable", {}).items():
            if not (case.startswith("test_") and hasattr(cls, case)):
                raise TypeError(f"not_applicable: {case} is not a case of the suite")
            if not reason.strip():
                raise TypeError(f"not_applicable: the reason for {case} is missing")
            setattr(cls, case, _skipped(reason))

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> IdentityBackend:
        """Return the backend, for the emulator at *base_url* or else for the vendor."""
        raise NotImplementedError

    def other_accounts(self) -> Iterable[IdentityBackend]:
        """Return backends at the same URL for other accounts of the vendor, such as another organisation's."""
        return ()

    def accepted(self, request: Request) -> Response:
        """Return the documented success response to a *request* of `identify` or `identify_many`."""
        raise NotImplementedError

    def make_emulator(self) -> Emulator:
        """Return a new emulator that accepts the key."""
        if not self.without_emulator.strip():
            raise TypeError("make_emulator is missing; define it, or set without_emulator to a reason")
        pytest.skip(self.without_emulator)

    def stored_user(self, emulator: Any, user_id: str) -> object:  # noqa: ANN401  # Each adapter has its own emulator.
        """Return what *emulator* stores of the user, comparable with ``==``; None if it has none or deletes them."""
        raise NotImplementedError

    def normalize(self, request: Request) -> Request:
        """Return *request* without what differs on every call, such as a random id or the time of sending."""
        return request

    def satisfies_other_rules(self, user: UserTraits) -> bool:  # noqa: ARG002  # For subclasses.
        """Return True if *user* follows the rules beyond `limits`, such as ids that the vendor never accepts."""
        return True

    def request_contains(self, path: str, value: Any, content: RequestContent) -> bool:  # noqa: ANN401, ARG002  # As `UserTraits` has it.
        """Return True if the request's *content* holds *value*, the user's field at *path*."""
        return content.contains(value)

    @property
    def limits(self) -> Limits:
        """Return the backend's limits."""
        return self.make_backend().limits

    def limits_or_skip(self) -> Limits:
        """Return the backend's limits, or skip the case if none of them is about a single field."""
        if not any(field in MEASURED for field, _ in self.limits):
            pytest.skip("the vendor publishes no limits of single fields")
        return self.limits


def _skipped(reason: str) -> Any:  # noqa: ANN401  # A test, as pytest collects them.
    def skip(_: object) -> None:
        pytest.skip(reason)

    return skip
