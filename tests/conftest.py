"""What all tests share: one Hypothesis profile, the same examples on every run in CI."""

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "all", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("ci", settings.get_profile("all"), derandomize=True)
# For the other Pythons: what differs between them is not the data.
settings.register_profile("few", settings.get_profile("ci"), max_examples=20)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "all")

# Run in the background of a shell, the tests would have to ignore Ctrl-C, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
