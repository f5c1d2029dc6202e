"""What the tests of all contributed adapters share: one Hypothesis profile, the same examples on every run in CI."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("all", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("all"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "all")
