"""The conformance suite: subclass `BackendConformance` in a test module, and pytest runs its cases."""

from .base import AdapterHooks
from .capability_cases import CapabilityCases
from .emulator_cases import EmulatorCases
from .plan_cases import AccountCases, FieldCases, LimitCases, PlanCases
from .request_content import RequestContent, read_request_content
from .response_cases import ResponseCases

__all__ = ["AdapterHooks", "BackendConformance", "RequestContent", "read_request_content"]


class BackendConformance(
    PlanCases, FieldCases, LimitCases, AccountCases, ResponseCases, CapabilityCases, EmulatorCases
):
    """Tests that every backend must pass.

    A subclass defines `key`, `make_backend` and `accepted`. If there is an emulator it also defines `make_emulator`
    and `stored_user`, otherwise it sets `without_emulator` to a reason. See `AdapterHooks` for all hooks.
    """
