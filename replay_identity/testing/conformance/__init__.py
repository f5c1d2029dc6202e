"""A suite that every adapter passes: subclass `BackendConformance` in a test module, and pytest runs its cases."""

from .base import AdapterHooks
from .capability_cases import CapabilityCases
from .emulator_cases import EmulatorCases
from .plan_cases import LimitCases, PlanCases
from .request_content import RequestContent, read_request_content
from .response_cases import ResponseCases

__all__ = ["AdapterHooks", "BackendConformance", "RequestContent", "read_request_content"]


class BackendConformance(PlanCases, LimitCases, ResponseCases, CapabilityCases, EmulatorCases):
    """What a backend has to keep, as one class of tests.

    A subclass gives `key`, `make_backend` and `accepted`, and `make_emulator` with `stored_user` if there is an
    emulator, or else `without_emulator` with a reason. See `AdapterHooks` for all that it may tell.
    """
