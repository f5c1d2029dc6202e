"""Hypothesis profiles for the tests of all contributed adapters; in CI, every run draws the same examples."""

import os

# With importlib, pytest names a test module after its folder, for example `mixpanel.tests.conftest`, and puts an empty
# module `mixpanel` into sys.modules unless one is there: the vendors' clients have the same names.
import mixpanel  # type: ignore[import-untyped]
import posthog
from hypothesis import HealthCheck, settings

CLIENTS = (mixpanel, posthog)

settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))
