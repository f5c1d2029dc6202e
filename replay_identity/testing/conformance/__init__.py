"""A suite that every adapter passes: subclass `BackendConformance` in a test module, and pytest runs its cases."""

from .author import Author
from .capability_cases import CapabilityCases
from .emulator_cases import EmulatorCases
from .limit_cases import LimitCases
from .plan_cases import PlanCases
from .reply_cases import ReplyCases
from .said import Said, said_by

__all__ = ["Author", "BackendConformance", "Said", "said_by"]


class BackendConformance(PlanCases, LimitCases, ReplyCases, CapabilityCases, EmulatorCases):
    """What a backend has to keep, as one class of tests.

    A subclass gives `key`, `make_backend` and `accepted`, and `make_emulator` with `held` if there is an emulator, or
    else `without_emulator` with a reason. See `Author` for all that it may tell.
    """
