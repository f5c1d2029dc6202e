"""What all tests share: the Hypothesis profiles, the same examples on every run in CI, and a plain environment."""

import os
import signal

from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Coverage measures the workers by it. The commands that tests start are not measured: that would slow them down.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# A profile is chosen by HYPOTHESIS_PROFILE; `nightly` takes its time.
settings.register_profile(
    "dev",
    deadline=None,
    max_examples=25,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=200, stateful_step_count=50)
settings.register_profile("few", settings.get_profile("ci"), max_examples=20)  # Until the renaming is done.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))

# Run in the background of a shell, the tests would have to ignore Ctrl-C, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What Rich, Typer and pytest itself take for a wish for colours or for a terminal.
_WISHES = (
    *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CLICOLOR", "CLICOLOR_FORCE"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS"),
)


def pytest_sessionstart() -> None:
    """Give tests, and the commands that they start, the same terminal wherever they run; pytest keeps its own."""
    for name in _WISHES:
        os.environ.pop(name, None)
    os.environ.update({"TERM": "xterm", "COLUMNS": "80"})
