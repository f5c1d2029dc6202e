"""What whoever writes an adapter tells the conformance suite about it."""

from collections.abc import Mapping
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
    """What a subclass tells.

    Attributes:
        key: The credential that `make_backend` uses, which nothing may show.
        without_emulator: Why there is no emulator, if there is none.
        not_applicable: Why a case cannot be asked of this vendor, by the name of the case.
    """

    key: ClassVar[str]
    without_emulator: ClassVar[str] = ""
    not_applicable: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for case, reason in cls.__dict__.get("not_applicable", {}).items():
            if not (case.startswith("test_") and hasattr(cls, case)):
                raise TypeError(f"not_applicable names {case}, which is no case of the suite")
            if not reason.strip():
                raise TypeError(f"not_applicable gives no reason for {case}")
            setattr(cls, case, _skipping(reason))

    def make_backend(self, *, base_url: str | None = None, on_violation: OnViolation = "reject") -> IdentityBackend:
        """Return the backend; that of *base_url* talks to the emulator that listens there."""
        raise NotImplementedError

    def accepted(self, request: Request) -> Response:
        """Return the documented success of *request*, which `identify` sends, or `identify_many` if there is one."""
        raise NotImplementedError

    def make_emulator(self) -> Emulator:
        """Return a fake vendor who knows the key, in a state of its own."""
        if not self.without_emulator.strip():
            raise TypeError("give make_emulator, or without_emulator with a reason")
        pytest.skip(self.without_emulator)

    def stored_user(self, emulator: Any, user_id: str) -> object:  # noqa: ANN401  # Each author's own.
        """Return what the *emulator* holds of the user, to compare by ``==``; None if it has none or deletes them."""
        raise NotImplementedError

    def normalize(self, request: Request) -> Request:
        """Return *request* without what is drawn anew each time, such as an id or the time of sending."""
        return request

    def satisfies_other_rules(self, user: UserTraits) -> bool:  # noqa: ARG002  # For subclasses.
        """Tell whether *user* keeps those of the vendor's rules that are no limits, such as ids it never takes."""
        return True

    def request_contains(self, path: str, value: Any, content: RequestContent) -> bool:  # noqa: ANN401, ARG002  # As `UserTraits` has it.
        """Return True if the request's *content* holds *value*, the user's field at *path*."""
        return content.contains(value)

    @property
    def limits(self) -> Limits:
        """Return the backend's limits."""
        return self.make_backend().limits

    def some_limits(self) -> Limits:
        """Return the backend's limits, or skip the case where the vendor publishes none of a single field's."""
        if not any(field in MEASURED for field, _ in self.limits):
            pytest.skip("the vendor publishes no limit of a user's fields")
        return self.limits


def _skipping(reason: str) -> Any:  # noqa: ANN401  # A test, as pytest collects them.
    def skipped(_: object) -> None:
        pytest.skip(reason)

    return skipped
