"""Hypothesis profiles and a terminal that is the same on every machine."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.vendors import Vendors, running_vendors

if "PYTEST_XDIST_WORKER" in os.environ:
    # Coverage uses it to measure the workers. Commands that tests start are not measured, because that is slow.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# HYPOTHESIS_PROFILE chooses a profile; `ci` draws the same examples in every run.
settings.register_profile(
    "dev",
    deadline=None,
    max_examples=25,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=200, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))

# A shell starts background jobs with SIGINT ignored. Commands that tests start would inherit that and ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Variables that make Rich, Typer and pytest use colours or assume a terminal.
_TERMINAL_VARIABLES = (
    *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CLICOLOR", "CLICOLOR_FORCE"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS"),
)


def pytest_sessionstart() -> None:
    """Set the same terminal for tests and the commands they start; pytest has read its own settings before."""
    for name in _TERMINAL_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update({"TERM": "xterm", "COLUMNS": "80"})


@pytest.fixture(scope="session")
def _running_vendors() -> Iterator[Vendors]:
    with running_vendors() as vendors:
        yield vendors


@pytest.fixture
def vendors(_running_vendors: Vendors) -> Vendors:
    """Return both emulated vendors without users."""
    _running_vendors.reset()
    return _running_vendors
